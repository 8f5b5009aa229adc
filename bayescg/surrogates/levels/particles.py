"""Fits and predictions of nonlinear links: a particle is one draw of all unknowns, and of all levels at all inputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from gpjax.kernels import AbstractKernel
from jax.scipy.linalg import cho_solve, solve_triangular
from jaxtyping import Array, Float
from numpyro.distributions import Distribution

from bayescg.samplers.settings import Sampling
from bayescg.surrogates.levels import nonlinear
from bayescg.surrogates.levels.data import Levels
from bayescg.surrogates.levels.nonlinear import JITTER, LevelProblem, covariance, level_priors, level_problem, noise
from bayescg.surrogates.levels.sampling import Drawn, Method, draw

PARTICLES = 100
"""Draws of the level below that stand for all of them."""


class Particles(NamedTuple):
    """What the data leave open.

    Attributes:
        values: unknowns of each level, by name, (particle, ...).
        level: (particle, level, site) the levels at `sites`, minus their means.
        sites: (site, d) inputs of all levels, each once.
        drawn: of each level, as sampled.
        left: number of draws of the cheapest level that are still told apart.
    """

    values: list[dict[str, np.ndarray]]
    level: Float[np.ndarray, "particle level site"]
    sites: Float[np.ndarray, "site d"]
    drawn: list[Drawn]
    left: int


def fit_particles(
    levels: Levels,
    means: Float[np.ndarray, " level"],
    defaults: Mapping[str, Distribution],
    kernel: AbstractKernel,
    method: Method,
    settings: Sampling,
    *,
    key: Array,
) -> Particles:
    """Levels one after the other, from the cheapest, in double precision.

    Args:
        levels: points, not curves.
        means: of each level's values.
        defaults: priors of the autoregressive model.
        kernel: of all processes.
        method: how unknowns of a level are drawn.
        settings: how much.
        key: JAX random key.
    """
    sites, where = np.unique(levels.x, axis=0, return_inverse=True)
    parts = np.split(where.reshape(-1), np.cumsum([len(level.x) for level in levels.levels])[:-1])
    values: list[dict[str, np.ndarray]] = []
    drawn: list[Drawn] = []
    found = np.zeros((PARTICLES, 0, len(sites)))
    ancestors = np.arange(PARTICLES)
    for number in range(len(levels.levels)):
        fit_key, pick_key, draw_key, key = jax.random.split(key, 4)
        below = found[:, -1] / levels.levels[number - 1].spread if number else None
        at_data = None if below is None else below[:, parts[number]]
        priors = level_priors(levels, number, defaults)
        problem = level_problem(levels, number, means[number], at_data, priors, kernel)
        drawn.append(draw(nonlinear.model, problem, method, settings, key=fit_key))
        own = _thinned(drawn[-1].sampled.values)
        if below is not None:
            chosen = np.asarray(_chosen(problem, own, jax.random.split(pick_key, PARTICLES)))
            values = [{name: v[chosen] for name, v in each.items()} for each in values]
            found, ancestors, below = found[chosen], ancestors[chosen], below[chosen]
        values.append(own)
        given = None if below is None else (below[:, parts[number]], below)
        keys = jax.random.split(draw_key, PARTICLES)
        new = _at(problem, own, given, problem.x, problem.y, sites, keys, noisy=True)[0]
        found = np.concatenate([found, np.asarray(new)[:, None]], axis=1)
    return Particles(values, found, sites, drawn, len(np.unique(ancestors)))


def predict_particles(
    levels: Levels, particles: Particles, kernel: AbstractKernel, x: Float[np.ndarray, "point d"], *, key: Array
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean and sd given the level below, and a joint draw, all (particle, level, point); in double precision.

    Args:
        levels: what was fitted.
        particles: the fit.
        kernel: of all processes.
        x: new inputs.
        key: JAX random key.
    """
    out, below = [], None
    count = len(particles.level)
    for number in range(len(levels.levels)):
        problem = level_problem(levels, number, 0.0, None, {}, kernel)
        given = None
        if below is not None:
            spread = levels.levels[number - 1].spread
            given = (particles.level[:, number - 1] / spread, below / spread)
        keys = jax.random.split(jax.random.fold_in(key, number), count)
        y = particles.level[:, number]
        found = [np.asarray(v) for v in _at(problem, particles.values[number], given, particles.sites, y, x, keys)]
        out.append(found)
        below = found[0]
    curve, mean, sd = (np.stack([found[part] for found in out], axis=1) for part in range(3))
    return mean, sd, curve


def _thinned(values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """As many draws as there are particles, evenly spaced."""
    flat = {name: v.reshape(v.shape[0] * v.shape[1], *v.shape[2:]) for name, v in values.items()}
    total = len(next(iter(flat.values())))
    chosen = np.arange(PARTICLES) * total // PARTICLES
    return {name: v[chosen] for name, v in flat.items()}


@jax.jit
def _chosen(problem: LevelProblem, values, keys):
    """For each draw of the unknowns a particle of the level below, by how well it explains the data."""

    def one(item):
        value, key = item
        return jax.random.categorical(key, nonlinear.densities(problem, value))

    return jax.lax.map(one, (jax.tree.map(jnp.asarray, values), keys))


def _at(problem: LevelProblem, values, given, x, y, new, keys, *, noisy: bool = False):
    """Joint draw, mean and sd at new inputs for each particle, (particle, new).

    Args:
        problem: the level.
        values: unknowns, (particle, ...).
        given: the level below at `x` and at `new`, (particle, ...), or None.
        x: inputs where the level is known.
        y: its values there: data (point,), or each particle's own (particle, point).
        new: inputs.
        keys: one for each particle.
        noisy: whether `y` are data.
    """
    y = jnp.broadcast_to(jnp.asarray(y), (len(keys), len(x)))
    arrays = jax.tree.map(jnp.asarray, (dict(values), given))
    return _conditionals(problem, *arrays, jnp.asarray(x), y, jnp.asarray(new), keys, jnp.asarray(float(noisy)))


@jax.jit
def _conditionals(problem, values, given, x, y, new, keys, noisy):
    def one(item):
        value, pair, own, key = item
        here, there = ((x, None), (new, None)) if pair is None else ((x, pair[0]), (new, pair[1]))
        gram = covariance(problem, value, here, here)
        gram = gram + JITTER * jnp.mean(jnp.diag(gram)) * jnp.eye(len(gram))
        if len(x) == len(problem.x):
            gram = gram + noisy * jnp.diag(noise(problem, value))
        root = jnp.linalg.cholesky(gram)
        cross = covariance(problem, value, here, there)
        mean = cross.T @ cho_solve((root, True), own)
        half = solve_triangular(root, cross, lower=True)
        prior = covariance(problem, value, there, there)
        scatter = prior - half.T @ half
        factor = jnp.linalg.cholesky(scatter + 2 * JITTER * jnp.mean(jnp.diag(prior)) * jnp.eye(len(scatter)))
        draw = mean + factor @ jax.random.normal(key, mean.shape, float)
        return draw, mean, jnp.sqrt(jnp.maximum(jnp.diag(scatter), 0.0))

    return jax.lax.map(one, (values, given, y, keys))
