"""The posterior density of physics parameters and hyperparameters, the discrepancy integrated out exactly.

y ~ N(m(x; phi), K_theta + diag(error^2) + noise^2 I): Rasmussen & Williams, Gaussian Processes for Machine Learning
(2006), chapters 2 and 5. Everything here is traced, inside `double_precision()`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float
from numpyro.distributions import Distribution, biject_to

from bayescg.kernels.covariance import covariance

_JITTER = 1e-10
"""Relative to the prior variance at the points: a smooth kernel on a fine grid is singular in float64."""


@partial(
    jax.tree_util.register_dataclass,
    data_fields=("x", "y", "error", "priors", "constants", "kernel", "center", "scale"),
    meta_fields=("law", "physics"),
)
@dataclass(frozen=True, eq=False)
class Problem:
    """Data, priors and laws; compiled code is shared by problems of equal shapes.

    Attributes:
        x: (point, d) inputs.
        y: (point,) values.
        error: (point,) known standard deviations.
        priors: of every unknown, by name.
        constants: of the law.
        kernel: of the discrepancy.
        law: the physics.
        physics: names of its parameters.
        center: of the unconstrained unknowns under their prior.
        scale: of the unconstrained unknowns under their prior: a parameter known to a per mille and one known to a
            factor have positions of the same size then.
    """

    x: Float[Array, "point d"]
    y: Float[Array, " point"]
    error: Float[Array, " point"]
    priors: Mapping[str, Distribution]
    constants: Mapping[str, float]
    kernel: object
    law: Callable
    physics: tuple[str, ...]
    center: Mapping[str, Array] = field(default_factory=dict)
    scale: Mapping[str, Array] = field(default_factory=dict)


class Factored(NamedTuple):
    """The data's covariance at one set of values.

    Attributes:
        cholesky: lower factor of K + noise.
        residual: (point,) y minus the physics.
        weights: (K + noise)^-1 residual.
    """

    cholesky: Float[Array, "point point"]
    residual: Float[Array, " point"]
    weights: Float[Array, " point"]


def physics(problem: Problem, values: Mapping[str, Array], x: Float[Array, "point d"]) -> Float[Array, " point"]:
    """The law at `x`."""
    return problem.law(x, {name: values[name] for name in problem.physics}, **problem.constants)


def factored(problem: Problem, values: Mapping[str, Array]) -> Factored:
    """Residual and covariance of the data."""
    gram = covariance(problem.kernel, values, problem.x, problem.x)
    noise = problem.error**2 + values.get("noise", jnp.zeros(())) ** 2
    size = gram.shape[0]
    jitter = _JITTER * jnp.trace(gram) / size
    cholesky = jnp.linalg.cholesky(gram + jnp.diag(noise + jitter))
    residual = problem.y - physics(problem, values, problem.x)
    return Factored(cholesky, residual, jax.scipy.linalg.cho_solve((cholesky, True), residual))


def log_likelihood(problem: Problem, values: Mapping[str, Array]) -> Float[Array, ""]:
    """Log marginal likelihood."""
    found = factored(problem, values)
    logdet = 2 * jnp.sum(jnp.log(jnp.diag(found.cholesky)))
    return -0.5 * (found.residual @ found.weights + logdet + len(found.residual) * jnp.log(2 * jnp.pi))


def leave_one_out(problem: Problem, values: Mapping[str, Array]) -> Float[Array, " point"]:
    """Densities log p(y_i | all other points, values), (point,): Rasmussen & Williams, eqs. 5.10 to 5.12.

    Weights 1 / p(y_i | y_-i, values) turn the posterior into that without the point, exactly: what PSIS needs
    (Burkner, Gabry & Vehtari, doi:10.1007/s00180-020-01045-4).
    """
    found = factored(problem, values)
    inverse = jax.scipy.linalg.cho_solve((found.cholesky, True), jnp.eye(len(found.residual)))
    variance = 1 / jnp.diag(inverse)
    return -0.5 * (found.weights**2 * variance + jnp.log(2 * jnp.pi * variance))


def constrain(problem: Problem, position: Float[Array, " site"]) -> tuple[dict[str, Array], Float[Array, ""]]:
    """Values at an unconstrained position, and their log prior density there (with the Jacobian)."""
    values, total, start = {}, jnp.zeros(()), 0
    for name in sorted(problem.priors):
        prior = problem.priors[name]
        size = math.prod(prior.shape())
        free = position[start : start + size].reshape(prior.shape())
        start += size
        transform = biject_to(prior.support)
        scale = problem.scale[name]
        free = problem.center[name] + scale * free
        values[name] = transform(free)
        jacobian = transform.log_abs_det_jacobian(free, values[name]) + jnp.log(scale)
        total = total + jnp.sum(prior.log_prob(values[name]) + jacobian)
    return values, total


def unconstrain(problem: Problem, values: Mapping[str, Array]) -> Float[Array, " site"]:
    """The inverse of `constrain`."""
    parts = []
    for name in sorted(problem.priors):
        free = biject_to(problem.priors[name].support).inv(jnp.asarray(values[name]))
        parts.append(jnp.ravel((free - problem.center[name]) / problem.scale[name]))
    return jnp.concatenate(parts)


def standardized(problem: Problem, draws: Mapping[str, Float[Array, "draw ..."]]) -> Problem:
    """The same problem with positions in units of the prior's spread, from draws of the prior."""
    center, scale = {}, {}
    for name, prior in problem.priors.items():
        free = biject_to(prior.support).inv(jnp.asarray(draws[name]))
        low, middle, high = jnp.quantile(free, jnp.asarray([0.16, 0.5, 0.84]), axis=0)
        center[name], scale[name] = middle, jnp.maximum(0.5 * (high - low), 1e-12)
    return replace(problem, center=center, scale=scale)


def minus_log(problem: Problem, position: Float[Array, " site"]) -> Float[Array, ""]:
    """Minus log posterior density of an unconstrained position; infinite where the covariance has no factor."""
    values, prior = constrain(problem, position)
    value = -prior - log_likelihood(problem, values)
    return jnp.where(jnp.isfinite(value), value, jnp.inf)
