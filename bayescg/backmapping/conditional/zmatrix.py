"""Which internal coordinates place the atoms that a slice map leaves out: a Z-matrix that grows from the kept ones.

Every atom hangs on a bonded atom a that is placed before it, with a bond length, an angle to a second point b and a
dihedral to a third, c. If c is another neighbor of a, the dihedral is a *branch* angle, which is stiff and tells the
handedness of a tetrahedral center; otherwise it is a *torsion*. Kept atoms that stand alone take their directions from
the kept atoms that are fewest bonds away.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

_STRAIGHT = 0.02
"""Sine of an angle that counts as straight."""


@dataclass(frozen=True)
class AnchoredZMatrix:
    """A forest of atoms on fixed sites. Places count sites, then helper points, then placed atoms.

    Attributes:
        kept: numbers of the kept atoms, the sites.
        helpers: how many points of the laboratory stand in for missing kept atoms: 3 less the number of kept atoms, or
            none.
        placed: atom numbers in placement order.
        references: for each placed atom, places (a, b, c): bonded to a, angle to b, dihedral to c.
        branch: for each placed atom, whether its dihedral is a branch angle.
        handed: for each placed atom, whether the sign of its branch angle is kept.
        rotors: triples of numbers into `placed`: equal terminal atoms on one center, whose first has a torsion.
    """

    kept: tuple[int, ...]
    helpers: int
    placed: tuple[int, ...]
    references: tuple[tuple[int, int, int], ...]
    branch: tuple[bool, ...]
    handed: tuple[bool, ...]
    rotors: tuple[tuple[int, int, int], ...]

    @property
    def first(self) -> int:
        """Place of the first placed atom."""
        return len(self.kept) + self.helpers


def anchored_zmatrix(
    elements: Sequence[str],
    bonds: Sequence[tuple[int, int]],
    kept: Sequence[int],
    positions: Float[np.ndarray, "frame atom 3"],
) -> AnchoredZMatrix:
    """Choose a Z-matrix on kept atoms.

    Args:
        elements: chemical symbol of each atom.
        bonds: pairs of atom numbers; rings are allowed, their closing bonds are no coordinates.
        kept: atoms whose positions are given.
        positions: configurations [nm], which tell straight angles.

    Raises:
        ValueError: if no bonds lead from a kept atom to some atom, or all its possible references lie on a line.
    """
    n = len(elements)
    neighbors: list[list[int]] = [[] for _ in range(n)]
    for i, j in sorted({(min(pair), max(pair)) for pair in bonds}):
        neighbors[i].append(j)
        neighbors[j].append(i)
    rank = {atom: (elements[atom].upper() in {"H", "D"}, -len(neighbors[atom]), atom) for atom in range(n)}
    parent = dict.fromkeys(kept, -1)
    order = _grow(neighbors, parent, rank, elements)
    helpers = max(3 - len(kept), 0)
    chooser = _References(neighbors, list(kept), parent, rank, positions)
    references, branch, handed = [], [], []
    for atom in order:
        a, b, c = chooser.choose(atom)
        references.append((a, b, c))
        beside = b in neighbors[a] and c in neighbors[a]
        branch.append(beside)
        handed.append(beside and len(neighbors[a]) == 4)
    number = {atom: k for k, atom in enumerate(order)}
    rotors = []
    for center in range(n):
        group = [atom for atom in order if parent[atom] == center]
        equal = len(group) == 3 and len({elements[atom] for atom in group}) == 1
        terminal = all(len(neighbors[atom]) == 1 for atom in group)
        branches = [branch[number[atom]] for atom in group]
        if equal and terminal and len(neighbors[center]) == 4 and branches == [False, True, True]:
            rotors.append((number[group[0]], number[group[1]], number[group[2]]))
    places = {atom: k for k, atom in enumerate(kept)} | {atom: k + len(kept) + helpers for k, atom in enumerate(order)}
    # Helper points have the numbers -1 and -2.
    places |= {-1 - k: k + len(kept) for k in range(helpers)}
    fixed = [(places[a], places[b], places[c]) for a, b, c in references]
    return AnchoredZMatrix(
        tuple(kept), helpers, tuple(order), tuple(fixed), tuple(branch), tuple(handed), tuple(rotors)
    )


def _grow(neighbors, parent, rank, elements) -> list[int]:
    """The order in which atoms are placed, centers in turn and heavy children first; adds the atoms' parents."""
    order, queue = [], deque(parent)
    while queue:
        center = queue.popleft()
        for atom in sorted((a for a in neighbors[center] if a not in parent), key=rank.__getitem__):
            parent[atom] = center
            order.append(atom)
            queue.append(atom)
    lost = [atom for atom in range(len(neighbors)) if atom not in parent]
    if lost:
        named = ", ".join(f"{atom} ({elements[atom]})" for atom in lost[:5])
        raise ValueError(
            f"no bonds lead from a kept atom or bead to {len(lost)} atoms, such as {named}: they cannot be placed; "
            "keep an atom of each molecule, and check that the topology has all its bonds"
        )
    return order


