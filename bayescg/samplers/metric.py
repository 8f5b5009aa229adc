"""Inverse mass matrices and step sizes of Hamiltonian moves, from particles."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.linalg import cholesky, solve_triangular

from bayescg.samplers.importance import kish


def metric_of(
    y: Float[np.ndarray, "particle y"],
    weights: Float[np.ndarray, " particle"],
    gradients: Float[np.ndarray, "particle y"],
) -> Float[np.ndarray, "y y"]:
    """Inverse mass matrix: the geometric mean of the covariance and of the inverse covariance of the gradients.

    For a Gaussian both are its covariance. Elsewhere the first knows the wide directions and the second the stiff ones;
    in their mean as metric the density is as near as it can be, in the Fisher divergence, to a unit Gaussian.

    Args:
        y: the particles.
        weights: normalized.
        gradients: of the log density.
    """
    ess = kish(weights)
    # Where a density is zero, its gradient need not be a number.
    gradients = np.where(np.isfinite(gradients), gradients, 0.0)
    centered = y - weights @ y
    spread = (centered * weights[:, None]).T @ centered
    # Heavy tails of the forces (overlapping atoms) would make single particles decide.
    limit = 5 * np.sqrt(weights @ np.minimum(gradients**2, 25 * np.median(gradients**2, axis=0) + 1e-300)) + 1e-300
    bounded = np.clip(gradients, -limit, limit)
    stiffness = shrunk((bounded * weights[:, None]).T @ bounded, ess)
    scale = np.trace(spread) / len(spread)
    factor = cholesky(stiffness + 1e-10 / max(scale, 1e-300) * np.eye(len(spread)), lower=True)
    # Where the stiffness is one, the covariance is nearest to a diagonal matrix: there it is regularized.
    values, vectors = np.linalg.eigh(shrunk(factor.T @ spread @ factor, ess))
    root = solve_triangular(factor, vectors, lower=True, trans=1) * np.maximum(values, 1e-12) ** 0.25
    metric = root @ root.T
    return (metric + metric.T) / 2


def shrunk(covariance: Float[np.ndarray, "y y"], samples: float | Float[np.ndarray, ""]) -> Float[np.ndarray, "y y"]:
    """A covariance that so many samples gave, pulled towards its diagonal so that its inverse exists.

    Hardly at all once there are a few samples for each coordinate: what is stiff lies seldom along the axes, and a
    diagonal does not know of it.
    """
    part = min(1.0, 0.5 * (len(covariance) / samples) ** 2)
    return (1 - part) * covariance + part * np.diag(np.diagonal(covariance))


def adapted_step(step: float, acceptance: float, *, aim: float, gain: float, most: float) -> float:
    """A step size that brings the acceptance nearer to its aim.

    Args:
        step: the present one, in units of the root of the inverse mass matrix.
        acceptance: what it led to.
        aim: what is wanted.
        gain: change of the logarithm for a difference of one.
        most: largest step size.
    """
    return float(np.clip(step * np.exp(gain * (acceptance - aim)), 1e-4, most))
