"""The densities of a path: from one that is normalized, through the guide, to exp(-beta U).

All are densities of one vector y. For guides on the fibre it holds the free coordinates v. For guides over all atoms it
holds v and xi = M x - X, what a draw misses of its beads; the target is then exp[-beta U(M^+ X + N v)] r(xi) with a
Gaussian r that integrates to one. Whatever r is, the marginal density of v is the conditional one and the integral
over y is that over v.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from bayescg.backmapping.guides.guide import Conditional, Guide
from bayescg.samplers.metric import shrunk
from bayescg.samplers.schedules import Path
from bayescg.samplers.tempering import LogDensity


class Gaussian(NamedTuple):
    """A normalized Gaussian: mean, and lower Cholesky factor of the covariance."""

    mean: Float[Array, " y"]
    factor: Float[Array, "y y"]

    def log_density(self, y: Float[Array, " y"]) -> Float[Array, ""]:
        """Its logarithm at y."""
        white = jax.scipy.linalg.solve_triangular(self.factor, y - self.mean, lower=True)
        volume = jnp.sum(jnp.log(jnp.diagonal(self.factor)))
        return -0.5 * jnp.sum(white**2) - volume - 0.5 * y.shape[0] * np.log(2 * np.pi)

    def sample(self, *, key) -> Float[Array, " y"]:
        """One draw."""
        return self.mean + self.factor @ jax.random.normal(key, self.mean.shape, self.mean.dtype)

    @classmethod
    def fit(cls, y: Float[np.ndarray, "sample y"], widen: float = 1.0) -> Gaussian:
        """Mean and covariance of samples, the latter with its correlations shrunk as far as few samples demand.

        Args:
            y: samples.
            widen: factor of the standard deviations.
        """
        count, size = y.shape
        covariance = np.atleast_2d(np.cov(y, rowvar=False))
        covariance = shrunk(covariance, count) + 1e-12 * np.trace(covariance) / size * np.eye(size)
        return cls(y.mean(axis=0), widen * np.linalg.cholesky(covariance + 1e-20 * np.eye(size)))


class Frame(Path):
    """One CG configuration and all densities over its atoms; an argument of what is compiled once for all frames.

    Attributes:
        conditional: gives the guide.
        beads: X, (bead, 3) [nm].
        start: where the path begins if the guide is not normalized; else None.
        rest: r(xi); None for guides on the fibre.
        energy: beta U of positions.
    """

    conditional: Conditional
    beads: Float[Array, "bead 3"]
    start: Gaussian | None
    rest: Gaussian | None
    energy: Callable[[Float[Array, "atom 3"]], Float[Array, ""]] = eqx.field(static=True)

    @property
    def guide(self) -> Guide:
        """The guide for these beads."""
        return self.conditional.guide(self.beads)

    @property
    def legs(self) -> tuple[int, ...]:
        """Parts of the path: 0 from the start to the guide, 1 from the guide to the target."""
        return (1,) if self.start is None else (0, 1)

    def from_positions(self, positions: Float[Array, "atom 3"], missed: bool) -> Float[Array, " y"]:
        """The vector y of positions [nm].

        Args:
            positions: (atom, 3).
            missed: whether y holds xi too.
        """
        fibre = self.conditional.fibre
        free = fibre.free(positions, self.beads)
        return jnp.concatenate([free, (fibre.beads(positions) - self.beads).reshape(-1)]) if missed else free

    def positions(self, y: Float[Array, " y"]) -> Float[Array, "atom 3"]:
        """The positions on the fibre [nm] of y."""
        fibre = self.conditional.fibre
        return fibre.positions(y[: fibre.n_free], self.beads)

    def log_guide(self, y: Float[Array, " y"]) -> Float[Array, ""]:
        """Log density of the guide over y."""
        fibre, positions = self.conditional.fibre, self.positions(y)
        if len(y) == fibre.n_free:
            return self.guide.log_density(positions)
        positions = positions + jnp.asarray(fibre.shift) @ y[fibre.n_free :].reshape(-1, 3)
        return self.guide.log_density(positions) + fibre.log_volume

    def log_target(self, y: Float[Array, " y"]) -> Float[Array, ""]:
        """Log of exp(-beta U) over y, not normalized; -inf where the conditional says that this is another molecule."""
        positions = self.positions(y)
        allowed = self.conditional.allowed(positions)
        value = jnp.where(allowed, -self.energy(positions), -jnp.inf)
        free = self.conditional.fibre.n_free
        return value if self.rest is None else value + self.rest.log_density(y[free:])

    def log_start(self, y: Float[Array, " y"]) -> Float[Array, ""]:
        """Log density where the path begins: normalized."""
        return self.log_guide(y) if self.start is None else self.start.log_density(y)

    def ends(self, leg: int) -> tuple[LogDensity, LogDensity]:
        """Log densities at both ends of a leg."""
        first = self.log_start if leg == 0 or self.start is None else self.log_guide
        return first, self.log_guide if leg == 0 else self.log_target

    def complaint(self, leg: int) -> str:
        return (
            f"its leg {'to the guide' if leg == 0 else 'to exp(-beta U)'}: no configuration near the guide's draws has "
            "a finite energy; check the target, units, and that guide and target are of the same molecule"
        )

    def draw(self, *, key, missed: bool) -> Float[Array, " y"]:
        """A draw of the path's start, or of the guide as long as there is no other start.

        Args:
            key: random key.
            missed: whether y holds xi too.
        """
        if self.start is not None:
            return self.start.sample(key=key)
        return self.from_positions(self.guide.sample(key=key), missed)
