"""Fits of many coefficients in few directions against the dense formula with a kernel written out by hand."""

import gpjax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import bayescg as bcg
from bayescg._runtime import double_precision
from bayescg.inference.force_matching import force_match
from bayescg.inference.linear import draws, marginal, projection
from bayescg.kernels import pairs, reduction
from tests.inference.statistics.test_force_statistics import random_system

TERM = bcg.Pair("W", "W", cutoff=0.9, knot_spacing=0.003)
NAMES = ("amplitude_W-W", "lengthscale_W-W", "warp_W-W")
TYPICAL = dict(zip(NAMES, (2.5, 0.115, 7.0), strict=True))
"""Near the posterior mode of the hyperparameters."""


@pytest.fixture(scope="module")
def problem():
    """Prior of 300 coefficients, and 20,000 noisy forces of pairs at known distances, in its free coordinates."""
    rng = np.random.default_rng(5)
    x = 0.26 + 0.64 * rng.random(20_000) ** 0.5
    counts, _ = np.histogram(x, TERM.spline.knots)
    with double_precision():
        wall = pairs.Wall(edge=0.27, force=300.0, power=12.0)
        term = pairs.pair_prior(TERM, counts.astype(float), (x.min(), x.max()), kT=2.5, wall=wall)
        prior = marginal.Prior(bcg.Potential(TERM), (term,), {"W-W": gpjax.kernels.Matern52()}, (30.0,), ("W",))
        rows = -TERM.spline.matrix(x, 1)[:, : TERM.n_basis] @ term.lift
        curve = 40 * np.sin(25 * x) * np.exp(-8 * (x - 0.26)) * (0.9 - x)
        forces = curve + 30.0 * rng.normal(size=len(x))
        square, count = jnp.asarray([forces @ forces]), jnp.asarray([float(len(x))])
        data = marginal.Reduced(jnp.asarray((rows.T @ rows)[None]), jnp.asarray((forces @ rows)[None]), square, count)
        small = projection.project(prior, data)
    return prior, data, small


def dense_covariance(term, amplitude, length, warp):
    """Matern-5/2 on warped distances, by splines, conditioned on u = u' = u'' = 0 at the cutoff; and powers."""
    y = (term.inputs[:, 0] + warp * term.warp[:, 0]) / (1 + warp)
    r = np.sqrt(5) * np.abs(y[:, None] - y) / length
    gram = amplitude**2 * (1 + r + r**2 / 3) * np.exp(-r)
    joint = term.transform @ gram @ term.transform.T
    # Differences of the three coefficients at the cutoff: they alone are nearly equal.
    apart = np.array([[0, 0, 1.0], [0, -1, 1], [1, -2, 1]])
    edge, mixed = apart @ joint[:3, :3] @ apart.T, joint[3:, :3] @ apart.T
    # Powers obey the conditions by themselves.
    powers = term.transform[3:] @ term.drift
    return joint[3:, 3:] - mixed @ np.linalg.solve(edge, mixed.T) + powers @ powers.T


def dense(term, data, values, noise):
    """Log evidence of the forces, and mean and covariance of the free coefficients, by eigenvalues of the covariance.

    Powers of distance have variances of ten thousand beside those of tails: nothing is subtracted.
    """
    sizes, turn = np.linalg.eigh(dense_covariance(term, *(values[name] for name in NAMES)))
    root = turn * np.sqrt(np.maximum(sizes, 0))
    gram, cross = np.asarray(data.gram[0]) / noise**2, np.asarray(data.cross[0]) / noise**2
    inner = np.eye(len(cross)) + root.T @ gram @ root
    mean = root @ np.linalg.solve(inner, root.T @ cross)
    count, square = float(data.components[0]), float(data.square[0])
    evidence = -0.5 * np.linalg.slogdet(inner)[1] + 0.5 * cross @ mean
    evidence -= 0.5 * (count * np.log(2 * np.pi * noise**2) + square / noise**2)
    return evidence, mean, root @ np.linalg.solve(inner, root.T)


