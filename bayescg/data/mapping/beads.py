"""From lists of atoms to a mapping: weights, masses, molecules and bonds of beads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bayescg.data.mapping.force_map import bonds_of, names_of
from bayescg.data.mapping.topology import connected_components


class BeadSpec(NamedTuple):
    """One bead: its name, type, atoms and weights (None: masses)."""

    name: str
    bead_type: str
    atoms: NDArray[np.int64]
    weights: NDArray[np.float64] | None


class Molecule(NamedTuple):
    """One molecule of a universe: its name and atoms."""

    name: str
    atoms: NDArray[np.int64]


def described(universe, molecules: Sequence[Molecule]) -> str:
    """Names of kinds of molecules, for messages; with their atoms where the names are ours."""
    first: dict[str, Molecule] = {}
    for molecule in molecules:
        first.setdefault(molecule.name, molecule)
    if hasattr(universe.atoms, "resnames"):
        return ", ".join(sorted(first)[:20])
    labels = names_of(universe)
    return ", ".join(
        f"{name} (atom types {' '.join(labels[part.atoms[:12]])}{' ...' if len(part.atoms) > 12 else ''})"
        for name, part in list(first.items())[:20]
    )


def molecules_of(universe) -> list[Molecule]:
    """The molecules of a universe: molecule numbers (TPR), else bonded fragments, else residues."""
    atoms = universe.atoms
    if hasattr(atoms, "molnums"):
        return [Molecule(str(names), index) for names, index in _groups(atoms.molnums, atoms.moltypes)]
    return fragments(universe) if len(bonds_of(universe)) else residues_of(universe)


def residues_of(universe) -> list[Molecule]:
    """The residues of a universe, as molecules."""
    atoms = universe.atoms
    if hasattr(atoms, "resnames"):
        return [Molecule(str(name), index) for name, index in _groups(atoms.resindices, atoms.resnames)]
    # In LAMMPS data the molecule number zero is that of atoms which belong to no molecule. Styles of single atoms have
    # no numbers, and the reader gives all the same.
    alone = (atoms.resids == 0) | (len(universe.residues) == 1)
    part = connected_components(bonds_of(universe), len(atoms))
    return _kinds(universe, np.where(alone, part, atoms.resindices + len(atoms)))


def fragments(universe) -> list[Molecule]:
    """The bonded fragments of a universe, as molecules.

    Raises:
        ValueError: if the topology has no bonds.
    """
    atoms, fragment = universe.atoms, fragments_of(universe)
    if hasattr(atoms, "resnames"):
        return [Molecule(str(name), index) for name, index in _groups(fragment, atoms.resnames)]
    return _kinds(universe, fragment)


def _kinds(universe, labels: NDArray) -> list[Molecule]:
    """Molecules of a topology without names: kinds are told apart by their atoms' types, and called X1, X2, ...

    One kind alone is called X.
    """
    types = names_of(universe)
    parts = [index for _, index in _groups(labels, types)]
    compositions = [tuple(sorted(types[index].tolist())) for index in parts]
    kinds = list(dict.fromkeys(compositions))
    names = {kind: f"X{number + 1}" if len(kinds) > 1 else "X" for number, kind in enumerate(kinds)}
    return [Molecule(names[kind], index) for kind, index in zip(compositions, parts, strict=True)]


def fragments_of(universe) -> NDArray[np.int64]:
    """(n_atoms,) number of the bonded fragment of each atom.

    Raises:
        ValueError: if the topology has no bonds.
    """
    bonds = bonds_of(universe)
    if len(bonds) == 0:
        raise ValueError(
            'fragments need bonds, but the topology has none: read one that has (TPR, PSF, PRMTOP) or use by="residues"'
        )
    return connected_components(bonds, len(universe.atoms))


def owners(beads: Sequence[BeadSpec], n_atoms: int) -> NDArray[np.int64]:
    """(n_atoms,) bead of each atom, -1 for atoms in no bead.

    Raises:
        ValueError: if an atom is in two beads, twice in one, or does not exist.
    """
    atoms = np.concatenate([bead.atoms for bead in beads])
    bead = np.repeat(np.arange(len(beads)), [len(b.atoms) for b in beads])
    if atoms.min() < 0 or atoms.max() >= n_atoms:
        raise ValueError(f"a bead names atom {atoms.max()}: indices run from 0 to {n_atoms - 1}")
    counts = np.bincount(atoms, minlength=n_atoms)
    if counts.max() > 1:
        atom = int(np.argmax(counts > 1))
        names = [beads[b].name for b in bead[atoms == atom]]
        raise ValueError(
            f"atom {atom} is in two beads, {' and '.join(names[:2])} ({int(np.sum(counts > 1))} such atoms): its "
            "force would count twice; give each atom to one bead"
        )
    owner = np.full(n_atoms, -1, dtype=np.int64)
    owner[atoms] = bead
    return owner


def weights_of(beads: Sequence[BeadSpec], masses: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Weights of the atoms of each bead, normalized to sum one.

    Raises:
        ValueError: if weights do not match the atoms or cannot be normalized.
    """
    result = []
    for bead in beads:
        raw = masses[bead.atoms] if bead.weights is None else np.asarray(bead.weights, dtype=np.float64)
        if raw.shape != bead.atoms.shape:
            raise ValueError(f"bead {bead.name} has {len(bead.atoms)} atoms but {raw.size} weights: give one for each")
        if not np.all(np.isfinite(raw)) or np.any(raw < 0) or raw.sum() <= 0:
            what = "masses" if bead.weights is None else "weights"
            raise ValueError(
                f"bead {bead.name} cannot be weighted: its {what} are {np.round(raw[:8], 3).tolist()}; "
                'add masses to the universe (universe.add_TopologyAttr("masses", ...)) or give positive weights'
            )
        result.append(raw / raw.sum())
    return result


def crossing_bonds(universe, owner: NDArray[np.int64]) -> NDArray[np.int64]:
    """Pairs of beads that atomistic bonds connect, each once."""
    ends = owner[bonds_of(universe)]
    ends = np.sort(ends[(ends >= 0).all(axis=1) & (ends[:, 0] != ends[:, 1])], axis=1)
    return np.unique(ends, axis=0).reshape(-1, 2)


def renumber(labels: NDArray) -> NDArray[np.int64]:
    """Numbers 0, 1, ... in the order in which the labels first appear."""
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse].astype(np.int64)


def _groups(labels: NDArray, names: NDArray) -> list[tuple[str, NDArray[np.int64]]]:
    """Atoms with equal labels, in the order of first atoms, with the name of the first atom."""
    number = renumber(np.asarray(labels))
    order = np.argsort(number, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(number[order])) + 1)
    return [(str(names[part[0]]), part.astype(np.int64)) for part in parts]
