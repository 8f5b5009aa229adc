"""The fibre of a linear map: all positions of the atoms that belong to given beads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from bayescg._arrays import AnyArray
from bayescg.data.mapping.force_map import bonds_of
from bayescg.data.mapping.mapping import Mapping
from bayescg.data.mapping.topology import connected_components

_RANK = 1e-10
_LONGEST_BOND = 0.25
"""No bond of two atoms of a molecule is longer [nm]."""


class Fibre(eqx.Module):
    """All positions x of the atoms with M x = X, in free coordinates v.

    x = M^+ X + N v with the pseudo-inverse M^+ and an orthonormal basis N of the null space of M. Coordinates are
    Cartesian, with the same M and N for x, y and z. Masses play no part beyond the weights in M.

    The conditional density is p(v | X) proportional to exp[-beta U(M^+ X + N v)], and

        Z(X) = int exp[-beta U(x)] delta(M x - X) dx = det(M M^T)^(-3/2) int exp[-beta U(M^+ X + N v)] dv.

    The power is three halves because M acts on three directions. Integrated over all X, Z(X) is the configuration
    integral int exp(-beta U) dx, whatever the map.

    Attributes:
        matrix: M, (bead, atom); rows sum to one.
        inverse: M^+, (atom, bead).
        basis: N, (atom, atom - bead).
        shift: (atom, bead), with M shift = 1: each atom moves with its own bead, by as much.
        reach: (bead, bead), how far apart beads can be [nm] if no bond exceeds 0.25 nm; inf where nothing is known.
        log_volume: -3/2 ln det(M M^T), which ln Z(X) has beyond the integral over the free coordinates.
    """

    matrix: Float[np.ndarray, "bead atom"]
    inverse: Float[np.ndarray, "atom bead"]
    basis: Float[np.ndarray, "atom rest"]
    shift: Float[np.ndarray, "atom bead"]
    reach: Float[np.ndarray, "bead bead"]
    log_volume: float = eqx.field(static=True)

    def __init__(self, matrix: ArrayLike, *, bonds: ArrayLike = (), unmapped: Literal["error", "free"] = "error"):
        """Check the map and find its null space.

        Args:
            matrix: weights, (bead, atom); each row sums to one.
            bonds: (bond, 2) atoms, by which impossible beads and loose atoms are recognized.
            unmapped: "free" allows atoms that are in no bead: they are placed around the others, and Z(X) is an
                integral over them too.

        Raises:
            ValueError: if weights are not finite, a row does not sum to one, beads depend on each other, atoms are in
                no bead without having been declared free, or no bond leads from free ones to a bead.
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
        pairs = _checked_bonds(bonds, m.shape[1])
        mapped = np.any(m != 0, axis=0)
        _check_unmapped(mapped, pairs, unmapped)
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
        own = np.zeros(m.shape[::-1])
        own[mapped, owner[mapped]] = 1.0
        # Disjoint beads: M own = 1 already. Where beads share atoms the pseudo-inverse does the shifting.
        self.shift = own if np.allclose(m @ own, np.eye(len(m)), atol=1e-8) else self.inverse
        self.reach = _reach(m, pairs)
        self.log_volume = float(-1.5 * np.linalg.slogdet(m @ m.T)[1])

    @classmethod
    def from_mapping(cls, universe, mapping: Mapping, *, unmapped: Literal["error", "free"] = "error") -> Fibre:
        """The fibre of a mapping of one molecule: centers of mass, centers of geometry, or single atoms.

        Args:
            universe: MDAnalysis Universe that the mapping was made for.
            mapping: the mapping.
            unmapped: see `Fibre`; "free" for maps that keep some atoms and drop the others.

        Returns:
            The fibre.

        Raises:
            ValueError: if mapping and universe have different atoms, or as `Fibre` says.
        """
        n_atoms = len(universe.atoms)
        if mapping.n_atoms != n_atoms:
            raise ValueError(
                f"the mapping is of {mapping.n_atoms} atoms and the universe has {n_atoms}: make the mapping from this "
                "universe (or the same topology)"
            )
        matrix = np.zeros((mapping.n_beads, n_atoms))
        atoms = np.flatnonzero(mapping.owner >= 0)
        matrix[mapping.owner[atoms], atoms] = mapping.weight[atoms]
        return cls(matrix, bonds=bonds_of(universe), unmapped=unmapped)

    @classmethod
    def frozen(cls, sites: Sequence[int], n_atoms: int, *, bonds: ArrayLike = ()) -> Fibre:
        """The fibre of a slice map: beads are atoms, the others are free.

        Args:
            sites: atoms that are beads, in the order of the beads.
            n_atoms: number of atoms.
            bonds: see `Fibre`.

        Returns:
            The fibre.

        Raises:
            ValueError: if a site does not exist or is listed twice.
        """
        index = np.asarray(sites, int)
        if index.ndim != 1 or len(index) == 0 or index.min() < 0 or index.max() >= n_atoms:
            raise ValueError(f"sites are {list(sites)}; atoms are numbered from 0 to {n_atoms - 1}")
        if len(np.unique(index)) < len(index):
            raise ValueError(f"sites are {list(sites)}: one is listed twice")
        return cls(np.eye(n_atoms)[index], bonds=bonds, unmapped="free")

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

    def beads(self, positions: Float[AnyArray, "atom 3"]) -> Float[Array, "bead 3"]:
        """Beads of positions, M x.

        Args:
            positions: (atom, 3) [nm].

        Returns:
            (bead, 3) [nm].
        """
        return jnp.asarray(self.matrix) @ positions

    def positions(self, free: Float[AnyArray, " free"], beads: Float[AnyArray, "bead 3"]) -> Float[Array, "atom 3"]:
        """Positions of free coordinates, M^+ X + N v.

        Args:
            free: v, (free,) [nm].
            beads: X, (bead, 3) [nm].

        Returns:
            (atom, 3) [nm].
        """
        return jnp.asarray(self.inverse) @ beads + jnp.asarray(self.basis) @ free.reshape(-1, 3)

    def free(self, positions: Float[AnyArray, "atom 3"], beads: Float[AnyArray, "bead 3"]) -> Float[Array, " free"]:
        """The free coordinates v of positions, after `project` has moved them to where M x = X.

        Args:
            positions: (atom, 3) [nm].
            beads: X, (bead, 3) [nm].

        Returns:
            (free,) [nm].
        """
        return (jnp.asarray(self.basis).T @ self.project(positions, beads)).reshape(-1)

    def project(self, positions: Float[AnyArray, "atom 3"], beads: Float[AnyArray, "bead 3"]) -> Float[Array, "atom 3"]:
        """Move the atoms of each bead together to where M x = X.

        Args:
            positions: (atom, 3) [nm].
            beads: X, (bead, 3) [nm].

        Returns:
            (atom, 3) [nm].
        """
        return jnp.asarray(positions) + jnp.asarray(self.shift) @ (beads - self.beads(positions))