class _References:
    """Chooses the points that an atom is placed by; helper points have the numbers -1 and -2."""

    def __init__(self, neighbors, kept, parent, rank, positions):
        self.neighbors, self.kept, self.parent, self.rank = neighbors, kept, parent, rank
        self.helpers = [-1 - k for k in range(max(3 - len(kept), 0))]
        self.done = list(kept)
        self.positions = positions[:: max(len(positions) // 100, 1)]
        self.near = np.linalg.norm(self.positions[:, :, None] - self.positions[:, None], axis=-1).mean(axis=0)

    def choose(self, atom: int) -> tuple[int, int, int]:
        """References (a, b, c) of the next atom."""
        a = self.parent[atom]
        beside = [p for p in self.neighbors[a] if p in self.done]
        beside.sort(key=lambda p: (p != self.parent[a], p not in self.kept, self.rank[p]))
        along = [p for p in beside if p == self.parent[a] or p in self.kept] or beside
        for b in self._unique(along, self._nearest(a)):
            if b == a or self._straight(atom, a, b):
                continue
            around = [p for p in self.neighbors[b] if p in self.done] if b >= 0 else []
            around.sort(key=lambda p: (p not in self.kept, self.rank[p]))
            for c in self._unique(beside, around, self._nearest(b), self._nearest(a)):
                if c not in (a, b) and not self._straight(a, b, c):
                    self.done.append(atom)
                    return a, b, c
        raise ValueError(
            f"all points that atom {atom} could be placed by lie on a straight line: keep an atom that is off the line"
        )

    def _nearest(self, point: int) -> list[int]:
        """Sites by the number of bonds from a point and by distance, then helper points."""
        distance: dict[int, int] = {point: 0}
        queue = deque([point] if point >= 0 else [])
        while queue:
            at = queue.popleft()
            for other in self.neighbors[at]:
                if other not in distance:
                    distance[other] = distance[at] + 1
                    queue.append(other)
        far = len(self.neighbors)

        def rank(site: int) -> tuple[int, float]:
            return distance.get(site, far), self.near[point, site]

        return sorted(self.kept, key=rank) + self.helpers

    def _straight(self, *triple: int) -> bool:
        """Whether an angle is ever close to straight; helper points are never in line."""
        if min(triple) < 0:
            return False
        first, middle, last = (self.positions[:, p] for p in triple)
        left, right = first - middle, last - middle
        size = np.linalg.norm(left, axis=-1) * np.linalg.norm(right, axis=-1)
        return not np.all(np.linalg.norm(np.cross(left, right), axis=-1) > _STRAIGHT * size)

    @staticmethod
    def _unique(*lists: list[int]) -> list[int]:
        return list(dict.fromkeys(p for each in lists for p in each))
