"""Laplace, variational and NUTS draws of a Gaussian have its moments; NUTS of no program twice, and from any start."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest

from bayescg._runtime import double_precision
from bayescg.samplers import nuts as nuts_room
from bayescg.samplers.density import Sampled, density
from bayescg.samplers.laplace import laplace
from bayescg.samplers.mode import Mode, find_mode
from bayescg.samplers.nuts import nuts
from bayescg.samplers.settings import Sampling
from bayescg.samplers.variational import variational
from tests.samplers.gaussians import COVARIANCE, LOG_Z, MEAN, gaussian
from tests.seeds import shifted

PLAN = Sampling(chains=2, warmup=200, draws=1000)


def misses(found: Sampled) -> tuple[float, float]:
    """Largest errors of the means, in standard deviations, and of the covariance, in correlation units."""
    x = found.values["x"].reshape(-1, len(MEAN))
    sd = np.sqrt(np.diag(COVARIANCE))
    return np.abs((x.mean(axis=0) - MEAN) / sd).max(), np.abs((np.cov(x.T) - COVARIANCE) / np.outer(sd, sd)).max()


def test_laplace_of_a_gaussian():
    with double_precision():
        target = gaussian()
        found = laplace(target, find_mode(target), 4000, key=jax.random.key(shifted(0)))
    assert found.values["x"].shape == (1, 4000, 3)
    assert found.attrs["laplace_pareto_k"] < 0.5
    # Weights of a Gaussian in a wider one in three dimensions leave about 0.87 of the draws effective.
    mean, covariance = misses(found)
    assert mean < 4.5 / np.sqrt(0.85 * 4000)
    assert covariance < 4.5 * np.sqrt(2) / np.sqrt(0.85 * 4000)


def test_laplace_corrects_a_wrong_mode_and_says_when_it_cannot():
    with double_precision():
        target = gaussian()
        near = Mode(MEAN + 0.3 * np.sqrt(np.diag(COVARIANCE)), COVARIANCE)
        found = laplace(target, near, 4000, key=jax.random.key(shifted(1)))
        assert misses(found)[0] < 0.15
        assert found.attrs["laplace_pareto_k"] < 0.7
        narrow = laplace(target, Mode(MEAN, 0.1 * COVARIANCE), 4000, key=jax.random.key(shifted(1)))
    assert narrow.attrs["laplace_pareto_k"] > 0.7


def test_few_laplace_draws_cannot_be_judged():
    with double_precision():
        target = gaussian()
        found = laplace(target, find_mode(target), 10, key=jax.random.key(0))
    assert found.values["x"].shape == (1, 10, 3)
    assert np.isnan(found.attrs["laplace_pareto_k"])


def test_variational_of_a_gaussian():
    with double_precision():
        target = gaussian()
        found = variational(target, find_mode(target), 4000, key=jax.random.key(shifted(0)))
    assert found.attrs["converged"]
    # The family holds the density: the bound is the integral.
    assert found.attrs["elbo"] == pytest.approx(LOG_Z, abs=0.02)
    mean, covariance = misses(found)
    assert mean < 0.1
    assert covariance < 0.15


def test_nuts_of_a_gaussian():
    with double_precision():
        target = gaussian()
        found = nuts(target, find_mode(target), PLAN, key=jax.random.key(shifted(0)))
    assert found.values["x"].shape == (2, 1000, 3)
    assert set(found.stats) == {"energy", "n_steps", "acceptance_rate", "diverging", "lp"}
    assert all(v.shape == (2, 1000) for v in found.stats.values())
    assert not found.stats["diverging"].any()
    mean, covariance = misses(found)
    assert mean < 4.5 / np.sqrt(1000)
    assert covariance < 4.5 * np.sqrt(2) / np.sqrt(1000)
    x = found.values["x"]
    height = LOG_Z - 0.5 * np.linalg.slogdet(2 * np.pi * COVARIANCE)[1]
    lp = height - 0.5 * np.einsum("cdi,ij,cdj->cd", x - MEAN, np.linalg.inv(COVARIANCE), x - MEAN)
    np.testing.assert_allclose(found.stats["lp"], lp, rtol=1e-9, atol=1e-9)


def test_draws_that_are_no_multiple_of_a_chunk():
    with double_precision():
        target = gaussian()
        plan = Sampling(chains=2, warmup=60, draws=130)
        found = nuts(target, find_mode(target), plan, key=jax.random.key(0))
        longer = nuts(target, find_mode(target), Sampling(2, 60, 200), key=jax.random.key(0))
    assert found.values["x"].shape == (2, 130, 3)
    np.testing.assert_allclose(found.values["x"], longer.values["x"][:, :130])


def half_line(edge):
    x = numpyro.sample("x", dist.ImproperUniform(dist.constraints.real_vector, (), event_shape=(1,)))[0]
    numpyro.factor("density", jnp.where(x > edge, -0.5 * x**2, jnp.nan))


def test_chains_that_would_begin_where_there_is_no_density_begin_at_the_mode():
    with double_precision():
        target = density(half_line, (0.0,), {"x": jnp.ones(1)})
        mode = Mode(np.array([0.2]), np.array([[9.0]]))
        starts = nuts_room._starts(target, mode, 64, jax.random.key(0))
        assert np.any(starts == mode.position)
        assert np.any(starts != mode.position)
        assert starts.min() > 0
        found = nuts(target, Mode(np.array([0.5]), np.array([[0.4]])), PLAN, key=jax.random.key(shifted(0)))
    assert found.values["x"].min() > 0
    # Of half a Gaussian: the edge makes moves against it fail, and samples fewer.
    assert found.values["x"].mean() == pytest.approx(np.sqrt(2 / np.pi), abs=0.1)


def test_nuts_compiles_once_for_all_densities_of_a_model():
    traced = []

    def counted(center):
        traced.append(1)
        x = numpyro.sample("x", dist.ImproperUniform(dist.constraints.real_vector, (), event_shape=(1,)))
        numpyro.factor("density", -0.5 * jnp.sum((x - center) ** 2))

    counts = []
    with double_precision():
        for center in (0.0, 3.0):
            target = density(counted, (jnp.asarray(center),), {"x": jnp.zeros(1)})
            found = nuts(target, find_mode(target), Sampling(1, 50, 50), key=jax.random.key(0))
            assert abs(found.values["x"].mean() - center) < 1.0
            counts.append(len(traced))
    assert counts[1] == counts[0]


def test_an_interrupt_comes_out(monkeypatch):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    with double_precision():
        target = gaussian()
        mode = find_mode(target)
        monkeypatch.setattr(nuts_room, "map_threads", interrupted)
        with pytest.raises(KeyboardInterrupt):
            nuts(target, mode, PLAN, key=jax.random.key(0))
