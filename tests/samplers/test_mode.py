"""Modes of Gaussians, of two wells, at bounds; and densities that have none."""

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest

from bayescg._runtime import double_precision
from bayescg.samplers.density import density
from bayescg.samplers.mode import climb, curvature, find_mode, spread_at
from tests.samplers.gaussians import COVARIANCE, MEAN, gaussian


def flat(*shape):
    return dist.ImproperUniform(dist.constraints.real_vector, (), event_shape=shape)


def wells(depth):
    """Two, at -2 and 2, the second one deeper."""
    x = numpyro.sample("x", flat(1))[0]
    numpyro.factor("density", -((x**2 - 4) ** 2) + depth * x)


def nowhere(value):
    x = numpyro.sample("x", flat(1))[0]
    numpyro.factor("density", value * x**2)


def test_mode_and_covariance_of_a_gaussian():
    with double_precision():
        mode = find_mode(gaussian())
    np.testing.assert_allclose(mode.position, MEAN, atol=1e-3)
    np.testing.assert_allclose(mode.covariance, COVARIANCE, rtol=1e-6, atol=1e-12)


def test_climbing_finds_the_same():
    with double_precision():
        target = gaussian()
        position = climb(target, [target.center])
        np.testing.assert_allclose(position, MEAN, atol=1e-4)
        np.testing.assert_allclose(curvature(target, position), np.linalg.inv(COVARIANCE), rtol=1e-6, atol=1e-8)
        spread = spread_at(target, position, least=1e-3)
        np.testing.assert_allclose(spread @ spread.T, COVARIANCE, rtol=1e-6, atol=1e-8)
        # No direction is wider than what is asked: the widest of the Gaussian is.
        narrower = np.linalg.eigvalsh(spread_at(target, position, least=0.5) @ spread_at(target, position, least=0.5).T)
        np.testing.assert_allclose(narrower, np.minimum(np.linalg.eigvalsh(COVARIANCE), 2.0), rtol=1e-6)


def test_the_highest_of_several_modes():
    with double_precision():
        target = density(wells, (0.3,), {"x": jnp.zeros(1)})
        assert climb(target, [np.array([-1.5])])[0] == pytest.approx(-2, abs=0.05)
        assert climb(target, [np.array([-1.5]), np.array([1.5]), np.array([-2.5])])[0] == pytest.approx(2, abs=0.05)
        bounds = [(-3.0, 1.0)]
        assert climb(target, [np.array([1.0]), np.array([0.5])], bounds=bounds)[0] == pytest.approx(1.0)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_density_that_is_finite_nowhere_is_refused(value):
    with double_precision():
        target = density(nowhere, (jnp.asarray(value),), {"x": jnp.ones(1)})
        with pytest.raises(ValueError, match="not finite anywhere: check the priors"):
            climb(target, [np.ones(1)])
        with pytest.raises(ValueError, match="no finite mode"):
            find_mode(target)
