"""Compiled loops: the sums of JAX's program, whatever the box, the terms and the weights; the same for any threads."""

import os
import subprocess
import sys

import jax
import numpy as np
import pytest

import bayescg as bcg
from bayescg.data import Topology
from bayescg.inference.statistics.program.batches import Plan
from bayescg.inference.statistics.program.frames import EQUATIONS
from bayescg.inference.statistics.streaming import chunk_statistics
from bayescg.potentials import WCA
from tests.inference.statistics.test_force_statistics import assert_same

engine = pytest.importorskip("bayescg.inference.statistics.fused.engine")

pytestmark = pytest.mark.filterwarnings("ignore:no pair term for")
_CUBE = np.diag([2.4, 2.4, 2.4])
_LONG = np.diag([1.5, 3.9, 1.6])
_SKEW = np.array([[2.5, 0, 0], [0.7, 2.6, 0], [-0.6, 0.8, 2.7]])
_SKEW_LONG = np.array([[1.9, 0, 0], [0.4, 1.8, 0], [-0.3, 0.5, 5.0]])

CHAINS = bcg.Potential(
    bcg.Pair("A", "B", cutoff=0.7, knot_spacing=0.05, baseline=WCA(0.3, 1.0)),
    bcg.Pair("A", "A", cutoff=0.6, start=0.3, knot_spacing=0.05),
    bcg.Pair("B", "B", cutoff=0.7, baseline=WCA(0.3, 1.0), learn=False),
    bcg.Bond("A", "B", start=0.1, stop=0.6, knot_spacing=0.05),
    bcg.Angle("A", "B", "A", knot_spacing=0.3),
    bcg.Dihedral("A", "B", "A", "B", knot_spacing=0.5),
    exclude_bonds=2,
)
MANY = bcg.Potential(
    bcg.Pair("B", "B", cutoff=0.7, knot_spacing=0.05),
    bcg.LocalDensity("B", "A", inner=0.3, outer=0.6, stop=5.0, knot_spacing=0.3),
    bcg.ThreeBody("B", "A", "A", cutoff=0.6, start=0.1, knot_spacing=0.07, opposite_spacing=0.2),
    bcg.Pair("A", "B", cutoff=0.6, knot_spacing=0.05),
)


def system(box, frames=7, seed=3):
    """Twelve chains A-B-A-B and six beads C that no term names; beads stand apart, and cross the box's faces."""
    rng = np.random.default_rng(seed)
    sites = np.stack(np.meshgrid(*[np.arange(0.5, n) / n for n in (3, 4, 5)], indexing="ij"), -1).reshape(-1, 3)[:54]
    scaled = np.concatenate([sites[rng.permutation(54)]])
    positions = scaled @ box + rng.normal(0, 0.04, (frames, 54, 3)) + 0.3
    topology = Topology.from_bonds(54, [(4 * c + k, 4 * c + k + 1) for c in range(12) for k in range(3)])
    cg = bcg.from_arrays(
        positions,
        np.broadcast_to(box, (frames, 3, 3)),
        ["A", "B"] * 24 + ["C"] * 6,
        temperature=300.0,
        forces=rng.normal(0, 100, positions.shape),
        topology=topology,
    )
    return cg.assign_coords(frame=np.arange(frames))


def both(potential, cg, **given):
    pilot = bcg.fit_pilot(potential, cg, frames=3)
    return [chunk_statistics(potential, cg, pilot=pilot, plan=plan, **given) for plan in (Plan(1, False), None)]


@pytest.mark.parametrize("box", [_CUBE, _LONG, _SKEW, _SKEW_LONG], ids=["cube", "cells", "skew", "skew cells"])
def test_chains_in_any_box(box):
    assert_same(*both(CHAINS, system(box), equations=EQUATIONS), rtol=1e-11)


def test_terms_of_many_beads():
    assert_same(*both(MANY, system(_CUBE), equations=EQUATIONS), rtol=1e-11)


def test_weights_of_frames():
    cg = system(_CUBE)
    cg["weight"] = ("frame", np.array([0.0, 2.0, 0.5, 1.0, 3.0, 0.1, 1.0]))
    assert_same(*both(CHAINS, cg, equations=EQUATIONS), rtol=1e-11)


def test_small_molecules_are_put_together():
    """Frames of one chain: products are taken over many frames at once, and end at the borders of blocks."""
    many = system(_CUBE, frames=150)
    cg = many.isel(bead=slice(0, 4)).drop_dims(
        [d for d in many.dims if str(d).startswith(("bond", "angle", "dihedral"))]
    )
    cg = bcg.from_arrays(
        cg["positions"].values,
        cg["box"].values,
        ["A", "B", "A", "B"],
        temperature=300.0,
        forces=cg["forces"].values,
        topology=Topology.from_bonds(4, [(0, 1), (1, 2), (2, 3)]),
    )
    potential = bcg.Potential(*[term for term in CHAINS.terms if not isinstance(term, bcg.Pair)])
    assert_same(*both(potential, cg), rtol=1e-11)


