"""Hyperparameters of a Gaussian process: the mode of their posterior, and draws about it by Laplace or NUTS.

The logarithms of (a, b, noise, lengthscales) have Gaussian priors; the marginal likelihood is that of the plane and the
inducing inputs in the FITC form, see `regression`.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jaxtyping import Array, Bool, Float

from bayescg.samplers.density import Density, density
from bayescg.samplers.mode import Mode, climb, spread_at
from bayescg.samplers.nuts import nuts
from bayescg.samplers.settings import Sampling

LINEAR, SMOOTH, INDUCING = 16, 8, 32
"""Most inputs of the plane, most inputs of the smooth part, and inducing inputs."""

_JITTER = 1e-6
_DRAWS = 24
_CHAIN = Sampling(chains=1, warmup=100, draws=2 * _DRAWS)
"""Of NUTS; every second draw is kept."""

MEDIANS = np.log([0.5, 0.3, 0.8])
_WIDTHS = np.array([1.0, 1.0, 1.0])
"""Prior medians and widths of the logarithms of a, b and the noise, for standardized outputs."""

LENGTH = (np.log(3.0), 0.7)
"""The same for a lengthscale, in standard deviations of its input."""


class RegressionData(NamedTuple):
    """What the hyperparameters of one output are learned from; padded to equal shapes, so that all share one program.

    Attributes:
        target: the output, standardized.
        linear: inputs of the plane.
        smooth: inputs of the smooth part.
        inducing: inducing inputs.
        used: which of them are.
        seen: one for rows that count, zero for others.
    """

    target: Float[Array, " row"]
    linear: Float[Array, "row linear"]
    smooth: Float[Array, "row smooth"]
    inducing: Float[Array, "inducing smooth"]
    used: Bool[Array, " inducing"]
    seen: Float[Array, " row"]


def weight_features(kernel, data: RegressionData, z):
    """Weight-space features with a unit Gaussian prior, and the smooth variance that they leave out."""
    a, b, length = jnp.exp(z[0]), jnp.exp(z[1]), jnp.exp(z[3:])
    near = kernel.cross_covariance(data.smooth / length, data.inducing / length) * data.used
    inverse = inverse_factor(kernel, data, length)
    white = b * near @ inverse.T
    live = jnp.any(data.used)
    left = jnp.where(live, jnp.maximum(b**2 - jnp.sum(white**2, axis=1), 0.0), 0.0)
    return jnp.concatenate([jnp.ones((len(white), 1)), a * data.linear, white], axis=1), left


def inverse_factor(kernel, data: RegressionData, length):
    """L^-1 of the kernel matrix L L' of the inducing inputs, zero for those that are not used."""
    gram = kernel.cross_covariance(data.inducing / length, data.inducing / length)
    both = data.used[:, None] & data.used[None, :]
    eye = jnp.eye(len(gram))
    factor = jnp.linalg.cholesky(jnp.where(both, gram, 0.0) + jnp.where(data.used, _JITTER, 1.0) * eye)
    inverse = jax.scipy.linalg.solve_triangular(factor, eye, lower=True)
    return jnp.where(both, inverse, 0.0)


def model(kernel, data: RegressionData) -> None:
    """The NumPyro model of the logarithms of (a, b, noise, lengthscales), the weights integrated out."""
    flat = dist.ImproperUniform(dist.constraints.real_vector, (), event_shape=(3 + SMOOTH,))
    numpyro.factor("log_posterior", _log_posterior(kernel, data, numpyro.sample("logarithms", flat)))


def _log_posterior(kernel, data: RegressionData, z):
    phi, left = weight_features(kernel, data, z)
    noise = jnp.exp(2 * z[2]) + left
    share = data.seen / noise
    factor = jnp.linalg.cholesky(jnp.eye(phi.shape[1]) + (phi.T * share) @ phi)
    projected = jax.scipy.linalg.solve_triangular(factor, phi.T @ (data.target * share), lower=True)
    fit = jnp.sum(data.target**2 * share) - jnp.sum(projected**2)
    volume = jnp.sum(data.seen * jnp.log(noise)) + 2 * jnp.sum(jnp.log(jnp.diagonal(factor)))
    prior = jnp.sum(((z[:3] - MEDIANS) / _WIDTHS) ** 2) + jnp.sum(((z[3:] - LENGTH[0]) / LENGTH[1]) ** 2)
    return -0.5 * (fit + volume + prior)


def posterior(kernel, data: RegressionData) -> Density:
    """The density of the logarithms."""
    start = jnp.asarray(np.concatenate([MEDIANS, np.full(SMOOTH, LENGTH[0])]))
    return density(model, (kernel, data), {"logarithms": start})


def find_mode(target: Density) -> Float[np.ndarray, " hyperparameter"]:
    """The logarithms at the mode of their posterior, or at the border of what its prior allows."""
    bounds = [(m - 5 * w, m + 4 * w) for m, w in zip(MEDIANS, _WIDTHS, strict=True)]
    bounds[2] = (np.log(1e-4), np.log(3.0))
    bounds += [(LENGTH[0] - 3 * LENGTH[1], LENGTH[0] + 4 * LENGTH[1])] * SMOOTH
    return climb(target, [target.center], bounds=bounds, steps=60)


def draw_hyperparameters(
    target: Density, mode: Float[np.ndarray, " hyperparameter"], method: str, *, key: Array
) -> Float[np.ndarray, "draw hyperparameter"]:
    """Draws of the logarithms: sampled for "nuts", of the Gaussian at the mode for "laplace".

    Those are not corrected by weights: they serve for one number, by which variances grow, and are few.
    """
    spread = spread_at(target, mode)
    if method == "nuts":
        # Trajectories of 63 steps at most: there are dozens of outputs, and inputs that do not act are flat directions.
        found = nuts(target, Mode(mode, spread @ spread.T), _CHAIN, depth=6, key=key)
        return found.values["logarithms"][0, ::2]
    return mode + np.asarray(jax.random.normal(key, (_DRAWS, len(mode)))) @ spread.T
