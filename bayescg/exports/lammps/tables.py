"""LAMMPS: the files of a potential (units real: kcal/mol, Angstrom, fs).

Text only, LAMMPS itself is not needed. Tables are `linear`, with entries exactly where LAMMPS keeps its own
(pairs: uniform in r^2), so that nothing is interpolated twice. With three-body terms the splines of pairs stand in the
file of `pair_style uf3` too, and only their baselines in tables (`hybrid/overlay`).
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from bayescg._runtime import atomic_path
from bayescg.exports.lammps.names import keyword
from bayescg.exports.lammps.style import KINDS, Overlay, overlays_of, require_styles
from bayescg.exports.tables import curves
from bayescg.exports.tables.curves import Curve, terms_of
from bayescg.potentials import Pair, Potential, SplineTerm
from bayescg.units import ANGSTROM, KCAL

# LAMMPS stops when two beads come closer than a pair table begins: it begins where no bead ever gets.
_INNER = 0.001  # nm


@dataclass(frozen=True)
class Tables:
    """Files of one potential.

    Attributes:
        paths: kind (`pair`, `bond`, `angle`, `dihedral`), or `Overlay.file` of the styles beside them -> file; kinds
            without a term are absent.
        points: kind -> number of entries of each table in that file.
        overlays: styles beside the tables.
        splines: names of pair terms whose splines an overlay evaluates: their tables hold baselines only.
    """

    paths: dict[str, Path]
    points: dict[str, int]
    overlays: tuple[Overlay, ...] = ()
    splines: tuple[str, ...] = ()


def stays(term: SplineTerm, splines: Sequence[str]) -> bool:
    """Whether something of a pair term is left for a table if the splines of those named stand elsewhere."""
    return term.baseline is not None or term.name not in splines


def table_curves(
    potential: Potential, kind: str, coefficients: Float[np.ndarray, " basis"], splines: Sequence[str] = ()
) -> list[Curve]:
    """What stands in the table file of a kind.

    Args:
        potential: the potential.
        kind: `pair`, `bond`, `angle` or `dihedral`.
        coefficients: (basis,) [kJ/mol].
        splines: names of pair terms whose splines stand in another file: what is left of them are baselines.
    """
    listed = terms_of(potential, kind)
    if kind == "pair":
        listed = [dataclasses.replace(t, learn=False) if t.name in splines else t for t in listed if stays(t, splines)]
    return [Curve.of(potential, term, coefficients) for term in listed]


def grid(curve: Curve, points: int) -> Float[np.ndarray, " x"]:
    """Where the entries of a LAMMPS table lie, in [nm] or [rad]."""
    low, high = curve.domain
    if isinstance(curve.term, Pair):
        return np.sqrt(np.linspace(_INNER**2, high**2, points))
    return np.linspace(low, high, points)


def interpolation(kind: str) -> curves.Interpolation:
    """How LAMMPS reads forces between entries."""
    return curves.read_linear_in_square if kind == "pair" else curves.read_linear


def table_points(
    potential: Potential, coefficients: Float[np.ndarray, " basis"], splines: Sequence[str] = ()
) -> dict[str, int]:
    """Entries that the tables of each kind need (LAMMPS keeps one number for all tables of a style)."""
    found = {}
    for kind in KINDS:
        listed = table_curves(potential, kind, coefficients, splines)
        if listed:
            found[kind] = max(
                curves.count_points(curve, lambda n, curve=curve: grid(curve, n), interpolation(kind))
                for curve in listed
            )
    return found


def table_text(curve: Curve, points: int) -> str:
    """One section of a table file, in the units of LAMMPS."""
    kind, x = curve.term.kind, grid(curve, points)
    energy, force = curve(x)
    # Angles stand in degrees, and their forces are -dE/dtheta per degree.
    unit = ANGSTROM if kind in ("pair", "bond") else np.pi / 180
    energy, force, x = energy / KCAL, force * unit / KCAL, x / unit
    if kind == "angle":
        x[-1] = 180.0  # LAMMPS insists on the exact ends
    if kind == "dihedral":
        x, energy, force = x[:-1], energy[:-1], force[:-1]  # -180 and 180 are one entry
    header = f"N {len(x)}"
    if kind == "pair":
        header += f" RSQ {x[0]:.15g} {x[-1]:.15g}"
    elif kind == "dihedral":
        header += " DEGREES"
    rows = "\n".join(
        f"{i} {a:.15g} {u:.12g} {f:.12g}"
        for i, a, u, f in zip(range(1, len(x) + 1), x.tolist(), energy.tolist(), force.tolist(), strict=True)
    )
    return f"# {keyword(curve.term.name)}\n{keyword(curve.term.name)}\n{header}\n\n{rows}\n\n"


def write_tables(
    potential: Potential,
    coefficients: Float[np.ndarray, " basis"],
    directory: str | os.PathLike[str],
    *,
    points: dict[str, int] | None = None,
    bead_types: Sequence[str] | None = None,
    three_body_table: int | None = None,
) -> Tables:
    """Write the tables of all terms, one file for each kind of term, each file atomically.

    With three-body terms `potential.uf3` holds them and the splines of pairs; `density.table` holds local densities.

    Args:
        potential: the potential, every bond with its range.
        coefficients: (basis,) [kJ/mol].
        directory: where `pair.table`, `bond.table`, `angle.table`, `dihedral.table` go; made if missing.
        points: entries by kind, from `table_points`; found anew by default (do it once for many draws).
        bead_types: names of the atom types 1, 2, ..., which files of many-body terms list; by default those of the
            potential.
        three_body_table: a number: three-body terms as a lookup table with so many entries along each side instead.

    Returns:
        What was written.

    Raises:
        ValueError: if the coefficients do not belong to the potential, or LAMMPS has no style for a term.
    """
    require_styles(potential)
    coefficients = np.asarray(coefficients, float)
    types, folder = tuple(bead_types or sorted(potential.bead_types)), Path(directory)
    overlays = overlays_of(potential, three_body_table)
    splines = tuple(name for style in overlays for name in style.claims(potential, coefficients))
    points = points or table_points(potential, coefficients, splines)
    paths = {}
    for kind, count in points.items():
        text = "".join(table_text(curve, count) for curve in table_curves(potential, kind, coefficients, splines))
        paths[kind] = folder / f"{kind}.table"
        with atomic_path(paths[kind]) as temporary:
            temporary.write_text(f"# bayescg, units real (kcal/mol, Angstrom, degrees)\n\n{text}")
    for style in overlays:
        paths[style.file] = style.write(potential, coefficients, types, folder)
    return Tables(paths, points, overlays, splines)
