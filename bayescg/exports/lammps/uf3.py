"""LAMMPS: spline terms as a file of `pair_style uf3`, which evaluates the same cubic B-splines (units real).

Xie, Rupp & Hennig, npj Comput. Mater. 9, 162 (2023), doi:10.1038/s41524-023-01092-7. What the style takes for granted
and its manual does not say (LAMMPS of July 2025):

- A pair counts once from each of its ends: half the energy is written. A triplet counts once.
- Below the first knot of a pair it reads what is not there: first knots lie at zero.
- A neighbor of a center must lie within the cutoff of their pair, even if that has no pair term.
- The first knot stands four times; behind the last one more interval keeps rounding at the cutoff harmless.
- The third side must have at least as many knots as the others, or memory is overwritten.
- All pairs and triplets of all atom types must be there: those without a term are written as zeros.
- It holds 1023 characters of a list of numbers and waits forever for the rest: digits are dropped until the knots of an
  axis, and the coefficients of a pair, take no more; a pair of which too little would be left stays a table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement, product
from pathlib import Path
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from bayescg._runtime import atomic_path
from bayescg.exports.lammps.names import symbols_of
from bayescg.exports.lammps.style import Overlay, style_of
from bayescg.exports.lammps.triplet_table import TripletTables
from bayescg.exports.lammps.uf3_check import compare_uf3
from bayescg.exports.tables.splines import clamp_start, continue_spline, triplet_table
from bayescg.potentials import Pair, Potential, ThreeBody, UniformSpline
from bayescg.units import ANGSTROM, KCAL

_LENGTH = 1000  # characters
_SLOPE = 1e-6  # kcal/mol/Angstrom: what rounding of coefficients may do to a force
_NOWHERE = 1e-3  # Angstrom: the cutoff of what is not there


@dataclass(frozen=True)
class UF3(Overlay):
    """`pair_style uf3`: the same B-splines, exact."""

    file: ClassVar[str] = "uf3"
    pair_style: ClassVar[str] = "uf3 3"

    def pair_coeff(self, file, elements):
        return f"uf3 {file} {elements}"

    def write(self, potential, coefficients, bead_types, folder):
        return write_uf3(potential, coefficients, bead_types, folder / "potential.uf3")

    def compare(self, potential, coefficients, bead_types, path):
        return compare_uf3(potential, coefficients, bead_types, path, self.claims(potential, coefficients))

    def claims(self, potential, coefficients):
        return splines_of(potential, coefficients)

    def as_lookup(self, points):
        return TripletTables(points)


@style_of.register
def _(term: ThreeBody):
    del term
    return UF3()


def splines_of(potential: Potential, coefficients: Float[np.ndarray, " basis"]) -> tuple[str, ...]:
    """Names of the pair terms whose learned splines can be written; others are tables as without `uf3`."""
    found = []
    for term in potential.terms:
        if isinstance(term, Pair) and term.n_basis:
            try:
                _pair_block("", term, coefficients[potential.slices[term.name]], _reach(potential, *term.types))
            except ValueError:
                continue
            found.append(term.name)
    return tuple(found)


def write_uf3(
    potential: Potential, coefficients: Float[np.ndarray, " basis"], bead_types: Sequence[str], path: Path
) -> Path:
    """Write the learned splines of all pair terms that fit, without their baselines, and all three-body terms.

    Args:
        potential: the potential; terms of other kinds are left out.
        coefficients: (basis,) [kJ/mol].
        bead_types: names of the atom types 1, 2, ...
        path: the file.

    Returns:
        The path.

    Raises:
        ValueError: if a three-body term has more knots than LAMMPS can read.
    """
    types = list(zip(bead_types, symbols_of(bead_types), strict=True))
    written = splines_of(potential, coefficients)
    pairs = {tuple(sorted(t.types)): t for t in potential.terms if isinstance(t, Pair) and t.name in written}
    triplets = {(t.center, t.a, t.b): t for t in potential.terms if isinstance(t, ThreeBody)}
    blocks = []
    for (a, one), (b, two) in combinations_with_replacement(types, 2):
        found = pairs.get((min(a, b), max(a, b)))
        own = coefficients[potential.slices[found.name]] if found else None
        blocks.append(_pair_block(f"{one} {two}", found, own, _reach(potential, a, b)))
    for (center, first), ((a, one), (b, two)) in product(types, combinations_with_replacement(types, 2)):
        term, names = triplets.get((center, min(a, b), max(a, b))), (one, two)
        if term is not None and a > b:  # atom types are in any order, neighbors of a term by name
            names = (two, one)
        own = coefficients[potential.slices[term.name]] if term else None
        blocks.append(_triplet_block(" ".join((first, *names)), term, own))
    with atomic_path(path) as temporary:
        temporary.write_text("\n".join(blocks) + "\n")
    return path


def _reach(potential: Potential, a: str, b: str) -> float:
    """How far [nm] beads of two types are neighbors in a triplet."""
    triplets = [term for term in potential.terms if isinstance(term, ThreeBody)]
    sides = [(term.cutoff, {term.center, neighbor}) for term in triplets for neighbor in (term.a, term.b)]
    return max((cutoff for cutoff, beads in sides if beads == {a, b}), default=0.0)


def _pair_knots(term: Pair, reach: float) -> Float[np.ndarray, " knot"]:
    spline = term.spline
    below, above = _beyond(spline, reach)
    first = (spline.start - below * spline.spacing) / ANGSTROM
    return _knots(first, spline.spacing / ANGSTROM, below + spline.intervals + above)


def _beyond(spline: UniformSpline, reach: float) -> tuple[int, int]:
    """Knot intervals from zero distance to the first knot, and from the last one to the reach of triplets."""
    below = int(np.ceil(spline.start / spline.spacing - 1e-9))
    return below, max(0, int(np.ceil((reach - spline.stop) / spline.spacing)))


def _pair_block(names: str, term: Pair | None, own, reach: float) -> str:
    if term is None:
        cutoff = max(reach / ANGSTROM, _NOWHERE)
        knots, values = _knots(0.0, cutoff / 4, 4), np.zeros(8)
    else:
        spline = term.spline
        below, above = _beyond(spline, reach)
        raw = np.concatenate([own, np.zeros(spline.size - term.n_basis)])
        cutoff = max(term.cutoff, reach) / ANGSTROM
        knots = _pair_knots(term, reach)
        values = np.concatenate([clamp_start(continue_spline(raw, below, 0)), np.zeros(above + 1)]) / (2 * KCAL)
    allowed = (knots[4] - knots[3]) * _SLOPE
    head = [_HEAD, f"2B {names} 0 3 uk", f"{cutoff!r} {len(knots)}"]
    return "\n".join([*head, _knots_line(knots), str(len(values)), _line(values, allowed), "#"])


def _triplet_block(names: str, term: ThreeBody | None, own) -> str:
    if term is None:
        cutoff, values = _NOWHERE, np.zeros((8, 8, 8))
        side, opposite = _knots(0.0, cutoff / 4, 4), _knots(0.0, cutoff / 2, 4)
    else:
        grid, table = term.grid, triplet_table(term, own) / KCAL
        sides, across = len(table) + 1, max(len(table), table.shape[2]) + 1
        values = np.pad(table, ((0, 1), (0, 1), (0, across - table.shape[2])))
        cutoff = term.cutoff / ANGSTROM
        side, opposite = (
            _knots(spline.start / ANGSTROM, spline.spacing / ANGSTROM, count - 4)
            for spline, count in ((grid.side, sides), (grid.opposite, across))
        )
    lines = [_knots_line(opposite), _knots_line(side)]
    allowed = (side[4] - side[3]) * _SLOPE
    rows = [_line(row, allowed) for row in values.reshape(-1, values.shape[2])]
    return "\n".join(
        [
            _HEAD,
            f"3B {names} 0 3 uk",
            # The file lists the third side first; LAMMPS insists on exactly twice the cutoff there.
            f"{2 * cutoff!r} {cutoff!r} {cutoff!r} {len(opposite)} {len(side)} {len(side)}",
            *(lines[0], lines[1], lines[1]),
            " ".join(map(str, values.shape)),
            *rows,
            "#",
        ]
    )


_HEAD = "#UF3 POT UNITS: real DATE: none AUTHOR: bayescg CITATION: none"


def _knots(first: float, spacing: float, intervals: int) -> Float[np.ndarray, " knot"]:
    """Uniform knots [Angstrom] of `intervals + 4` functions: the first stands four times, one interval is to spare."""
    return np.concatenate([np.full(3, first), first + spacing * np.arange(intervals + 5)])


def _knots_line(knots: np.ndarray) -> str:
    return _line(knots, 1e-7 * (knots[4] - knots[3]))


def _line(values: np.ndarray, allowed: float) -> str:
    """Numbers in one line, rounded as little as makes it short enough for LAMMPS.

    Raises:
        ValueError: if they have to be rounded by more than is allowed.
    """
    for digits in range(15, -1, -1):
        rounded = np.round(values, digits)
        if np.abs(rounded - values).max() > allowed:
            break
        if len(text := " ".join(map(_short, rounded.tolist()))) <= _LENGTH:
            return text
    raise ValueError(
        f"LAMMPS reads {_LENGTH} characters in a line of a uf3 file: {len(values)} knots or coefficients are too many; "
        "refit with wider knot_spacing and opposite_spacing"
    )


def _short(number: float) -> str:
    text = repr(number).removesuffix(".0")
    return text.replace("0.", ".", 1) if text.startswith(("0.", "-0.")) else text
