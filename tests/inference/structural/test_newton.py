"""Relative entropy near a reference: exact integrals, finite differences, sampling errors."""

import numpy as np
import pytest

import bayescg as bcg
from bayescg._runtime import double_precision
from bayescg.data.neighbors import pairs
from bayescg.geometry.images import minimum_image
from bayescg.inference.structural import prior as structural_prior
from bayescg.inference.structural.covariance import independent_covariance, shrunk, unseen_covariance
from bayescg.inference.structural.newton import Model, leap, slope, target_of
from bayescg.inference.structural.pressure import pressure_at
from bayescg.inference.structural.reweighting import Reference, long_run_covariance
from bayescg.inference.structural.structure import Frames, structure
from bayescg.posterior import curves
from bayescg.units import BOLTZMANN
from tests.inference import dimers, systems

FRAMES, DIMERS = 400, 50


@pytest.fixture(autouse=True)
def one_thread():
    with double_precision():
        yield


@pytest.fixture(scope="module")
def bonds():
    """Model of dimers about a reference that was sampled exactly, from the harmonic part of the true bond."""
    potential = dimers.potential()
    data = structure(potential, dimers.dataset(dimers.sample(dimers.energy, FRAMES, DIMERS, 0)))
    start = structural_prior.inverted(potential, data, dimers.kT)
    prior = structural_prior.build_prior(potential, data, start, kT=dimers.kT, kernels={})
    spline = potential.terms[0].spline
    position = structural_prior.into_free(
        prior, data, spline.interpolate(0.5 * dimers.STIFFNESS * (spline.sites - dimers.CENTER) ** 2)
    )
    w = prior.mean + prior.lift @ position
    made = structure(potential, dimers.dataset(dimers.sample(lambda x: spline.matrix(x) @ w, 4 * FRAMES, DIMERS, 1)))
    reference = Reference(made, made.basis @ w, dimers.kT)
    with double_precision():
        model = Model(prior, target_of(data, prior), reference)
    return spline, prior, model, position


def test_entropy_against_quadrature(bonds):
    spline, prior, model, position = bonds
    rng = np.random.default_rng(3)
    for _ in range(3):
        other = position + 0.02 * rng.normal(size=len(position))
        w, v = (prior.mean + prior.lift @ p for p in (other, position))
        mean = model.target.mean @ (other - position) / dimers.kT
        exact = mean + DIMERS * (dimers.exact_log_partition(spline, w) - dimers.exact_log_partition(spline, v))
        found = model.entropy(other) - model.entropy(position)
        spread = np.std(model.values @ (other - position)) / dimers.kT
        assert abs(found - exact) < 4 * spread / np.sqrt(4 * FRAMES * model.overlap(other))


def test_score_is_the_gradient_and_precision_its_slope(bonds):
    _, _, model, position = bonds
    at = position + 0.01
    local, step = model.quadratic(at), 1e-5
    for direction in np.eye(len(at))[::3]:
        slope = (model.entropy(at + step * direction) - model.entropy(at - step * direction)) / (2 * step)
        assert -local.score @ direction / FRAMES == pytest.approx(slope, abs=1e-6 * np.abs(local.score).max())
    moments = model.reference.moments(model.coefficients(at), model.values)
    exact = FRAMES / dimers.kT**2 * moments.covariance
    bent = np.stack(
        [
            (model.quadratic(at - step * d).score - model.quadratic(at + step * d).score) / (2 * step)
            for d in np.eye(len(at))
        ]
    )
    np.testing.assert_allclose(bent, exact, atol=1e-5 * np.abs(exact).max())


def test_spread_of_the_score_over_repetitions(bonds):
    _, prior, model, position = bonds
    local = model.quadratic(position)
    values = []
    for seed in range(30):
        again = structure(prior.potential, dimers.dataset(dimers.sample(dimers.energy, FRAMES, DIMERS, 100 + seed)))
        values.append((again.basis @ prior.lift).mean(axis=(0, 1)))
    found = np.var(np.array(values) * FRAMES / dimers.kT, axis=0, ddof=1)
    own = np.diag(FRAMES**2 / dimers.kT**2 * model.target.error)
    ratio = found.sum() / own.sum()
    assert 0.6 < ratio < 1.6
    assert np.all(np.diag(local.spread) >= own)