@jax.jit
def in_few(prior, data, values):
    solution = marginal.solve(data, prior.factors(values), prior.noises(values))
    evidence = marginal.log_evidence(data, prior.factors(values), prior.noises(values))
    return evidence, *marginal.mean_and_spread(solution)


def at(**factors):
    return {name: value * factors.get(name.split("_")[0], 1.0) for name, value in TYPICAL.items()} | {"noise_W": 30.0}


# Where the posterior reaches, along its ridge from smooth and loud to rough and quiet: the roughest is three standard
# deviations from the mode.
@pytest.mark.parametrize(
    ("values", "allowed"),
    [
        (at(), 1e-3),
        # Far smoother than the reference in the tail, where errors in units of its error bars are many of one's own.
        (at(lengthscale=0.9, warp=3.3), 1e-2),
        (at(lengthscale=1.6, amplitude=3.7, warp=1.7), 1e-2),
        (at(lengthscale=0.625, amplitude=0.27, warp=0.58), 1e-3),
        (at(lengthscale=0.49, amplitude=0.14, warp=0.44), 1e-3),
    ],
    ids=["mode", "warped", "loud", "short", "shortest"],
)
def test_few_directions_give_what_all_coefficients_give(problem, values, allowed):
    prior, data, small = problem
    count, few = data.gram.shape[-1], small.data.gram.shape[-1]
    assert few < 0.7 * count
    evidence, mean, covariance = dense(prior.terms[0], data, values, 30.0)
    with double_precision():
        given = {name: jnp.asarray(value) for name, value in values.items()}
        found, few_mean, few_spread = (np.asarray(v) for v in in_few(small.prior, small.data, given))
    assert found == pytest.approx(evidence, abs=2e-3)
    x = np.linspace(0.265, 0.88, 200)
    rows = TERM.spline.matrix(x, 1)[:, : TERM.n_basis] @ prior.terms[0].lift
    sd = np.sqrt(np.einsum("xf,fg,xg->x", rows, covariance, rows))
    few_rows = rows @ small.spread
    assert np.abs((few_rows @ few_mean - rows @ mean) / sd).max() < allowed
    assert np.abs(np.linalg.norm(few_rows @ few_spread, axis=1) / sd - 1).max() < allowed


@pytest.mark.parametrize(
    "kernel",
    [gpjax.kernels.Matern32(), gpjax.kernels.Matern52(), gpjax.kernels.RBF(), gpjax.kernels.RationalQuadratic()],
)
def test_a_longer_lengthscale_never_has_more_variance_anywhere_than_the_bound(kernel):
    with double_precision():
        x = jnp.linspace(0.0, 1.0, 60)[:, None]
        short, long = (
            np.asarray(type(kernel)(lengthscale=length, variance=1.0).cross_covariance(x, x)) for length in (0.05, 0.15)
        )
    assert np.linalg.eigvalsh(3.0 * short - long).min() > -1e-10


def test_what_is_dropped_keeps_the_bound(problem):
    """The variance outside of the directions, in the data's metric, by the dense covariance."""
    prior, data, _ = problem
    term = prior.terms[0]
    with double_precision():
        reference = {name: jnp.asarray(v) for name, v in at(lengthscale=0.6).items()}
        gram = np.asarray(term.gram(gpjax.kernels.Matern52(), reference))
    precision = np.asarray(data.gram[0]) / 30.0**2
    found = reduction.reduced(term, gram, precision, tolerance=0.3)
    assert found is not None
    metric = reduction._metric(term, dense_covariance(term, *(float(reference[name]) for name in NAMES)), precision)
    weighed = found.spread.T @ metric
    rest = np.eye(len(precision)) - found.spread @ np.linalg.solve(weighed @ found.spread, weighed)

    def dropped(length):
        covariance = dense_covariance(term, 1.6, 0.092 * length, 9.2)
        return np.sum(metric * (rest @ covariance @ rest.T))

    least = dropped(0.6)
    assert 0.01 < least < 0.3
    assert found.dropped < 0.3
    for length in (0.8, 1.2, 3.0):
        assert dropped(length) < length / 0.6 * least


