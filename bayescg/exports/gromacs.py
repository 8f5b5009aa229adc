"""GROMACS: tables of bonded interactions (nm, degrees, kJ/mol). Its versions since 2020 take no user pair tables."""

from __future__ import annotations

import os
import warnings
from functools import singledispatch
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from bayescg._runtime import atomic_path
from bayescg.exports.tables import curves
from bayescg.exports.tables.curves import Comparison, Curve, terms_of
from bayescg.exports.terms import require_terms
from bayescg.potentials import Angle, Bond, Dihedral, Pair, Potential, SplineTerm, Term


class Section(NamedTuple):
    """How a topology names the tables of a kind of term.

    Attributes:
        letter: of the files.
        title: of the section of the topology.
        beads: words of its lines.
        variable: column of the table.
        unit: of the variable [nm] or [rad].
    """

    letter: str
    title: str
    beads: str
    variable: str
    unit: float


@singledispatch
def section_of(term: Term) -> Section | None:
    """The section for a term; None where GROMACS has none. A type of term has one by `@section_of.register`."""
    del term


@section_of.register
def _(term: Bond):
    del term
    return Section("b", "bonds", "ai aj", "r [nm]", 1.0)


@section_of.register
def _(term: Angle):
    del term
    return Section("a", "angles", "ai aj ak", "angle [degree]", np.pi / 180)


@section_of.register
def _(term: Dihedral):
    del term
    return Section("d", "dihedrals", "ai aj ak al", "angle [degree]", np.pi / 180)


def require_sections(potential: Potential) -> None:
    """Refuse a potential with nothing that GROMACS can read, or with terms that are neither bonded nor pairs.

    Raises:
        ValueError: naming them.
    """
    remedy = "it has tables of bonds, angles and dihedrals; choose format='lammps' or format='openmm'"
    require_terms(potential, lambda t: isinstance(t, Pair) or section_of(t) is not None, "GROMACS", remedy)
    if not _listed(potential):
        raise ValueError(
            f"nothing to export for GROMACS, which takes tables of bonded terms only (since 2020): {potential!r} has "
            "pair terms only; choose format='lammps' or format='openmm'"
        )


def warn_of_pairs(potential: Potential) -> None:
    """Warn of pair terms, which stay behind."""
    if pairs := [term.name for term in terms_of(potential, "pair")]:
        warnings.warn(
            f"GROMACS takes no user tables for non-bonded interactions since 2020: the pair terms {', '.join(pairs)} "
            "are not exported. Without them this is not the fitted model; LAMMPS and OpenMM run all of it.",
            UserWarning,
            stacklevel=4,
        )


def _listed(potential: Potential) -> list[tuple[SplineTerm, Section, str]]:
    """Terms that have tables, their sections and the names of their files, numbered from 0 in each section."""
    found, count = [], {}
    for term in potential.terms:
        if (section := section_of(term)) is not None:
            assert isinstance(term, SplineTerm)  # a table is a curve
            number = count[section] = count.get(section, -1) + 1
            found.append((term, section, f"table_{section.letter}{number}.xvg"))
    return found


def write_tables(
    potential: Potential, coefficients: Float[np.ndarray, " basis"], directory: str | os.PathLike[str]
) -> list[Path]:
    """Write one table for each bonded term and `README.txt`, which says how a topology uses them.

    Args:
        potential: the potential, every bond with its range.
        coefficients: (basis,) [kJ/mol].
        directory: where the files go; made if missing.

    Returns:
        The paths.
    """
    paths = []
    for term, section, file in _listed(potential):
        curve = Curve.of(potential, term, coefficients)
        points = curves.count_points(curve, lambda n, curve=curve: np.linspace(*curve.domain, n), curves.read_hermite)
        x = np.linspace(*curve.domain, points)
        energy, force = curve(x)
        unit = section.unit  # angles in degrees, forces per degree
        rows = zip((x / unit).tolist(), energy.tolist(), (force * unit).tolist(), strict=True)
        text = "\n".join(f"{a:.12g} {u:.12g} {f:.12g}" for a, u, f in rows)
        paths.append(Path(directory) / file)
        with atomic_path(paths[-1]) as temporary:
            temporary.write_text(f"# bayescg: {term.name}; {section.variable}, V [kJ/mol], -dV/dx\n{text}\n")
    paths.append(Path(directory) / "README.txt")
    with atomic_path(paths[-1]) as temporary:
        temporary.write_text(readme(potential))
    return paths


def readme(potential: Potential) -> str:
    """What the files are and how a topology names them."""
    lines = ["Bonded tables of a coarse-grained potential, by bayescg.", ""]
    if pairs := [term.name for term in terms_of(potential, "pair")]:
        lines += [
            "NOT EXPORTED: the pair terms " + ", ".join(pairs) + ".",
            "GROMACS takes no user tables for non-bonded interactions since version 2020. Without these terms the",
            "simulation is not that of the fitted model. The exports for LAMMPS and OpenMM hold all terms.",
            f"In the fit, beads at most {potential.exclude_bonds} bonds apart had no pair interaction "
            f"(nrexcl = {potential.exclude_bonds}).",
            "",
        ]
    lines += ["Lines of the topology (replace ai aj ... by bead numbers; k = 1 scales the table):", ""]
    listed = _listed(potential)
    for section in sorted({section for _, section, _ in listed}, key=lambda each: len(each.beads)):
        lines += [f"[ {section.title} ]", f"; {section.beads} func table k"]
        own = [term for term, its, _ in listed if its == section]
        lines += [f"  {section.beads}  8  {k}  1.0   ; {term.name}" for k, term in enumerate(own)]
        lines.append("")
    names = " ".join(file for _, _, file in listed)
    lines += [f"Run: gmx mdrun -tableb {names}", ""]
    return "\n".join(lines)


def read_table(path: str | os.PathLike[str]) -> Float[np.ndarray, "entry 3"]:
    """Rows of a table file, in its units.

    Raises:
        ValueError: if the file holds no table of three columns.
    """
    rows = np.loadtxt(path, comments=("#", "@"), ndmin=2)
    if rows.shape[1:] != (3,) or len(rows) < 2:
        raise ValueError(f"{path} is no table of three columns")
    return rows


def compare_tables(
    potential: Potential, coefficients: Float[np.ndarray, " basis"], directory: str | os.PathLike[str]
) -> list[Comparison]:
    """Read written tables and compare them with the fit, as GROMACS interpolates them."""
    found = []
    for term, section, file in _listed(potential):
        path, error = Path(directory) / file, np.inf
        curve = Curve.of(potential, term, coefficients)
        try:
            x, energy, force = read_table(path).T
        except (OSError, ValueError):
            x = np.zeros(1)
            energy = force = x
        x, force = x * section.unit, force / section.unit
        complete = len(x) > 1 and np.allclose((x[0], x[-1]), curve.domain, atol=1e-9)
        if complete and np.allclose(x, np.linspace(x[0], x[-1], len(x)), atol=1e-8):
            error = curves.worst_error(curve, x, energy, force, curves.read_hermite)
        found.append(Comparison(path, term.name, error))
    return found
