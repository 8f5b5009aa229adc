"""Molecules without rings, grown atom by atom, and what moves them."""

from typing import NamedTuple

import numpy as np

_TETRAHEDRAL = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / np.sqrt(3)
_PLANAR = np.array([[1, 0, 0], [-0.5, np.sqrt(0.75), 0], [-0.5, -np.sqrt(0.75), 0]])
_BENT = np.array([[1, 0, 0], [-0.3, np.sqrt(0.91), 0]])
_DIRECTIONS = {1: _PLANAR[:1], 2: _BENT, 3: _PLANAR, 4: _TETRAHEDRAL}


class Molecule(NamedTuple):
    """Elements, bonds and positions [nm]."""

    elements: list[str]
    bonds: list[tuple[int, int]]
    positions: np.ndarray


def rotation(rng: np.random.Generator) -> np.ndarray:
    """A random proper rotation."""
    q, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    return q * np.sign(np.linalg.det(q))


def turned(axis: np.ndarray, angle: float) -> np.ndarray:
    """Rotation about an axis (Rodrigues)."""
    x, y, z = axis / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def grow(elements: list[str], bonds: list[tuple[int, int]], seed: int = 0) -> Molecule:
    """Positions with bonds of about 0.1 to 0.15 nm, ideal angles, random torsions and a little noise."""
    rng = np.random.default_rng(seed)
    neighbors: list[list[int]] = [[] for _ in elements]
    for i, j in bonds:
        neighbors[i].append(j)
        neighbors[j].append(i)
    positions = {0: np.zeros(3)}
    queue = [0]
    for atom in queue:
        directions = _DIRECTIONS[len(neighbors[atom])] @ rotation(rng).T
        placed = [other for other in neighbors[atom] if other in positions]
        if placed:
            # Turn the set so that its first direction points to the atom that it grew from.
            back = positions[placed[0]] - positions[atom]
            back = back / np.linalg.norm(back)
            axis, cosine = np.cross(directions[0], back), directions[0] @ back
            directions = directions @ turned(axis, np.arccos(np.clip(cosine, -1, 1))).T
            directions = directions[1:]
        for other, direction in zip([o for o in neighbors[atom] if o not in positions], directions, strict=True):
            length = 0.1 if "H" in (elements[atom], elements[other]) else 0.15
            positions[other] = positions[atom] + length * direction + 0.004 * rng.normal(size=3)
            queue.append(other)
    return Molecule(elements, bonds, np.array([positions[k] for k in range(len(elements))]))


def _saturated(heavy: list[str], bonds: list[tuple[int, int]], valence: list[int]) -> tuple[list, list]:
    """Hydrogens on heavy atoms until each has as many neighbors as it should."""
    elements, made = list(heavy), list(bonds)
    for atom, wanted in enumerate(valence):
        for _ in range(wanted - sum(atom in bond for bond in bonds)):
            made.append((atom, len(elements)))
            elements.append("H")
    return elements, made


def _random_tree(seed: int) -> tuple[list, list]:
    """Six heavy atoms of mixed kinds, bonded at random; hydrogens where there is room."""
    rng = np.random.default_rng(seed)
    valence = rng.choice([2, 3, 4], 6, p=[0.3, 0.3, 0.4]).tolist()
    bonds: list[tuple[int, int]] = []
    for atom in range(1, 6):
        room = [k for k in range(atom) if sum(k in bond for bond in bonds) < valence[k]]
        if not room:
            room, valence[atom - 1] = [atom - 1], 4
        bonds.append((int(rng.choice(room)), atom))
    return _saturated([{2: "O", 3: "N", 4: "C"}[v] for v in valence], bonds, valence)


MOLECULES = {
    "water": (["O", "H", "H"], [(0, 1), (0, 2)]),
    "peroxide": (["O", "O", "H", "H"], [(0, 1), (0, 2), (1, 3)]),
    "formaldehyde": (["C", "O", "H", "H"], [(0, 1), (0, 2), (0, 3)]),
    "methane": _saturated(["C"], [], [4]),
    "ethane": _saturated(["C"] * 2, [(0, 1)], [4] * 2),
    "neopentane": _saturated(["C"] * 5, [(0, k) for k in range(1, 5)], [4] * 5),
    "chain": _saturated(["C", "C", "O", "N", "C", "C"], [(k, k + 1) for k in range(5)], [4, 4, 2, 3, 4, 4]),
    "acetone": _saturated(["C", "O", "C", "C"], [(0, 1), (0, 2), (0, 3)], [3, 1, 4, 4]),
    "tree 1": _random_tree(1),
    "tree 2": _random_tree(2),
    "tree 3": _random_tree(3),
}


def molecule(name: str) -> Molecule:
    """One of MOLECULES with positions."""
    return grow(*MOLECULES[name], seed=len(name))


def superposed(x: np.ndarray, onto: np.ndarray) -> float:
    """Largest distance [nm] of an atom after the best rotation and translation, no reflection."""
    x, onto = x - x.mean(axis=0), onto - onto.mean(axis=0)
    u, _, v = np.linalg.svd(x.T @ onto)
    u[:, -1] *= np.sign(np.linalg.det(u @ v))
    return float(np.linalg.norm(x @ (u @ v) - onto, axis=1).max())
