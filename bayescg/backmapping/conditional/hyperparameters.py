"""Hyperparameters of a Gaussian process: the mode of their posterior, and draws about it by Laplace or NUTS.

The logarithms of (a, b, noise, lengthscales) have Gaussian priors; the marginal likelihood is that of the plane and the
inducing inputs in the FITC form, see `conditional_regression`.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float
from scipy.optimize import minimize

LINEAR, SMOOTH, INDUCING = 16, 8, 32
"""Most inputs of the plane, most inputs of the smooth part, and inducing inputs."""

_JITTER = 1e-6
_DRAWS = 24

MEDIANS = np.log([0.5, 0.3, 0.8])
_WIDTHS = np.array([1.0, 1.0, 1.0])
"""Prior medians and widths of the logarithms of a, b and the noise, for standardized outputs."""

LENGTH = (np.log(3.0), 0.7)
"""The same for a lengthscale, in standard deviations of its input."""


class RegressionData(NamedTuple):
    """What the hyperparameters of one output are learnt from; padded to equal shapes, so that all share one program.

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


def _minus_log_posterior(kernel, data: RegressionData, z):
    """Of the logarithms z of (a, b, noise, lengthscales)."""
    phi, left = weight_features(kernel, data, z)
    noise = jnp.exp(2 * z[2]) + left
    share = data.seen / noise
    factor = jnp.linalg.cholesky(jnp.eye(phi.shape[1]) + (phi.T * share) @ phi)
    projected = jax.scipy.linalg.solve_triangular(factor, phi.T @ (data.target * share), lower=True)
    fit = jnp.sum(data.target**2 * share) - jnp.sum(projected**2)
    volume = jnp.sum(data.seen * jnp.log(noise)) + 2 * jnp.sum(jnp.log(jnp.diagonal(factor)))
    prior = jnp.sum(((z[:3] - MEDIANS) / _WIDTHS) ** 2) + jnp.sum(((z[3:] - LENGTH[0]) / LENGTH[1]) ** 2)
    return 0.5 * (fit + volume + prior)


@eqx.filter_jit
def _value_and_gradient(kernel, data, z):
    return jax.value_and_grad(partial(_minus_log_posterior, kernel, data))(z)


def _curvature(kernel, data, z, step: float = 1e-3) -> np.ndarray:
    """Hessian by differences of exact gradients: second derivatives would take longer to compile than to use."""
    slopes = [
        [np.asarray(_value_and_gradient(kernel, data, jnp.asarray(z + s * e))[1]) for s in (step, -step)]
        for e in np.eye(len(z))
    ]
    rows = np.array([(up - down) / (2 * step) for up, down in slopes])
    return 0.5 * (rows + rows.T)


def find_mode(kernel, data: RegressionData) -> np.ndarray:
    """Logarithms of (a, b, noise, lengthscales) at the mode of their posterior."""

    def objective(z):
        value, gradient = _value_and_gradient(kernel, data, jnp.asarray(z))
        return (float(value), np.asarray(gradient)) if np.isfinite(value) else (1e10, np.zeros_like(z))

    start = np.concatenate([MEDIANS, np.full(SMOOTH, LENGTH[0])])
    bounds = [(m - 5 * w, m + 4 * w) for m, w in zip(MEDIANS, _WIDTHS, strict=True)]
    bounds[2] = (np.log(1e-4), np.log(3.0))
    bounds += [(LENGTH[0] - 3 * LENGTH[1], LENGTH[0] + 4 * LENGTH[1])] * SMOOTH
    return minimize(objective, start, jac=True, bounds=bounds, method="L-BFGS-B", options={"maxiter": 60}).x


def draw_hyperparameters(kernel, data: RegressionData, mode: np.ndarray, method: str, key) -> np.ndarray:
    """Draws of their posterior, (draw, hyperparameter): a Gaussian at the mode for "laplace", sampled for "nuts"."""
    values, vectors = np.linalg.eigh(_curvature(kernel, data, mode))
    # A direction that is flat or at a bound has no narrower posterior than its prior.
    spread = vectors / np.sqrt(np.maximum(values, 0.5))
    if method == "nuts":
        return _nuts(kernel, data, mode, spread, key)
    noise = np.asarray(jax.random.normal(key, (_DRAWS, len(mode))))
    return mode + noise @ spread.T


def _nuts(kernel, data: RegressionData, mode: np.ndarray, spread: np.ndarray, key) -> np.ndarray:
    import numpyro.infer

    sampler = numpyro.infer.NUTS(
        potential_fn=partial(_minus_log_posterior, kernel, data),
        dense_mass=True,
        inverse_mass_matrix=jnp.asarray(spread @ spread.T),
        max_tree_depth=6,
    )
    state = sampler.init(key, 100, init_params=jnp.asarray(mode))

    def step(state, _):
        state = sampler.sample(state, (), {})
        return state, state.z

    _, draws = jax.jit(lambda s: jax.lax.scan(step, s, None, length=100 + 2 * _DRAWS))(state)
    return np.asarray(draws)[100::2]
