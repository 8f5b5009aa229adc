"""Which beads belong together: molecules, bonds, and the angles, dihedrals and exclusions that follow from bonds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse


@dataclass(frozen=True, eq=False)
class Topology:
    """Molecules and bonded interactions of a coarse-grained system.

    Indices are those of beads. A group tells interactions of equal bead types apart; "" means ungrouped.

    Attributes:
        molecule: (n_beads,) number of the molecule of each bead.
        bonds: (n_bonds, 2) bead indices.
        bond_groups: (n_bonds,) group labels.
        angles: (n_angles, 3) bead indices, the vertex in the middle.
        angle_groups: (n_angles,) group labels.
        dihedrals: (n_dihedrals, 4) bead indices along the chain.
        dihedral_groups: (n_dihedrals,) group labels.

    Raises:
        ValueError: if shapes do not fit, an index is out of range, an interaction names a bead twice or is listed
            twice.
    """

    molecule: NDArray[np.int64]
    bonds: NDArray[np.int64]
    bond_groups: NDArray[np.str_]
    angles: NDArray[np.int64]
    angle_groups: NDArray[np.str_]
    dihedrals: NDArray[np.int64]
    dihedral_groups: NDArray[np.str_]

    def __post_init__(self):
        n_beads = len(np.atleast_1d(self.molecule))
        object.__setattr__(self, "molecule", np.asarray(self.molecule, dtype=np.int64).reshape(n_beads))
        for name, width in (("bond", 2), ("angle", 3), ("dihedral", 4)):
            indices = _indices(getattr(self, f"{name}s"), width, n_beads, name)
            object.__setattr__(self, f"{name}s", indices)
            groups = np.asarray(getattr(self, f"{name}_groups"), dtype=str).reshape(-1)
            if len(groups) != len(indices):
                raise ValueError(f"{len(groups)} {name} groups for {len(indices)} {name}s: give one group per {name}")
            object.__setattr__(self, f"{name}_groups", groups)

    @classmethod
    def from_bonds(cls, n_beads: int, bonds: ArrayLike, groups: ArrayLike | None = None) -> Topology:
        """Derive molecules, angles and dihedrals from bonds, each angle and dihedral listed once.

        Molecules are the connected parts of the bond graph, numbered by their first bead. In a ring of three the
        "dihedral" that would end where it began is left out.

        Args:
            n_beads: number of beads.
            bonds: (n_bonds, 2) bead indices; repeated bonds are an error.
            groups: (n_bonds,) labels of the bonds; None: ungrouped. Derived angles and dihedrals are ungrouped.

        Returns:
            The topology.

        Raises:
            ValueError: if an index is out of range, a bead is bonded to itself or a bond is listed twice.
        """
        pairs = _indices(bonds, 2, n_beads, "bond")
        labels = np.full(len(pairs), "", dtype=str) if groups is None else np.asarray(groups, dtype=str)
        angles, dihedrals = _paths(pairs, n_beads)
        return cls(
            molecule=connected_components(pairs, n_beads),
            bonds=pairs,
            bond_groups=labels,
            angles=angles,
            angle_groups=np.full(len(angles), "", dtype=str),
            dihedrals=dihedrals,
            dihedral_groups=np.full(len(dihedrals), "", dtype=str),
        )


def exclusions(bonds: ArrayLike, n_beads: int, exclude_bonds: int) -> NDArray[np.int64]:
    """Pairs of beads that are separated by at most `exclude_bonds` bonds.

    Args:
        bonds: (n_bonds, 2) bead indices.
        n_beads: number of beads.
        exclude_bonds: 0 (no exclusions) to 3 (1-2, 1-3 and 1-4 pairs).

    Returns:
        (n_exclusions, 2) pairs i < j, sorted.

    Raises:
        ValueError: if `exclude_bonds` is not 0, 1, 2 or 3, or a bond index is out of range.
    """
    if exclude_bonds not in (0, 1, 2, 3):
        raise ValueError(f"exclude_bonds={exclude_bonds!r}: choose 0, 1, 2 or 3 bonds")
    pairs = _indices(bonds, 2, n_beads, "bond")
    if exclude_bonds == 0 or len(pairs) == 0:
        return np.zeros((0, 2), dtype=np.int64)
    adjacency = _adjacency(pairs, n_beads)
    reached = adjacency.copy()
    for _ in range(exclude_bonds - 1):
        reached = ((reached + reached @ adjacency) > 0).astype(np.int64)
    row, column = sparse.triu(reached, k=1).nonzero()
    found = np.stack([row, column], axis=1).astype(np.int64)
    return found[np.lexsort((found[:, 1], found[:, 0]))]


def _indices(values: ArrayLike, width: int, n_beads: int, name: str) -> NDArray[np.int64]:
    """Check an index array and return it as int64 of shape (n, width)."""
    array = np.asarray(values)
    if array.size == 0:
        return np.zeros((0, width), dtype=np.int64)
    if array.ndim != 2 or array.shape[1] != width:
        raise ValueError(f"{name}s have shape {array.shape}: give ({name}, {width}) bead indices")
    if not np.issubdtype(array.dtype, np.integer):
        raise ValueError(f"{name}s are of type {array.dtype}: bead indices are integers")
    array = array.astype(np.int64)
    if array.min() < 0 or array.max() >= n_beads:
        raise ValueError(f"a {name} names bead {array.max()}: indices run from 0 to {n_beads - 1}")
    ordered = np.sort(array, axis=1)
    if np.any(ordered[:, 1:] == ordered[:, :-1]):
        row = array[np.any(ordered[:, 1:] == ordered[:, :-1], axis=1)][0]
        raise ValueError(f"the {name} {tuple(row.tolist())} names a bead twice")
    canonical = np.where((array[:, :1] > array[:, -1:]), array[:, ::-1], array)
    if len(np.unique(canonical, axis=0)) != len(canonical):
        raise ValueError(f"a {name} is listed twice: list each {name} once")
    return array


def _adjacency(pairs: NDArray[np.int64], n_beads: int) -> sparse.csr_array:
    ends = np.concatenate([pairs, pairs[:, ::-1]])
    ones = np.ones(len(ends), dtype=np.int64)
    return sparse.csr_array((ones, (ends[:, 0], ends[:, 1])), shape=(n_beads, n_beads))


def connected_components(pairs: NDArray[np.int64], n_beads: int) -> NDArray[np.int64]:
    """(n_beads,) number of the connected part of each bead (or atom), in the order of first beads."""
    _, label = sparse.csgraph.connected_components(_adjacency(pairs, n_beads), directed=False)
    _, first, inverse = np.unique(label, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse].astype(np.int64)


def _paths(pairs: NDArray[np.int64], n_beads: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """All chains of three and of four different beads, each once."""
    neighbors: list[list[int]] = [[] for _ in range(n_beads)]
    for a, b in pairs.tolist():
        neighbors[a].append(b)
        neighbors[b].append(a)
    angles = [
        (a, center, b)
        for center in range(n_beads)
        for a in sorted(neighbors[center])
        for b in neighbors[center]
        if a < b
    ]
    dihedrals = [
        (a, b, c, d)
        for b, c in np.sort(pairs, axis=1).tolist()
        for a in sorted(neighbors[b])
        for d in sorted(neighbors[c])
        if len({a, b, c, d}) == 4
    ]
    return (
        np.array(sorted(angles), dtype=np.int64).reshape(-1, 3),
        np.array(sorted(dihedrals), dtype=np.int64).reshape(-1, 4),
    )
