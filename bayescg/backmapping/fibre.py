"""The fibre of a linear map: all positions of the atoms that belong to given beads."""

from __future__ import annotations

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpy.typing import ArrayLike

_RANK = 1e-10


class Fibre(eqx.Module):
    """The positions x with M x = X, in coordinates that are free.

    x = M^+ X + N v with the pseudo-inverse M^+ and an orthonormal basis N of the null space of M. Coordinates are
    Cartesian, the same M and N for x, y and z, and without masses: only the map's weights know of those.

    Volume: the conditional density over the fibre is p(v | X) proportional to exp[-beta U(M^+ X + N v)], and

        Z(X) = int exp[-beta U(x)] delta(M x - X) dx = det(M M^T)^(-3/2) int exp[-beta U(M^+ X + N v)] dv,

    the power three halves because M acts on three directions. `log_volume` is the logarithm of the factor in front.
    Integrated over all X, Z(X) is the configuration integral int exp(-beta U) dx, whatever the map.

    Attributes:
        matrix: M, (bead, atom); rows sum to one.
        inverse: M^+, (atom, bead).
        basis: N, (atom, atom - bead).
        shift: (atom, bead), with M shift = 1: each atom moves with its own bead, by as much.
    """

    matrix: Float[np.ndarray, "bead atom"]
    inverse: Float[np.ndarray, "atom bead"]
    basis: Float[np.ndarray, "atom rest"]
    shift: Float[np.ndarray, "atom bead"]

    def __init__(self, matrix: ArrayLike):
        """Check the map and find its null space.

        Args:
            matrix: weights, (bead, atom); each row sums to one.

        Raises:
            ValueError: if weights are not finite, a row does not sum to one, or beads depend on each other.
        """
        m = np.array(matrix, float)
        if m.ndim != 2 or 0 in m.shape:
            raise ValueError(f"the weights have shape {m.shape}; they are a matrix with a row for each bead")
        if not np.all(np.isfinite(m)):
            raise ValueError("the weights are not all finite")
        sums = m.sum(axis=1)
        if not np.allclose(sums, 1, atol=1e-8):
            bead = int(np.argmax(np.abs(sums - 1)))
            raise ValueError(
                f"the weights of bead {bead} sum to {sums[bead]:.6g}, not one: moving all atoms must move the beads as "
                "much; divide each row by its sum"
            )
        left, singular, right = np.linalg.svd(m)
        rank = int(np.sum(singular > _RANK * singular[0]))
        if rank < len(m):
            raise ValueError(
                f"the map has {len(m)} beads but rank {rank}: the position of one follows from those of others "
                "(two beads of the same atoms?); leave it out"
            )
        if rank == m.shape[1]:
            raise ValueError(f"the map has as many beads as atoms, {rank}: nothing is left to place")
        self.matrix = m
        self.inverse = (right[:rank].T / singular) @ left.T
        self.basis = right[rank:].T.copy()
        owner = np.argmax(np.abs(m), axis=0)
        mapped = np.any(m != 0, axis=0)
        own = np.zeros(m.shape[::-1])
        own[mapped, owner[mapped]] = 1.0
        # Disjoint beads: M own = 1 already. Where beads share atoms the pseudo-inverse does the shifting.
        self.shift = own if np.allclose(m @ own, np.eye(len(m)), atol=1e-8) else self.inverse

    @property
    def n_atoms(self) -> int:
        """Number of atoms."""
        return self.matrix.shape[1]

    @property
    def n_beads(self) -> int:
        """Number of beads."""
        return self.matrix.shape[0]

    @property
    def n_free(self) -> int:
        """Number of free coordinates, three for each atom less three for each bead."""
        return 3 * (self.n_atoms - self.n_beads)

    @property
    def log_volume(self) -> float:
        """-3/2 ln det(M M^T): what ln Z(X) has beyond the integral over the free coordinates."""
        return float(-1.5 * np.linalg.slogdet(np.asarray(self.matrix @ self.matrix.T))[1])

    def beads(self, positions: Float[Array, "atom 3"]) -> Float[Array, "bead 3"]:
        """M x [nm]."""
        return jnp.asarray(self.matrix) @ positions

    def positions(self, free: Float[Array, " free"], beads: Float[Array, "bead 3"]) -> Float[Array, "atom 3"]:
        """M^+ X + N v [nm].

        Args:
            free: v, (free,) [nm].
            beads: X, (bead, 3) [nm].
        """
        return jnp.asarray(self.inverse) @ beads + jnp.asarray(self.basis) @ free.reshape(-1, 3)

    def free(self, positions: Float[Array, "atom 3"], beads: Float[Array, "bead 3"]) -> Float[Array, " free"]:
        """The free coordinates v of positions [nm]; of positions beside the fibre, those of their projection.

        Args:
            positions: (atom, 3) [nm].
            beads: X, (bead, 3) [nm].
        """
        return (jnp.asarray(self.basis).T @ self.project(positions, beads)).reshape(-1)

    def project(self, positions: Float[Array, "atom 3"], beads: Float[Array, "bead 3"]) -> Float[Array, "atom 3"]:
        """Move each bead's atoms, as one, to where M x = X.

        Args:
            positions: (atom, 3) [nm].
            beads: X, (bead, 3) [nm].
        """
        return positions + jnp.asarray(self.shift) @ (beads - self.beads(positions))
