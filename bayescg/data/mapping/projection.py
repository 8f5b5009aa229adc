"""Atoms to beads, one frame at a time: molecules made whole, positions and forces summed, in a few array operations."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from bayescg.data.mapping.mapping import Mapping


class Projection:
    """The linear maps of a mapping, prepared once for many frames.

    A bead is made whole along a spanning tree of its bonds: every tree edge is taken at its minimum image, so that a
    bead may be larger than half the box as long as no bond is. With e the edges, the position of a bead is
    x_root + S e, where S holds for each edge the weight of all atoms behind it: one sparse product a frame. Atoms
    that no bond inside the bead reaches are tied to its first atom; they must be closer than half the box.
    """

    def __init__(self, mapping: Mapping):
        order = np.argsort(mapping.owner, kind="stable")
        order = order[mapping.owner[order] >= 0]
        first = np.searchsorted(mapping.owner[order], np.arange(mapping.n_beads))
        self._root = order[first]
        parent, levels = spanning_forest(mapping, order)
        behind = mapping.weight.copy()
        for level in reversed(levels):
            np.add.at(behind, parent[level], behind[level])
        child = np.concatenate([np.zeros(0, dtype=np.int64), *levels])
        self._child, self._parent = child, parent[child]
        ends = np.cumsum([0, *map(len, levels)])
        self._levels = [slice(*pair) for pair in pairwise(ends.tolist())]
        self._links, self._owner, self._names, self._seen = mapping.links, mapping.owner, mapping.name, False
        shape = (mapping.n_beads, len(child))
        self._behind = sparse.csr_array((behind[child], (mapping.owner[child], np.arange(len(child)))), shape=shape)
        moved = np.flatnonzero(mapping.force_owner >= 0)
        shape = (mapping.n_beads, mapping.n_atoms)
        self._sum = sparse.csr_array((np.ones(len(moved)), (mapping.force_owner[moved], moved)), shape=shape)

    def positions(self, atoms: NDArray, box: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n_beads, 3) positions of the beads from those of the atoms, in the unit of both; near the bead's first atom.

        Args:
            atoms: (n_atoms, 3).
            box: (3, 3), rows are lattice vectors, lower triangular.
        """
        edges = atoms[self._child].astype(np.float64)
        edges -= atoms[self._parent]
        _to_nearest_image(edges, box)
        if not self._seen:
            self._refuse_endless(atoms, edges, box)
            self._seen = True
        return atoms[self._root] + self._behind @ edges

    def _refuse_endless(self, atoms: NDArray, edges: NDArray[np.float64], box: NDArray[np.float64]) -> None:
        """Refuse a bead that is bonded to its own image: along its bonds it has no end, and no center.

        Raises:
            ValueError: naming the bead.
        """
        if not len(self._links):
            return
        whole = atoms.astype(np.float64)
        for level in self._levels:
            whole[self._child[level]] = whole[self._parent[level]] + edges[level]
        a, b = self._links.T
        near = atoms[b].astype(np.float64) - atoms[a]
        _to_nearest_image(near, box)
        apart = np.abs(whole[b] - whole[a] - near).max(axis=1)
        worst = int(np.argmax(apart))
        # Bonds that close a ring come back to where they began, unless they went around the box.
        if apart[worst] > 0.5 * float(np.diagonal(box).min()):
            bead = int(self._owner[a[worst]])
            raise ValueError(
                f"bead {self._names[bead]} (number {bead}) is bonded to its own periodic image: it has no center. An "
                "endless molecule needs several beads, none of which reaches around the box"
            )

    def forces(self, atoms: NDArray) -> NDArray[np.float64]:
        """(n_beads, 3) sums of the forces that enter each bead."""
        return self._sum @ atoms.astype(np.float64)


def _to_nearest_image(vectors: NDArray[np.float64], box: NDArray[np.float64]) -> None:
    """Shift vectors to their nearest images, in place."""
    if box[1, 0] == 0 and box[2, 0] == 0 and box[2, 1] == 0:
        lengths = np.diagonal(box)
        vectors -= np.rint(vectors / lengths) * lengths
    else:
        vectors -= np.rint(vectors @ np.linalg.inv(box)) @ box


def spanning_forest(mapping: Mapping, order: NDArray[np.int64]) -> tuple[NDArray[np.int64], list[NDArray[np.int64]]]:
    """Parent of each atom in the tree of its bead, and the atoms level by level (roots left out)."""
    owner = mapping.owner
    ends = np.concatenate([mapping.links, mapping.links[:, ::-1]])
    root = order[np.searchsorted(owner[order], np.arange(mapping.n_beads))]
    parent = np.full(mapping.n_atoms, -1, dtype=np.int64)
    visited = owner < 0
    visited[root] = True
    levels: list[NDArray[np.int64]] = []
    while not visited.all():
        reached = ends[visited[ends[:, 0]] & ~visited[ends[:, 1]]]
        if len(reached):
            level, index = np.unique(reached[:, 1], return_index=True)
            parent[level] = reached[index, 0]
        else:
            # No bond leads on: the first atom left in each bead is tied to its root, and bonds go on from there.
            left = order[~visited[order]]
            _, index = np.unique(owner[left], return_index=True)
            level = left if len(ends) == 0 else left[index]
            parent[level] = root[owner[level]]
        visited[level] = True
        levels.append(level)
    return parent, levels
