"""Frames in batches: the same sums as frame by frame, lists searched on the device, memory within its bound."""

import itertools

import jax
import numpy as np
import pytest

import bayescg as bcg
from bayescg._runtime import double_precision
from bayescg.inference.statistics.program import batches
from bayescg.inference.statistics.program.batches import Frames, Plan, frame_bytes, frames_at_once, make_batches
from bayescg.inference.statistics.program.frames import NOWHERE, Shared, products
from bayescg.inference.statistics.program.pair_lists import DeviceLists, HostLists
from bayescg.inference.statistics.streaming import chunk_statistics, statistics_of
from bayescg.potentials import WCA, Interactions
from tests.inference.statistics.test_force_statistics import assert_same, random_system

pytestmark = pytest.mark.filterwarnings("ignore:no pair term for A-A")


# Lists short enough for the smallest padded length: one shape, one compilation, for each number of frames.
POTENTIAL = bcg.Potential(
    bcg.Pair("A", "B", cutoff=0.8, knot_spacing=0.05, baseline=WCA(0.3, 1.0)),
    bcg.Pair("B", "B", cutoff=0.8, knot_spacing=0.05),
    bcg.Bond("A", "B", start=0.1, stop=0.6, knot_spacing=0.05),
    exclude_bonds=1,
)


@pytest.fixture(scope="module")
def data():
    """75 frames, two in a block: batches of 3 and 16 begin and end inside blocks. Twelve numbers are missing."""
    cg = random_system(frames=75, seed=1)
    return cg.assign_coords(frame=np.delete(np.arange(87), np.arange(20, 32))).assign_attrs(source="data")


@pytest.fixture(scope="module")
def pilot(data):
    return bcg.fit_pilot(POTENTIAL, data, frames=20)


@pytest.fixture(scope="module")
def alone(data, pilot):
    """Frame by frame: each one is a chunk with blocks of its own, and `+` puts them together."""
    plan = Plan(1, on_device=False)
    parts = [chunk_statistics(POTENTIAL, data.isel(frame=[k]), pilot=pilot, plan=plan) for k in range(75)]
    return sum(parts[1:], start=parts[0])


@pytest.mark.parametrize(("at_once", "on_device"), [(1, False), (3, False), (16, False), (1, True), (16, True)])
def test_batches_give_the_sums_of_single_frames(data, pilot, alone, at_once, on_device):
    found = chunk_statistics(POTENTIAL, data, pilot=pilot, plan=Plan(at_once, on_device))
    assert found.levels == {"data": 1}
    assert_same(alone, found)


def test_frames_out_of_order_reach_their_blocks(data, pilot, alone):
    order = np.random.default_rng(0).permutation(75)
    assert_same(alone, chunk_statistics(POTENTIAL, data.isel(frame=order), pilot=pilot, plan=Plan(16)))


def test_without_a_pilot(data, alone):
    found = chunk_statistics(POTENTIAL, data, plan=Plan(16, on_device=True))
    assert not found.scores
    np.testing.assert_allclose(found.total().gram, alone.total().gram, atol=1e-12 * np.abs(alone.total().gram).max())


def test_a_component_in_batches(data):
    """A system that lacks a bead type: its terms have no candidates, and count nothing."""
    part = data.isel(bead=data["bead_type"].values == "B").drop_vars("bonds", errors="ignore")
    potential = bcg.Potential(bcg.Pair("A", "B", cutoff=0.9), bcg.Pair("B", "B", cutoff=0.7))
    one, many = (
        chunk_statistics(potential, part, system="pure", plan=plan)
        for plan in (Plan(1, on_device=False), Plan(16, on_device=True))
    )
    assert many.counts["A-B"].sum() == 0 < many.counts["B-B"].sum()
    assert_same(one, many)


def test_later_chunks_take_the_block_length_of_the_total(data, pilot, alone):
    edges = np.linspace(0, 75, 6).astype(int)
    parts = (data.isel(frame=slice(a, b)) for a, b in itertools.pairwise(edges))
    assert_same(alone, statistics_of(POTENTIAL, parts, pilot=pilot))


def test_device_lists_equal_host_lists_in_a_triclinic_box(data):
    box = np.array([[2.0, 0, 0], [0.6, 1.9, 0], [-0.5, 0.7, 2.1]])
    cg = data.assign(box=(data["box"].dims, np.broadcast_to(box, data["box"].shape)))
    interactions = Interactions.of(POTENTIAL, cg)
    positions = cg["positions"].values[:5].astype(float)
    boxes = np.broadcast_to(box, (5, 3, 3))
    host = HostLists(interactions, 0.4)
    expected = host.search(positions, boxes, 5)
    # Lists that begin too short grow: none is cut off.
    device = DeviceLists(interactions, 0.4, dict.fromkeys(expected, 1))
    with double_precision():
        found = jax.tree.map(np.asarray, device.search(positions, boxes, 5))
    assert sorted(found) == sorted(expected) == ["A-B", "B-B", "scores"]
    assert device.sizes == host.sizes
    for name, lists in expected.items():
        for a, b in zip(lists, found[name], strict=True):
            assert sorted(map(tuple, a)) == sorted(map(tuple, b)), name


def test_one_shape_and_no_frame_twice(data):
    interactions = Interactions.of(POTENTIAL, data)
    slots = np.arange(75, dtype=np.int32)
    boxes = np.broadcast_to(np.eye(3) * 2.0, (75, 3, 3))
    frames = Frames(data["positions"].values, boxes, data["forces"].values, slots, np.ones(75))
    made = list(make_batches(interactions, frames, None, Plan(16)))
    assert [len(batch.slots) for batch in made] == [16] * 5
    taken = np.concatenate([batch.slots for batch in made])
    np.testing.assert_array_equal(taken[taken < NOWHERE], slots)
    assert [len(b.slots) for b in make_batches(interactions, frames, None, Plan())] == [1] * 75  # on a CPU


def test_memory_keeps_to_its_bound(data, pilot, monkeypatch):
    interactions = Interactions.of(POTENTIAL, data)
    boxes = np.broadcast_to(np.eye(3) * 2.0, (75, 3, 3))
    frames = Frames(data["positions"].values, boxes, data["forces"].values, np.arange(75, dtype=np.int32), np.ones(75))
    lists = HostLists(interactions, pilot.radius)
    lists.search(frames.positions.astype(float), boxes, 75)
    bytes_a_frame = frame_bytes(interactions, lists.sizes, on_device=False)
    monkeypatch.setattr(batches, "DEVICE_BYTES", 20 * bytes_a_frame)
    assert frames_at_once(bytes_a_frame) == 16
    assert frames_at_once(21 * bytes_a_frame) == 1
    rows = [np.flatnonzero(interactions.type_index == k) for k in range(2)]
    with double_precision():
        shared = Shared(interactions.bonded, rows, np.asarray(pilot.coefficients))
        batch = next(make_batches(interactions, frames, pilot.radius, Plan(16, on_device=False)))
        program = products.lower(POTENTIAL, batch, shared).compile()
    # What the compiler itself says that the program needs beside its arguments.
    needed = program.memory_analysis()
    assert needed is not None
    assert 0 < needed.temp_size_in_bytes < 16 * bytes_a_frame
