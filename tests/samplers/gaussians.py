"""Densities of which everything is known."""

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist

from bayescg.samplers.density import Density, density

MEAN = np.array([1.0, -2.0, 0.5])
COVARIANCE = np.array([[1.0, 0.6, 0.0], [0.6, 2.0, -0.3], [0.0, -0.3, 0.25]])
LOG_Z = 3.7
"""Of the Gaussian that is not normalized."""


def gaussian_model(mean, precision, log_height) -> None:
    """A Gaussian of one unconstrained site."""
    x = numpyro.sample("x", dist.ImproperUniform(dist.constraints.real_vector, (), event_shape=jnp.shape(mean)))
    numpyro.factor("density", log_height - 0.5 * (x - mean) @ precision @ (x - mean))


def gaussian(mean=MEAN, covariance=COVARIANCE, log_z: float = LOG_Z) -> Density:
    """Its density; to be called in double precision."""
    height = log_z - 0.5 * np.linalg.slogdet(2 * np.pi * covariance)[1]
    args = (jnp.asarray(mean), jnp.asarray(np.linalg.inv(covariance)), jnp.asarray(height))
    return density(gaussian_model, args, {"x": jnp.zeros(len(mean))})
