"""GROMACS: tables of bonded interactions (nm, degrees, kJ/mol). Its versions since 2020 take no user pair tables."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import numpy as np
from jaxtyping import Float

from bayescg._runtime import atomic_path
from bayescg.exports.tables import curves
from bayescg.exports.tables.curves import Comparison, Curve, terms_of
from bayescg.potentials import Potential, Term

_LETTERS = {"bond": "b", "angle": "a", "dihedral": "d"}
_FUNCTIONS = {"bond": ("bonds", "ai aj"), "angle": ("angles", "ai aj ak"), "dihedral": ("dihedrals", "ai aj ak al")}


def file_of(potential: Potential, term: Term) -> str:
    """Name of a bonded term's table: GROMACS numbers tables of each kind from 0."""
    return f"table_{_LETTERS[term.kind]}{terms_of(potential, term.kind).index(term)}.xvg"


def require_bonded(potential: Potential) -> list[Term]:
    """The bonded terms; warns of pair terms, which stay behind.

    Raises:
        ValueError: if there are none, or terms of many bodies, which have no tables of one variable.
    """
    if many := [term.name for term in potential.terms if term.many_body]:
        raise ValueError(
            f"GROMACS has tables of one distance or angle only, not for {', '.join(many)}: choose format='lammps' or "
            "format='openmm'"
        )
    bonded = [term for term in potential.terms if term.kind != "pair"]
    pairs = [term.name for term in terms_of(potential, "pair")]
    if not bonded:
        raise ValueError(
            f"nothing to export for GROMACS: {potential!r} has pair terms only, and GROMACS takes no user tables for "
            "non-bonded interactions since 2020; choose format='lammps' or format='openmm'"
        )
    if pairs:
        warnings.warn(
            f"GROMACS takes no user tables for non-bonded interactions since 2020: the pair terms {', '.join(pairs)} "
            "are not exported. Without them this is not the fitted model; LAMMPS and OpenMM run all of it.",
            UserWarning,
            stacklevel=4,
        )
    return bonded


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
    for term in potential.terms:
        if term.kind == "pair":
            continue
        curve = Curve.of(potential, term, coefficients)
        points = curves.needed_points(curve, lambda n, curve=curve: np.linspace(*curve.domain, n), curves.hermite)
        x = np.linspace(*curve.domain, points)
        energy, force = curve(x)
        unit = 1.0 if term.kind == "bond" else np.pi / 180  # angles in degrees, forces per degree
        rows = zip((x / unit).tolist(), energy.tolist(), (force * unit).tolist(), strict=True)
        text = "\n".join(f"{a:.12g} {u:.12g} {f:.12g}" for a, u, f in rows)
        columns = "r [nm]" if term.kind == "bond" else "angle [degree]"
        paths.append(Path(directory) / file_of(potential, term))
        with atomic_path(paths[-1]) as temporary:
            temporary.write_text(f"# bayescg: {term.name}; {columns}, V [kJ/mol], -dV/dx\n{text}\n")
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
    for kind, (section, beads) in _FUNCTIONS.items():
        listed = terms_of(potential, kind)
        if listed:
            lines += [f"[ {section} ]", f"; {beads} func table k"]
            lines += [f"  {beads}  8  {k}  1.0   ; {term.name}" for k, term in enumerate(listed)]
            lines.append("")
    names = " ".join(file_of(potential, term) for term in potential.terms if term.kind != "pair")
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
    for term in potential.terms:
        if term.kind == "pair":
            continue
        path, error = Path(directory) / file_of(potential, term), np.inf
        curve = Curve.of(potential, term, coefficients)
        try:
            x, energy, force = read_table(path).T
        except (OSError, ValueError):
            x = np.zeros(1)
            energy = force = x
        if term.kind != "bond":
            x, force = np.radians(x), force * 180 / np.pi
        complete = len(x) > 1 and np.allclose((x[0], x[-1]), curve.domain, atol=1e-9)
        if complete and np.allclose(x, np.linspace(x[0], x[-1], len(x)), atol=1e-8):
            error = curves.worst_error(curve, x, energy, force, curves.hermite)
        found.append(Comparison(path, term.name, error))
    return found
