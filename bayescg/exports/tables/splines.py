"""Splines as other programs tabulate them: plain arrays of coefficients and values, without JAX.

Beyond their first and last knot ours go on as straight lines, which bends the curve in one point. What is written goes
on as a spline of the same knots whose curvature returns to zero within two intervals, by the way of half the opposite
one: from there on the slope is that of the straight line.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from bayescg.potentials import ThreeBody

_EDGE = 3
"""Functions at an edge of a three-body term that carry value, slope and curvature there, and that it leaves out."""


def continue_spline(raw: Float[np.ndarray, " basis"], below: int, above: int) -> Float[np.ndarray, " longer"]:
    """Coefficients of a spline on uniform knots, continued on both sides.

    Args:
        raw: coefficients of a `UniformSpline`; function k is centered on knot k - 1.
        below: knot intervals to add at the lower end.
        above: knot intervals to add at the upper end.
    """
    return _after(_after(raw, above)[::-1], below)[::-1]


def _after(raw: np.ndarray, count: int) -> np.ndarray:
    values = [float(value) for value in raw]
    bent = values[-3] - 2 * values[-2] + values[-1]  # curvature at the last knot, times the spacing squared
    for number in range(count):
        values.append(2 * values[-1] - values[-2] - (bent / 2 if number == 0 else 0.0))
    return np.array(values)


def values_at_knots(raw: Float[np.ndarray, " basis"]) -> Float[np.ndarray, " knot"]:
    """Values of a spline at its knots."""
    return (raw[:-2] + 4 * raw[1:-1] + raw[2:]) / 6


def clamp_start(raw: Float[np.ndarray, " basis"]) -> Float[np.ndarray, " basis"]:
    """Coefficients of the same spline if its first knot stands four times in the knot vector.

    The values of its polar form at (0, 0, 0), (0, 0, 1), (0, 1, 2), ... instead of (-2, -1, 0), (-1, 0, 1), (0, 1, 2).
    """
    found = np.array(raw, float)
    found[0] = (raw[0] + 4 * raw[1] + raw[2]) / 6
    found[1] = (2 * raw[1] + raw[2]) / 3
    return found


def triplet_table(term: ThreeBody, coefficients: Float[np.ndarray, " basis"]) -> Float[np.ndarray, "a b c"]:
    """All w_abc of a three-body term, the functions at its edges (zero) included."""
    grid = term.grid
    one, other = grid.flat
    kept = np.zeros(int(np.prod(grid.shape)))
    kept[one] = coefficients
    if grid.symmetric:
        kept[other] = coefficients
    return np.pad(kept.reshape(grid.shape), ((_EDGE, _EDGE), (_EDGE, _EDGE), (_EDGE, 0)))


def triangles(
    term: ThreeBody, coefficients: Float[np.ndarray, " basis"], sides: Float[np.ndarray, "triangle 3"]
) -> tuple[Float[np.ndarray, " triangle"], Float[np.ndarray, "triangle 3"]]:
    """`ThreeBody.surface` without JAX: energies [kJ/mol] of triangles and slopes along their sides [kJ/mol/nm]."""
    table, grid = triplet_table(term, coefficients), term.grid
    splines = (grid.side, grid.side, grid.opposite)
    rows = [[spline.matrix(r, k) for spline, r in zip(splines, np.transpose(sides), strict=True)] for k in (0, 1)]
    energy, *slopes = (
        np.einsum("pa,pb,pc,abc->p", *(rows[int(axis == which)][axis] for axis in range(3)), table, optimize=True)
        for which in (None, 0, 1, 2)
    )
    return energy, np.stack(slopes, axis=-1)
