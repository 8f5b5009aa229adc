"""A mapping: which atoms make up which bead, for positions and for forces."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping as Dictionary
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bayescg.data.mapping import checks, force_map
from bayescg.data.mapping.beads import (
    BeadSpec,
    Molecule,
    crossing_bonds,
    described,
    fragments,
    molecules_of,
    owners,
    renumber,
    residues_of,
    weights_of,
)
from bayescg.data.mapping.topology import Topology

By = Literal["residues", "molecules", "fragments", "atoms"]


@dataclass(frozen=True, eq=False)
class Mapping:
    """Which atoms make up which bead.

    The position of bead I is sum_i weights_i x_i over its atoms, its force the plain sum of the forces of the atoms i
    with force_owner[i] == I (see `bayescg.data.mapping.force_map`).

    Attributes:
        name: (n_beads,) names.
        bead_type: (n_beads,) names of the types.
        mass: (n_beads,) [Da].
        charge: (n_beads,) [e], 0 where the topology has no charges.
        topology: molecules, bonds, angles and dihedrals of the beads.
        owner: (n_atoms,) bead of each atom in the positions, -1 for none.
        weight: (n_atoms,) weight of each atom in its bead; they sum to one in each bead.
        force_owner: (n_atoms,) bead that takes each atom's force, -1 for none.
        links: (n_bonds, 2) bonded atoms inside beads, by which beads are made whole across periodic boundaries.
        kind: in words, how the mapping was made.
    """

    name: NDArray[np.str_]
    bead_type: NDArray[np.str_]
    mass: NDArray[np.float64]
    charge: NDArray[np.float64]
    topology: Topology
    owner: NDArray[np.int64]
    weight: NDArray[np.float64]
    force_owner: NDArray[np.int64]
    links: NDArray[np.int64]
    kind: str

    @classmethod
    def center_of_mass(
        cls,
        universe,
        by: By = "residues",
        names: Dictionary[str, str] | None = None,
        *,
        select: str = "all",
        constraints: str | ArrayLike = "h-bonds",
    ) -> Mapping:
        """One bead at the center of mass of each residue, molecule or fragment.

        Beads are bonded where atoms of theirs are (residues of a polymer); angles and dihedrals follow from the bonds.

        Args:
            universe: MDAnalysis Universe.
            by: "residues", "molecules" (molecule numbers of a TPR, else fragments, else residues), "fragments" (bonded
                atoms) or "atoms" (every atom a bead).
            names: bead types of the residue (or molecule, or atom) names, e.g. {"SOL": "W"}; others keep their names.
            select: MDAnalysis selection of the atoms to map; the rest is in no bead.
            constraints: what the simulation held rigid: "h-bonds" (also rigid water), "all-bonds", "none", or (n, 2)
                pairs of atom indices.

        Returns:
            The mapping.

        Raises:
            ValueError: for an unknown name or word, missing masses, or constraints that cross two beads.
        """
        return _centers(cls, universe, by, names, select, constraints, geometry=False)

    @classmethod
    def center_of_geometry(
        cls,
        universe,
        by: By = "residues",
        names: Dictionary[str, str] | None = None,
        *,
        select: str = "all",
        constraints: str | ArrayLike = "h-bonds",
    ) -> Mapping:
        """One bead at the unweighted center of each residue, molecule or fragment; all else is as in `center_of_mass`.

        Args:
            universe: MDAnalysis Universe.
            by: see `center_of_mass`.
            names: see `center_of_mass`.
            select: see `center_of_mass`.
            constraints: see `center_of_mass`.

        Returns:
            The mapping.

        Raises:
            ValueError: as `center_of_mass`.
        """
        return _centers(cls, universe, by, names, select, constraints, geometry=True)

    @classmethod
    def from_yaml(cls, path: str | os.PathLike[str], universe, *, constraints: str | ArrayLike = "h-bonds") -> Mapping:
        """Named beads from a YAML file; its format is described in `bayescg.data.mapping.yaml`.

        Args:
            path: the file.
            universe: MDAnalysis Universe.
            constraints: see `center_of_mass`.

        Returns:
            The mapping.

        Raises:
            ValueError: naming what in the file does not fit the universe.
        """
        from bayescg.data.mapping.yaml import read

        return build(universe, *read(path, universe), constraints=constraints, kind=f"yaml {Path(path).name}")

    @classmethod
    def from_votca(
        cls,
        path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        universe,
        *,
        constraints: str | ArrayLike = "h-bonds",
    ) -> Mapping:
        """Named beads from VOTCA's mapping XML, one file per kind of molecule.

        Bonds, angles and dihedrals are those of `cg_bonded`; their groups are VOTCA's names of the interactions.

        Args:
            path: the file, or several.
            universe: MDAnalysis Universe; `ident` is matched with its molecule types, or residue names without them.
            constraints: see `center_of_mass`.

        Returns:
            The mapping.

        Raises:
            ValueError: naming what in the file does not fit the universe.
        """
        from bayescg.data.mapping.votca import read

        paths = [path] if isinstance(path, str | os.PathLike) else list(path)
        kind = "votca " + " ".join(Path(p).name for p in paths)
        return build(universe, *read(paths, universe), constraints=constraints, kind=kind)

    @property
    def n_beads(self) -> int:
        """Number of beads."""
        return len(self.bead_type)

    @property
    def n_atoms(self) -> int:
        """Number of atoms of the universe, mapped or not."""
        return len(self.owner)

    def atoms(self, bead: int) -> NDArray[np.int64]:
        """Atoms of a bead.

        Args:
            bead: index of the bead.

        Returns:
            (atom,) indices in ascending order.
        """
        return np.flatnonzero(self.owner == bead)

    def to_json(self) -> str:
        """The mapping as JSON; `from_json` reads it back.

        Returns:
            The text.
        """
        topology = {key: value.tolist() for key, value in vars(self.topology).items()}
        fields = {key: value.tolist() for key, value in vars(self).items() if isinstance(value, np.ndarray)}
        return json.dumps({"kind": self.kind, "topology": topology, **fields}, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Mapping:
        """A mapping from the text that `to_json` wrote.

        Args:
            text: the JSON.

        Returns:
            The mapping.

        Raises:
            ValueError: if the text is not that of a mapping.
        """
        try:
            fields = json.loads(text)
            topology = Topology(**fields.pop("topology"))
            kind = fields.pop("kind")
            arrays = {key: np.asarray(value) for key, value in fields.items()}
            arrays["links"] = arrays["links"].astype(np.int64).reshape(-1, 2)
            return cls(topology=topology, kind=kind, **arrays)
        except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
            raise ValueError(f"not the JSON of a mapping: {error}") from error


def build(
    universe,
    beads: Sequence[BeadSpec],
    topology: Topology | None,
    *,
    constraints: str | ArrayLike,
    kind: str,
) -> Mapping:
    """A mapping from lists of atoms.

    Args:
        universe: MDAnalysis Universe.
        beads: the beads.
        topology: their molecules and bonded interactions; None: from the atomistic bonds.
        constraints: see `Mapping.center_of_mass`.
        kind: in words, how the mapping was made.

    Returns:
        The mapping.

    Raises:
        ValueError: for atoms in two beads, weights that cannot be normalized, or constraints that cross two beads.
    """
    if not beads:
        raise ValueError("the mapping has no beads: nothing in the universe matches it")
    masses = force_map.masses_of(universe)
    checks.refuse_guessed_zeros(universe)
    owner = owners(beads, len(masses))
    weight = np.zeros(len(masses))
    for bead, values in zip(beads, weights_of(beads, masses), strict=True):
        weight[bead.atoms] = values
    names = np.array([bead.name for bead in beads])
    force_map.require_bonds_where_needed(universe, owner, constraints)
    force_owner = force_map.force_atoms(owner, masses, force_map.find_constraints(universe, constraints), names)
    force_map.warn_unmapped(universe, owner, force_owner)
    bonds = force_map.bonds_of(universe)
    inside = (owner[bonds[:, 0]] >= 0) & (owner[bonds[:, 0]] == owner[bonds[:, 1]])
    charges = universe.atoms.charges if hasattr(universe.atoms, "charges") else np.zeros(len(masses))
    mapped = owner >= 0
    mass, charge = (_sums(owner[mapped], values[mapped], len(beads)) for values in (masses, charges))
    checks.check_beads(universe, beads, owner, mass)
    checks.warn_united_atoms(universe)
    # Charges of whole molecules are integers; what single precision leaves of them is not a charge.
    return Mapping(
        name=names,
        bead_type=np.array([bead.bead_type for bead in beads]),
        mass=mass,
        charge=np.where(np.abs(charge - np.rint(charge)) < 1e-4, np.rint(charge) + 0.0, charge),
        topology=topology or _derived_topology(universe, beads, owner),
        owner=owner,
        weight=weight,
        force_owner=force_owner,
        links=bonds[inside],
        kind=kind,
    )


def _sums(owner: NDArray[np.int64], values: NDArray[np.float64], n_beads: int) -> NDArray[np.float64]:
    """The sum of the values of each bead's atoms."""
    return np.bincount(owner, values, minlength=n_beads).astype(np.float64)


