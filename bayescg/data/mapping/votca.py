"""Mappings from VOTCA's XML files (https://www.votca.org/csg/mapping.html)."""

from __future__ import annotations

import os
import warnings
import xml.etree.ElementTree as ET
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bayescg.data.mapping.beads import BeadSpec
from bayescg.data.mapping.templates import BeadTemplate, Interactions, MoleculeTemplate, instantiate
from bayescg.data.mapping.topology import Topology

_WIDTHS = {"bond": 2, "angle": 3, "dihedral": 4}


def read(paths: Sequence[str | os.PathLike[str]], universe) -> tuple[list[BeadSpec], Topology]:
    """The beads and bonded interactions that VOTCA mapping files describe.

    Args:
        paths: the files, one for each kind of molecule.
        universe: MDAnalysis Universe.

    Returns:
        Beads and topology.

    Raises:
        ValueError: naming the file and what in it is wrong or does not fit the universe.
    """
    templates = []
    for path in paths:
        try:
            # A file of the user's own; the parser opens no others that it names.
            templates.append(_molecule(ET.parse(path).getroot()))  # noqa: S314
        except (ET.ParseError, ValueError) as error:
            raise ValueError(f"{path} is not a VOTCA mapping that can be read: {error}") from error
    try:
        return instantiate(templates, universe)
    except ValueError as error:
        raise ValueError(f"{', '.join(str(path) for path in paths)}: {error}") from error


def _molecule(root: ET.Element) -> MoleculeTemplate:
    if root.tag != "cg_molecule":
        raise ValueError(f"its root is <{root.tag}>, not <cg_molecule>")
    maps = {_text(entry, "name"): entry for entry in root.findall("maps/map")}
    beads = tuple(_bead(entry, maps) for entry in root.findall("topology/cg_beads/cg_bead"))
    bonded: dict[str, Interactions] = {kind: _interactions(root, kind) for kind in _WIDTHS}
    # What cg_bonded lists is all there is: nothing is derived.
    return MoleculeTemplate(_text(root, "ident"), beads, bonded["bond"], bonded["angle"], bonded["dihedral"])


def _bead(entry: ET.Element, maps: dict[str, ET.Element]) -> BeadTemplate:
    name = _text(entry, "name")
    atoms = []
    for word in _text(entry, "beads").split():
        parts = word.split(":")
        if len(parts) != 3:
            raise ValueError(f"bead {name}: atom {word} is not written as residue number:residue name:atom name")
        atoms.append(f"{parts[0]}:{parts[2]}")
    mapping = _text(entry, "mapping")
    if mapping not in maps:
        raise ValueError(f"bead {name}: there is no map {mapping}; the file has {', '.join(maps) or 'none'}")
    weights = _numbers(maps[mapping], "weights")
    _compare_force_weights(maps[mapping], mapping, weights)
    return BeadTemplate(name, _text(entry, "type"), tuple(atoms), weights)


def _compare_force_weights(entry: ET.Element, name: str, weights: NDArray[np.float64]) -> None:
    """Warn where VOTCA would weight forces: here all atoms of a bead enter its force equally."""
    if entry.find("d") is None:
        return
    d = _numbers(entry, "d")
    if d.shape != weights.shape or not np.allclose(d / d.sum(), weights / weights.sum(), rtol=1e-3):
        warnings.warn(
            f"map {name}: <d> differs from <weights>; it is ignored, because atoms that constraints tie together must "
            "enter the force with equal weight",
            stacklevel=6,
        )


def _interactions(root: ET.Element, kind: str) -> Interactions:
    width = _WIDTHS[kind]
    listed = []
    for entry in root.findall(f"topology/cg_bonded/{kind}"):
        names = _text(entry, "beads").split()
        if len(names) % width or not names:
            raise ValueError(f"{kind} {_text(entry, 'name')}: {len(names)} beads do not make {kind}s of {width}")
        group = _text(entry, "name")
        listed += [(tuple(names[i : i + width]), group) for i in range(0, len(names), width)]
    return tuple(listed)


def _text(entry: ET.Element, tag: str) -> str:
    text = entry.findtext(tag)
    if text is None or not text.strip():
        raise ValueError(f"<{tag}> is missing in <{entry.tag}>")
    return text.strip()


def _numbers(entry: ET.Element, tag: str) -> NDArray[np.float64]:
    text = _text(entry, tag)
    try:
        return np.array([float(word) for word in text.split()])
    except ValueError as error:
        raise ValueError(f"<{tag}> holds {text!r}: numbers are expected") from error
