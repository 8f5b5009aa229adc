"""Fits of three-body and local-density terms: planted potentials, what is left to pairs, and input that is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import bayescg as bcg
from bayescg._runtime import double_precision
from bayescg.inference.linear.priors import build_prior
from bayescg.inference.statistics.sums import memory
from bayescg.kernels import prior_of
from bayescg.kernels.grids import GridPrior
from bayescg.potentials import Interactions, LocalDensity, Pair, Potential, SmoothOverlap, ThreeBody
from tests.seeds import shifted

# Sixteen blocks of one frame know little: scores of leaving one out say so.
pytestmark = pytest.mark.filterwarnings("ignore:Pareto k:UserWarning")

BOX = np.eye(3) * 1.3
PAIR = Pair("A", "A", 0.5, start=0.2, knot_spacing=0.03)
THREE = ThreeBody("A", "A", "A", 0.45, 0.1, 0.05, 0.12)
DENSITY = LocalDensity("A", "A", 0.3, 0.5, stop=20.0)


def frames(count: int):
    """Beads about the sites of a lattice, without forces."""
    rng = np.random.default_rng(7)
    lattice = np.stack(np.meshgrid(*[np.arange(4)] * 3, indexing="ij"), -1).reshape(-1, 3) * 0.325
    positions = lattice + rng.normal(scale=0.045, size=(count, 64, 3))
    return bcg.from_arrays(positions, np.broadcast_to(BOX, (count, 3, 3)), ["A"] * 64, temperature=300.0)


def forces_of(potential, cg, w):
    interactions, sizes = Interactions.of(potential, cg), {}
    with double_precision():
        evaluate = jax.jit(potential.forces if np.ndim(w) == 1 else jax.vmap(potential.forces, (None, 0)))
        at = [interactions.configuration(x, BOX, sizes=sizes) for x in cg.positions.values.astype(float)]
        return np.stack([np.asarray(evaluate(each, jnp.asarray(w))) for each in at])


def fitted(potential, cg):
    statistics = bcg.force_statistics(potential, cg, pilot=None)
    return bcg.force_match(
        potential,
        statistics,
        method="laplace",
        calibration="none",
        settings=bcg.Sampling(draws=25),
        key=jax.random.key(0),
    )


def test_a_planted_three_body_potential_is_recovered(tmp_path):
    cg = frames(24)
    potential = Potential(PAIR, THREE)
    r = np.linspace(0.2, 0.5, 40)
    target = 200 * (0.5 - r) ** 3 / 0.3**3
    pair = np.linalg.lstsq(PAIR.spline.matrix(r)[:, : PAIR.n_basis], target, rcond=None)[0]
    grid = THREE.grid
    a, b, c = grid.columns
    three = 30.0 * np.cos(0.9 * c - 1.0) * np.exp(-0.3 * (a + b))
    w = np.concatenate([pair, three])
    exact = forces_of(potential, cg, w)
    # A trace of noise: without any, a truth that the splines hold exactly has no finite evidence.
    noise = 1e-3 * exact.std() * np.random.default_rng(1).normal(size=exact.shape)
    cg = cg.assign(forces=(("frame", "bead", "xyz"), exact + noise))
    posterior = fitted(potential, cg.isel(frame=slice(0, 16)))
    held = cg.isel(frame=slice(16, None))
    mean = bcg.posterior.mean_coefficients(posterior)
    rms = np.sqrt(np.mean(held.forces.values**2))
    share = np.sqrt(np.mean(forces_of(potential, cg, np.concatenate([0 * pair, three])) ** 2)) / rms
    assert share > 0.3
    error = np.sqrt(np.mean((forces_of(potential, held, mean) - held.forces.values) ** 2)) / rms
    assert error < 3e-3, error
    # The pair potential alone misses them, and says so.
    alone = fitted(Potential(PAIR), cg.isel(frame=slice(0, 16)))
    assert alone.attrs["log_evidence"] < posterior.attrs["log_evidence"] - 1000
    with pytest.raises(ValueError, match="no function of one variable"):
        bcg.posterior.curves(potential, THREE.name, mean, np.array([0.3]))
    with pytest.raises(ValueError, match="three_A-A-A"):
        bcg.export(posterior, tmp_path, format="gromacs")


def test_sides_of_a_triangle_may_have_different_numbers_of_knots():
    term = ThreeBody("W", "W", "W", cutoff=0.4, start=0.2)
    prior = prior_of(term, np.ones(term.bins), (0.0, 1.0), kT=2.5)
    assert isinstance(prior, GridPrior)
    assert len(prior.side) != len(prior.opposite)


def test_the_linear_part_of_a_local_density_is_left_to_pairs():
    cg = frames(4)
    cg = cg.assign(forces=(("frame", "bead", "xyz"), np.random.default_rng(0).normal(size=cg.positions.shape)))
    statistics = bcg.force_statistics(Potential(PAIR, DENSITY), cg, pilot=None)
    with double_precision():
        (prior,) = (term for term in build_prior(statistics, {}).terms if term.name == DENSITY.name)
    counts = statistics.counts[DENSITY.name]
    knots = DENSITY.spline.knots
    rho = 0.5 * (knots[1:] + knots[:-1])
    curves = DENSITY.spline.matrix(rho) @ prior.lift
    assert prior.lift.shape == (DENSITY.n_basis, DENSITY.n_basis - 2)
    np.testing.assert_allclose(counts @ curves, 0, atol=1e-9 * counts.sum())
    np.testing.assert_allclose((counts * rho) @ curves, 0, atol=1e-9 * counts.sum() * rho.max())


def test_a_planted_local_density_potential_is_recovered():
    cg = frames(16)
    open_ended = Potential(PAIR, LocalDensity("A", "A", 0.3, 0.5))
    potential = bcg.fill_ranges(open_ended, cg)
    density = potential.terms[1]
    assert density.stop > 5
    zero = cg.assign(forces=(("frame", "bead", "xyz"), np.ones(cg.positions.shape)))
    with double_precision():
        lift = build_prior(bcg.force_statistics(potential, zero, pilot=None), {}).terms[1].lift
    # What is planted has no linear part: pairs could take that over as far only as their knots resolve phi.
    spline = density.spline
    w = np.concatenate([np.zeros(PAIR.n_basis), lift @ np.linalg.pinv(lift) @ spline.interpolate(spline.sites**2)])
    exact = forces_of(potential, cg, w)
    noise = 1e-3 * exact.std() * np.random.default_rng(1).normal(size=exact.shape)
    posterior = fitted(open_ended, cg.assign(forces=(("frame", "bead", "xyz"), exact + noise)))
    error = forces_of(potential, cg, bcg.posterior.mean_coefficients(posterior)) - exact
    assert np.sqrt(np.mean(error**2)) < 0.01 * np.sqrt(np.mean(exact**2))
    assert f"u_{density.name}" in posterior["posterior"]


def test_a_planted_kernel_on_neighborhoods_is_recovered(tmp_path):
    cg = frames(24)
    term = SmoothOverlap("A", ("A",), 0.5, degree=2, power=2, inducing=10)
    potential = bcg.fill_ranges(Potential(term), cg)
    rng = np.random.default_rng(shifted(2))
    w = np.linalg.solve(np.linalg.cholesky(potential.terms[0].gram).T, rng.normal(size=10))
    exact = forces_of(potential, cg, w)
    noisy = exact + rng.normal(scale=exact.std(), size=exact.shape)
    cg = cg.assign(forces=(("frame", "bead", "xyz"), noisy))
    learned, held = cg.isel(frame=slice(0, 16)), slice(16, None)
    pilot = bcg.fit_pilot(potential, learned)
    posterior = bcg.force_match(
        potential,
        bcg.force_statistics(potential, learned, pilot=pilot),
        settings=bcg.Sampling(chains=2, warmup=400, draws=1000),
        key=jax.random.key(shifted(0)),
    )
    assert posterior.attrs["calibration"] == "godambe"
    draws = posterior["posterior"]["coefficients"].values.reshape(-1, potential.n_basis)
    unseen = cg.isel(frame=held)
    # Forces are linear in coefficients.
    unit = np.moveaxis(forces_of(potential, unseen, np.eye(10)), 1, -1)
    error = unit @ draws.mean(axis=0) - exact[held]
    # Noise of the size of the forces, 3072 of them, ten coefficients: sqrt(10 / 3072) of it remains.
    assert np.sqrt(np.mean(error**2)) < 0.1 * exact.std()
    spread = np.std(unit @ draws.T, axis=-1)
    assert 0.6 < np.sqrt(np.mean(error**2) / np.mean(spread**2)) < 1.5
    brief = bcg.Langevin(equilibration=0.0, interval=0.02)
    ensemble = bcg.simulate(posterior, cg.isel(frame=-1), time=0.04, dynamics=brief, key=jax.random.key(shifted(1)))
    assert ensemble.attrs["engine"] == "jax"
    assert np.all(np.isfinite(ensemble.positions))
    for target in ("gromacs", "lammps", "openmm"):
        with pytest.raises(ValueError, match="overlap_A-A"):
            bcg.export(posterior, tmp_path, format=target, initial=cg.isel(frame=-1))


def test_refused_data(monkeypatch):
    cg = frames(2)
    cg = cg.assign(forces=(("frame", "bead", "xyz"), np.zeros(cg.positions.shape)))
    monkeypatch.setattr(memory, "available_memory", lambda: 2**16)
    with pytest.raises(ValueError, match=r"coefficients \(\d+ of them of three_A-A-A\) need .* GiB that are free"):
        bcg.force_statistics(Potential(PAIR, THREE), cg, pilot=None)
    monkeypatch.undo()
    far = np.where(np.arange(64) < 1, "B", "A")
    lonely = cg.assign_coords(bead_type=("bead", far))
    lonely["positions"][:, 0] = 100.0
    near = lonely.positions.values
    # One B with no A within reach: types that never meet.
    near[:, 1:] = near[:, 1:] * 0.4
    near[:, 0] = 0.9
    lonely = lonely.assign(positions=(("frame", "bead", "xyz"), near))
    with pytest.raises(ValueError, match="three_A-A-B: no interaction within its range"):
        bcg.force_statistics(Potential(ThreeBody("A", "A", "B", 0.3, 0.05, 0.03, 0.1)), lonely, pilot=None)
