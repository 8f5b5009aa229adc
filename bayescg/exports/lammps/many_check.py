"""LAMMPS: files of many-body terms read back, evaluated as LAMMPS does, and compared with what they were made from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float
from scipy.interpolate import BSpline, make_interp_spline

from bayescg.exports.lammps.density import densities_of
from bayescg.exports.lammps.units import ANGSTROM, KCAL, symbols_of
from bayescg.exports.tables.curves import Comparison
from bayescg.exports.tables.splines import triangles
from bayescg.potentials import Pair, Potential, ThreeBody


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
    return _largest(slope - true_slope, true_slope)


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
    return _largest(np.stack(slopes, axis=-1) * KCAL / ANGSTROM - true, true)


def compare_densities(
    potential: Potential, coefficients: Float[np.ndarray, " basis"], bead_types: Sequence[str], path: Path
) -> list[Comparison]:
    """Compare a file of `local/density` with the fit, every term."""
    found = []
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
                error = _largest(curve(rho, 1) * KCAL - true, true)
        found.append(Comparison(path, term.name, error))
    return found


def _largest(error: np.ndarray, true: np.ndarray) -> float:
    """Largest error, of the local value or of 1 % of the largest one, whichever is greater."""
    scale = np.maximum(np.abs(true), 0.01 * np.abs(true).max() or 1.0)
    return float(np.max(np.abs(error) / scale)) if np.all(np.isfinite(error)) else np.inf
