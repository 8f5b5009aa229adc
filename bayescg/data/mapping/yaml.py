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
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray

from bayescg.data.mapping.beads import BeadSpec
from bayescg.data.mapping.templates import BeadTemplate, MoleculeTemplate, instantiate
from bayescg.data.mapping.topology import Topology

_WIDTHS = {"bonds": 2, "angles": 3, "dihedrals": 4}


def read(path: str | os.PathLike[str], universe) -> tuple[list[BeadSpec], Topology]:
    """The beads and bonded interactions that a YAML file describes.

    Args:
        path: the file.
        universe: MDAnalysis Universe.

    Returns:
        Beads and topology.

    Raises:
        ValueError: naming what in the file is wrong or does not fit the universe.
    """
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is not YAML: {error}") from error
    if not isinstance(content, dict) or not isinstance(content.get("molecules"), dict):
        raise ValueError(f"{path}: the file must begin with `molecules:` and name the kinds of molecules below it")
    try:
        return instantiate([_molecule(name, entry) for name, entry in content["molecules"].items()], universe)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _molecule(name: str, entry: object) -> MoleculeTemplate:
    _check_keys(f"molecule {name}", entry, {"beads", *_WIDTHS}, required="beads")
    assert isinstance(entry, dict)
    if not isinstance(entry["beads"], dict):
        raise ValueError(f"molecule {name}: beads must be a table of bead names, as in `W: {{atoms: all}}`")
    beads = tuple(_bead(name, str(bead), spec) for bead, spec in entry["beads"].items())
    bonded = {
        key: tuple(_interaction(name, key, item) for item in entry[key]) if entry.get(key) is not None else None
        for key in _WIDTHS
    }
    return MoleculeTemplate(str(name), beads, bonded["bonds"] or (), bonded["angles"], bonded["dihedrals"])


def _bead(molecule: str, name: str, spec: object) -> BeadTemplate:
    where = f"molecule {molecule}, bead {name}"
    _check_keys(where, spec, {"type", "atoms", "weights"}, required="atoms")
    assert isinstance(spec, dict)
    atoms = spec["atoms"]
    listed = atoms.split() if isinstance(atoms, str) else atoms
    if not isinstance(listed, list) or not listed:
        raise ValueError(f"{where}: atoms must be names, indices, or `all`")
    weights = spec.get("weights", "mass")
    return BeadTemplate(
        name, str(spec.get("type", name)), None if listed == ["all"] else tuple(listed), _weights(where, weights)
    )


def _weights(where: str, weights: object) -> NDArray[np.float64] | str:
    if weights in ("mass", "geometry"):
        return str(weights)
    if isinstance(weights, list) and all(isinstance(w, int | float) and not isinstance(w, bool) for w in weights):
        return np.array(weights, dtype=np.float64)
    raise ValueError(f"{where}: weights must be mass, geometry or a list of numbers, not {weights!r}")


def _interaction(molecule: str, kind: str, item: object) -> tuple[tuple[str, ...], str]:
    beads, group = (item.get("beads"), item.get("group", "")) if isinstance(item, dict) else (item, "")
    if not isinstance(beads, list) or len(beads) != _WIDTHS[kind]:
        raise ValueError(f"molecule {molecule}: {kind} need {_WIDTHS[kind]} bead names each, but one is {item!r}")
    return tuple(str(bead) for bead in beads), str(group)


def _check_keys(where: str, entry: object, allowed: set[str], required: str) -> None:
    if not isinstance(entry, dict) or required not in entry:
        raise ValueError(f"{where}: `{required}` is missing")
    unknown = sorted(str(key) for key in entry if key not in allowed)
    if unknown:
        raise ValueError(f"{where}: unknown {', '.join(unknown)}; known are {', '.join(sorted(allowed))}")