def _derived_topology(universe, beads: Sequence[BeadSpec], owner: NDArray[np.int64]) -> Topology:
    """Bonds between beads where atoms are bonded; molecules are those of the atoms."""
    derived = Topology.from_bonds(len(beads), crossing_bonds(universe, owner))
    molecule = np.empty(len(owner), dtype=np.int64)
    for number, part in enumerate(molecules_of(universe)):
        molecule[part.atoms] = number
    fields = dict(vars(derived))
    fields["molecule"] = renumber(molecule[[bead.atoms[0] for bead in beads]])
    return Topology(**fields)


def _centers(
    cls, universe, by: By, names: Dictionary[str, str] | None, select: str, constraints, *, geometry: bool
) -> Mapping:
    parts = _parts(universe, by)
    chosen = np.zeros(len(universe.atoms), dtype=bool)
    chosen[_selected(universe, select)] = True
    parts = [Molecule(part.name, part.atoms[chosen[part.atoms]]) for part in parts if chosen[part.atoms].any()]
    known = {part.name for part in parts}
    unknown = sorted(set(names or {}) - known)
    if unknown:
        raise ValueError(f"names: no {by} called {', '.join(unknown)}; the universe has {described(universe, parts)}")
    types = {name: (names or {}).get(name, name) for name in known}
    beads = [
        BeadSpec(types[part.name], types[part.name], part.atoms, np.ones(len(part.atoms)) if geometry else None)
        for part in parts
    ]
    kind = f"center of {'geometry' if geometry else 'mass'} by {by}"
    return build(universe, beads, None, constraints=constraints, kind=kind)


def _selected(universe, select: str) -> NDArray[np.int64]:
    """Atoms of a selection.

    Raises:
        ValueError: if it is no selection, or no atom is in it.
    """
    from MDAnalysis.exceptions import SelectionError

    try:
        found = universe.select_atoms(select).indices
    except SelectionError as error:
        raise ValueError(f"select={select!r} is no selection of MDAnalysis: {error}") from None
    if not len(found):
        raise ValueError(f"select={select!r} selects no atom of the {len(universe.atoms)}")
    return found


def _parts(universe, by: By) -> list[Molecule]:
    if by == "residues":
        return residues_of(universe)
    if by == "molecules":
        return molecules_of(universe)
    if by == "fragments":
        return fragments(universe)
    if by == "atoms":
        return [Molecule(str(name), np.array([i])) for i, name in enumerate(force_map.names_of(universe))]
    raise ValueError(f"by={by!r}: choose residues, molecules, fragments or atoms")
