"""Unknowns of a density with priors: drawn by Laplace's method or NUTS, and their evidence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from scipy.special import logsumexp

from bayescg.samplers.density import Density, Sampled, density, standardized
from bayescg.samplers.laplace import laplace
from bayescg.samplers.mode import Mode
from bayescg.samplers.nuts import nuts
from bayescg.samplers.settings import Sampling
from bayescg.surrogates.density import find_mode, prior_draws

Method = Literal["laplace", "nuts"]
METHODS = get_args(Method)

_WIDENING = 1.2
"""Of the proposal of the evidence over the Gaussian at the mode."""

_PROPOSALS = 400
_ACCEPTANCE = 0.95
"""That step sizes aim at: lengthscales and amplitudes make up for each other."""


class Drawn(NamedTuple):
    """What sampling has found.

    Attributes:
        sampled: draws of all sites.
        prior: draws of the same sites from their priors, (draw, ...).
        log_evidence: log of the density's integral.
    """

    sampled: Sampled
    prior: dict[str, np.ndarray]
    log_evidence: float


def draw(model: Callable, problem: Any, method: Method, settings: Sampling, *, key: Array) -> Drawn:
    """Draws of a model's unknowns; in double precision.

    Args:
        model: NumPyro model of `problem`, a module-level function.
        problem: with `priors`.
        method: how.
        settings: how much.
        key: JAX random key.
    """
    mode_key, chain_key, prior_key, evidence_key = jax.random.split(key, 4)
    prior = prior_draws(problem.priors, 500, key=prior_key)
    start = {name: jnp.zeros(distribution.shape()) for name, distribution in problem.priors.items()}
    target = standardized(density(model, (problem,), start), prior)
    mode = find_mode(target, key=mode_key)
    if method == "nuts":
        sampled = nuts(target, mode, settings, acceptance=_ACCEPTANCE, key=chain_key)
    else:
        sampled = laplace(target, mode, settings.chains * settings.draws, key=chain_key)
    return Drawn(sampled, prior, log_evidence(target, mode, key=evidence_key))


def log_evidence(target: Density, mode: Mode, *, key: Array) -> float:
    """Log of a density's integral, by importance sampling from a Gaussian that is wider than that at the mode.

    Args:
        target: the density.
        mode: where the Gaussian is.
        key: JAX random key.
    """
    noise = np.asarray(jax.random.normal(key, (_PROPOSALS, len(mode.position))))
    root = _WIDENING * np.linalg.cholesky(mode.covariance)
    at = target.minus_log_all(jnp.asarray(mode.position + noise @ root.T))
    logs = 0.5 * np.sum(noise**2, axis=1) - np.nan_to_num(np.asarray(at), nan=np.inf)
    volume = 0.5 * noise.shape[1] * np.log(2 * np.pi) + np.sum(np.log(np.diag(root)))
    return float(logsumexp(logs) - np.log(_PROPOSALS) + volume)
