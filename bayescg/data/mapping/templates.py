"""Kinds of molecules with named beads, and their copies in a universe."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bayescg.data.mapping.beads import BeadSpec, Molecule, described, molecules_of, residues_of
from bayescg.data.mapping.force_map import names_of
from bayescg.data.mapping.topology import Topology

Interactions = tuple[tuple[tuple[str, ...], str], ...]
"""Bead names and group of each bond, angle or dihedral."""


class BeadTemplate(NamedTuple):
    """A bead of a kind of molecule: name, type, atoms (None: all) and weights ("mass", "geometry" or numbers)."""

    name: str
    bead_type: str
    atoms: tuple[str | int, ...] | None
    weights: NDArray[np.float64] | str


class MoleculeTemplate(NamedTuple):
    """A kind of molecule; angles and dihedrals are derived from the bonds where they are None."""

    name: str
    beads: tuple[BeadTemplate, ...]
    bonds: Interactions
    angles: Interactions | None
    dihedrals: Interactions | None


def instantiate(templates: Sequence[MoleculeTemplate], universe) -> tuple[list[BeadSpec], Topology]:
    """Beads and topology of all molecules of these kinds.

    Args:
        templates: the kinds of molecules.
        universe: MDAnalysis Universe.

    Returns:
        Beads, molecule by molecule, and their topology.

    Raises:
        ValueError: for kinds, atoms or beads that do not exist.
    """
    kinds = {template.name: template for template in templates}
    if len(kinds) < len(templates):
        raise ValueError("a kind of molecule is described twice")
    found = _matching(kinds, universe)
    local = {name: _local_topology(template) for name, template in kinds.items()}
    labels, residues = names_of(universe), universe.atoms.resindices
    resolved: dict[tuple, list[NDArray[np.int64]]] = {}
    beads: list[BeadSpec] = []
    starts: list[int] = []
    for molecule in found:
        template = kinds[molecule.name]
        residue = residues[molecule.atoms]
        key = (molecule.name, tuple(labels[molecule.atoms]), tuple(residue - residue[0]))
        if key not in resolved:
            resolved[key] = [_atoms(template, bead, key[1], residue) for bead in template.beads]
        starts.append(len(beads))
        for bead, atoms in zip(template.beads, resolved[key], strict=True):
            weights = np.ones(len(atoms)) if isinstance(bead.weights, str) else bead.weights
            by_mass = isinstance(bead.weights, str) and bead.weights == "mass"
            beads.append(BeadSpec(bead.name, bead.bead_type, molecule.atoms[atoms], None if by_mass else weights))
    return beads, _join([(start, local[m.name]) for start, m in zip(starts, found, strict=True)])


def _matching(kinds: dict[str, MoleculeTemplate], universe) -> list[Molecule]:
    """The molecules of these kinds, by molecule type if all names are, else by residue name."""
    molecules = molecules_of(universe)
    names = {molecule.name for molecule in molecules}
    if not set(kinds) <= names:
        by_residue = residues_of(universe)
        residue_names = {residue.name for residue in by_residue}
        if not set(kinds) <= residue_names:
            missing = sorted(set(kinds) - names - residue_names) or sorted(set(kinds) - names)
            known = described(universe, [*molecules, *by_residue])
            raise ValueError(f"no molecule is called {', '.join(missing)}; the universe has {known}")
        molecules = by_residue
    return [molecule for molecule in molecules if molecule.name in kinds]


def _atoms(template: MoleculeTemplate, bead: BeadTemplate, labels: tuple, residue: NDArray) -> NDArray[np.int64]:
    """Indices within the molecule of the atoms of a bead."""
    if bead.atoms is None:
        return np.arange(len(labels))
    order = {number: rank + 1 for rank, number in enumerate(dict.fromkeys(residue.tolist()))}
    qualified = [f"{order[number]}:{label}" for number, label in zip(residue.tolist(), labels, strict=True)]
    where = f"molecule {template.name}, bead {bead.name}"
    result = []
    for atom in bead.atoms:
        if isinstance(atom, int):
            hits = [atom] if 0 <= atom < len(labels) else []
        else:
            hits = [i for i, (label, full) in enumerate(zip(labels, qualified, strict=True)) if atom in (label, full)]
        if len(hits) != 1:
            problem = "names several atoms: put the residue's number before it, as in 1:CA" if hits else "is not there"
            raise ValueError(f"{where}: atom {atom} {problem}; the molecule has {', '.join(labels[:30])}")
        result.append(hits[0])
    if not isinstance(bead.weights, str) and len(bead.weights) != len(result):
        raise ValueError(f"{where}: {len(bead.weights)} weights for {len(result)} atoms; give one for each")
    return np.array(result, dtype=np.int64)


def _local_topology(template: MoleculeTemplate) -> Topology:
    """Bonded interactions within one molecule."""
    index = {bead.name: i for i, bead in enumerate(template.beads)}
    if len(index) < len(template.beads):
        raise ValueError(f"molecule {template.name}: two beads have the same name")

    def resolve(listed: Interactions, width: int) -> tuple[NDArray[np.int64], list[str]]:
        unknown = sorted({name for names, _ in listed for name in names} - set(index))
        if unknown:
            raise ValueError(
                f"molecule {template.name}: no bead is called {', '.join(unknown)}; it has {', '.join(index)}"
            )
        rows = [[index[name] for name in names] for names, _ in listed]
        return np.array(rows, dtype=np.int64).reshape(-1, width), [group for _, group in listed]

    bonds, groups = resolve(template.bonds, 2)
    fields = dict(vars(Topology.from_bonds(len(index), bonds, groups)))
    fields["molecule"] = np.zeros(len(index), dtype=np.int64)
    if template.angles is not None:
        fields["angles"], fields["angle_groups"] = resolve(template.angles, 3)
    if template.dihedrals is not None:
        fields["dihedrals"], fields["dihedral_groups"] = resolve(template.dihedrals, 4)
    return Topology(**fields)


def _join(parts: list[tuple[int, Topology]]) -> Topology:
    """One topology from those of the molecules and the numbers of their first beads."""
    fields: dict[str, NDArray] = {
        "molecule": np.repeat(np.arange(len(parts)), [len(local.molecule) for _, local in parts])
    }
    for name, width in (("bond", 2), ("angle", 3), ("dihedral", 4)):
        rows = [getattr(local, f"{name}s") + start for start, local in parts]
        fields[f"{name}s"] = np.concatenate([np.zeros((0, width), dtype=np.int64), *rows])
        fields[f"{name}_groups"] = np.concatenate(
            [np.zeros(0, dtype="<U1"), *(getattr(local, f"{name}_groups") for _, local in parts)]
        )
    return Topology(**fields)
