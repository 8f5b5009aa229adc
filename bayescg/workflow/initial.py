"""`init`: a configuration for given files, to begin with."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import combinations_with_replacement
from pathlib import Path

import numpy as np
import xarray as xr
import yaml

from bayescg.data import Mapping, open_universe, pairs, stream
from bayescg.data.dumps import Units
from bayescg.data.mapping.beads import Molecule, molecules_of
from bayescg.data.mapping.force_map import bonds_of, names_of
from bayescg.geometry.images import minimum_image, shortest_height

_NEIGHBORS = 3.0
"""Cutoff in units of the typical distance between nearest beads: the second shell of a liquid."""

_LONG, _MANY = 1.5, 21
"""Longest cutoff [nm], and most pair terms, that are written without being asked for."""


def initial(
    topology: str | os.PathLike[str],
    trajectory: Sequence[str | os.PathLike[str]],
    *,
    temperature: float,
    units: Units | None = None,
    timestep: float | None = None,
    folder: Path = Path(),
) -> str:
    """A configuration for these files: one bead for each molecule, a pair term for each pair of kinds.

    Args:
        topology: any topology that MDAnalysis reads.
        trajectory: one file, or several.
        temperature: of the simulation [K].
        units: of a LAMMPS dump.
        timestep: of a LAMMPS dump [ps].
        folder: where the configuration will lie; paths are written relative to it where they are below.

    Returns:
        YAML, with comments.

    Raises:
        FileNotFoundError: if a file is missing.
        ValueError: if the files cannot be read, or mapped.
    """
    universe = open_universe(topology, trajectory, units=units, timestep=timestep)
    by = "molecules" if len(bonds_of(universe)) or hasattr(universe.atoms, "molnums") else "residues"
    molecules = molecules_of(universe)
    mapping = Mapping.center_of_mass(universe, by=by)
    has_forces = bool(universe.trajectory.ts.has_forces)
    forces = "unchecked" if has_forces else False
    first = next(stream(universe, mapping, temperature=temperature, stop=1, forces=forces))
    kinds = list(dict.fromkeys(part.name for part in molecules))
    lines = ["# Written by `bayescg init`; `bayescg check` says what it means, `bayescg run` carries it out.", ""]
    lines += ["input:"]
    lines += [f"  topology: {_text(_relative(topology, folder))}"]
    lines += [f"  trajectory: {_text([_relative(each, folder) for each in trajectory])}"]
    lines += [f"  temperature: {temperature:g}            # [K]"]
    said = {"units": units, "timestep": timestep}
    lines += [f"  {name}: {_text(value)}" for name, value in said.items() if value is not None]
    lines += ["  constraints: h-bonds          # held rigid in the simulation: h-bonds, all-bonds, none"]
    if not has_forces:
        lines += ["  # The trajectory has no forces: `run` needs them. Write them, or fit structure in Python."]
    lines += ["", "mapping:", f"  by: {by}", "  names:                        # bead types of the kinds of molecules"]
    lines += [f"    {_text(kind)}: {_text(kind):<20}      # {_described(universe, molecules, kind)}" for kind in kinds]
    lines += ["", "potential:", "  terms:"]
    lines += _terms(kinds, first)
    lines += ["", "simulation:", "  draws: 16                     # posterior draws, each simulated"]
    lines += ["  time: 20.0                    # of each [ps]", "", "exports:", "  formats: [lammps]"]
    lines += ["", "output: results", ""]
    return "\n".join(lines)


def _terms(kinds: Sequence[str], first: xr.Dataset) -> list[str]:
    cutoff = _cutoff(first)
    if cutoff is None:
        raise ValueError(
            "one bead for each molecule leaves nothing to fit: the system is one molecule. Divide it into beads by a "
            "mapping file (docs: Mappings), and start from `bayescg init` without files"
        )
    lines = []
    present = [pair for pair in combinations_with_replacement(kinds, 2) if _possible(pair, first)]
    for a, b in present[:_MANY]:
        lines += [f"    - pair: {_text([a, b])}", f"      cutoff: {cutoff:g}"]
    if len(present) > _MANY:
        lines += [f"    # {len(present) - _MANY} more pairs of these kinds are left out: add those that matter"]
    return lines


def _possible(pair: tuple[str, str], first: xr.Dataset) -> bool:
    """Whether there are two different beads of these types."""
    return pair[0] != pair[1] or int(np.sum(first["bead_type"].values == pair[0])) > 1


def _cutoff(first: xr.Dataset) -> float | None:
    """Three distances between neighbors, as far as the box goes; None of a single bead."""
    points = first["positions"].values[0].astype(float)
    box = first["box"].values[0]
    if len(points) < 2:
        return None
    longest = min(shortest_height(box) / 2, _LONG)
    i, j = pairs(points, box, longest * 0.999).T
    nearest = np.full(len(points), np.inf)
    distance = np.sqrt((minimum_image(points[i] - points[j], box) ** 2).sum(axis=1))
    np.minimum.at(nearest, i, distance)
    np.minimum.at(nearest, j, distance)
    found = nearest[np.isfinite(nearest)]
    typical = float(np.median(found)) if len(found) else longest / _NEIGHBORS
    return float(np.floor(min(_NEIGHBORS * typical, 0.99 * longest) * 20) / 20) or 0.05


def _described(universe, molecules: Sequence[Molecule], kind: str) -> str:
    own = [part for part in molecules if part.name == kind]
    names = names_of(universe)[own[0].atoms[:8]]
    more = " ..." if len(own[0].atoms) > 8 else ""
    return f"{len(own)}, of {len(own[0].atoms)} atoms: {' '.join(names)}{more}"


def _relative(path: str | os.PathLike[str], folder: Path) -> str:
    absolute, below = Path(path).absolute(), folder.absolute()
    return str(absolute.relative_to(below)) if absolute.is_relative_to(below) else str(absolute)


def _text(value: object) -> str:
    """A value in one line of YAML."""
    return yaml.safe_dump(value, default_flow_style=True, width=10_000).removesuffix("...\n").strip()
