"""LAMMPS: exported files read back, as LAMMPS reads them, and compared with what they were made from."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xarray as xr
from jaxtyping import Float

from bayescg.exports.lammps.names import keyword
from bayescg.exports.lammps.style import KINDS
from bayescg.exports.lammps.tables import Tables, interpolation, table_curves
from bayescg.exports.tables import curves
from bayescg.exports.tables.configuration import one_frame
from bayescg.exports.tables.curves import Comparison
from bayescg.geometry.images import minimum_image
from bayescg.potentials import Potential
from bayescg.units import KCAL

Columns = tuple[np.ndarray, np.ndarray, np.ndarray]


def read_tables(path: str | os.PathLike[str]) -> dict[str, tuple[list[str], np.ndarray]]:
    """Sections of a LAMMPS table file.

    Returns:
        Keyword -> words of the header line and the rows (entry, 4), in the units of the file.

    Raises:
        ValueError: if a section is cut short or holds no numbers.
    """
    lines = [line.strip() for line in Path(path).read_text().splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    found, at = {}, 0
    while at + 1 < len(lines):
        header = lines[at + 1].split()
        count = int(header[header.index("N") + 1])
        rows = lines[at + 2 : at + 2 + count]
        if len(rows) < count:
            raise ValueError(f"{path}: section {lines[at]} ends after {len(rows)} of {count} entries")
        found[lines[at].split()[0]] = (header, np.array([row.split() for row in rows], float))
        at += 2 + count
    return found


def compare_tables(
    potential: Potential,
    coefficients: Float[np.ndarray, " basis"],
    tables: Tables,
    bead_types: Sequence[str] | None = None,
) -> list[Comparison]:
    """Compare written tables with the fit, every term, forces between entries included.

    Lookup tables of three-body terms (`threebody/table`) are not read back.
    """
    found = []
    types = tuple(bead_types or sorted(potential.bead_types))
    for style in tables.overlays:
        found += style.compare(potential, coefficients, types, tables.paths[style.file])
    for kind, path in tables.paths.items():
        if kind not in KINDS:
            continue
        try:
            sections = read_tables(path)
        except (OSError, ValueError, IndexError):
            sections = {}
        for curve in table_curves(potential, kind, coefficients, tables.splines):
            term = curve.term
            section = sections.get(keyword(term.name))
            error = np.inf
            if section is not None and len(section[1]) == tables.points[kind] - (kind == "dihedral"):
                columns = _in_our_units(kind, *section)
                if columns is not None:
                    error = curves.worst_error(curve, *columns, interpolation(kind))
            found.append(Comparison(path, term.name, error))
    return found


def _in_our_units(kind: str, header: list[str], rows: np.ndarray) -> Columns | None:
    """Abscissae in nm or rad, energy and force in kJ/mol per those; None if the grid is not what the header says."""
    x, energy, force = rows[:, 1], rows[:, 2] * KCAL, rows[:, 3] * KCAL
    if kind == "pair":
        low, high = (float(word) for word in header[header.index("RSQ") + 1 :][:2])
        # LAMMPS takes the abscissae from the header, not from the column.
        regular = np.sqrt(np.linspace(low**2, high**2, len(x)))
    elif kind == "dihedral":
        x, energy, force = (np.append(v, v[0]) for v in (x, energy, force))
        x[-1] += 360.0
        regular = np.linspace(-180.0, 180.0, len(x))
    else:
        regular = np.linspace(x[0], x[-1], len(x))
    if not np.allclose(x, regular, rtol=0, atol=1e-6 * np.abs(x).max()):
        return None
    if kind in ("pair", "bond"):
        return regular / 10, energy, force * 10
    return np.radians(regular), energy, force * 180 / np.pi


def compare_data_file(path: str | os.PathLike[str], cg: xr.Dataset) -> float:
    """Largest distance [nm] between bead positions in a data file and in the configuration, periodic images apart.

    Returns:
        The distance; inf if beads are missing or the file cannot be read.
    """
    cg = one_frame(cg)
    lines = Path(path).read_text().splitlines()
    try:
        start = next(k for k, line in enumerate(lines) if line.startswith("Atoms")) + 2
        rows = np.array([line.split() for line in lines[start : start + cg.sizes["bead"]]], float)
        vectors = rows[:, -3:] / 10 - np.asarray(cg["positions"].values, float)
        numbers = rows[:, 0]
    except (StopIteration, ValueError, IndexError):
        return np.inf
    if not np.array_equal(numbers, np.arange(1, cg.sizes["bead"] + 1)):
        return np.inf
    return float(np.linalg.norm(minimum_image(vectors, cg["box"].values), axis=-1).max())
