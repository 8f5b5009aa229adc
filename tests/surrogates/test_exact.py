"""A linear law with fixed hyperparameters has a Gaussian posterior: everything is known in closed form."""

import dataclasses
import warnings

import gpjax
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from scipy import stats

from bayescg._runtime import double_precision
from bayescg.samplers.nuts import nuts
from bayescg.samplers.settings import Sampling
from bayescg.surrogates import Mean, PhysicsGuidedGP, density, fit, predict
from bayescg.surrogates.data import read
from bayescg.surrogates.fitting import build_problem
from bayescg.surrogates.prediction import mixture_quantile
from tests.seeds import shifted

AMPLITUDE, LENGTHSCALE, NOISE = 0.3, 0.4, 0.1
PRIOR_MEAN, PRIOR_SD = np.array([1.0, -0.5]), np.array([2.0, 1.0])


def line(x, parameters):
    return parameters["intercept"] + parameters["slope"] * x[:, 0]


def near(value):
    """A prior so narrow that it is a constant."""
    return dist.LogNormal(np.log(value), 1e-5)


def linear_model(**priors):
    known = {"amplitude": near(AMPLITUDE), "lengthscale": near(LENGTHSCALE), "noise": near(NOISE)}
    mean = Mean(line, {"intercept": dist.Normal(1.0, 2.0), "slope": dist.Normal(-0.5, 1.0)})
    return PhysicsGuidedGP(mean, priors={**known, **priors})


def matern(a, b):
    r = np.sqrt(5) * np.abs(a[:, None] - b) / LENGTHSCALE
    return AMPLITUDE**2 * (1 + r + r**2 / 3) * np.exp(-r)


@pytest.fixture(scope="module")
def line_data():
    rng = np.random.default_rng(shifted(3))
    x = np.sort(rng.uniform(0, 2, 25))
    return x, 0.4 + 1.3 * x + 0.3 * np.sin(4 * x) + 0.1 * rng.normal(size=25)


@pytest.fixture(scope="module")
def fitted(line_data):
    with warnings.catch_warnings():
        # Of hyperparameters that are constants, rounding makes effective draws few.
        warnings.simplefilter("ignore")
        return fit(linear_model(), line_data, settings=Sampling(2, 300, 1500), key=jax.random.key(shifted(0)))


def exact(x, y, new):
    """Posterior of (intercept, slope), and of the law, the discrepancy and the curve at new inputs: means, covariances.

    One joint Gaussian of parameters, discrepancy and data, conditioned on the data.
    """
    design, at = np.stack([np.ones_like(x), x], 1), np.stack([np.ones_like(new), new], 1)
    prior = np.diag(PRIOR_SD**2)
    data = design @ prior @ design.T + matern(x, x) + NOISE**2 * np.eye(len(x))
    cross = {
        "parameters": prior @ design.T,
        "physics": at @ prior @ design.T,
        "discrepancy": matern(new, x),
    }
    cross["latent"] = cross["physics"] + cross["discrepancy"]
    own = {"parameters": prior, "physics": at @ prior @ at.T, "discrepancy": matern(new, new)}
    own["latent"] = own["physics"] + own["discrepancy"]
    start = {"parameters": PRIOR_MEAN, "physics": at @ PRIOR_MEAN, "discrepancy": np.zeros(len(new))}
    start["latent"] = start["physics"]
    residual = np.linalg.solve(data, y - design @ PRIOR_MEAN)
    return {
        name: (start[name] + cross[name] @ residual, own[name] - cross[name] @ np.linalg.solve(data, cross[name].T))
        for name in cross
    }


def test_parameters_have_the_exact_posterior(fitted, line_data):
    mean, covariance = exact(*line_data, np.array([0.0]))["parameters"]
    draws = np.stack([fitted["posterior"][name].values.ravel() for name in ("intercept", "slope")])
    sd = np.sqrt(np.diag(covariance))
    # At least 1000 effective draws of 3000: errors of means 0.03 sd, of standard deviations 2 %.
    np.testing.assert_allclose((draws.mean(axis=1) - mean) / sd, 0, atol=0.12)
    np.testing.assert_allclose(np.cov(draws) / np.outer(sd, sd), covariance / np.outer(sd, sd), atol=0.12)


