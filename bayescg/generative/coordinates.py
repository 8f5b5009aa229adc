"""White coordinates: what networks see of a target's coordinates."""

from __future__ import annotations

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from bayescg.atomistic.dihedrals import wrapped
from bayescg.atomistic.target import Target


class Whitening(eqx.Module):
    """An affine map of the stiff coordinates to zero mean and unit covariance; periodic ones stay as they are.

    Attributes:
        location: of the stiff coordinates, zero for periodic ones, shape (dimension,).
        factor: lower triangular, y = location + factor u, the identity for periodic coordinates.
        inverse: of the factor.
        periodic: which coordinates have the period 2 pi.
        symmetry: turns of each coordinate that make one turn in space.
    """

    location: Array
    factor: Array
    inverse: Array
    periodic: tuple[bool, ...] = eqx.field(static=True)
    symmetry: tuple[int, ...] = eqx.field(static=True)

    @property
    def dimension(self) -> int:
        """Number of coordinates."""
        return len(self.periodic)

    @property
    def log_volume(self) -> Float[Array, ""]:
        """Log |dy/du|."""
        return jnp.sum(jnp.log(jnp.diagonal(self.factor)))

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
        arrays = (jnp.asarray(a, jnp.float32) for a in (location, factor, np.linalg.inv(factor)))
        turns = np.ones(len(location), int) if symmetry is None else symmetry
        return cls(*arrays, tuple(bool(p) for p in periodic), tuple(int(n) for n in turns))


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
    """The map that makes weighted samples white: networks need not learn linear correlations."""
    periodic = np.asarray(target.periodic, bool)
    weights = weights / weights.sum()
    stiff = np.where(periodic, 0.0, coordinates)
    mean = weights @ stiff
    centered = stiff - mean
    covariance = (weights[:, None] * centered).T @ centered
    widths = np.where(periodic, 1.0, np.sqrt(np.maximum(np.diagonal(covariance), 1e-20)))
    correlation = covariance / np.outer(widths, widths)
    # A ridge below sampling noise keeps the factor well conditioned when samples are few.
    ridge = 1e-4 + 0.1 * target.dimension * float(np.sum(weights**2))
    correlation = np.where(np.outer(periodic, periodic), 0.0, correlation) + np.diag(np.where(periodic, 1.0, 0.0))
    shrunk = (correlation + ridge * np.eye(len(widths))) / (1 + ridge)
    factor = widths[:, None] * np.linalg.cholesky(shrunk)
    factor = np.where(np.outer(periodic, np.ones_like(periodic)) & ~np.eye(len(widths), dtype=bool), 0.0, factor)
    factor[periodic, periodic] = 1.0
    return Whitening.of(mean, factor, periodic, target.symmetry)
