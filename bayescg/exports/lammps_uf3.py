"""LAMMPS: spline terms as a file of `pair_style uf3`, which evaluates the same cubic B-splines (units real).

Xie, Rupp & Hennig, npj Comput. Mater. 9, 162 (2023), doi:10.1038/s41524-023-01092-7. What the style takes for granted
and its manual does not say (LAMMPS of July 2025):

- A pair counts once from each of its ends: half the energy is written. A triplet counts once.
- Below the first knot of a pair it reads what is not there: first knots lie at zero.
- A neighbor of a center must lie within the cutoff of their pair, even if that has no pair term.
- The first knot stands four times; behind the last one more interval keeps rounding at the cutoff harmless.
- The third side must have at least as many knots as the others, or memory is overwritten.
- All pairs and triplets of all atom types must be there: those without a term are written as zeros.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations_with_replacement, product
from pathlib import Path

import numpy as np
from jaxtyping import Float

from bayescg._runtime import atomic_path
from bayescg.exports.lammps_units import ANGSTROM, KCAL, symbols_of
from bayescg.exports.spline_tables import clamped, continued, triplet_table
from bayescg.potentials import Pair, Potential, ThreeBody

_NOWHERE = 1e-3  # Angstrom: the cutoff of what is not there


def has_triplets(potential: Potential) -> bool:
    """Whether a potential has three-body terms."""
    return any(isinstance(term, ThreeBody) for term in potential.terms)


def style_of(potential: Potential) -> str:
    """The style with its argument: 2 for pairs only, 3 with triplets."""
    return f"uf3 {3 if has_triplets(potential) else 2}"


def write_uf3(
    potential: Potential, coefficients: Float[np.ndarray, " basis"], bead_types: Sequence[str], path: Path
) -> Path:
    """Write the learnt splines of all pair terms, without their baselines, and all three-body terms.

    Args:
        potential: the potential; terms of other kinds are left out.
        coefficients: (basis,) [kJ/mol].
        bead_types: names of the atom types 1, 2, ...
        path: the file.

    Returns:
        The path.
    """
    types = list(zip(bead_types, symbols_of(bead_types), strict=True))
    pairs = {tuple(sorted(term.types)): term for term in potential.terms if isinstance(term, Pair) and term.n_basis}
    triplets = {(t.center, t.a, t.b): t for t in potential.terms if isinstance(t, ThreeBody)}
    blocks = []
    for (a, one), (b, two) in combinations_with_replacement(types, 2):
        found = pairs.get((min(a, b), max(a, b)))
        own = coefficients[potential.slices[found.name]] if found else None
        blocks.append(_pair_block(f"{one} {two}", found, own, _reach(triplets.values(), a, b)))
    if triplets:
        for (center, first), ((a, one), (b, two)) in product(types, combinations_with_replacement(types, 2)):
            term, names = triplets.get((center, min(a, b), max(a, b))), (one, two)
            if term is not None and a > b:  # atom types are in any order, neighbors of a term by name
                names = (two, one)
            own = coefficients[potential.slices[term.name]] if term else None
            blocks.append(_triplet_block(" ".join((first, *names)), term, own))
    with atomic_path(path) as temporary:
        temporary.write_text("\n".join(blocks) + "\n")
    return path


def _reach(triplets, a: str, b: str) -> float:
    """How far [nm] beads of two types are neighbors in a triplet."""
    sides = {tuple(sorted((term.center, neighbor))): 0.0 for term in triplets for neighbor in (term.a, term.b)}
    for term in triplets:
        for neighbor in (term.a, term.b):
            side = tuple(sorted((term.center, neighbor)))
            sides[side] = max(sides[side], term.cutoff)
    return sides.get((min(a, b), max(a, b)), 0.0)


def _pair_block(names: str, term: Pair | None, own, reach: float) -> str:
    if term is None:
        cutoff = max(reach / ANGSTROM, _NOWHERE)
        knots, values = _knots(0.0, cutoff / 4, 4), np.zeros(8)
    else:
        spline = term.spline
        below = int(np.ceil(spline.start / spline.spacing - 1e-9))
        raw = np.concatenate([own, np.zeros(spline.size - term.n_basis)])
        # Zeros from the cutoff of the pair term to that of the triplets.
        above = max(0, int(np.ceil((reach - spline.stop) / spline.spacing)))
        raw = np.concatenate([clamped(continued(raw, below, 0)), np.zeros(above + 1)])
        cutoff = max(term.cutoff, reach) / ANGSTROM
        first = (spline.start - below * spline.spacing) / ANGSTROM
        knots, values = _knots(first, spline.spacing / ANGSTROM, len(raw) - 4), raw / (2 * KCAL)
    return "\n".join(
        [
            _HEAD,
            f"2B {names} 0 3 uk",
            f"{cutoff!r} {len(knots)}",
            _text(knots),
            str(len(values)),
            _text(values),
            "#",
        ]
    )


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
    rows = [_text(row) for row in values.reshape(-1, values.shape[2])]
    return "\n".join(
        [
            _HEAD,
            f"3B {names} 0 3 uk",
            # The file lists the third side first; LAMMPS insists on exactly twice the cutoff there.
            f"{2 * cutoff!r} {cutoff!r} {cutoff!r} {len(opposite)} {len(side)} {len(side)}",
            _text(opposite),
            _text(side),
            _text(side),
            " ".join(map(str, values.shape)),
            *rows,
            "#",
        ]
    )


_HEAD = "#UF3 POT UNITS: real DATE: none AUTHOR: bayescg CITATION: none"


def _knots(first: float, spacing: float, intervals: int) -> Float[np.ndarray, " knot"]:
    """Uniform knots [Angstrom] of `intervals + 4` functions: the first stands four times, one interval is to spare."""
    return np.concatenate([np.full(3, first), first + spacing * np.arange(intervals + 5)])


def _text(numbers: np.ndarray) -> str:
    return " ".join(f"{number:.17g}" for number in numbers.tolist())
