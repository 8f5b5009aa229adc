"""Fits of many-body terms to structure: planted potentials come back; what Newton steps know beforehand is right."""

import jax
import jax.numpy as jnp
import numpy as np

import bayescg as bcg
from bayescg._runtime import double_precision
from bayescg.inference import Sampling
from bayescg.inference.relative_entropy import relative_entropy
from bayescg.inference.structural.covariance import independent_covariance
from bayescg.inference.structural.refinement import Refinement
from bayescg.posterior import from_coefficients
from bayescg.potentials import WCA, LocalDensity, Pair, Potential, ThreeBody
from tests.compilation import optimized
from tests.inference.systems import forces_of
from tests.seeds import shifted

PAIR = Pair("A", "A", 0.5, knot_spacing=0.05, baseline=WCA(0.3, 2.0))
DENSITY = LocalDensity("A", "A", 0.3, 0.5, stop=14.0, knot_spacing=2.0)
THREE = ThreeBody("A", "A", "A", 0.45, 0.1, 0.05, 0.12)
DYNAMICS = bcg.Langevin(timestep=0.004, friction=5.0, equilibration=4.0, interval=0.2)


def planted():
    """Coefficients of the pair term, zero, and of the local density, a parabola."""
    own = DENSITY.spline.interpolate(0.15 * (DENSITY.spline.sites - 6.0) ** 2)
    return np.concatenate([np.zeros(PAIR.n_basis), own])


def test_a_planted_many_body_potential_comes_back_from_positions():
    """Forces, which pairs and densities share, are those of the potential that made the positions."""
    potential, w = Potential(PAIR, DENSITY), planted()
    lattice = np.stack(np.meshgrid(*[np.arange(4)] * 3, indexing="ij"), -1).reshape(-1, 3) * 0.35
    start = bcg.from_arrays(lattice[None], np.eye(3) * 1.4, ["A"] * 64, temperature=300.0, mass=[20.0] * 64)
    settings = Refinement(
        time=10.0,
        longest=30.0,
        iterations=20,
        dynamics=DYNAMICS,
        engine="jax",
        sampling=Sampling(chains=1, warmup=1, draws=200),
    )
    with optimized():
        run = bcg.simulate(
            from_coefficients(potential, w, temperature=300.0),
            start.isel(frame=0),
            time=90.0,
            dynamics=DYNAMICS,
            engine="jax",
            key=jax.random.key(shifted(0)),
        )
        count = run.sizes["frame"]
        cg = start.isel(frame=np.zeros(count, int)).assign_coords(frame=np.arange(count))
        cg = cg.assign(positions=(("frame", "bead", "xyz"), run["positions"].values[0].astype(float)))
        fit = relative_entropy(potential, cg, settings=settings, key=jax.random.key(shifted(1)))
    attrs = fit["posterior"].attrs
    assert attrs["converged"]
    assert attrs["structure_z"] < 1.4
    few = cg.isel(frame=slice(0, None, count // 5))
    draws = fit["posterior"]["coefficients"].values[0]
    true, mean = forces_of(potential, few, w), forces_of(potential, few, draws.mean(axis=0))
    assert np.sqrt(np.mean((mean - true) ** 2)) < 0.25 * np.sqrt(np.mean(true**2))
    # Without the many-body term nothing is left of it.
    pairs = forces_of(potential, few, np.zeros_like(w))
    assert np.sqrt(np.mean((mean - true) ** 2)) < 0.6 * np.sqrt(np.mean((pairs - true) ** 2))
    sd = np.std([forces_of(potential, few, draw) for draw in draws[:30]], axis=0, ddof=1)
    assert 0.4 < np.sqrt(np.mean(((mean - true) / sd) ** 2)) < 2.0


def test_independent_triangles_have_the_covariance_that_newton_steps_begin_with():
    grid, potential = THREE.grid, Potential(THREE)
    cell = (3, 2, 4)
    counts = np.zeros(THREE.bins)
    counts[np.ravel_multi_index(cell, grid.cells)] = 7.0
    axes = (grid.side, grid.side, grid.opposite)
    low = np.array([spline.knots[k] for spline, k in zip(axes, cell, strict=True)])
    width = np.array([spline.spacing for spline in axes])
    sides = jnp.asarray(low + width * np.random.default_rng(0).random((4000, 3)))
    with double_precision():
        found = independent_covariance(potential, {THREE.name: counts}, 10**9)
        rows = jax.vmap(lambda w: THREE.surface(w, sides)[0])(np.eye(potential.n_basis))
    expected = 7.0 * np.asarray(rows) @ np.asarray(rows).T / len(sides)
    np.testing.assert_allclose(found, expected, atol=0.05 * np.abs(expected).max())


def test_as_many_beads_have_a_density_in_every_frame():
    """A constant has no variance: densities are of a fixed number of beads."""
    potential = Potential(DENSITY)
    counts = np.linspace(1.0, 7.0, DENSITY.bins)
    with double_precision():
        found = independent_covariance(potential, {DENSITY.name: counts}, 10**9)
    ones = np.ones(potential.n_basis)
    assert abs(ones @ found @ ones) < 1e-9 * np.trace(found)
    assert np.linalg.eigvalsh(found).min() > -1e-9 * np.trace(found)
