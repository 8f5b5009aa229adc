"""LAMMPS: local-density terms as a file of `pair_style local/density` (units real).

The style interpolates F by a cubic spline with zero slope at both ends. Its entries stand on our knots, where that
spline is ours, and go on so far beyond them (F continued as a straight line) that nothing is felt of the ends.
Sanyal & Shell, J. Chem. Phys. 145, 034109 (2016), doi:10.1063/1.4958629.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from jaxtyping import Float
from scipy.interpolate import make_interp_spline

from bayescg._runtime import atomic_path
from bayescg.exports.lammps.names import keyword
from bayescg.exports.lammps.style import Overlay, style_of
from bayescg.exports.tables.curves import Comparison, largest_error
from bayescg.exports.tables.splines import continue_spline, values_at_knots
from bayescg.potentials import LocalDensity, Potential
from bayescg.units import ANGSTROM, KCAL

# What a wrong slope at an end does falls by 0.27 with each entry.
_BESIDE = 32


@dataclass(frozen=True)
class LocalDensities(Overlay):
    """`pair_style local/density`."""

    file: ClassVar[str] = "density"
    pair_style: ClassVar[str] = "local/density"

    def pair_coeff(self, file, elements):
        del elements
        return f"local/density {file}"

    def write(self, potential, coefficients, bead_types, folder):
        return write_densities(potential, coefficients, bead_types, folder / "density.table")

    def compare(self, potential, coefficients, bead_types, path):
        return compare_densities(potential, coefficients, bead_types, path)


@style_of.register
def _(term: LocalDensity):
    del term
    return LocalDensities()


def densities_of(potential: Potential) -> list[LocalDensity]:
    """The local-density terms, in order."""
    return [term for term in potential.terms if isinstance(term, LocalDensity)]


def write_densities(
    potential: Potential, coefficients: Float[np.ndarray, " basis"], bead_types: Sequence[str], path: Path
) -> Path:
    """Write all local-density terms.

    Args:
        potential: the potential; terms of other kinds are left out.
        coefficients: (basis,) [kJ/mol].
        bead_types: names of the atom types 1, 2, ...
        path: the file.

    Returns:
        The path.
    """
    listed = densities_of(potential)
    # All curves have one number of entries: some go on further than others.
    points = 1 + 2 * max(term.spline.intervals for term in listed) + 2 * _BESIDE
    blocks = []
    for term in listed:
        spline, raw = term.spline, coefficients[potential.slices[term.name]]
        values = values_at_knots(continue_spline(raw, _BESIDE, points - 1 - _BESIDE - spline.intervals))
        values = (values - values[_BESIDE]) / KCAL  # F(0) exerts no force
        low = -_BESIDE * spline.spacing
        center, counted = (list(bead_types).index(bead) + 1 for bead in term.types)
        rows = "\n".join(f"{value:.17g}" for value in values.tolist())
        blocks.append(
            f"{term.inner / ANGSTROM:.17g} {term.outer / ANGSTROM:.17g}\n{center}\n{counted}\n"
            f"{low:.17g} {low + (points - 1) * spline.spacing:.17g} {spline.spacing:.17g}\n{rows}\n"
        )
    head = f"# {', '.join(keyword(term.name) for term in listed)}, bayescg UNITS: real\n\n{len(listed)} {points}\n\n"
    with atomic_path(path) as temporary:
        temporary.write_text(head + "\n".join(blocks) + "\n")
    return path


def compare_densities(
    potential: Potential, coefficients: Float[np.ndarray, " basis"], bead_types: Sequence[str], path: Path
) -> list[Comparison]:
    """Compare a file of `local/density` with the fit, every term."""
    found, points = [], 0
    try:
        words = [line.split() for line in path.read_text().splitlines()[1:]]
        rows = [row for row in words if row]
        count, points = (int(word) for word in rows[0])
        size = 4 + points
        blocks = [rows[1 + k * size : 1 + (k + 1) * size] for k in range(count)]
    except (OSError, ValueError, IndexError):
        blocks = []
    for number, term in enumerate(densities_of(potential)):
        own, error = coefficients[potential.slices[term.name]], np.inf
        if number < len(blocks) and len(blocks[number]) == 4 + points:
            block = blocks[number]
            reach = np.array(block[0], float) * ANGSTROM
            beads = tuple(bead_types[int(block[k][0]) - 1] for k in (1, 2))
            if beads == term.types and np.allclose(reach, (term.inner, term.outer), rtol=1e-9):
                low, high = (float(word) for word in block[3][:2])
                values = np.array([row[0] for row in block[4:]], float)
                curve = make_interp_spline(np.linspace(low, high, points), values, bc_type="clamped")
                rho = np.linspace(0.0, term.spline.stop, 1000)
                true = term.spline.matrix(rho, 1) @ own
                error = largest_error(curve(rho, 1) * KCAL - true, true)
        found.append(Comparison(path, term.name, error))
    return found
