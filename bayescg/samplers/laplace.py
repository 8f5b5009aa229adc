"""Draws of a density from the Gaussian at its mode, corrected by importance resampling."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from bayescg._runtime import cpu_count, map_threads
from bayescg.samplers.density import Density, Sampled
from bayescg.samplers.importance import smoothed, systematic
from bayescg.samplers.mode import Mode

_WIDENING = 1.15
"""Of the proposal over the Gaussian at the mode, so that weights stay bounded where the density has longer tails."""

_MOST = 2000
"""Densities that are evaluated: they give means of hyperparameters to a fortieth of their spread. What is drawn given
hyperparameters is drawn anew each time that these are."""


def laplace(target: Density, mode: Mode, draws: int, *, key: Array) -> Sampled:
    """Draws of the Gaussian at the mode, corrected by importance resampling, as one chain.

    Twice as many draws of a slightly wider Gaussian, but at most two thousand, are weighted by the true density and
    resampled; weights are smoothed by PSIS (Vehtari et al., JMLR 25 (2024) 72), whose Pareto k says whether the
    Gaussian was near enough: the number `laplace_pareto_k`.

    Args:
        target: the density.
        mode: where the Gaussian is.
        draws: how many.
        key: JAX random key.
    """
    propose, resample = jax.random.split(key)
    noise = np.asarray(jax.random.normal(propose, (min(2 * draws, _MOST), len(mode.position))))
    positions = mode.position + _WIDENING * noise @ np.linalg.cholesky(mode.covariance).T
    pieces = np.array_split(positions, 4 * cpu_count())
    density_at = np.concatenate(map_threads(lambda piece: target.minus_log_all(jnp.asarray(piece)), pieces))
    log_weights = -np.nan_to_num(density_at, nan=np.inf) + 0.5 * np.sum(noise**2, axis=1)
    smooth, pareto_k = smoothed(log_weights)
    weights = np.exp(smooth - smooth.max())
    chosen = systematic(weights / weights.sum(), draws, key=resample)
    return Sampled(target.constrain(positions[chosen][None]), {}, {"laplace_pareto_k": pareto_k})
