"""LAMMPS: potential tables and the commands that use them (units real: kcal/mol, Angstrom, fs).

Text only, LAMMPS itself is not needed. Tables are `linear`, with entries exactly where LAMMPS keeps its own
(pairs: uniform in r^2), so that nothing is interpolated twice.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from bayescg._runtime import atomic_path
from bayescg.exports import curves
from bayescg.exports.curves import Curve, terms_of
from bayescg.potentials import Potential

KCAL = 4.184  # kJ/mol, exact
ANGSTROM = 0.1  # nm
KINDS = ("pair", "bond", "angle", "dihedral")
# LAMMPS stops when two beads come closer than a pair table begins: it begins where no bead ever gets.
_INNER = 0.001  # nm


@dataclass(frozen=True)
class Tables:
    """Table files of one potential.

    Attributes:
        paths: kind (`pair`, `bond`, `angle`, `dihedral`) -> file; kinds without a term are absent.
        points: kind -> number of entries of each table in that file.
    """

    paths: dict[str, Path]
    points: dict[str, int]


def keyword(name: str) -> str:
    """The section of a term in its table file: the term's name, without characters that LAMMPS would trip over."""
    return re.sub(r"[^A-Za-z0-9_.+-]", "_", name)


def grid(curve: Curve, points: int) -> Float[np.ndarray, " x"]:
    """Where the entries of a LAMMPS table lie, in [nm] or [rad]."""
    low, high = curve.domain
    if curve.term.kind == "pair":
        return np.sqrt(np.linspace(_INNER**2, high**2, points))
    return np.linspace(low, high, points)


def interpolation(kind: str) -> curves.Interpolation:
    """How LAMMPS reads forces between entries."""
    return curves.linear_in_square if kind == "pair" else curves.linear


def table_points(potential: Potential, coefficients: Float[np.ndarray, " basis"]) -> dict[str, int]:
    """Entries that the tables of each kind need (LAMMPS keeps one number for all tables of a style)."""
    found = {}
    for kind in KINDS:
        listed = [Curve.of(potential, term, coefficients) for term in terms_of(potential, kind)]
        if listed:
            found[kind] = max(
                curves.needed_points(curve, lambda n, curve=curve: grid(curve, n), interpolation(kind))
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
    return f"# {curve.term.name}\n{keyword(curve.term.name)}\n{header}\n\n{rows}\n\n"


def write_tables(
    potential: Potential,
    coefficients: Float[np.ndarray, " basis"],
    directory: str | os.PathLike[str],
    *,
    points: dict[str, int] | None = None,
) -> Tables:
    """Write the tables of all terms, one file for each kind of term, each file atomically.

    Args:
        potential: the potential, every bond with its range.
        coefficients: (basis,) [kJ/mol].
        directory: where `pair.table`, `bond.table`, `angle.table`, `dihedral.table` go; made if missing.
        points: entries by kind, from `table_points`; found anew by default (do it once for many draws).

    Returns:
        What was written.

    Raises:
        ValueError: if the coefficients do not belong to the potential.
    """
    points = points or table_points(potential, coefficients)
    paths = {}
    for kind, count in points.items():
        text = "".join(table_text(Curve.of(potential, term, coefficients), count) for term in terms_of(potential, kind))
        paths[kind] = Path(directory) / f"{kind}.table"
        with atomic_path(paths[kind]) as temporary:
            temporary.write_text(f"# bayescg, units real (kcal/mol, Angstrom, degrees)\n\n{text}")
    return Tables(paths, points)


def interaction_commands(
    potential: Potential, tables: Tables, bead_types: Sequence[str], *, other_bonds: bool = False, relative: bool = True
) -> list[str]:
    """The LAMMPS commands that switch the potential on, after the box is defined.

    Args:
        potential: the potential.
        tables: from `write_tables`.
        bead_types: names of the atom types 1, 2, ...; those that no term names do not interact.
        other_bonds: whether the system has bonds that no term describes (the last bond type; see `write_data_file`).
        relative: name table files without their folder, for a script that runs beside them.

    Returns:
        The commands, one line each.
    """

    def file(kind: str) -> str:
        path = tables.paths[kind]
        text = path.name if relative else str(path.resolve())
        return f'"{text}"' if re.search(r"\s", text) else text

    excluded = " ".join("0.0" if separation <= potential.exclude_bonds else "1.0" for separation in (1, 2, 3))
    commands = [f"special_bonds lj/coul {excluded}", *_pair_commands(potential, tables, bead_types, file)]
    for kind in KINDS[1:]:
        listed = terms_of(potential, kind)
        none = kind == "bond" and other_bonds
        # A dihedral table leaves out its last entry, which is the first again.
        count = tables.points.get(kind, 0) - (kind == "dihedral")
        style = f"table linear {count}"
        if listed:
            commands.append(f"{kind}_style hybrid {style} zero" if none else f"{kind}_style {style}")
        elif none:
            commands.append(f"{kind}_style zero")
        for number, term in enumerate(listed, 1):
            named = "table " if none else ""
            commands.append(f"{kind}_coeff {number} {named}{file(kind)} {keyword(term.name)}")
        if none:
            commands.append(f"{kind}_coeff {len(listed) + 1}{' zero' if listed else ''}")
    return commands


def _pair_commands(potential, tables, bead_types, file) -> list[str]:
    listed = {tuple(sorted(term.types)): term for term in terms_of(potential, "pair")}
    if not listed:
        # LAMMPS needs some pair style, and its cutoff is how far ghost beads of bonds are kept.
        return ["pair_style zero 10.0", "pair_coeff * *"]
    couples = [(i, j) for i in range(len(bead_types)) for j in range(i, len(bead_types))]
    complete = all(tuple(sorted((bead_types[i], bead_types[j]))) in listed for i, j in couples)
    style = f"table linear {tables.points['pair']}"
    commands = [f"pair_style {style}" if complete else f"pair_style hybrid {style}"]
    for i, j in couples:
        term = listed.get(tuple(sorted((bead_types[i], bead_types[j]))))
        if term is None:
            commands.append(f"pair_coeff {i + 1} {j + 1} none")
        else:
            named = "" if complete else "table "
            commands.append(f"pair_coeff {i + 1} {j + 1} {named}{file('pair')} {keyword(term.name)}")
    return commands
