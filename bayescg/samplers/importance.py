"""Weighted draws: what they are worth, whether their tail can be believed, and equally weighted ones from them."""

from __future__ import annotations

import warnings

import jax.numpy as jnp
import numpy as np
from arviz_stats.base import array_stats  # pyright: ignore[reportPrivateImportUsage]  its public place
from blackjax.smc import resampling
from jaxtyping import Array, Float, Int
from scipy.special import logsumexp

PARETO_LIMIT = 0.7
"""From here on the weights' variance need not exist (Vehtari et al., JMLR 25 (2024) 72)."""

FEWEST_DRAWS = 25
"""Of fewer, importance weights have no tail to judge them by."""

_FLOOR = 50.0
"""By how much the logarithm of a zero weight is taken below the smallest other one, where a number is needed."""

_EQUAL = 1e-9
"""Logarithms of weights that differ by less are equal."""


def kish(weights: Float[np.ndarray, "*row draw"]) -> Float[np.ndarray, "*row"]:
    """Effective sample size (sum w)^2 / sum w^2 of weights, normalized or not (Kish, Survey Sampling, 1965)."""
    return np.sum(weights, axis=-1) ** 2 / np.sum(weights**2, axis=-1)


def log_mean(log_values: Float[np.ndarray, " draw"], *, freedom: int = 0) -> tuple[float, float]:
    """Log of the mean of independent positive numbers, given as logarithms, and its standard error (delta method).

    Args:
        log_values: logarithms; -inf for zero.
        freedom: taken off the number of draws in their variance: 1 where they are few.
    """
    top = np.max(log_values)
    values = np.exp(log_values - top)
    mean = values.mean()
    return float(top + np.log(mean)), float(values.std(ddof=freedom) / mean / np.sqrt(len(values)))


def smoothed(
    log_weights: Float[np.ndarray, " draw"], relative_efficiency: float = 1.0
) -> tuple[Float[np.ndarray, " draw"], float]:
    """Pareto-smoothed logarithms of weights, normalized, and Pareto k of their tail (PSIS).

    Vehtari et al., JMLR 25 (2024) 72.

    Args:
        log_weights: not normalized; -inf for zero.
        relative_efficiency: share of the draws that are independent.

    Returns:
        Logarithms of the smoothed weights, and k: below `PARETO_LIMIT` for a tail that can be believed; -inf where all
        weights of the tail are the largest one, which is bounded as far as can be seen; NaN of fewer than 25 draws,
        which have no tail to judge by. In both cases weights are as they were.
    """
    zero = ~np.isfinite(log_weights)
    floored = np.where(zero, np.min(log_weights[~zero]) - _FLOOR, log_weights) if zero.any() else log_weights
    tail = int(np.ceil(min(0.2 * len(floored), 3 * np.sqrt(len(floored) / relative_efficiency))))
    few = len(floored) < FEWEST_DRAWS
    if few or np.max(floored) - np.partition(floored, -tail)[-tail] < _EQUAL:
        return np.where(zero, -np.inf, floored - logsumexp(floored[~zero])), np.nan if few else -np.inf
    with warnings.catch_warnings():
        # That the tail is heavy is what k says.
        warnings.simplefilter("ignore")
        smooth, k = array_stats.psislw(-floored, r_eff=relative_efficiency)  # pyright: ignore[reportArgumentType]  a float
    return np.where(zero, -np.inf, smooth), float(k)


def pareto_k(log_weights: Float[np.ndarray, " draw"], relative_efficiency: float = 1.0) -> float:
    """Pareto k of the tail of weights; see `smoothed`."""
    return smoothed(log_weights, relative_efficiency)[1]


def systematic(weights: Float[np.ndarray, " draw"], count: int, *, key: Array) -> Int[np.ndarray, " count"]:
    """Numbers of draws, each as often as its normalized weight says, to less than one (systematic resampling)."""
    return np.asarray(resampling.systematic(key, jnp.asarray(weights), count))
