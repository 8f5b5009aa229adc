"""Which internal coordinates a molecule has: a Z-matrix chosen from its bonds.

Every bond that can turn has one *torsion*, of its first child; the other children of the same bond are placed by
their *branch* angle, the dihedral relative to that first child. Branch angles are stiff and tell the handedness of a
center; torsions are soft and periodic. Three equal terminal atoms on one center make a *rotor*, whose torsion is that
of all three together: it has an exact threefold symmetry.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class ZMatrix:
    """A tree of atoms, in the order in which they are placed.

    Attributes:
        order: atom numbers in placement order; the first three are the root triple, bonded in a chain.
        references: for each later atom, placement numbers (a, b, c): bonded to a, angle to b, dihedral to c.
        leader: for each later atom, the place of the atom whose dihedral its branch angle is relative to; -1 if its
            dihedral is a torsion of its own.
        handed: for each later atom, whether the sign of its branch angle is kept (tetrahedral centers).
        rotors: triples of places: three equal terminal atoms on one center, the first of them the leader.
    """

    order: tuple[int, ...]
    references: tuple[tuple[int, int, int], ...]
    leader: tuple[int, ...]
    handed: tuple[bool, ...]
    rotors: tuple[tuple[int, int, int], ...]

    @property
    def n_atoms(self) -> int:
        """Number of atoms."""
        return len(self.order)


def choose_zmatrix(elements: Sequence[str], bonds: Sequence[tuple[int, int]]) -> ZMatrix:
    """Choose a Z-matrix from the bonds of one molecule.

    The root is a heavy atom in the middle of the molecule, so that errors of the map do not grow along it; main
    chains lead, so that the torsions are those of the backbone.

    Args:
        elements: chemical symbol of each atom.
        bonds: pairs of atom numbers.

    Raises:
        ValueError: if there are fewer than three atoms, several molecules, or a ring, or a bond has no two atoms.
    """
    n = len(elements)
    if n < 3:
        raise ValueError(f"internal coordinates need at least three atoms; this molecule has {n}")
    neighbors: list[list[int]] = [[] for _ in range(n)]
    for i, j in sorted({(min(pair), max(pair)) for pair in bonds}):
        if not 0 <= i < j < n:
            raise ValueError(f"bond ({i}, {j}) is not between two of the {n} atoms, which are numbered from 0")
        neighbors[i].append(j)
        neighbors[j].append(i)
    _check_tree(neighbors)
    heavy = [_is_heavy(element) for element in elements]
    root = _center(neighbors, heavy)
    parent, sizes = _rooted(neighbors, root)

    def ranked(atoms):
        """Heavy atoms first, then by the size of what hangs on them, then as numbered."""
        return sorted(atoms, key=lambda atom: (not heavy[atom], -sizes[atom], atom))

    children = [ranked(a for a in neighbors[atom] if parent[a] == atom) for atom in range(n)]
    first, second = children[root][:2]
    order, place = [first, root, second], {first: 0, root: 1, second: 2}
    references, leader, handed, rotors = [], [], [], []
    queue = [(root, first, second), (first, root, second), (second, root, first)]
    while queue:
        a, b, c = queue.pop(0)
        fresh = [atom for atom in children[a] if atom not in place]
        tetrahedral = len(neighbors[a]) == 4
        # About the root's own bond the second root atom is the first child, with a dihedral of zero by definition.
        head = place[second] if a == root else -1
        group = []
        for atom in fresh:
            place[atom] = len(order)
            order.append(atom)
            references.append((place[a], place[b], place[c]))
            leader.append(head)
            handed.append(head >= 0 and tetrahedral)
            group.append(place[atom])
            if head < 0:
                head = place[atom]
            queue.append((atom, a, b))
        terminal = all(len(neighbors[order[k]]) == 1 for k in group)
        if len(group) == 3 and tetrahedral and terminal and len({elements[order[k]] for k in group}) == 1:
            rotors.append((group[0], group[1], group[2]))
    return ZMatrix(tuple(order), tuple(references), tuple(leader), tuple(handed), tuple(rotors))


def _is_heavy(element: str) -> bool:
    return element.upper() not in {"H", "D"}


def _check_tree(neighbors: list[list[int]]) -> None:
    seen, stack = {0}, [(0, -1)]
    while stack:
        atom, origin = stack.pop()
        for other in neighbors[atom]:
            if other == origin:
                continue
            if other in seen:
                raise ValueError(
                    f"atoms {atom} and {other} close a ring: internal coordinates of rings are not supported; choose a "
                    "molecule without rings, or sample it in other coordinates with a log density of your own"
                )
            seen.add(other)
            stack.append((other, atom))
    if len(seen) < len(neighbors):
        alone = next(atom for atom in range(len(neighbors)) if atom not in seen)
        raise ValueError(
            f"atom {alone} is not connected to atom 0 by bonds: internal coordinates describe one molecule; check that "
            "the topology has all its bonds (a PDB of non-standard residues needs CONECT records)"
        )


def _center(neighbors: list[list[int]], heavy: list[bool]) -> int:
    """The middle atom of the longest chain, which must have two neighbors for the root triple."""
    chosen = [a for a in range(len(neighbors)) if heavy[a]] or list(range(len(neighbors)))

    def farthest(start: int) -> tuple[int, dict[int, int]]:
        parent, queue, last = {start: -1}, [start], start
        for atom in queue:
            last = atom if heavy[atom] or not any(heavy) else last
            for other in neighbors[atom]:
                if other not in parent:
                    parent[other] = atom
                    queue.append(other)
        return last, parent

    end, _ = farthest(chosen[0])
    other, parent = farthest(end)
    chain = [other]
    while parent[chain[-1]] >= 0:
        chain.append(parent[chain[-1]])
    middle = chain[len(chain) // 2]
    if len(neighbors[middle]) >= 2:
        return middle
    return next(a for a in neighbors[middle] if len(neighbors[a]) >= 2)


def _rooted(neighbors: list[list[int]], root: int) -> tuple[list[int], list[int]]:
    parent, queue = [-1] * len(neighbors), [root]
    for atom in queue:
        for other in neighbors[atom]:
            if other != parent[atom]:
                parent[other] = atom
                queue.append(other)
    sizes = [1] * len(neighbors)
    for atom in reversed(queue[1:]):
        sizes[parent[atom]] += sizes[atom]
    return parent, sizes
