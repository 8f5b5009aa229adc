"""How many independent samples weighted, related ones are worth."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from bayescg.samplers.importance import kish

_FEWEST = 10
"""Lineages from which a variance between lineages can be told."""


def ess_of_relatives(
    values: Float[np.ndarray, "sample value"],
    weights: Float[np.ndarray, " sample"],
    lineage: Int[np.ndarray, " sample"],
) -> float:
    """Number of independent samples with the same error of the mean, for the worst of the values.

    Samples of different ancestors are independent, those of one need not be: the variance of a weighted mean is
    sum_l [sum_(i in l) w_i (phi_i - mean)]^2 (Lee and Whiteley, Biometrika 105, 609 (2018), doi:10.1093/biomet/asy028).
    With less than 10 lineages it cannot be told, and their effective number is the answer.

    Args:
        values: of each sample.
        weights: normalized.
        lineage: number of the ancestor (particle of a path's start, start of a chain).
    """
    families, most = ess_of_lineages(weights, lineage), float(kish(weights))
    if families < _FEWEST:
        return min(families, most)
    centered = values - weights @ values
    variance = weights @ centered**2
    _, index = np.unique(lineage, return_inverse=True)
    sums = np.zeros((index.max() + 1, values.shape[1]))
    np.add.at(sums, index, weights[:, None] * centered)
    between = np.sum(sums**2, axis=0)
    moving = variance > 1e-24
    return min(float(np.min(variance[moving] / np.maximum(between[moving], 1e-300), initial=most)), most)


def ess_of_lineages(weights: Float[np.ndarray, " sample"], lineage: Int[np.ndarray, " sample"]) -> float:
    """Effective number of ancestors of samples with normalized weights."""
    _, index = np.unique(lineage, return_inverse=True)
    return 1 / float(np.sum(np.bincount(index, weights) ** 2))
