"""The joint model against Kennedy & O'Hagan's equations, dense Gaussians, and its limits, to 1e-8."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from bayescg._runtime import double_precision
from bayescg.kernels import default_kernel
from bayescg.surrogates.level_prediction import _conditionals
from bayescg.surrogates.levels import density, links
from bayescg.surrogates.levels.model import joint
from tests.seeds import shifted
from tests.surrogates.levels.written_out import problem_of, process, values_of

BOX = np.array([[0.0, -1.0], [2.0, 3.0]])


@pytest.fixture
def rng():
    return np.random.default_rng(shifted(18))


def inputs(rng, count):
    return BOX[0] + np.ptp(BOX, axis=0) * rng.random((count, 2))


def to_jax(values):
    return {name: jnp.asarray(v) for name, v in values.items()}


@pytest.mark.parametrize("varying", [False, True])
def test_covariance_of_three_levels_is_that_of_the_autoregression_written_out(rng, varying):
    values, a, b = values_of(rng, 3, 2, varying), inputs(rng, 4), inputs(rng, 5)

    def rho(link, x):
        tilted = (x - BOX.mean(axis=0)) / (0.5 * np.ptp(BOX, axis=0)) @ values["rho_slope"][link] if varying else 0
        return values["rho"][link] + tilted + np.zeros(len(x))

    def z(level):
        return process(values, level, a, b, BOX)

    first = {0: rho(0, a), 1: rho(1, a)}
    second = {0: rho(0, b), 1: rho(1, b)}
    # f0 = z0; f1 = rho1 f0 + z1; f2 = rho2 f1 + z2.
    k11 = np.outer(first[0], second[0]) * z(0) + z(1)
    expected = {
        (0, 0): z(0),
        (0, 1): second[0] * z(0),
        (1, 0): first[0][:, None] * z(0),
        (0, 2): second[1] * second[0] * z(0),
        (1, 1): k11,
        (1, 2): k11 * second[1],
        (2, 1): first[1][:, None] * k11,
        (2, 2): np.outer(first[1], second[1]) * k11 + z(2),
    }
    with double_precision():
        for (t, u), wanted in expected.items():
            left, right = (a, np.full(4, t)), (b, np.full(5, u))
            found = joint(default_kernel(), to_jax(values), left, right, jnp.asarray(BOX))
            np.testing.assert_allclose(found, wanted, rtol=1e-10, atol=1e-12)


def test_density_and_prediction_are_those_of_a_dense_gaussian(rng):
    x, y = [inputs(rng, 12), inputs(rng, 6)], [rng.normal(size=12), rng.normal(size=6)]
    errors = [np.full(12, 0.2), rng.uniform(0.1, 0.4, 6)]
    values, new = values_of(rng, 2, 2), inputs(rng, 3)
    levels, problem = problem_of(list(zip(x, y, errors, strict=True)))
    box = np.stack([levels.x.min(axis=0), levels.x.max(axis=0)])
    rho = values["rho"][0]

    def cov(a, t, b, u):
        shared = process(values, 0, a, b, box) * rho**t * rho**u
        return shared + (process(values, 1, a, b, box) if t == u == 1 else 0)

    gram = np.block([[cov(x[t], t, x[u], u) for u in (0, 1)] for t in (0, 1)])
    gram += np.diag(np.concatenate(errors) ** 2)
    cross = np.vstack([np.hstack([cov(new, t, x[u], u) for u in (0, 1)]) for t in (0, 1)])
    prior = np.block([[cov(new, t, new, u) for u in (0, 1)] for t in (0, 1)])
    data = np.concatenate(y)
    mean = cross @ np.linalg.solve(gram, data)
    sd = np.sqrt(np.diag(prior - cross @ np.linalg.solve(gram, cross.T)))
    with double_precision():
        one = {name: v[None] for name, v in to_jax(values).items()}
        found = _conditionals(problem, one, jnp.asarray(new), jax.random.split(jax.random.key(0), 1))
        log_density = density.factored(problem, to_jax(values)).log_density
    assert float(log_density) == pytest.approx(stats.multivariate_normal(cov=gram).logpdf(data), abs=1e-8)
    np.testing.assert_allclose(np.asarray(found[0]).reshape(-1), mean, atol=1e-8)
    np.testing.assert_allclose(np.asarray(found[1]).reshape(-1), sd, atol=1e-8)


def test_without_a_link_the_best_level_is_a_gaussian_process_of_its_own(rng):
    x, y, new = [inputs(rng, 12), inputs(rng, 7)], [rng.normal(size=12), rng.normal(size=7)], inputs(rng, 4)
    x[0] = np.concatenate([x[0][:10], [x[1].min(axis=0), x[1].max(axis=0)]])  # the same box for both
    x[0] = np.clip(x[0], x[1].min(axis=0), x[1].max(axis=0))
    data = [(a, b, np.full(len(b), 0.2)) for a, b in zip(x, y, strict=True)]
    values = {**values_of(rng, 2, 2), "rho": np.zeros(1)}
    alone = {name: v[1:] for name, v in values.items() if name != "rho"}
    keys = jax.random.split(jax.random.key(0), 1)
    with double_precision():
        both, single = (
            _conditionals(problem_of(d)[1], {n: v[None] for n, v in to_jax(v).items()}, jnp.asarray(new), keys)
            for d, v in ((data, values), (data[1:], alone))
        )
    for two, one in zip(both[:2], single[:2], strict=True):
        np.testing.assert_allclose(two[0, 1], one[0, 0], atol=1e-8)


def test_nested_levels_without_noise_are_the_recursion(rng):
    """Le Gratiet & Garnier: the level below interpolates, and the discrepancy is a process of its own."""
    low = np.stack(np.meshgrid([0.0, 1.0, 2.0], [-1.0, 1.0, 3.0]), axis=-1).reshape(-1, 2)
    x, y, new = [low, low[[0, 4, 5, 8]]], [rng.normal(size=9), rng.normal(size=4)], inputs(rng, 5)
    data = [(a, b, np.zeros(len(b))) for a, b in zip(x, y, strict=True)]
    values = values_of(rng, 2, 2)
    rho = values["rho"][0]

    def krige(level, at, data, where):
        weights = np.linalg.solve(process(values, level, at, at, BOX), process(values, level, at, where, BOX))
        variance = np.diag(process(values, level, where, where, BOX) - process(values, level, where, at, BOX) @ weights)
        return weights.T @ data, variance

    below, spread = krige(0, x[0], y[0], new)
    apart, own = krige(1, x[1], y[1] - rho * y[0][[0, 4, 5, 8]], new)
    with double_precision():
        one = {name: v[None] for name, v in to_jax(values).items()}
        found = _conditionals(problem_of(data)[1], one, jnp.asarray(new), jax.random.split(jax.random.key(0), 1))
    np.testing.assert_allclose(found[0][0, 1, :, 0], rho * below + apart, atol=1e-8)
    np.testing.assert_allclose(found[1][0, 1, :, 0] ** 2, rho**2 * spread + own, atol=1e-8)


@pytest.mark.parametrize("link", ["constant", "varying"])
def test_rho_by_its_regression_is_a_change_of_variables(rng, link):
    data = [(inputs(rng, n), rng.normal(size=n), np.full(n, 0.1)) for n in (12, 8, 6)]
    _, problem = problem_of(data, link=link)
    with double_precision():
        sites = {name: prior.sample(jax.random.key(1)) for name, prior in problem.priors.items()}

        def rho(flat):
            found = links.resolved(problem, {**sites, "link": flat.reshape(sites["link"].shape)}).values
            parts = [found["rho"][:, None], *([found["rho_slope"]] if link == "varying" else [])]
            return jnp.concatenate(parts, axis=1).reshape(-1)

        flat = sites["link"].reshape(-1)
        _, jacobian = np.linalg.slogdet(np.asarray(jax.jit(jax.jacfwd(rho))(flat)))
        found = jax.jit(links.resolved)(problem, sites)
        prior = sum(float(jnp.sum(problem.rho[name].log_prob(found.values[name]))) for name in problem.rho)
        base = stats.norm.logpdf(np.asarray(flat)).sum()
    assert float(found.log_density) == pytest.approx(prior + jacobian - base, abs=1e-8)


def test_where_the_level_below_is_known_the_regression_is_the_posterior_of_rho(rng):
    """Then `link` is standard normal given all else: the density does not change with anything but its square."""
    low = inputs(rng, 15)
    data = [(low, rng.normal(size=15), np.zeros(15)), (low[:6], rng.normal(size=6), np.full(6, 0.1))]
    _, problem = problem_of(data)
    with double_precision():
        sites = {name: prior.sample(jax.random.key(2)) for name, prior in problem.priors.items()}

        @jax.jit
        def log_density(u):
            found = links.resolved(problem, {**sites, "link": jnp.full((1, 1), u)})
            return density.factored(problem, found.values).log_density + found.log_density

        heights = [float(log_density(u)) for u in (-2.0, 0.0, 1.5)]
    np.testing.assert_allclose(heights, heights[0], atol=1e-4)
