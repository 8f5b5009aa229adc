"""LAMMPS as a program that runs here: whether it can run a potential, and how it is set up to."""

from __future__ import annotations

import functools
import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Float

from bayescg._runtime import process_environment
from bayescg.exports.lammps.commands import interaction_commands
from bayescg.exports.lammps.data import atom_style, bead_types_of, ghost_cutoff, other_bonds_of, write_data_file
from bayescg.exports.lammps.style import overlays_of, require_styles
from bayescg.exports.lammps.tables import write_tables
from bayescg.potentials import Interactions, Potential
from bayescg.units import ANGSTROM

_INSTALL = "pip install 'bayescg[lammps]'"


class Answer(NamedTuple):
    """Whether something can be done; true or false.

    Attributes:
        possible: whether it can.
        reason: why it cannot, with the remedy.
    """

    possible: bool
    reason: str = ""

    def __bool__(self) -> bool:
        return self.possible


def can_run(potential: Potential) -> Answer:
    """Whether LAMMPS can be imported here and has styles for all terms of a potential."""
    try:
        require_styles(potential)
    except ValueError as error:
        return Answer(possible=False, reason=str(error))
    reason = _missing(tuple(style.pair_style.split()[0] for style in overlays_of(potential)))
    return Answer(reason is None, "" if reason is None else f"{reason}: {_INSTALL}")


@functools.cache
def _missing(styles: tuple[str, ...]) -> str | None:
    """Why LAMMPS cannot be used here with these pair styles; None if it can."""
    if importlib.util.find_spec("lammps") is None:
        return "the Python module lammps is not installed"
    script = [sys.executable, "-P", str(Path(__file__).with_name("library.py")), *styles]
    check = subprocess.run(script, capture_output=True, text=True, env=process_environment(), check=False)
    return None if check.returncode == 0 else (check.stderr.strip().splitlines() or ["it cannot be imported"])[-1]


def write_setup(
    folder: Path, potential: Potential, coefficients: Float[np.ndarray, "draw basis"], initial: xr.Dataset
) -> list[list[str]]:
    """Write a configuration, and the files of the potential of each draw.

    Args:
        folder: where to write; each draw has a folder `drawK` in it.
        potential: the potential, all ranges filled in.
        coefficients: (draw, basis) [kJ/mol].
        initial: the configuration, with box, masses and bonded interactions.

    Returns:
        For each draw the commands that define box, beads and forces (units real), files by their absolute names.

    Raises:
        ValueError: if the potential does not fit the system, or LAMMPS has no style for a term.
    """
    data = write_data_file(folder / "system.data", initial, potential)
    types = bead_types_of(potential, initial)
    others = len(other_bonds_of(potential, Interactions.of(potential, initial), initial)) > 0
    beads = ["units real", f"atom_style {atom_style(potential)}", "boundary p p p", f'read_data "{data}"']
    ghosts = f"comm_modify cutoff {ghost_cutoff(initial, potential) / ANGSTROM:.10g}"
    setups = []
    for number, w in enumerate(coefficients):
        tables = write_tables(potential, w, folder / f"draw{number}", bead_types=types)
        forces = interaction_commands(potential, tables, types, other_bonds=others, relative=False)
        setups.append([*beads, *forces, ghosts])
    return setups
