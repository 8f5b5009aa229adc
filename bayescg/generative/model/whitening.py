"""White coordinates: what networks see of a target's coordinates."""

from __future__ import annotations

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from bayescg.atomistic.target import Target
from bayescg.geometry.placement import wrapped


class Whitening(eqx.Module):
    """An affine map of the stiff coordinates to zero mean and unit covariance; periodic ones stay as they are.

    Attributes:
        location: of the stiff coordinates, zero for periodic ones, shape (dimension,).
        factor: y = location + factor u, the identity for periodic coordinates.
        inverse: of the factor.
        log_volume: log |dy/du|.
        periodic: which coordinates have the period 2 pi.
        symmetry: turns of each coordinate that make one turn in space.
    """

    location: Array
    factor: Array
    inverse: Array
    log_volume: Array
    periodic: tuple[bool, ...] = eqx.field(static=True)
    symmetry: tuple[int, ...] = eqx.field(static=True)

    @property
    def dimension(self) -> int:
        """Number of coordinates."""
        return len(self.periodic)

    def whiten(self, y: Float[Array, " coordinate"]) -> Float[Array, " coordinate"]:
        """White coordinates u; torsions in [-pi, pi)."""
        u = self.inverse @ (y - self.location)
        return jnp.where(np.asarray(self.periodic), wrapped(y), u)

    def color(self, u: Float[Array, " coordinate"]) -> Float[Array, " coordinate"]:
        """Target coordinates y."""
        y = self.location + self.factor @ u
        return jnp.where(np.asarray(self.periodic), wrapped(u), y)

    @classmethod
    def of(cls, location, factor, periodic, symmetry=None) -> Whitening:
        """From location and factor, in single precision, which networks use."""
        location, factor = np.asarray(location, float), np.asarray(factor, float)
        turns = np.ones(len(location), int) if symmetry is None else symmetry
        return cls(
            *(jnp.asarray(location, jnp.float32), jnp.asarray(factor, jnp.float32)),
            inverse=jnp.asarray(np.linalg.inv(factor), jnp.float32),
            log_volume=jnp.asarray(np.linalg.slogdet(factor)[1], jnp.float32),
            periodic=tuple(bool(p) for p in periodic),
            symmetry=tuple(int(n) for n in turns),
        )


def features(u: Float[Array, " coordinate"], periodic: tuple[bool, ...]) -> Float[Array, " feature"]:
    """What networks take: stiff coordinates as they are, cosine and sine of periodic ones."""
    stiff, free = np.flatnonzero(~np.asarray(periodic)), np.flatnonzero(np.asarray(periodic))
    return jnp.concatenate([u[stiff], jnp.cos(u[free]), jnp.sin(u[free])])


def whitening_of_target(target: Target) -> Whitening:
    """The map from a target's own location and scale, for training without samples."""
    scale = np.where(target.periodic, 1.0, target.scale)
    location = np.where(target.periodic, 0.0, target.location)
    return Whitening.of(location, np.diag(scale), target.periodic, target.symmetry)


def whitening_of_samples(
    target: Target, coordinates: Float[np.ndarray, "sample coordinate"], weights: Float[np.ndarray, " sample"]
) -> Whitening:
    """The map that makes weighted samples white: networks need not learn linear correlations.

    Along principal axes of the coordinates in the target's units: noise that is alike in all directions stays
    independent in white coordinates, and no latent variable is needed to tell of its correlations.
    """
    periodic = np.asarray(target.periodic, bool)
    units = np.where(periodic, 1.0, target.scale)
    weights = weights / weights.sum()
    values = np.where(periodic, 0.0, coordinates)
    mean = weights @ values
    centered = (values - mean) / units
    stiff = np.flatnonzero(~periodic)
    covariance = ((weights[:, None] * centered).T @ centered)[np.ix_(stiff, stiff)]
    # A ridge below sampling noise keeps the factor well conditioned when samples are few.
    ridge = 1e-4 + 0.1 * target.dimension * float(np.sum(weights**2))
    typical = np.diag(np.maximum(np.diagonal(covariance), 1e-20))
    variances, axes = np.linalg.eigh((covariance + ridge * typical) / (1 + ridge))
    factor = np.eye(target.dimension)
    factor[np.ix_(stiff, stiff)] = units[stiff, None] * axes * np.sqrt(variances)
    return Whitening.of(mean, factor, periodic, target.symmetry)
