"""Opening a simulation from its files: what they are is seen from their first bytes, not from their names."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bayescg.data.dumps import DUMP, Units, atom_style
from bayescg.data.mapping.checks import refuse_guessed_zeros
from bayescg.data.mapping.force_map import names_of

_TRR = (b"\x00\x00\x07\xc9",)
_XTC = (b"\x00\x00\x07\xcb", b"\x00\x00\x07\xe7")  # the second since GROMACS 2023, for more than 298 million atoms
_BINARY = {".trr": (_TRR, "a GROMACS TRR"), ".xtc": (_XTC, "a GROMACS XTC")}


def open_universe(
    topology: str | os.PathLike[str],
    trajectory: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    units: Units | None = None,
    timestep: float | None = None,
    format: str | None = None,
    masses: Mapping[str, float] | None = None,
):
    """An MDAnalysis Universe from files, with what they do not say themselves.

    Args:
        topology: any topology that MDAnalysis reads.
        trajectory: one trajectory, or several that follow each other.
        units: "real", "metal" or `LennardJonesUnits`, for LAMMPS dumps.
        timestep: of the simulation [ps], for LAMMPS dumps; in their own unit with `LennardJonesUnits`.
        format: of the trajectory, in MDAnalysis's words; LAMMPS dumps of any name are recognized.
        masses: by atom name (or type, where there are no names), for topologies without masses [Da; in units lj in
            theirs].

    Returns:
        The Universe.

    Raises:
        FileNotFoundError: if a file is missing.
        ValueError: if a file is empty or not what its name says, MDAnalysis cannot read it, or no atom has a name that
            `masses` gives.
    """
    import MDAnalysis

    files = [trajectory] if isinstance(trajectory, str | os.PathLike) else list(trajectory)
    for path in (topology, *files):
        if not Path(path).is_file():
            raise FileNotFoundError(f"no such file: {path}")
        if Path(path).stat().st_size == 0:
            raise ValueError(f"{path} is empty (0 bytes): the program that wrote it did not get that far")
    _check_topology(Path(topology))
    if format is None:
        formats = {_format(Path(path)) for path in files} - {None}
        format = formats.pop() if len(formats) == 1 else None
    given = {"units": units, "dt": timestep, "format": format, "atom_style": atom_style(topology)}
    options: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    universe, reason = None, ""
    with _quietly():
        try:
            universe = MDAnalysis.Universe(str(topology), [str(path) for path in files], **options)
        except (OSError, EOFError, ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
            reason = " ".join(str(error).split())[:300]
        if universe is None:
            gc.collect()
    if universe is None:
        raise ValueError(
            f"MDAnalysis cannot read {', '.join(Path(each).name for each in (topology, *files))}: {reason}"
        )
    if masses:
        _set_masses(universe, masses)
    return universe


def _check_topology(path: Path) -> None:
    """Say what a file is that is no topology.

    Raises:
        ValueError: for a trajectory, or a topology before GROMACS's preprocessor.
    """
    with path.open("rb") as file:
        head = file.read(4096)
    if head.startswith((*_TRR, *_XTC, b"ITEM: TIMESTEP")):
        raise ValueError(f"{path.name} is a trajectory, not a topology: are topology and trajectory swapped?")
    if path.suffix in (".top", ".itp") and any(word in head for word in (b"[ ", b"#include", b"[system", b"[molec")):
        raise ValueError(
            f"{path.name} is an input of gmx grompp: give the .tpr that grompp made from it, which has masses, charges "
            "and bonds of all molecules"
        )


def _format(path: Path) -> str | None:
    """A format that the name does not tell.

    Raises:
        ValueError: if a file is not what its name says.
    """
    with path.open("rb") as file:
        head = file.read(16)
    if head.startswith(b"ITEM: TIMESTEP"):
        return DUMP
    magic, what = _BINARY.get(path.suffix, ((b"",), ""))
    if not head.startswith(magic):
        raise ValueError(f"{path.name} is not {what}, whatever its name says: its first bytes are {head[:8]!r}")
    return None


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Silence what MDAnalysis says of dumps without a timestep, and of half-made readers that are deleted."""
    hook = sys.unraisablehook
    sys.unraisablehook = lambda _: None
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Reader has no dt information")
            yield
    finally:
        sys.unraisablehook = hook


def _set_masses(universe, given: Mapping[str, float]) -> None:
    """Masses of atoms by name, over what the topology says or a reader guessed."""
    names = names_of(universe)
    unknown = sorted(set(given) - set(names.tolist()))
    if unknown:
        raise ValueError(
            f"masses: no atom is called {', '.join(unknown)}; the topology has {', '.join(sorted(set(names))[:20])}"
        )
    refuse_guessed_zeros(universe, given)
    masses = np.array(universe.atoms.masses if hasattr(universe.atoms, "masses") else np.zeros(len(names)), float)
    for name, value in given.items():
        masses[names == name] = value
    universe.add_TopologyAttr("masses", masses)
