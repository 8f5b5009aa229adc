"""Many-body terms in the JAX engine and in what is measured of frames."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import bayescg as bcg
from bayescg._runtime import double_precision
from bayescg.posterior import from_coefficients
from bayescg.potentials import WCA, Interactions, LocalDensity, Pair, Potential, ThreeBody
from bayescg.simulation import forces as engine
from bayescg.simulation.lists import Lists
from tests.compilation import quick

BOX = np.eye(3) * 1.4
POTENTIAL = Potential(
    Pair("A", "A", 0.5, baseline=WCA(0.3, 2.0), learn=False),
    Pair("A", "B", 0.5, baseline=WCA(0.3, 2.0), learn=False),
    Pair("B", "B", 0.5, baseline=WCA(0.3, 2.0), learn=False),
    ThreeBody("A", "A", "B", 0.45, 0.1, 0.05, 0.15),
    LocalDensity("B", "A", 0.25, 0.5, stop=8.0),
)


@pytest.fixture(scope="module", autouse=True)
def _quick_compilation():
    with quick():
        yield


def start():
    rng = np.random.default_rng(2)
    lattice = np.stack(np.meshgrid(*[np.arange(4)] * 3, indexing="ij"), -1).reshape(-1, 3) * 0.35
    positions = lattice + rng.normal(scale=0.03, size=(64, 3))
    types = np.array(["A", "B"])[np.arange(64) % 2]
    return bcg.from_arrays(positions[None], BOX[None], types, temperature=300.0, mass=[20.0] * 64).isel(frame=0)


def test_engine_and_potential_agree_for_lists_with_a_skin():
    w = np.random.default_rng(0).normal(size=POTENTIAL.n_basis)
    first = start()
    with double_precision():
        interactions = Interactions.of(POTENTIAL, first)
        x = first.positions.values.astype(float)
        lists = Lists(interactions, BOX, 0.1).build(x[None])
        moved = x + np.random.default_rng(1).uniform(-0.028, 0.028, x.shape)
        arrays, draw = engine.layout(interactions, BOX), engine.curves(POTENTIAL, w)
        found = engine.forces(POTENTIAL, True, arrays, draw, tuple(each[0] for each in lists), jnp.asarray(moved))
        expected = POTENTIAL.forces(interactions.configuration(moved, BOX), jnp.asarray(w))
    np.testing.assert_allclose(found, expected, atol=1e-9 * np.abs(expected).max())


def test_simulated_frames_carry_energies_of_all_terms():
    w = np.random.default_rng(0).normal(size=POTENTIAL.n_basis)
    posterior = from_coefficients(POTENTIAL, w, temperature=300.0)
    dynamics = bcg.Langevin(timestep=0.002, equilibration=0.0, interval=0.02)
    ensemble = bcg.simulate(posterior, start(), time=0.06, dynamics=dynamics, key=jax.random.key(0))
    assert ensemble.attrs["engine"] == "jax"
    with double_precision():
        interactions = Interactions.of(POTENTIAL, start())
        for frame in range(3):
            x = ensemble.positions.values[0, frame].astype(float)
            at = interactions.configuration(x, BOX)
            energy = POTENTIAL.energy(at, jnp.asarray(w))
            np.testing.assert_allclose(ensemble.potential_energy.values[0, frame], energy, rtol=1e-6)
            virial = POTENTIAL.virial(at, jnp.asarray(w))
            np.testing.assert_allclose(ensemble.virial.values[0, frame], virial, atol=1e-5 * np.abs(virial).max())
    with pytest.raises(ValueError, match=r"no tables for three_A-A-B, density_B-A"):
        bcg.simulate(posterior, start(), time=0.06, dynamics=dynamics, engine="lammps", key=jax.random.key(0))
