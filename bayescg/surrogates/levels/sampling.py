"""Unknowns of a density with priors: drawn by Laplace's method or NUTS, and their evidence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from bayescg.samplers.density import Density, Sampled, density, standardized
from bayescg.samplers.mode import Mode, climb, spread_at
from bayescg.samplers.nuts import nuts
from bayescg.samplers.settings import Sampling
from bayescg.surrogates.density import prior_draws
from bayescg.surrogates.levels.importance import importance

Method = Literal["laplace", "nuts"]
METHODS = get_args(Method)

_STARTS = 6
"""Searches for modes."""

_APART = 0.5
"""Modes whose positions, in units of the prior's spread, differ by less are one."""

_LOW = 12.0
"""Modes whose density is lower than the best one's by this factor's exponential are left out."""

_UNLIKELY = 0.01
"""Probability below which a model is left out."""

_ACCEPTANCE = 0.95
"""That step sizes aim at: lengthscales and amplitudes make up for each other."""


class Drawn(NamedTuple):
    """What sampling has found.

    Attributes:
        sampled: draws of all sites.
        prior: draws of the same sites from their priors, (draw, ...).
        log_evidence: log of the density's integral.
        log_evidence_se: its standard error.
    """

    sampled: Sampled
    prior: dict[str, np.ndarray]
    log_evidence: float
    log_evidence_se: float


def draw_linked(
    model: Callable, problem: Any, method: Method, settings: Sampling, *, key: Array
) -> tuple[list[Drawn], np.ndarray]:
    """Draws with all links, and with each of them cut, as far as the evidence has not ruled that out.

    A level that misleads gets a rho of about 0, but of few data with a spread that costs more than it brings. That
    there is no link at all is a model of its own, and has the same prior probability.

    Args:
        model: NumPyro model of `problem`.
        problem: with `linked`.
        method: how.
        settings: how much.
        key: JAX random key.

    Returns:
        Draws by model, the first one with all links, and the posterior probabilities of these models.
    """
    links = len(problem.linked)
    patterns = [np.ones(links), *(1.0 - np.eye(links))]
    keys = jax.random.split(key, len(patterns))
    each = [replace(problem, linked=jnp.asarray(pattern)) for pattern in patterns]
    found = [draw(model, p, "laplace", settings, key=k) for p, k in zip(each, keys, strict=True)]
    logs = np.array([drawn.log_evidence for drawn in found])
    shares = np.exp(logs - logs.max())
    shares = np.where(shares < _UNLIKELY * shares.sum(), 0.0, shares)
    shares = shares / shares.sum()
    if method == "nuts":
        found = [
            draw(model, p, method, settings, key=k) if share else drawn
            for drawn, p, k, share in zip(found, each, keys, shares, strict=True)
        ]
    return found, shares


def mixed(draws: list[dict[str, np.ndarray]], shares: np.ndarray, *, key: Array) -> dict[str, np.ndarray]:
    """Draws of several models as one: each (chain, draw) is that of a model chosen by its probability.

    Args:
        draws: by model; of models that have a probability all of one shape.
        shares: probabilities of the models.
        key: JAX random key.
    """
    draws = [each for each, share in zip(draws, shares, strict=True) if share]
    first = next(iter(draws[0].values()))
    model = np.asarray(jax.random.choice(key, len(draws), first.shape[:2], p=jnp.asarray(shares[shares > 0])))
    chain, step = np.indices(model.shape)
    return {name: np.stack([each[name] for each in draws])[model, chain, step] for name in draws[0]}


def draw(model: Callable, problem: Any, method: Method, settings: Sampling, *, key: Array) -> Drawn:
    """Draws of a model's unknowns; in double precision.

    Args:
        model: NumPyro model of `problem`, a module-level function.
        problem: with `priors`.
        method: how.
        settings: how much.
        key: JAX random key.
    """
    start_key, chain_key, prior_key = jax.random.split(key, 3)
    prior = prior_draws(problem.priors, 500, key=prior_key)
    start = {name: jnp.zeros(distribution.shape()) for name, distribution in problem.priors.items()}
    target = standardized(density(model, (problem,), start), prior)
    modes = find_modes(target, key=start_key)
    sampled, evidence = importance(target, modes, settings.chains * settings.draws, key=chain_key)
    if method == "nuts":
        sampled = nuts(target, modes[0], settings, acceptance=_ACCEPTANCE, key=chain_key)
    return Drawn(sampled, prior, *evidence)


def find_modes(target: Density, *, key: Array) -> list[Mode]:
    """All modes that several searches from draws of the prior find, the best one first.

    Args:
        target: of one argument that has `priors`.
        key: JAX random key.

    Raises:
        ValueError: if no search ends at a finite density.
    """
    (problem,) = target.args
    draws = prior_draws(problem.priors, 64 * _STARTS, key=key)
    chosen = {name: np.concatenate([np.median(v, axis=0)[None], v[: _STARTS - 1]]) for name, v in draws.items()}
    ends = np.stack([climb(target, [start]) for start in np.asarray(target.unconstrain(chosen))])
    heights = np.asarray(target.minus_log_all(jnp.asarray(ends)))
    found: list[Mode] = []
    for at in np.argsort(heights):
        new = all(np.max(np.abs(ends[at] - mode.position)) > _APART for mode in found)
        if new and heights[at] < heights.min() + _LOW:
            spread = spread_at(target, ends[at], least=0.25)
            found.append(Mode(ends[at], spread @ spread.T))
    return found