def test_a_leap_goes_where_reweighting_would(bonds):
    spline, _, model, position = bonds
    local = model.quadratic(position)
    factor = 100 * np.eye(len(position))
    landing, length, noise, share = leap(model, local, factor, 1e9)
    assert share == 1
    assert noise < length
    w = model.coefficients(landing)
    x = np.linspace(0.3, 0.4, 50)
    found, exact = spline.matrix(x) @ w, dimers.energy(x)
    before = spline.matrix(x) @ model.coefficients(position)
    weight = x**2 * np.exp(-exact / dimers.kT)

    def off(u):
        difference = u - exact
        return np.average((difference - np.average(difference, weights=weight)) ** 2, weights=weight)

    assert off(found) < 0.1 * off(before)
    half = leap(model, local, factor, 0.5 * length)
    np.testing.assert_allclose(half.landing - position, 0.5 * (landing - position), atol=1e-9)


def test_counts_far_from_the_data_are_met_in_a_few_leaps():
    """A contact that the reference meets a thousand times too often: plain Newton steps gain one kT each."""
    knots = bcg.Potential(bcg.Pair("A", "A", 0.8, knot_spacing=0.1, start=0.2))
    rng = np.random.default_rng(0)
    truth = np.array([0.05, 5.0, 8.0, 8.0, 8.0, 8.0])

    def frames(mean, count):
        counts = rng.poisson(mean, size=(1, count, 6)).astype(float)
        basis = counts @ np.eye(6, knots.n_basis)
        blank = np.zeros((1, count, 2))
        return Frames(basis, 0 * basis, blank, {"A-A": counts}, {"A-A": (0.21, 0.8)})

    class Flat:
        potential, mean, lift = knots, np.zeros(knots.n_basis), np.eye(knots.n_basis)

    target = target_of(frames(truth, 4000), Flat)
    u, errors = np.zeros(knots.n_basis), []
    rates = np.array([50.0, 5.0, 8.0, 8.0, 8.0, 8.0])
    for _ in range(4):
        made = frames(rates * np.exp(-u[:6]), 4000)
        model = Model(Flat, target, Reference(made, made.basis @ u, 1.0))
        u = leap(model, model.quadratic(u), 30 * np.eye(knots.n_basis), 1e9).landing
        errors.append(abs(u[0] - np.log(1000)))
    assert errors[1] < 1.0
    assert errors[3] < 0.3


def test_long_run_covariance_of_an_autoregression():
    rng = np.random.default_rng(1)
    rho, frames = 0.8, 20000
    x = rng.normal(size=(2, frames, 3))
    for k in range(1, frames):
        x[:, k] += rho * x[:, k - 1]
    exact = 1 / (1 - rho) ** 2
    found = np.diag(long_run_covariance(x - x.mean(axis=(0, 1))))
    np.testing.assert_allclose(found, exact, rtol=0.15)
    white = rng.normal(size=(1, 500, 4))
    np.testing.assert_allclose(np.diag(long_run_covariance(white - white.mean((0, 1)))), 1.0, rtol=0.3)


def test_a_slow_collective_direction_is_found_though_no_component_is_slow():
    """Twelve components that are fast; one combination of them is small and slow, as those that make the pressure."""
    rng, size, rho = np.random.default_rng(1), 12, 0.6
    slow = rng.normal(size=(40, 300))
    for t in range(1, 300):
        slow[:, t] = rho * slow[:, t - 1] + np.sqrt(1 - rho**2) * slow[:, t]
    y = np.concatenate([0.3 * slow[..., None], rng.normal(size=(40, 300, size - 1))], axis=-1)
    turn = np.linalg.qr(rng.normal(size=(size, size)))[0]
    found = [
        turn[:, 0] @ long_run_covariance(x - x.mean(axis=1, keepdims=True)) @ turn[:, 0] for x in (y @ turn.T)[:, None]
    ]
    assert np.mean(found) / 0.3**2 == pytest.approx((1 + rho) / (1 - rho), rel=0.15)


def test_covariance_of_independent_bonds(bonds):
    _, prior, model, _ = bonds
    frames = model.reference.frames
    sample = np.cov(frames.basis[0].T)
    counts = {name: each.mean(axis=(0, 1)) for name, each in frames.counts.items()}
    exact = independent_covariance(prior.potential, counts, frames.size)
    scale = np.sqrt(np.outer(np.diag(exact), np.diag(exact)))
    used = np.diag(sample) > 0.2
    assert np.max(np.abs((sample - exact) / scale)[np.ix_(used, used)]) < 0.12
    sample, exact, scale = (matrix[np.ix_(used, used)] for matrix in (sample, exact, scale))
    few = np.cov(frames.basis[0, :40, used])
    better = shrunk(few, few / 40, exact, 0 * exact)
    full = shrunk(sample, sample / frames.size, exact, 0 * exact)

    def off(matrix):
        return np.linalg.norm((matrix - sample) / scale)

    assert off(better) < 0.5 * off(few)
    assert off(full) < 0.3 * off(few)
    np.linalg.cholesky(better)


