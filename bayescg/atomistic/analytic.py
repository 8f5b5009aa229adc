"""Targets with known answers, to learn with and to test with."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from bayescg.atomistic.target import LogDensity


def bimodal() -> LogDensity:
    """Two wells of very different depth, U = x1^4 / 4 - 3 x1^2 + x1 + x2^2 / 2 at beta = 1.

    The example of Schoeberl, Zabaras and Koutsourelakis (arXiv:2002.10148): log Z = 12.06493. The right well has
    0.00835 of the mass, so little that reverse KL can lose it without a sign.

    Returns:
        The target, of two coordinates.
    """
    return LogDensity(_two_wells, [0.0, 0.0], [3.0, 1.0])


def _two_wells(x: Float[Array, "2"]) -> Float[Array, ""]:
    # One function for all such targets: what is compiled for one serves the next.
    return -(x[0] ** 4 / 4 - 3 * x[0] ** 2 + x[0] + x[1] ** 2 / 2)


def gaussian_mixture(
    means: Float[np.ndarray, "component coordinate"] | Sequence,
    covariances: Float[np.ndarray, "component coordinate coordinate"] | Sequence,
    weights: Float[np.ndarray, " component"] | Sequence[float],
) -> LogDensity:
    """A mixture of Gaussians, normalized: log Z = 0.

    Args:
        means: (component, coordinate).
        covariances: (component, coordinate, coordinate).
        weights: (component,) positive; they are divided by their sum.

    Returns:
        The target.

    Raises:
        ValueError: if shapes do not fit, a weight is not positive or a covariance is not positive definite.
    """
    means, covariances, weights = (np.asarray(a, float) for a in (means, covariances, weights))
    if means.ndim != 2 or covariances.shape != (*means.shape, means.shape[1]) or weights.shape != means.shape[:1]:
        raise ValueError(
            f"means {means.shape}, covariances {covariances.shape} and weights {weights.shape} do not fit: they must "
            "be (k, d), (k, d, d) and (k,)"
        )
    if not np.all(weights > 0):
        raise ValueError(f"weights are {weights}; all must be positive")
    weights = weights / weights.sum()
    try:
        factors = np.linalg.cholesky(covariances)
    except np.linalg.LinAlgError:
        raise ValueError("a covariance is not positive definite") from None
    inverse = np.linalg.inv(factors)
    constants = np.log(weights) + np.log(np.diagonal(inverse, axis1=1, axis2=2)).sum(axis=1)
    constants -= 0.5 * means.shape[1] * np.log(2 * np.pi)

    def log_density(x):
        white = jnp.einsum("kij,kj->ki", jnp.asarray(inverse), x - jnp.asarray(means))
        return jax.nn.logsumexp(jnp.asarray(constants) - 0.5 * jnp.sum(white**2, axis=1))

    center = weights @ means
    spread = weights @ (np.diagonal(covariances, axis1=1, axis2=2) + (means - center) ** 2)
    return LogDensity(log_density, center, np.sqrt(spread))


def double_well_dimer(*, barrier: float = 5.0, short: float = 1.0, long: float = 2.0) -> LogDensity:
    """Two particles in three dimensions whose distance r has two wells; springs hold them near the origin.

    U = h (1 - ((r - m) / s)^2)^2 + |x1|^2 / 2 + |x2|^2 / 2 in units of kT, with m midway between the wells and s half
    their distance.

    Args:
        barrier: h between the wells [kT].
        short: distance of the bound state.
        long: distance of the open state.

    Returns:
        The target, of six coordinates.

    Raises:
        ValueError: unless 0 < short < long.
    """
    if not 0 < short < long:
        raise ValueError(f"short is {short} and long is {long}; 0 < short < long is needed")
    middle, half = (short + long) / 2, (long - short) / 2

    def log_density(x):
        distance = jnp.sqrt(jnp.sum((x[:3] - x[3:]) ** 2) + 1e-12)
        return -barrier * (1 - ((distance - middle) / half) ** 2) ** 2 - 0.5 * jnp.sum(x**2)

    return LogDensity(log_density, [short / 2, 0, 0, -short / 2, 0, 0], 1.0)
