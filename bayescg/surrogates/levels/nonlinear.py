"""Levels that are any smooth function of the level below: particles that carry what is not known about it.

f_t(x) = g_t(f_{t-1}(x), x) with g_t a Gaussian process of covariance

    k_rho(x, x') (s^2 f f' + w^2 k_f(f, f')) + cov(z_t(x), z_t(x')):

Perdikaris et al., doi:10.1098/rspa.2016.0751, with the linear part of Cutajar et al., arXiv:1903.07320, of which the
autoregressive model is a limit. There, f_{t-1} is put in as its mean. Here it is drawn, at the inputs of all levels,
and p(y_t | unknowns) is the mean over these particles of the density given each. Particles are then weighted by how
well they explain the level above: cheap data and dear ones tell about each other, as far as the particles reach.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from gpjax.kernels import AbstractKernel
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Float
from numpyro.distributions import Distribution

from bayescg._arrays import AnyArray
from bayescg.surrogates.levels.data import Level, Levels
from bayescg.surrogates.levels.model import added, process

JITTER = 1e-8
"""Relative to the prior variance: particles at the inputs of all levels lie close together."""


@partial(
    jax.tree_util.register_dataclass,
    data_fields=("x", "y", "error", "below", "box", "priors", "kernel"),
    meta_fields=("noisy",),
)
@dataclass(frozen=True, eq=False)
class LevelProblem:
    """One level given particles of the level below.

    Attributes:
        x: (point, d) inputs.
        y: (point,) values minus their mean.
        error: (point,) known standard deviations.
        below: (particle, point) the level below at the inputs, in units of its spread; None for the cheapest level.
        box: (2, d) lowest and highest input.
        priors: of all unknowns.
        kernel: of all processes.
        noisy: whether noise is learned.
    """

    x: Float[AnyArray, "point d"]
    y: Float[AnyArray, " point"]
    error: Float[AnyArray, " point"]
    below: Float[AnyArray, "particle point"] | None
    box: Float[AnyArray, "2 d"]
    priors: Mapping[str, Distribution]
    kernel: AbstractKernel
    noisy: bool


def level_priors(levels: Levels, number: int, defaults: Mapping[str, Any]) -> dict[str, Distribution]:
    """Priors of one level's unknowns.

    Those of what is added are as for autoregressive levels. Of the link, the linear part `link_slope` is log-normal
    about half the level's change for each spread of the level below (sd of the logarithm 1); the curved part
    `link_amplitude` exponential with a quarter of that change as mean, its lengthscale `link_length` log-normal about
    one spread of the level below; lengthscales `link_range` of k_rho log-normal about the spans of the inputs.
    """
    level = levels.levels[number]
    part = "0" if number == 0 else "added"
    at = 0 if number == 0 else number - 1
    sites: dict[str, Distribution] = {}
    for name in ("amplitude", "constant", "slope"):
        prior = defaults[f"{name}_{part}"]
        sites[name] = prior if number == 0 else _of(prior, at)
    lengths = defaults["lengthscale"]
    sites["lengthscale"] = dist.LogNormal(lengths.loc[number], lengths.scale[number])
    if not level.has_error:
        sites["noise"] = dist.LogNormal(np.log(0.1 * level.spread), 1.5)
    if number:
        sites["link_slope"] = dist.LogNormal(np.log(0.5 * level.change), 1.0)
        sites["link_amplitude"] = dist.Exponential(1 / (0.25 * level.change))
        sites["link_length"] = dist.LogNormal(0.0, 0.5)
        sites["link_range"] = dist.LogNormal(np.log(levels.span), 0.7)
    return sites


def _of(prior: Any, at: int) -> Distribution:
    """One component."""
    kind, name = (dist.Exponential, "rate") if isinstance(prior, dist.Exponential) else (dist.HalfCauchy, "scale")
    return kind(getattr(prior, name)[at])


def covariance(
    problem: LevelProblem,
    values: Mapping[str, Array],
    left: tuple[AnyArray, AnyArray | None],
    right: tuple[AnyArray, AnyArray | None],
) -> Float[Array, "m n"]:
    """Of the level between inputs, with the level below there (in units of its spread; None for the cheapest)."""
    one = {name: values[name][None] for name in ("amplitude", "constant", "slope", "lengthscale")}
    out = added(problem.kernel, one, 0, left[0], right[0], problem.box)
    if left[1] is None or right[1] is None:
        return out
    wide = process(problem.kernel, jnp.ones(()), values["link_range"], left[0], right[0])
    curved = process(
        problem.kernel, values["link_amplitude"], values["link_length"][None], left[1][:, None], right[1][:, None]
    )
    return out + wide * (values["link_slope"] ** 2 * left[1][:, None] * right[1] + curved)


def noise(problem: LevelProblem, values: Mapping[str, Array]) -> Float[Array, " point"]:
    """Variance of the data."""
    return jnp.asarray(problem.error) ** 2 + (values["noise"] ** 2 if problem.noisy else 0.0)


def densities(problem: LevelProblem, values: Mapping[str, Array]) -> Float[Array, " particle"]:
    """Log p(y | unknowns, particle)."""

    def one(below):
        gram = covariance(problem, values, (problem.x, below), (problem.x, below))
        gram = gram + jnp.diag(noise(problem, values) + JITTER * jnp.mean(jnp.diag(gram)))
        root = jnp.linalg.cholesky(gram)
        half = solve_triangular(root, problem.y, lower=True)
        return -0.5 * half @ half - jnp.sum(jnp.log(jnp.diag(root))) - 0.5 * len(half) * jnp.log(2 * jnp.pi)

    return one(None)[None] if problem.below is None else jax.vmap(one)(problem.below)


def model(problem: LevelProblem) -> None:
    """The NumPyro model of one level's unknowns, level and particles integrated out."""
    values = {name: jnp.asarray(numpyro.sample(name, problem.priors[name])) for name in sorted(problem.priors)}
    found = densities(problem, values)
    numpyro.factor("log likelihood", jax.scipy.special.logsumexp(found) - jnp.log(len(found)))


def level_problem(
    levels: Levels, number: int, mean: float, below: np.ndarray | None, priors: Mapping, kernel: AbstractKernel
) -> LevelProblem:
    """One level's density, in double precision."""
    level: Level = levels.levels[number]
    x = levels.x
    box = jnp.asarray(np.stack([x.min(axis=0), x.max(axis=0)]))
    return LevelProblem(
        jnp.asarray(level.x),
        jnp.asarray(level.y[:, 0] - mean),
        jnp.asarray(np.sqrt(level.error[:, 0, 0])),
        None if below is None else jnp.asarray(below),
        box,
        jax.tree.map(lambda leaf: jnp.asarray(leaf, float), dict(priors)),
        kernel,
        not level.has_error,
    )
