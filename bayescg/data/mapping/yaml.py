"""Mappings from YAML.

```yaml
molecules:
  HEX:                                   # name of the molecule type (TPR), or of its first residue
    beads:
      A1: {type: A, atoms: C1 H1 H2 H3 C2 H4 H5}
      B1: {type: B, atoms: C3 H6 H7 C4 H8 H9}
      A2: {type: A, atoms: [13, 14, 15, 16, 17, 18, 19]}
    bonds: [[A1, B1], [B1, A2]]
  SOL:
    beads:
      W: {atoms: all, weights: mass}
```

A bead has `atoms` (names, or indices that count from 0 within the molecule, or `all`), and optionally `type` (its name
if left out) and `weights` (`mass`, the default, `geometry`, or a list of numbers, one for each atom). Where a name
occurs in several residues of a molecule, put the number of the residue in the molecule before it, counted from 1:
`2:CA`.

`bonds` lists pairs of bead names. Angles and dihedrals are derived from the bonds unless `angles` or `dihedrals` are
listed. Each entry may carry a group that tells interactions of equal types apart: `{beads: [A1, B1], group: ends}`.

Molecules that the file does not name are in no bead, which is announced by a warning.
"""

from __future__ import annotations

import os
from functools import partial
from typing import Annotated, Any

import numpy as np
from pydantic import BeforeValidator, Field

from bayescg._settings import Section, Text, validate
from bayescg._yaml import read_yaml
from bayescg.data.mapping.beads import BeadSpec
from bayescg.data.mapping.templates import BeadTemplate, Interactions, MoleculeTemplate, instantiate
from bayescg.data.mapping.topology import Topology


def _atoms(value: Any) -> tuple[str | int, ...]:
    found = value.split() if isinstance(value, str) else value
    known = isinstance(found, list) and all(isinstance(a, str | int) and not isinstance(a, bool) for a in found)
    if not found or not known:
        raise ValueError(f"names, indices, or `all` were expected, not {value!r}")
    return tuple(found)


def _weights(value: Any) -> Any:
    numbers = isinstance(value, list) and all(isinstance(w, int | float) and not isinstance(w, bool) for w in value)
    if not numbers and value not in ("mass", "geometry"):
        raise ValueError(f"weights must be mass, geometry or a list of numbers, not {value!r}")
    return tuple(map(float, value)) if numbers else value


def _listed(kind: str, width: int, value: Any) -> tuple[Any, ...]:
    """Entries of a list of bonds, angles or dihedrals, those without a group as those with one."""
    if not isinstance(value, list):
        raise ValueError(f"a list of {kind} was expected, not {value!r}")
    entries = []
    for item in value:
        entry = dict(item) if isinstance(item, dict) else {"beads": item}
        names = entry.get("beads", [""] * width)
        if not isinstance(names, list) or len(names) != width:
            raise ValueError(f"{kind} need {width} bead names each, but one is {item!r}")
        entries.append({**entry, "beads": tuple(names)} if "beads" in entry else entry)
    return tuple(entries)


class Bead(Section):
    """A bead of a kind of molecule."""

    type: Text | None = None
    """Bead type; its name if left out."""
    atoms: Annotated[tuple[str | int, ...], BeforeValidator(_atoms)]
    """Names, indices within the molecule, or all."""
    weights: Annotated[str | tuple[float, ...], BeforeValidator(_weights)] = "mass"
    """mass, geometry or numbers."""

    def template(self, name: str) -> BeadTemplate:
        """The bead under its name."""
        atoms = None if self.atoms == ("all",) else self.atoms
        weights = self.weights if isinstance(self.weights, str) else np.array(self.weights)
        return BeadTemplate(name, self.type or name, atoms, weights)


class Interaction(Section):
    """A bond, an angle or a dihedral."""

    beads: tuple[Text, ...]
    """Names of beads."""
    group: Text = ""
    """Tells interactions of equal bead types apart."""


class Molecule(Section):
    """A kind of molecule."""

    beads: dict[Text, Bead] = Field(examples=["{W: {atoms: all}}"])
    """By name."""
    bonds: Annotated[tuple[Interaction, ...], BeforeValidator(partial(_listed, "bonds", 2))] = ()
    """Pairs of bead names."""
    angles: Annotated[tuple[Interaction, ...], BeforeValidator(partial(_listed, "angles", 3))] | None = None
    """Derived from the bonds if left out."""
    dihedrals: Annotated[tuple[Interaction, ...], BeforeValidator(partial(_listed, "dihedrals", 4))] | None = None
    """Derived from the bonds if left out."""

    def template(self, name: str) -> MoleculeTemplate:
        """The molecule under its name."""
        beads = tuple(bead.template(label) for label, bead in self.beads.items())
        return MoleculeTemplate(name, beads, _named(self.bonds) or (), _named(self.angles), _named(self.dihedrals))


class MappingFile(Section):
    """The file."""

    molecules: dict[Text, Molecule] = Field(examples=["{SOL: {beads: {W: {atoms: all}}}}"])
    """Kinds of molecules by name."""


def _named(listed: tuple[Interaction, ...] | None) -> Interactions | None:
    return None if listed is None else tuple((each.beads, each.group) for each in listed)


def read(path: str | os.PathLike[str], universe) -> tuple[list[BeadSpec], Topology]:
    """The beads and bonded interactions that a YAML file describes.

    Args:
        path: the file.
        universe: MDAnalysis Universe.

    Returns:
        Beads and topology.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: naming what in the file is wrong or does not fit the universe.
    """
    given = validate(MappingFile, read_yaml(path))
    try:
        return instantiate([molecule.template(name) for name, molecule in given.molecules.items()], universe)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
