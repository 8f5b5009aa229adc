"""The compiled forces, the neighbor lists and the measurements against the potential itself."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bayescg._runtime import double_precision
from bayescg.potentials import Interactions, Pair, Potential
from bayescg.simulation import forces as engine
from bayescg.simulation.lists import Lists, block_terms
from bayescg.simulation.measure import Meter, configurational_temperature

from .systems import LATTICE, chains, everything, liquid, system


@pytest.fixture(autouse=True)
def _in_double_precision():
    with double_precision():
        yield


@functools.partial(jax.jit, static_argnums=0)
def _direct(potential, configuration, w):
    return (
        potential.energy(configuration, w),
        potential.basis_energies(configuration),
        potential.virial(configuration, w),
        potential.forces(configuration, w),
    )


@functools.partial(jax.jit, static_argnums=0)
def _direct_forces(potential, configuration, w):
    return potential.forces(configuration, w)


_COMPILED = jax.jit(engine.forces, static_argnums=(0, 1))


def _engine_forces(potential, w, frame, lists):
    positions = jnp.asarray(frame["positions"].values, float)[None]
    box = np.asarray(frame["box"].values, float)
    near = tuple(block[0] for block in lists.build(positions))
    arrays = engine.layout(lists.interactions, box)
    return _COMPILED(potential, engine.is_orthorhombic(box), arrays, engine.curves(potential, w), near, positions[0])


def _true_forces(potential, w, frame):
    interactions = Interactions.of(potential, frame)
    configuration = interactions.configuration(frame["positions"].values, frame["box"].values)
    return _direct_forces(potential, jax.tree.map(jnp.asarray, configuration), jnp.asarray(w))


@pytest.mark.parametrize("box", [np.diag([2.9, 2.7, 3.1]), LATTICE], ids=["orthorhombic", "triclinic"])
@pytest.mark.parametrize("on_device", [False, True], ids=["vesin", "all pairs"])
def test_engine_forces_equal_the_potentials(box, on_device):
    potential, w = everything()
    frame = chains(27, box=box, beads="ABAB")
    interactions = Interactions.of(potential, frame)
    truth = _true_forces(potential, w, frame)
    lists = Lists(interactions, box, 0.1, on_device)
    _engine_forces(potential, w, frame, lists)  # finds the widths; the next one may search on the device
    found = _engine_forces(potential, w, frame, lists)
    assert np.abs(truth).max() > 100
    np.testing.assert_allclose(found, truth, atol=1e-6 * float(np.abs(truth).max()))
    np.testing.assert_allclose(np.asarray(found).sum(axis=0), 0, atol=1e-3)


def test_lists_from_both_searches_hold_the_same_pairs():
    potential, _ = everything()
    frame = chains(27, box=LATTICE, beads="ABAB")
    interactions = Interactions.of(potential, frame)
    positions = jnp.asarray(frame["positions"].values, float)[None]
    found = []
    for on_device in (False, True):
        lists = Lists(interactions, LATTICE, 0.1, on_device)
        lists.build(positions)
        blocks = lists.build(positions)
        within = []
        for term, block, own in zip(block_terms(potential), lists.blocks, blocks, strict=True):
            configuration = interactions.configuration(frame["positions"].values, LATTICE)
            rows = np.asarray(own[0])
            centers = np.repeat(block.centers, rows.shape[1])
            real = rows.ravel() != centers
            tuples = np.stack([centers[real], rows.ravel()[real]], -1)
            r, _ = jax.jit(term.descriptor)(configuration._replace(tuples={term.name: tuples}))
            within.append({tuple(t) for t in tuples[np.asarray(r) < term.cutoff].tolist()})
        found.append(within)
    assert found[0] == found[1]
    assert all(found[0])


@pytest.mark.parametrize("on_device", [False, True], ids=["vesin", "all pairs"])
def test_a_list_that_outgrows_its_width_is_widened(on_device):
    potential = Potential(Pair("A", "A", cutoff=0.8))
    frame = liquid(125, 8.0)
    w = np.ones(potential.n_basis)
    interactions = Interactions.of(potential, frame)
    lists = Lists(interactions, frame["box"].values, 0.05, on_device)
    lists.build(jnp.asarray(frame["positions"].values)[None])
    narrow = lists.widths[0]
    crowded = frame.assign(positions=frame["positions"] * 0.4)
    found = _engine_forces(potential, w, crowded, lists)
    truth = _true_forces(potential, w, crowded)
    np.testing.assert_allclose(found, truth, atol=1e-6 * float(np.abs(truth).max()))
    assert lists.widths[0] > narrow
    assert lists.overflows == 1


@pytest.mark.parametrize("box", [np.diag([2.9, 2.7, 3.1]), LATTICE], ids=["orthorhombic", "triclinic"])
def test_measurements_equal_the_potentials(box):
    potential, w = everything()
    frame = chains(8, box=box, beads="ABAB")
    interactions = Interactions.of(potential, frame)
    positions = frame["positions"].values
    got = Meter(interactions, box, ((0.0, 0.31),) * len(potential.terms)).measure(w, positions[None])
    configuration = jax.tree.map(jnp.asarray, interactions.configuration(positions, box))
    energy, basis, virial, forces = _direct(potential, configuration, jnp.asarray(w))
    np.testing.assert_allclose(got.energy[0], energy, rtol=1e-12)
    np.testing.assert_allclose(got.basis[0], basis, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(got.virial[0], virial, rtol=1e-7, atol=1e-7)
    np.testing.assert_allclose(got.squared_force[0], np.sum(np.asarray(forces) ** 2), rtol=1e-12)
    laplacian, h = 0.0, 1e-6
    for index in np.ndindex(positions.shape):
        step = np.zeros(positions.shape)
        step[index] = h
        ahead, behind = (
            np.asarray(_direct(potential, configuration._replace(positions=positions + shift), w)[3])
            for shift in (step, -step)
        )
        laplacian -= float(ahead[index] - behind[index]) / (2 * h)
    np.testing.assert_allclose(got.laplacian[0], laplacian, rtol=1e-5)
    bond = list(potential.slices).index("bond_A-B")
    lengths = np.linalg.norm(positions[frame["bonds"].values[:, 0]] - positions[frame["bonds"].values[:, 1]], axis=1)
    assert got.outside[0, bond].tolist() == [0, int((lengths > 0.31).sum())]
    assert got.interactions[0, bond] == len(frame["bonds"])


def test_frames_that_are_not_finite_measure_as_nan():
    potential, w = everything()
    frame = chains(8, box=LATTICE, beads="ABAB")
    broken = np.full((2, *frame["positions"].shape), np.nan)
    broken[0] = frame["positions"].values
    interactions = Interactions.of(potential, frame)
    got = Meter(interactions, LATTICE, ((-np.inf, np.inf),) * len(potential.terms)).measure(w, broken)
    assert np.isfinite(got.energy[0])
    assert np.isnan(got.energy[1])
    assert np.isfinite(configurational_temperature(got))


def test_degrees_of_freedom_count_the_center_of_mass():
    frame = liquid(64, 10.0)
    own = system(Potential(Pair("A", "A", cutoff=0.8)), frame)
    velocities = np.ones((64, 3))
    assert own.kinetic_temperature(velocities) == pytest.approx(18.0 / 8.31446261815324e-3)