def _checked_bonds(bonds: ArrayLike, n_atoms: int) -> NDArray[np.int64]:
    pairs = np.asarray(bonds, int).reshape(-1, 2) if np.size(bonds) else np.zeros((0, 2), int)
    if len(pairs) and (pairs.min() < 0 or pairs.max() >= n_atoms):
        raise ValueError(
            f"a bond names atom {pairs.max()}, but the map is of {n_atoms} atoms: mapping and topology disagree"
        )
    return pairs


def _check_unmapped(mapped: NDArray[np.bool_], bonds: NDArray[np.int64], unmapped: str) -> None:
    if unmapped not in ("error", "free"):
        raise ValueError(f'unmapped={unmapped!r}: choose "error" or "free"')
    loose = np.flatnonzero(~mapped)
    if len(loose) == 0:
        return
    listed = ", ".join(map(str, loose[:5])) + (", ..." if len(loose) > 5 else "")
    if unmapped == "error":
        raise ValueError(
            f"{len(loose)} of {len(mapped)} atoms are in no bead ({listed}): give them to beads, remove them from the "
            'universe, or say unmapped="free" if they are bonded to atoms of beads and are to be placed around them'
        )
    if len(bonds) == 0:
        return
    part = connected_components(bonds, len(mapped))
    held = np.isin(part, part[mapped])
    if not held.all():
        raise ValueError(
            f"no bond leads from atom {int(np.flatnonzero(~held)[0])} to any bead: it could be anywhere, and Z(X) "
            "would be infinite; remove such atoms"
        )


def _reach(matrix: NDArray, bonds: NDArray[np.int64]) -> NDArray[np.float64]:
    """Largest distance of beads: the mean over their atoms of the number of bonds in between, by the longest bond."""
    n_atoms = matrix.shape[1]
    if len(bonds) == 0 or np.any(matrix < 0):
        return np.full((len(matrix), len(matrix)), np.inf)
    graph = sparse.csr_array((np.ones(len(bonds)), (bonds[:, 0], bonds[:, 1])), shape=(n_atoms, n_atoms))
    hops = sparse.csgraph.shortest_path(graph, directed=False, unweighted=True)
    apart = np.isinf(hops).astype(float)
    known = matrix @ np.where(np.isinf(hops), 0.0, hops) @ matrix.T
    return np.where(matrix @ apart @ matrix.T > 0, np.inf, _LONGEST_BOND * known)