def test_a_rare_contact_does_not_ruin_the_covariance_of_a_common_one():
    """Eigenvalues that differ by ten orders of magnitude: closed forms of the shrinkage cancel there."""
    rng = np.random.default_rng(0)
    size, count = 20, 60
    rates = np.r_[np.full(size - 3, 5.0), 1e-4, 1e-7, 1e-10]
    frames = rng.poisson(rates, size=(count, size)).astype(float)
    frames[:, :3] += 20 * rng.normal(size=(count, 1))
    sample, towards = np.cov(frames.T), np.diag(rates + 0.5 / count)
    found = shrunk(sample, sample / count, towards, np.eye(size) * 0.5 / count)
    collective = np.r_[np.ones(3), np.zeros(size - 3)] / np.sqrt(3)
    assert collective @ found @ collective == pytest.approx(collective @ sample @ collective, rel=0.2)
    np.testing.assert_allclose(np.diag(found)[-3:], 0.5 / count, rtol=0.05)


def test_what_was_not_met_is_a_part_of_the_independent_covariance(bonds):
    _, prior, model, _ = bonds
    frames = model.reference.frames
    nothing = {name: np.zeros(each.shape[-1]) for name, each in frames.counts.items()}
    blank = unseen_covariance(prior.potential, nothing, 10)
    np.testing.assert_allclose(blank, independent_covariance(prior.potential, nothing, 10))
    many = {name: each.mean(axis=(0, 1)) + 1.0 for name, each in frames.counts.items()}
    rest = independent_covariance(prior.potential, many, 10) - unseen_covariance(prior.potential, many, 10)
    np.testing.assert_allclose(rest, independent_covariance(prior.potential, many, 10**12), atol=1e-9)


def test_slope_along_a_step_is_a_finite_difference_of_the_posterior(bonds):
    _, _, model, position = bonds
    factor = np.diag(np.linspace(0.5, 2.0, len(position)))
    direction = 0.01 * np.random.default_rng(5).normal(size=len(position))

    def minus_log(at):
        u = np.linalg.solve(factor, at)
        return FRAMES * model.entropy(at) + 0.5 * u @ u

    step = 1e-4
    exact = (minus_log(position + step * direction) - minus_log(position - step * direction)) / (2 * step)
    found = slope(model.quadratic(position), factor, direction)
    assert found.value == pytest.approx(exact, rel=1e-5)
    assert found.sd > 0


def test_pressure_and_its_slope():
    """Against sums of r f over pairs, and against reweighted differences."""
    rng = np.random.default_rng(0)
    lattice = np.stack(np.meshgrid(*[np.arange(5) * 0.4] * 3, indexing="ij"), -1).reshape(-1, 3)
    potential = bcg.Potential(bcg.Pair("A", "A", systems.CUTOFF, knot_spacing=0.05, baseline=systems.LJ))
    positions = lattice + 0.02 * rng.normal(size=(6, 125, 3))
    data = bcg.from_arrays(positions, np.full(3, 2.0), "A", temperature=300.0, mass=np.full(125, 40.0))
    w = 0.1 * rng.normal(size=potential.n_basis)
    frames = structure(potential, data)
    reference = Reference(frames, frames.basis @ w, 300.0 * BOLTZMANN)
    box, virials = np.eye(3) * 2.0, []
    for frame in data["positions"].values.astype(float):
        i, j = pairs(frame, box, systems.CUTOFF).T
        r = np.linalg.norm(minimum_image(frame[i] - frame[j], box), axis=1)
        virials.append(np.sum(r * curves(potential, "A-A", w, r)[1]))
    found = pressure_at(reference, w, 125, 8.0)
    assert found.value == pytest.approx((125 * 300 * BOLTZMANN + np.mean(virials) / 3) / 8 * 16.6053907, rel=1e-6)
    direction = np.zeros(len(w))
    direction[8:12] = 1.0
    step = 1e-5
    up, down = (pressure_at(reference, w + s * direction, 125, 8.0).value for s in (step, -step))
    assert found.slope @ direction == pytest.approx((up - down) / (2 * step), rel=1e-4)
