"""The posterior density of physics parameters and hyperparameters, the discrepancy integrated out exactly.

y ~ N(m(x; phi), K_theta + diag(error^2) + noise^2 I): Rasmussen & Williams, Gaussian Processes for Machine Learning
(2006), chapters 2 and 5. To be used inside `double_precision()`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
from gpjax.kernels import AbstractKernel
from jaxtyping import Array, Float
from numpyro.distributions import Distribution

from bayescg._arrays import AnyArray
from bayescg.kernels.covariance import covariance
from bayescg.samplers.density import Density, density, standardized
from bayescg.samplers.mode import Mode, climb, spread_at

_JITTER = 1e-10
"""Relative to the prior variance at the points: a smooth kernel on a fine grid is singular in float64."""

_STARTS = 6
"""Searches for the mode."""


@partial(
    jax.tree_util.register_dataclass,
    data_fields=("x", "y", "error", "priors", "constants", "kernel"),
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
    """

    x: Float[AnyArray, "point d"]
    y: Float[AnyArray, " point"]
    error: Float[AnyArray, " point"]
    priors: Mapping[str, Distribution]
    constants: Mapping[str, float | Array]
    kernel: AbstractKernel
    law: Callable
    physics: tuple[str, ...]


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


def physics(problem: Problem, values: Mapping[str, Array], x: Float[AnyArray, "point d"]) -> Float[Array, "..."]:
    """The law at `x`."""
    return problem.law(x, {name: values[name] for name in problem.physics}, **problem.constants)


def factored(problem: Problem, values: Mapping[str, Array]) -> Factored:
    """Residual and covariance of the data."""
    gram = covariance(problem.kernel, values, problem.x, problem.x)
    noise = problem.error**2 + values.get("noise", jnp.zeros(())) ** 2
    size = gram.shape[0]
    jitter = _JITTER * jnp.trace(gram) / size
    cholesky = jnp.linalg.cholesky(gram + jnp.diag(noise + jitter))
    residual = jnp.asarray(problem.y) - physics(problem, values, problem.x)
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


def model(problem: Problem) -> None:
    """The NumPyro model of all unknowns, the discrepancy integrated out."""
    values = {name: jnp.asarray(numpyro.sample(name, problem.priors[name])) for name in sorted(problem.priors)}
    numpyro.factor("log likelihood", log_likelihood(problem, values))


def posterior(problem: Problem, prior: Mapping[str, Float[np.ndarray, "draw ..."]]) -> Density:
    """The density to be sampled, of positions in units of the prior's spread.

    Args:
        problem: data, priors and laws.
        prior: draws of every unknown.
    """
    start = {name: jnp.zeros(distribution.shape()) for name, distribution in problem.priors.items()}
    return standardized(density(model, (problem,), start), prior)


def prior_draws(priors: Mapping[str, Distribution], count: int, *, key: Array) -> dict[str, np.ndarray]:
    """Draws of every unknown from its prior, (count, ...)."""
    names = sorted(priors)
    keys = jax.random.split(key, len(names))
    return {name: np.asarray(priors[name].sample(k, (count,))) for name, k in zip(names, keys, strict=True)}


def find_mode(target: Density, *, key: Array) -> Mode:
    """The best of several searches from draws of the prior.

    Physics and discrepancy can explain the same data in more than one way, so that there may be several modes.

    Args:
        target: of `posterior`, or any density of one argument that has `priors`.
        key: JAX random key.

    Raises:
        ValueError: if no search ends at a finite density.
    """
    (problem,) = target.args
    draws = prior_draws(problem.priors, 64 * _STARTS, key=key)
    chosen = {name: np.concatenate([np.median(v, axis=0)[None], v[: _STARTS - 1]]) for name, v in draws.items()}
    position = climb(target, np.asarray(target.unconstrain(chosen)))
    spread = spread_at(target, position)
    return Mode(position, spread @ spread.T)