def test_rougher_than_the_reference_is_noticed_and_mended(problem):
    prior, data, small = problem
    with double_precision():
        calm = {name: np.full((1, 4), value) for name, value in at().items()}
        rough = {name: np.full((1, 4), value) for name, value in at(lengthscale=0.2, amplitude=5.0).items()}
        assert projection.error(prior, data, small, calm) < 0.01
        assert projection.error(prior, data, small, rough) > 0.5
        mended = projection.finer(prior, data, small, rough)
        assert mended.spread.shape[1] > small.spread.shape[1] or not mended.references
        if mended.references:
            assert projection.error(prior, data, mended, rough) < projection.LARGEST_ERROR
        last = projection.finer(prior, data, mended._replace(tolerance=1e-6), rough)
    assert not last.references
    np.testing.assert_array_equal(last.spread, np.eye(data.gram.shape[-1]))


def test_scatter_of_scores_in_few_directions(problem):
    _, data, small = problem
    count = data.gram.shape[-1]
    full = np.random.default_rng(0).normal(size=(count, count))
    with double_precision():
        root = np.asarray(small.root(jnp.asarray(full)))
    assert root.shape == (small.spread.shape[1],) * 2
    expected = small.spread.T @ full @ full.T @ small.spread
    np.testing.assert_allclose(root @ root.T, expected, rtol=1e-9, atol=1e-9 * np.abs(expected).max())


def test_repeated_hyperparameters_have_draws_of_their_own(problem):
    _, _, small = problem
    steps = np.repeat([1.0, 1.0, 2.0], 400)
    values = {name: (steps if name.startswith("amplitude") else np.ones(1200))[None] * v for name, v in at().items()}
    with double_precision():
        w = draws.draw_coefficients(small.prior, small.data, values, key=jax.random.key(0))[0]
        given = {name: jnp.asarray(v) for name, v in at(amplitude=2.0).items()}
        _, mean, spread = (np.asarray(v) for v in in_few(small.prior, small.data, given))
    assert len(np.unique(w[:, 100])) == 1200
    rows = TERM.spline.matrix(np.array([0.28, 0.4, 0.7]), 1)[:, : TERM.n_basis]
    sd = np.linalg.norm(rows @ small.prior.lift @ spread, axis=1)
    z = (w[800:] @ rows.T - rows @ (small.prior.mean + small.prior.lift @ mean)) / sd
    assert np.abs(z.mean(axis=0)).max() < 4.5 / np.sqrt(400)
    assert np.abs(z.std(axis=0) - 1).max() < 4.5 / np.sqrt(800)


@pytest.mark.filterwarnings("ignore")
def test_a_fit_is_the_same_with_and_without(monkeypatch):
    potential = bcg.Potential(bcg.Pair("A", "B", cutoff=0.9, start=0.2, knot_spacing=0.006))
    data = random_system(frames=60, seed=2)
    statistics = bcg.force_statistics(potential, data)
    settings = bcg.Sampling(chains=2, draws=500)
    fits = []
    for fewest in (projection.FEWEST, 10**6):
        monkeypatch.setattr(projection, "FEWEST", fewest)
        fits.append(force_match(potential, statistics, method="laplace", settings=settings, key=jax.random.key(3)))
    few, full = fits
    assert few.attrs["projection_directions"] < 100
    assert few.attrs["projection_error"] < projection.LARGEST_ERROR
    assert "projection_error" not in full.attrs
    assert few.attrs["held_out_r2"] == pytest.approx(full.attrs["held_out_r2"], abs=1e-4)
    a, b = (fit["posterior"]["f_A-B"].values[0] for fit in fits)
    sd = b.std(axis=0)
    inner = sd > 0.05 * sd.max()
    assert np.abs((a.mean(axis=0) - b.mean(axis=0)) / sd)[inner].max() < 5 * np.sqrt(2 / 1000)
    # Hyperparameters that data hardly know make tails heavy: the error of a standard deviation has the kurtosis in it.
    kurtosis = np.mean(((b - b.mean(axis=0)) / sd) ** 4, axis=0)
    assert np.all(np.abs(a.std(axis=0) / sd - 1)[inner] < 5 * np.sqrt((kurtosis - 1) / 4 * 2 / 1000)[inner])
