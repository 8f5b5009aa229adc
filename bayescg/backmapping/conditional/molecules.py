"""What a conditional is learned from: the molecules of a universe, whole, with their beads."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from bayescg.data import dumps
from bayescg.data.mapping.force_map import bonds_of, masses_of, names_of
from bayescg.data.mapping.mapping import Mapping
from bayescg.data.mapping.topology import Topology, connected_components

_ANGSTROM = 0.1
_MASSES = {1.008: "H", 12.011: "C", 14.007: "N", 15.999: "O", 30.974: "P", 32.06: "S", 18.998: "F", 35.45: "Cl"}
_BOND = (0.06, 0.32)
"""Shortest and longest bond [nm] that any molecule has, with room."""


class Molecule(NamedTuple):
    """One kind of molecule, of which the universe may hold many.

    Attributes:
        elements: chemical symbol of each atom.
        names: of the atoms.
        bonds: pairs of atom numbers.
        weights: (bead, atom), what maps atoms to beads.
        topology: bonds, angles and dihedrals of the beads.
        atoms: (molecule, atom) numbers in the universe.
        beads: (molecule, bead) numbers in the mapping.
    """

    elements: tuple[str, ...]
    names: tuple[str, ...]
    bonds: tuple[tuple[int, int], ...]
    weights: Float[np.ndarray, "bead atom"]
    topology: Topology
    atoms: np.ndarray
    beads: np.ndarray


def find_molecule(universe, mapping: Mapping) -> Molecule:
    """The kind of molecule that a universe is made of.

    Args:
        universe: MDAnalysis Universe with bonds.
        mapping: its beads.

    Raises:
        ValueError: if the mapping is of another universe; if bonds are missing; if there are several kinds of
            molecules, a molecule without a bead, or a bead of several molecules.
    """
    count = len(universe.atoms)
    if mapping.n_atoms != count:
        raise ValueError(
            f"the mapping is of {mapping.n_atoms} atoms and the universe has {count}: make the mapping from this "
            "universe"
        )
    bonds = bonds_of(universe)
    if not len(bonds):
        raise ValueError(
            "the universe has no bonds, which tell how atoms are placed: give a topology that has them (TPR, PSF, "
            "PRMTOP, a PDB with CONECT records), or call universe.atoms.guess_bonds() first"
        )
    label = connected_components(bonds, count)
    parts = [np.flatnonzero(label == k) for k in range(label.max() + 1)]
    elements, names = _elements(universe), names_of(universe)
    first = _kind(parts[0], bonds, label, elements, mapping)
    atoms, beads = [], []
    for k, part in enumerate(parts):
        kind = first if k == 0 else _kind(part, bonds, label, elements, mapping)
        if kind[:2] != first[:2] or kind[3].shape != first[3].shape or not np.allclose(kind[3], first[3], atol=1e-6):
            raise ValueError(
                f"the molecules of atoms {parts[0][0]} and {part[0]} differ in elements, bonds or beads: a conditional "
                "is of one kind of molecule; make a universe of one kind (MDAnalysis.Merge) and map that"
            )
        atoms.append(part)
        beads.append(kind[2])
    number = {int(bead): k for k, bead in enumerate(beads[0])}
    pairs = [(number[i], number[j]) for i, j in mapping.topology.bonds.tolist() if i in number and j in number]
    return Molecule(
        tuple(elements[parts[0]].tolist()),
        tuple(names[parts[0]].tolist()),
        first[1],
        first[3],
        Topology.from_bonds(len(number), pairs),
        np.array(atoms),
        np.array(beads),
    )


def _kind(part, bonds, label, elements, mapping: Mapping):
    """Elements, bonds, bead numbers and weights of one molecule."""
    inside = bonds[label[bonds[:, 0]] == label[part[0]]]
    pairs = tuple(sorted((int(i), int(j)) for i, j in np.sort(np.searchsorted(part, inside), axis=1)))
    beads = np.unique(mapping.owner[part][mapping.owner[part] >= 0])
    if not len(beads):
        raise ValueError(
            f"no bonds lead from a kept atom or bead to the molecule of atom {part[0]}: it has no bead, and nothing "
            "tells where it is; map an atom of it, check the topology's bonds, or leave the molecule out"
        )
    weights = np.zeros((len(beads), len(part)))
    for row, bead in enumerate(beads):
        members = mapping.atoms(int(bead))
        if not np.all(np.isin(members, part)):
            raise ValueError(
                f"bead {bead} has atoms of several molecules: a conditional places one molecule; use beads inside "
                "molecules, and check that the topology has all its bonds"
            )
        weights[row, np.searchsorted(part, members)] = mapping.weight[members]
    return tuple(elements[part].tolist()), pairs, beads, weights


def read_positions(universe, molecule: Molecule, frames: slice, most: int) -> Float[np.ndarray, "row atom 3"]:
    """Positions of whole molecules [nm], at most so many, spread over the trajectory.

    Raises:
        ValueError: for frames that are empty or not finite, and bonds of a length that no molecule has.
    """
    numbers = np.arange(len(universe.trajectory))[frames]
    if not len(numbers):
        raise ValueError(f"frames={frames} chooses none of the trajectory's {len(universe.trajectory)} frames")
    copies, vacuum = len(molecule.atoms), dumps.is_open(universe)
    each = int(np.clip(round(most / len(numbers)), 1, copies))
    numbers = numbers[np.unique(np.linspace(0, len(numbers) - 1, min(len(numbers), max(most // each, 1))).astype(int))]
    rows = []
    for turn, number in enumerate(numbers):
        step = universe.trajectory[int(number)]
        # Another set of molecules in each frame: neighboring frames know of each other.
        chosen = (turn * each + np.arange(each)) % copies
        positions = step.positions[molecule.atoms[chosen]].astype(float) * _ANGSTROM
        rows.append(_whole(positions, molecule, None if vacuum else _lattice(step)))
    x = np.concatenate(rows)
    if not np.all(np.isfinite(x)):
        raise ValueError("the trajectory holds positions that are not finite: check it with MDAnalysis")
    i, j = np.array(molecule.bonds).T
    length = np.median(np.linalg.norm(x[:, i] - x[:, j], axis=-1))
    if not _BOND[0] < length < _BOND[1]:
        raise ValueError(
            f"bonds of the trajectory are {length:.3g} nm long (median): MDAnalysis gives positions in Angstrom, so "
            "the file's unit was taken for another one; load the file with its right units"
        )
    return x


def _lattice(step) -> Float[np.ndarray, "3 3"] | None:
    """Lattice vectors; None for a trajectory without a box. That of an open LAMMPS dump is no lattice: it encloses."""
    box = step.dimensions
    return None if box is None or not np.all(box[:3] > 0) else np.asarray(step.triclinic_dimensions, float) * _ANGSTROM


def _whole(positions, molecule: Molecule, lattice):
    """Each molecule along its bonds, at minimum images."""
    if lattice is None:
        return positions
    inverse = np.linalg.inv(lattice)
    done, waiting = {0}, list(molecule.bonds)
    while waiting:
        rest = []
        for i, j in waiting:
            if (i in done) == (j in done):
                rest += [] if i in done else [(i, j)]
                continue
            a, b = (i, j) if i in done else (j, i)
            edge = positions[:, b] - positions[:, a]
            positions[:, b] -= np.rint(edge @ inverse) @ lattice
            done.add(b)
        waiting = rest
    return positions


def _elements(universe) -> np.ndarray:
    if hasattr(universe.atoms, "elements") and all(universe.atoms.elements):
        return np.array([str(e).capitalize() for e in universe.atoms.elements])
    masses = masses_of(universe)
    table = np.array(list(_MASSES))
    near = table[np.abs(masses[:, None] - table).argmin(axis=1)]
    symbols = np.array(list(_MASSES.values()))[np.abs(masses[:, None] - table).argmin(axis=1)]
    return np.where(np.abs(masses - near) < 0.3, symbols, "X")
