"""Opening a simulation from its files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def open_universe(
    topology: str | os.PathLike[str],
    trajectory: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    units: str | None = None,
    timestep: float | None = None,
):
    """An MDAnalysis Universe from files, with what a LAMMPS dump does not say itself.

    Args:
        topology: any topology that MDAnalysis reads.
        trajectory: one trajectory, or several that follow each other.
        units: "real" or "metal", for LAMMPS dumps.
        timestep: of the simulation [ps], for LAMMPS dumps.

    Returns:
        The Universe.

    Raises:
        FileNotFoundError: if a file is missing.
        ValueError: if a file is empty, or MDAnalysis cannot read it.
    """
    import MDAnalysis

    files = [trajectory] if isinstance(trajectory, str | os.PathLike) else list(trajectory)
    for path in (topology, *files):
        if not Path(path).is_file():
            raise FileNotFoundError(f"no such file: {path}")
        # MDAnalysis says so too, and then breaks again where the half-made reader is deleted.
        if Path(path).stat().st_size == 0:
            raise ValueError(f"{path} is empty (0 bytes): the program that wrote it did not get that far")
    options: dict[str, Any] = {name: value for name, value in (("units", units), ("dt", timestep)) if value is not None}
    try:
        return MDAnalysis.Universe(str(topology), [str(path) for path in files], **options)
    except (OSError, EOFError, ValueError, TypeError, KeyError, IndexError) as error:
        names = ", ".join(Path(path).name for path in (topology, *files))
        raise ValueError(f"MDAnalysis cannot read {names}: {error}") from error
