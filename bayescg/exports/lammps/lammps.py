"""LAMMPS: potential tables and the commands that use them (units real: kcal/mol, Angstrom, fs).

Text only, LAMMPS itself is not needed. Tables are `linear`, with entries exactly where LAMMPS keeps its own
(pairs: uniform in r^2), so that nothing is interpolated twice. With three-body terms the splines of pairs stand in the
file of `pair_style uf3` too, and only their baselines in tables (`hybrid/overlay`).
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from bayescg._runtime import atomic_path
from bayescg.exports.lammps.density import densities_of, write_densities
from bayescg.exports.lammps.triplet_table import write_triplet_tables
from bayescg.exports.lammps.uf3 import STYLE, has_triplets, splines_of, write_uf3
from bayescg.exports.lammps.units import ANGSTROM, KCAL, keyword, symbols_of
from bayescg.exports.tables import curves
from bayescg.exports.tables.curves import Curve, terms_of
from bayescg.potentials import LocalDensity, Potential, Term, ThreeBody

KINDS = ("pair", "bond", "angle", "dihedral")
# LAMMPS stops when two beads come closer than a pair table begins: it begins where no bead ever gets.
_INNER = 0.001  # nm


@dataclass(frozen=True)
class Tables:
    """Table files of one potential.

    Attributes:
        paths: kind (`pair`, `bond`, `angle`, `dihedral`, and `uf3`, `three`, `density` of many-body terms) -> file;
            kinds without a term are absent.
        points: kind -> number of entries of each table in that file.
        splines: names of pair terms whose splines stand in the file `uf3`: their tables hold baselines only.
    """

    paths: dict[str, Path]
    points: dict[str, int]
    splines: tuple[str, ...] = ()


def unknown_terms(potential: Potential) -> list[str]:
    """Names of the many-body terms that LAMMPS has no style for."""
    return [t.name for t in potential.terms if t.many_body and not isinstance(t, ThreeBody | LocalDensity)]


def styles_of(potential: Potential) -> tuple[str, ...]:
    """Names of the pair styles that many-body terms need; not every LAMMPS has them."""
    return ("uf3",) * has_triplets(potential) + ("local/density",) * bool(densities_of(potential))


def stays(term: Term, splines: Sequence[str]) -> bool:
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
    if curve.term.kind == "pair":
        return np.sqrt(np.linspace(_INNER**2, high**2, points))
    return np.linspace(low, high, points)


def interpolation(kind: str) -> curves.Interpolation:
    """How LAMMPS reads forces between entries."""
    return curves.linear_in_square if kind == "pair" else curves.linear


def table_points(
    potential: Potential, coefficients: Float[np.ndarray, " basis"], splines: Sequence[str] = ()
) -> dict[str, int]:
    """Entries that the tables of each kind need (LAMMPS keeps one number for all tables of a style)."""
    found = {}
    for kind in KINDS:
        listed = table_curves(potential, kind, coefficients, splines)
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
    if unknown := unknown_terms(potential):
        raise ValueError(
            f"LAMMPS has no pair style for {', '.join(unknown)}; simulate(..., engine='jax') evaluates such terms"
        )
    coefficients = np.asarray(coefficients, float)
    types = tuple(bead_types or sorted(potential.bead_types))
    folder, uf3 = Path(directory), has_triplets(potential) and three_body_table is None
    splines = splines_of(potential, coefficients) if uf3 else ()
    points = points or table_points(potential, coefficients, splines)
    paths = {}
    for kind, count in points.items():
        text = "".join(table_text(curve, count) for curve in table_curves(potential, kind, coefficients, splines))
        paths[kind] = Path(directory) / f"{kind}.table"
        with atomic_path(paths[kind]) as temporary:
            temporary.write_text(f"# bayescg, units real (kcal/mol, Angstrom, degrees)\n\n{text}")
    if uf3:
        paths["uf3"] = write_uf3(potential, coefficients, types, folder / "potential.uf3")
    elif three_body_table is not None and has_triplets(potential):
        paths["three"] = write_triplet_tables(potential, coefficients, types, folder, three_body_table)
    if densities_of(potential):
        paths["density"] = write_densities(potential, coefficients, types, folder / "density.table")
    return Tables(paths, points, splines)


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
    kept = [term for term in terms_of(potential, "pair") if stays(term, tables.splines)]
    listed = {tuple(sorted(term.types)): term for term in kept}
    elements = " ".join(symbols_of(bead_types))
    # Styles for all atom types at once, on top of the tables.
    whole = {
        "uf3": (STYLE, f"uf3 {{}} {elements}"),
        "three": ("threebody/table", f"threebody/table {{}} {elements}"),
        "density": ("local/density", "local/density {}"),
    }
    over = [(style, use.format(file(kind))) for kind, (style, use) in whole.items() if kind in tables.paths]
    if not listed and not over:
        # LAMMPS needs some pair style, and its cutoff is how far ghost beads of bonds are kept.
        return ["pair_style zero 10.0", "pair_coeff * *"]
    couples = [(i, j) for i in range(len(bead_types)) for j in range(i, len(bead_types))]
    complete = all(tuple(sorted((bead_types[i], bead_types[j]))) in listed for i, j in couples)
    styles = [f"table linear {tables.points['pair']}"] if listed else []
    styles += [style for style, _ in over]
    several = len(styles) > 1
    alone = not several and (complete or not listed)
    commands = [f"pair_style {'' if alone else 'hybrid/overlay ' if several else 'hybrid '}{' '.join(styles)}"]
    for i, j in couples:
        term = listed.get(tuple(sorted((bead_types[i], bead_types[j]))))
        if term is not None:
            named = "" if alone else "table "
            commands.append(f"pair_coeff {i + 1} {j + 1} {named}{file('pair')} {keyword(term.name)}")
        elif not over:
            commands.append(f"pair_coeff {i + 1} {j + 1} none")
    for _, use in over:
        commands.append(f"pair_coeff * * {use.split(' ', 1)[1] if alone else use}")
    return commands
