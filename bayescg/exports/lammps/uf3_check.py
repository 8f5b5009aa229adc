"""LAMMPS: files of `pair_style uf3` read back, evaluated as LAMMPS does, and compared with what they were made from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float
from scipy.interpolate import BSpline

from bayescg.exports.lammps.names import symbols_of
from bayescg.exports.tables.curves import Comparison, largest_error
from bayescg.exports.tables.splines import triangles
from bayescg.potentials import Pair, Potential, ThreeBody
from bayescg.units import ANGSTROM, KCAL


def read_uf3(path: Path) -> dict[tuple[str, ...], tuple[list[np.ndarray], np.ndarray]]:
    """Blocks of a UF3 file.

    Returns:
        Element names -> knots along each axis (pairs: one; triplets: r_ij, r_ik, r_jk) [Angstrom], and coefficients.

    Raises:
        ValueError: if a block is cut short or holds no numbers.
    """
    found = {}
    for block in path.read_text().split("#UF3 POT")[1:]:
        rows = [line.split() for line in block.splitlines()[1:]]
        if ["#"] not in rows:
            raise ValueError(f"{path}: a block does not end")
        body = int(rows[0][0][0])
        names = tuple(rows[0][1 : 1 + body])
        axes = 1 if body == 2 else 3
        knots = [np.array(row, float) for row in rows[2 : 2 + axes]][::-1]
        shape = [int(word) for word in rows[2 + axes]]
        values = np.array([word for row in rows[3 + axes : rows.index(["#"])] for word in row], float)
        found[names] = (knots, values.reshape(shape))
    return found


def compare_uf3(
    potential: Potential,
    coefficients: Float[np.ndarray, " basis"],
    bead_types: Sequence[str],
    path: Path,
    splines: Sequence[str],
) -> list[Comparison]:
    """Compare a UF3 file with the fit: the pair terms named in `splines` and every three-body term."""
    try:
        blocks = read_uf3(path)
    except (OSError, ValueError, IndexError):
        blocks = {}
    symbol = dict(zip(bead_types, symbols_of(bead_types), strict=True))
    found = []
    for term in potential.terms:
        own = coefficients[potential.slices[term.name]]
        names = tuple(symbol[bead] for bead in term.types)
        if isinstance(term, Pair) and term.name in splines:
            block = blocks.get(names) or blocks.get(names[::-1])
            found.append(Comparison(path, term.name, np.inf if block is None else _pair_error(term, own, *block)))
        elif isinstance(term, ThreeBody):
            block = blocks.get(names)
            found.append(Comparison(path, term.name, np.inf if block is None else _triplet_error(term, own, *block)))
    return found


def _pair_error(term: Pair, own, knots, values) -> float:
    low, high = max(term.spline.start, knots[0][0] * ANGSTROM), term.cutoff
    r = low + (high - low) * (np.arange(1, 2001) * 0.6180339887498949 % 1.0)
    slope, true_slope = (
        2 * KCAL / ANGSTROM * BSpline(knots[0], values, 3)(r / ANGSTROM, 1),
        term.spline.matrix(r, 1)[:, : term.n_basis] @ own,
    )
    return largest_error(slope - true_slope, true_slope)


def _triplet_error(term: ThreeBody, own, knots, values) -> float:
    rng = np.random.default_rng(0)
    low = float(term.start or 0.0)
    a, b = rng.uniform(low, term.cutoff, (2, 500))
    c = np.clip(rng.uniform(np.abs(a - b), a + b), low, None)
    sides = np.stack([a, b, c], axis=-1)
    true = triangles(term, own, sides)[1]
    rows = [
        [BSpline(t, np.eye(n), 3)(x / ANGSTROM, k) for t, n, x in zip(knots, values.shape, sides.T, strict=True)]
        for k in (0, 1)
    ]
    slopes = [
        np.einsum("pa,pb,pc,abc->p", *(rows[int(axis == other)][other] for other in range(3)), values, optimize=True)
        for axis in range(3)
    ]
    return largest_error(np.stack(slopes, axis=-1) * KCAL / ANGSTROM - true, true)