def test_curves_have_the_exact_posterior(fitted, line_data):
    new = np.array([-0.5, 0.3, 1.1, 2.2, 4.0])
    found = predict(fitted, new, model=linear_model(), draws=3000, key=jax.random.key(shifted(1)))
    known = exact(*line_data, new)
    for part in ("physics", "discrepancy", "latent"):
        mean, covariance = known[part]
        sd = np.sqrt(np.diag(covariance))
        np.testing.assert_allclose((found["mean"].sel(part=part) - mean) / sd, 0, atol=0.12)
        np.testing.assert_allclose(found["sd"].sel(part=part) / sd, 1, atol=0.08)
        for level in (0.9, 0.95):
            low, high = found["band"].sel(part=part, ci_prob=level).transpose("bound", "point").values
            reach = stats.norm.ppf(0.5 + level / 2) * sd
            np.testing.assert_allclose((low - mean + reach) / sd, 0, atol=0.25)
            np.testing.assert_allclose((high - mean - reach) / sd, 0, atol=0.25)
    sd = np.sqrt(np.diag(known["latent"][1]) + NOISE**2)
    np.testing.assert_allclose(found["sd"].sel(part="observation") / sd, 1, atol=0.08)
    # Joint draws: neighbors and far points vary together as they should.
    covariance = known["latent"][1]
    scale = np.sqrt(np.outer(np.diag(covariance), np.diag(covariance)))
    np.testing.assert_allclose(np.cov(found["curve"].values.T) / scale, covariance / scale, atol=0.12)
    np.testing.assert_array_equal(found["outside"], [True, False, False, True, True])


def test_marginal_and_leave_one_out_likelihoods(line_data):
    x, y = line_data
    values = {"intercept": 0.2, "slope": 1.0, "amplitude": AMPLITUDE, "lengthscale": LENGTHSCALE, "noise": NOISE}
    error = np.linspace(0.0, 0.2, len(x))
    covariance = matern(x, x) + np.diag(error**2 + NOISE**2)
    residual = y - 0.2 - x
    with double_precision():
        problem = build_problem(linear_model(), read((x, y, error), None, noisy=True))
        values = {name: jnp.asarray(value) for name, value in values.items()}
        whole = float(density.log_likelihood(problem, values))
        left = np.asarray(density.leave_one_out(problem, values))
    assert whole == pytest.approx(stats.multivariate_normal(cov=covariance).logpdf(residual), abs=1e-5)
    for i in (0, 7, 24):
        others = np.delete(np.arange(len(x)), i)
        weights = np.linalg.solve(covariance[np.ix_(others, others)], covariance[others, i])
        variance = covariance[i, i] - covariance[i, others] @ weights
        expected = stats.norm(weights @ residual[others], np.sqrt(variance)).logpdf(residual[i])
        assert left[i] == pytest.approx(expected, abs=1e-5)


def test_log_likelihood_group_is_leave_one_out(fitted):
    import arviz_stats

    assert fitted["log_likelihood"]["y"].dims == ("chain", "draw", "point")
    assert arviz_stats.loo(fitted, var_name="y").elpd == pytest.approx(fitted.attrs["elpd"])


def test_density_has_its_jacobian():
    with double_precision():
        data = read((np.arange(6.0), np.array([1.0, 2, 1, 3, 2, 4])), None, noisy=False)
        problem = build_problem(
            PhysicsGuidedGP(Mean(line, {"intercept": dist.HalfNormal(2.0), "slope": dist.Uniform(-1, 3)})), data
        )
        target = density.posterior(problem, density.prior_draws(problem.priors, 200, key=jax.random.key(shifted(0))))
        z = np.linspace(-0.8, 0.9, len(problem.priors))
        values = target.constrain(z)

        def by_name(z):
            return np.array([float(target.constrain(z)[name]) for name in sorted(problem.priors)])

        slopes = [(by_name(z + 1e-5 * e) - by_name(z - 1e-5 * e)) / 2e-5 for e in np.eye(len(z))]
        expected = np.linalg.slogdet(slopes)[1] + float(density.log_likelihood(problem, values))
        expected += sum(float(problem.priors[name].log_prob(values[name])) for name in problem.priors)
        assert -float(target.value_and_gradient(jnp.asarray(z))[0]) == pytest.approx(expected, rel=1e-8)