@pytest.mark.parametrize("potential", [CHAINS, MANY], ids=["chains", "many"])
def test_any_number_of_threads(potential, monkeypatch):
    cg = system(_SKEW, frames=20)
    pilot = bcg.fit_pilot(potential, cg, frames=3)
    monkeypatch.setattr(engine, "_BEADS", 200)
    found = []
    for threads in (1, 3):
        monkeypatch.setattr(engine, "cpu_count", lambda threads=threads: threads)
        found.append(chunk_statistics(potential, cg, pilot=pilot))
    one, three = found
    for key, sums in one.sums.items():
        for name, values in zip(sums._fields, sums, strict=True):
            np.testing.assert_array_equal(getattr(three.sums[key], name), values, err_msg=name)
    for source, products in one.scores.items():
        np.testing.assert_array_equal(three.scores[source], products)
    for name, counts in one.counts.items():
        np.testing.assert_array_equal(three.counts[name], counts)


def test_without_numba_there_is_a_hint(monkeypatch):
    from bayescg.inference.statistics import one_pass

    monkeypatch.setattr(one_pass.importlib.util, "find_spec", lambda name: None)
    with pytest.warns(UserWarning, match=r"pip install 'bayescg\[fast\]'"):
        found = chunk_statistics(CHAINS, system(_CUBE))
    assert_same(found, chunk_statistics(CHAINS, system(_CUBE), plan=Plan(1, False)))
    assert jax.default_backend() == "cpu"


def test_frames_beyond_what_others_have_reached(monkeypatch):
    """A frame has far closer beads than the one that is looked at: all columns are taken then."""
    near, taken = system(_CUBE, frames=9), []
    x = near["positions"].values.copy()
    x[5] = 0.3 * x[5]
    cg = near.assign(positions=(near["positions"].dims, x))
    monkeypatch.setattr(engine, "_LOOKED_AT", 1)
    monkeypatch.setattr(engine, "_FEWEST", 1)
    add = engine.loop.add_frames
    monkeypatch.setattr(engine.loop, "add_frames", lambda *given: taken.append(add(*given)) or taken[-1])
    assert_same(*both(CHAINS, cg, equations=EQUATIONS), rtol=1e-11)
    assert False in taken


def test_a_bond_far_outside_stops_the_loop_before_any_row(monkeypatch):
    """Its window would be written beyond the columns that there are."""
    positions = np.zeros((3, 2, 3))
    positions[:, 1, 2] = [0.30, 1.20, 0.31]
    topology = Topology.from_bonds(2, [(0, 1)])
    cg = bcg.from_arrays(
        positions,
        [4.0] * 3,
        ["A", "B"],
        temperature=300.0,
        forces=100 * np.cos(np.arange(18.0).reshape(3, 2, 3)),
        topology=topology,
    )
    potential = bcg.Potential(bcg.Bond("A", "B", start=0.1, stop=1.5, knot_spacing=0.005))
    monkeypatch.setattr(engine, "_LOOKED_AT", 1)
    monkeypatch.setattr(engine, "_FEWEST", 1)
    add, met = engine.loop.add_frames, []

    def watched(tables, told, frames, totals, *blas):
        fits = add(tables, told, frames, totals, *blas)
        met.append((fits, float(totals.components.sum())))
        return fits

    monkeypatch.setattr(engine.loop, "add_frames", watched)
    found = chunk_statistics(potential, cg, equations=EQUATIONS)
    assert (False, 0.0) in met
    assert found.total().components.sum() == 18


_BLAS = """
import numpy as np
from bayescg.inference.statistics.fused.blas import GEMM, SYRK
from bayescg.inference.statistics.fused.products import _product, multiply
rng = np.random.default_rng(0)
a, b, gram, product = rng.normal(size=(30, 7)), rng.normal(size=(30, 5)), np.zeros(49), np.zeros(35)
multiply(a.ravel(), 0, 30, 7, gram, 0, SYRK)
_product(a.ravel(), 0, 7, b.ravel(), 0, 5, 30, product, 0, GEMM)
np.testing.assert_allclose(np.tril(gram.reshape(7, 7)), np.tril(a.T @ a), atol=1e-12)
np.testing.assert_allclose(product.reshape(5, 7), b.T @ a, atol=1e-12)
"""


def test_arguments_live_until_blas_has_read_them():
    """With an allocator that overwrites what is freed, at once."""
    harsh = {"MALLOC_PERTURB_": "165", "GLIBC_TUNABLES": "glibc.malloc.tcache_count=0"}
    ended = subprocess.run([sys.executable, "-c", _BLAS], env=os.environ | harsh, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
