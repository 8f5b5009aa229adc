"""Positions of atoms into files of any format that MDAnalysis writes."""

from __future__ import annotations

import contextlib
import os
import secrets
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Float

_ANGSTROM = 10.0


def write_positions(
    positions: Float[np.ndarray, "frame atom 3"],
    path: str | os.PathLike[str],
    universe,
    *,
    box: Float[np.ndarray, "frame 3 3"] | None = None,
    time: Float[np.ndarray, " frame"] | None = None,
) -> Path:
    """Write frames with the names, residues and bonds of a universe.

    Args:
        positions: [nm].
        path: file; its suffix says the format (pdb, gro, xtc, trr, dcd, xyz, data, ...).
        universe: MDAnalysis Universe of the same atoms; its own positions do not matter.
        box: lattice vectors in rows [nm]; None for none.
        time: [ps]; the number of the frame if None.

    Returns:
        The path.

    Raises:
        ValueError: if the universe has other atoms, the format is not known, holds one frame only, or needs what the
            universe does not have.
    """
    import MDAnalysis
    from MDAnalysis.coordinates.core import get_writer_for
    from MDAnalysis.coordinates.memory import MemoryReader
    from MDAnalysis.lib.mdamath import triclinic_box

    values = np.asarray(positions, float)
    if len(universe.atoms) != values.shape[1]:
        raise ValueError(
            f"there are {values.shape[1]} atoms to write and the universe has {len(universe.atoms)}: give the topology "
            "that the target was made from"
        )
    several = len(values) > 1
    final = Path(path)
    try:
        # None lets the format decide, which for PDB means that frames follow each other.
        get_writer_for(str(final), multiframe=True if several else None)
    except (TypeError, ValueError) as error:
        what = f"files of {len(values)} frames" if several else "files"
        raise ValueError(
            f"MDAnalysis cannot write {what} that end in {final.suffix or 'nothing'!r}: choose pdb, xtc, trr or dcd"
            + (", or one draw and one frame" if several else "")
        ) from error
    sizes = None if box is None else np.array([triclinic_box(*(_ANGSTROM * rows)) for rows in np.asarray(box, float)])
    with warnings.catch_warnings():
        # Attributes that are not there get the format's defaults.
        warnings.simplefilter("ignore")
        written = universe.copy() if hasattr(universe, "trajectory") else universe
        coordinates = (_ANGSTROM * values).astype(np.float32)
        written.load_new(coordinates, format=MemoryReader, order="fac", dimensions=sizes)
        with _replaced(final) as temporary:
            try:
                with MDAnalysis.Writer(str(temporary), n_atoms=len(written.atoms), multiframe=several) as writer:
                    for number, step in enumerate(written.trajectory):
                        step.time = float(number if time is None else time[number])
                        writer.write(written.atoms)
            except (MDAnalysis.exceptions.NoDataError, AttributeError) as error:
                raise ValueError(f"{final.name} cannot be written: {error}; give a topology that has it") from error
    return final


@contextlib.contextmanager
def _replaced(final: Path) -> Iterator[Path]:
    """A temporary path with the same suffix, by which writers tell the format; it takes the name at the end."""
    final.parent.mkdir(parents=True, exist_ok=True)
    temporary = final.with_name(f".{secrets.token_hex(4)}.{final.name}")
    try:
        yield temporary
        temporary.replace(final)
    finally:
        temporary.unlink(missing_ok=True)