def test_known_errors_are_all_the_noise(line_data):
    x, y = line_data
    model = PhysicsGuidedGP(
        linear_model().mean, priors={k: v for k, v in linear_model().priors.items() if k != "noise"}
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tree = fit(model, (x, y, np.full(25, NOISE)), settings=Sampling(2, 300, 500), key=jax.random.key(shifted(0)))
    assert "noise" not in tree["posterior"]
    mean, covariance = exact(x, y, np.array([0.0]))["parameters"]
    sd = np.sqrt(np.diag(covariance))
    draws = np.stack([tree["posterior"][name].values.ravel() for name in ("intercept", "slope")])
    np.testing.assert_allclose((draws.mean(axis=1) - mean) / sd, 0, atol=0.2)
    found = predict(tree, [0.5, 1.0], model=model, key=jax.random.key(shifted(1)))
    sds = found["sd"].values
    np.testing.assert_allclose(sds[3] ** 2 - sds[2] ** 2, NOISE**2, rtol=1e-6)
    other = predict(tree, [0.5, 1.0], model=model, error=[0.0, 0.7], key=jax.random.key(shifted(1)))["sd"].values
    np.testing.assert_allclose(other[3] ** 2 - other[2] ** 2, [0.0, 0.49], rtol=1e-6, atol=1e-12)


def test_mixture_quantile():
    means, sds = np.array([[0.0, 1.0], [4.0, 1.0]]), np.array([[1.0, 0.0], [2.0, 0.0]])
    for p in (0.025, 0.5, 0.9):
        q = mixture_quantile(p, means, sds)
        assert np.mean(stats.norm.cdf(q[0], means[:, 0], sds[:, 0])) == pytest.approx(p, abs=1e-9)
        assert q[1] == pytest.approx(1.0, abs=1e-8)


def test_ranks_of_the_truth_are_uniform():
    """Simulation-based calibration (arXiv:1804.06788): parameters and data drawn from the model's own prior."""
    model = PhysicsGuidedGP(
        Mean(line, {"intercept": dist.Normal(1.0, 2.0), "slope": dist.Normal(-0.5, 1.0)}),
        gpjax.kernels.RBF(),
        priors={
            "amplitude": dist.HalfNormal(0.5),
            "lengthscale": dist.LogNormal(-0.5, 0.5),
            "noise": dist.LogNormal(-2.0, 0.5),
        },
    )
    x = np.linspace(0, 2, 15)
    replicates, kept = 60, 19
    ranks = []
    with double_precision():
        problem = build_problem(model, read((x, x), None, noisy=False))
        prior = density.prior_draws(problem.priors, 200, key=jax.random.key(shifted(0)))
        for replicate in range(replicates):
            prior_key, data_key, mode_key, chain_key = jax.random.split(jax.random.key(shifted(replicate)), 4)
            keys = jax.random.split(prior_key, len(problem.priors))
            truth = {n: problem.priors[n].sample(k) for n, k in zip(sorted(problem.priors), keys, strict=True)}
            r = (x[:, None] - x) / float(truth["lengthscale"])
            gram = float(truth["amplitude"]) ** 2 * np.exp(-0.5 * r**2)
            gram = gram + (float(truth["noise"]) ** 2 + 1e-12) * np.eye(15)
            y = float(truth["intercept"]) + float(truth["slope"]) * x
            y = y + np.linalg.cholesky(gram) @ np.asarray(jax.random.normal(data_key, (15,)))
            own = density.posterior(dataclasses.replace(problem, y=jnp.asarray(y)), prior)
            mode = density.find_mode(own, key=mode_key)
            draws = nuts(own, mode, Sampling(1, 200, 10 * kept), acceptance=0.99, key=chain_key).values
            ranks.append([np.sum(draws[name][0, ::10] < float(truth[name])) for name in sorted(truth)])
    ranks = np.asarray(ranks)
    for column in ranks.T:
        counts = np.histogram(column, bins=5, range=(0, kept + 1))[0]
        assert stats.chisquare(counts).pvalue > 1e-3
