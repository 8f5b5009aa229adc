"""Tensor products of cubic B-splines over the three sides of a triangle: the basis of three-body terms.

u(r_ij, r_ik, r_jk) = sum_abc w_abc B_a(r_ij) B_b(r_ik) C_c(r_jk). Functions that carry value, slope or curvature at an
edge are left out on every axis where the edge is one, so that u, u' and u'' vanish there; so are those that no triangle
can reach. If both neighbors are of one type w_abc = w_bac, and both are one coefficient.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from bayescg._arrays import AnyArray
from bayescg.potentials.splines import UniformSpline

Windows = tuple[Int[Array, "*point"], Float[Array, "*point 4"], Float[Array, "*point 4"]]

_EDGE = 3
"""Functions at an edge that carry value, slope and curvature there."""


@dataclass(frozen=True)
class TensorGrid:
    """The basis functions of a three-body term.

    Attributes:
        side: spline of r_ij and of r_ik.
        opposite: spline of r_jk.
        symmetric: exchange of the neighbors leaves the energy as it is.
    """

    side: UniformSpline
    opposite: UniformSpline
    symmetric: bool

    @property
    def shape(self) -> tuple[int, int, int]:
        """Functions along each axis."""
        # The far edge of r_jk needs no condition: both other sides are then at their cutoff.
        sides = self.side.size - 2 * _EDGE
        return sides, sides, self.opposite.size - _EDGE

    @cached_property
    def columns(self) -> Int[np.ndarray, "3 basis"]:
        """Number along each axis of the function of every coefficient; a >= b if symmetric."""
        a, b, c = np.indices(self.shape).reshape(3, -1)
        (low_a, high_a), (low_b, high_b) = (self._support(self.side, k) for k in (a, b))
        low_c, high_c = self._support(self.opposite, c)
        possible = (low_c < high_a + high_b) & (low_a < high_b + high_c) & (low_b < high_a + high_c)
        if self.symmetric:
            possible &= a >= b
        return np.stack([a, b, c])[:, possible]

    @cached_property
    def flat(self) -> Int[np.ndarray, "2 basis"]:
        """Where each coefficient stands in the table of all w_abc, and where with neighbors exchanged."""
        (a, b, c), (_, n, m) = self.columns, self.shape
        return np.stack([(a * n + b) * m + c, (b * n + a) * m + c])

    @property
    def cells(self) -> tuple[int, int, int]:
        """Knot intervals along each axis."""
        return self.side.intervals, self.side.intervals, self.opposite.intervals

    def _support(self, spline: UniformSpline, kept: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        center = spline.start + (kept + _EDGE - 1) * spline.spacing
        reach = 2 * spline.spacing
        return np.maximum(center - reach, spline.start), np.minimum(center + reach, spline.stop)

    def count_triplets(self, counts: Float[np.ndarray, " cell"]) -> Float[np.ndarray, " basis"]:
        """Triplets that reach each basis function, from their numbers in the cells between knots."""
        table, window = np.reshape(counts, self.cells), np.ones(4)
        for axis in range(3):
            table = np.apply_along_axis(lambda row: np.convolve(row, window), axis, table)
        table = table[_EDGE:-_EDGE, _EDGE:-_EDGE, _EDGE:].ravel()
        one, other = self.flat
        return table[one] + (table[other] * (one != other) if self.symmetric else 0.0)

    def table(self, coefficients: Float[AnyArray, " basis"]) -> Float[Array, " abc"]:
        """All w_abc, flat; zero where there is no coefficient."""
        one, other = self.flat
        table = jnp.zeros(int(np.prod(self.shape)), coefficients.dtype).at[one].set(coefficients)
        return table.at[other].set(coefficients) if self.symmetric else table

    def fold(self, table: Float[Array, "*row abc"]) -> Float[Array, "*row basis"]:
        """The transpose of `table`: derivatives by w_abc to derivatives by coefficients."""
        one, other = self.flat
        found = table[..., one]
        return jnp.where(one == other, found, found + table[..., other]) if self.symmetric else found


def side_windows(grid: TensorGrid, r: Float[Array, "*point"]) -> Windows:
    """First of four functions of a side, their values and slopes at r."""
    return _windows(grid.side, grid.shape[0], r)


def opposite_windows(grid: TensorGrid, r: Float[Array, "*point"]) -> Windows:
    """First of four functions of the opposite side, their values and slopes at r."""
    return _windows(grid.opposite, grid.shape[2], r)


def bends(grid: TensorGrid, sides: Float[Array, "*point 3"]) -> list[Float[Array, "*point 4"]]:
    """Second derivatives of the four functions of each of three sides, the opposite one last."""
    found = []
    for axis, spline in enumerate((grid.side, grid.side, grid.opposite)):
        first = spline.windows(sides[..., axis])[0]
        found.append(_shifted(spline.curvatures(sides[..., axis]), _begin(first, grid.shape[axis]) + _EDGE - first))
    return found


def _windows(spline: UniformSpline, kept: int, r: Float[Array, "*point"]) -> Windows:
    """`UniformSpline.windows` on what is kept of its functions: beyond the edges all values and slopes are zero."""
    first, values, slopes = spline.windows(r)
    begin = _begin(first, kept)
    shift = begin + _EDGE - first
    return begin, _shifted(values, shift), _shifted(slopes, shift)


def _begin(first: Int[Array, "*point"], kept: int) -> Int[Array, "*point"]:
    return jnp.clip(first - _EDGE, 0, kept - 4)


def _shifted(window: Float[Array, "*point 4"], shift: Int[Array, "*point"]) -> Float[Array, "*point 4"]:
    """Entry e of the result is entry e + shift of the window, zero outside it."""
    padded = jnp.pad(window, [(0, 0)] * (window.ndim - 1) + [(_EDGE, _EDGE)])
    result = padded[..., _EDGE : _EDGE + 4]
    for step in range(-_EDGE, _EDGE + 1):
        if step:
            result = jnp.where((shift == step)[..., None], padded[..., _EDGE + step : _EDGE + step + 4], result)
    return result


def cell_of(spline: UniformSpline, r: Float[Array, "*point"]) -> tuple[Int[Array, "*point"], Bool[Array, "*point"]]:
    """Knot interval of each r, and whether it lies within the knots."""
    cell = jnp.floor((r - spline.start) / spline.spacing).astype(jnp.int32)
    return jnp.clip(cell, 0, spline.intervals - 1), (r >= spline.start) & (r < spline.stop)
