"""A NumPyro model as a density of one vector: Jacobians, coordinates, and programs that are shared."""

import time
from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest

from bayescg._runtime import double_precision
from bayescg.samplers.density import density, standardized
from tests.samplers.gaussians import LOG_Z, MEAN, gaussian


def model(scale):
    width = numpyro.sample("width", dist.LogNormal(0.0, scale))
    share = numpyro.sample("share", dist.Uniform(-1.0, 3.0).expand([2]))
    numpyro.factor("data", -0.5 * jnp.sum(share**2) / width)


PRIORS = {"share": dist.Uniform(-1.0, 3.0).expand([2]), "width": dist.LogNormal(0.0, 0.7)}


def draws(count=4000):
    keys = jax.random.split(jax.random.key(0), len(PRIORS))
    return {name: PRIORS[name].sample(key, (count,)) for name, key in zip(sorted(PRIORS), keys, strict=True)}


@pytest.fixture
def target():
    with double_precision():
        yield density(model, (0.7,), {"width": jnp.zeros(()), "share": jnp.zeros(2)})


def test_a_density_has_its_jacobian(target):
    other = standardized(target, draws())
    z = jnp.asarray([0.3, -0.8, 0.5])
    for given in (target, other):
        values = given.constrain(z)
        np.testing.assert_allclose(given.unconstrain({n: v[None] for n, v in values.items()})[0], z, rtol=1e-9)

        def flat(z, given=given):
            return jnp.concatenate([given.constrain(z)["share"], given.constrain(z)["width"][None]])

        steps = [(flat(z + 1e-5 * e) - flat(z - 1e-5 * e)) / 2e-5 for e in np.eye(3)]
        expected = np.linalg.slogdet(np.stack(steps))[1] - 0.5 * np.sum(values["share"] ** 2) / values["width"]
        expected += sum(float(jnp.sum(PRIORS[name].log_prob(values[name]))) for name in PRIORS)
        value, gradient = given.value_and_gradient(z)
        assert float(value) == pytest.approx(-expected, rel=1e-8)
        assert float(given.minus_log_all(z[None])[0]) == pytest.approx(float(value), rel=1e-12)
        ends = [given.value_and_gradient(z + step * np.eye(3)[1])[0] for step in (1e-5, -1e-5)]
        assert float(gradient[1]) == pytest.approx(float(ends[0] - ends[1]) / 2e-5, rel=1e-6)


def test_standardized_positions_have_the_priors_spread(target):
    given = draws()
    other = standardized(target, given)
    z = np.asarray(other.unconstrain(given))
    np.testing.assert_allclose(other.center, 0, atol=1e-12)
    np.testing.assert_allclose(np.median(z, axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(np.quantile(z, 0.84, axis=0) - np.quantile(z, 0.16, axis=0), 2, rtol=1e-9)
    # Standardized once more, nothing changes: units are those of the model, whatever the coordinates were.
    again = standardized(other, given)
    np.testing.assert_allclose(again.problem.unit, other.problem.unit)


def test_the_center_is_the_start(target):
    np.testing.assert_array_equal(target.center, np.zeros(3))
    with double_precision():
        assert float(gaussian().value_and_gradient(jnp.asarray(MEAN))[0]) == pytest.approx(
            -LOG_Z + 0.5 * np.linalg.slogdet(2 * np.pi * np.linalg.inv(gaussian().args[1]))[1]
        )


def test_equal_shapes_share_programs():
    traced = []

    def counted(center):
        traced.append(1)
        x = numpyro.sample("x", dist.Normal(0.0, 1.0))
        numpyro.factor("data", -((x - center) ** 2))

    for center in (0.5, 2.5):
        target = density(counted, (center,), {"x": jnp.zeros(())})
        assert float(target.value_and_gradient(jnp.zeros(1))[0]) == pytest.approx(center**2 + 0.9189385)
        seen = len(traced)
        if center == 0.5:
            first = seen
    assert seen == first


def _slow(values):
    numpyro.sample("first", dist.Normal(0.0, 1.0))
    time.sleep(0.05)
    numpyro.factor("data", -0.5 * jnp.sum(values**2))


def test_models_of_other_shapes_are_traced_in_threads():
    """NumPyro's handlers are one stack for all threads: the sites of one model would be found in the other's."""

    def value(size):
        with double_precision():
            target = density(_slow, (jnp.ones(size),), {"first": jnp.zeros(())})
            return float(target.value_and_gradient(jnp.zeros(1))[0]), target.constrain(jnp.zeros(1))["first"].item()

    sizes = range(1, 7)
    with ThreadPoolExecutor(len(sizes)) as pool:
        found = list(pool.map(value, sizes))
    np.testing.assert_allclose([v for v, _ in found], [0.5 * np.log(2 * np.pi) + 0.5 * n for n in sizes], rtol=1e-9)
    assert all(site == 0.0 for _, site in found)
