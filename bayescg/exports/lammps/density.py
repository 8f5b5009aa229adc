"""LAMMPS: local-density terms as a file of `pair_style local/density` (units real).

The style interpolates F by a cubic spline with zero slope at both ends. Its entries stand on our knots, where that
spline is ours, and go on so far beyond them (F continued as a straight line) that nothing is felt of the ends.
Sanyal & Shell, J. Chem. Phys. 145, 034109 (2016), doi:10.1063/1.4958629.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from bayescg._runtime import atomic_path
from bayescg.exports.lammps.units import ANGSTROM, KCAL
from bayescg.exports.tables.splines import at_knots, continued
from bayescg.potentials import LocalDensity, Potential

# What a wrong slope at an end does falls by 0.27 with each entry.
_BESIDE = 32


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
        values = at_knots(continued(raw, _BESIDE, points - 1 - _BESIDE - spline.intervals))
        values = (values - values[_BESIDE]) / KCAL  # F(0) exerts no force
        low = -_BESIDE * spline.spacing
        center, counted = (list(bead_types).index(bead) + 1 for bead in term.types)
        rows = "\n".join(f"{value:.17g}" for value in values.tolist())
        blocks.append(
            f"{term.inner / ANGSTROM:.17g} {term.outer / ANGSTROM:.17g}\n{center}\n{counted}\n"
            f"{low:.17g} {low + (points - 1) * spline.spacing:.17g} {spline.spacing:.17g}\n{rows}\n"
        )
    head = f"# {', '.join(term.name for term in listed)}, bayescg UNITS: real\n\n{len(listed)} {points}\n\n"
    with atomic_path(path) as temporary:
        temporary.write_text(head + "\n".join(blocks) + "\n")
    return path
