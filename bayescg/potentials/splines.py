"""Cubic B-splines on uniform knots: the one family of one-dimensional basis functions.

On the uniform knots ``start + i h`` the basis function number ``k`` is ``beta((x - start) / h - (k - 1))`` with the
centered cubic B-spline ``beta`` (support 4 h). At any x at most four functions differ from zero, so that a whole
trajectory is turned into design rows by adding windows of four numbers (de Boor, A Practical Guide to Splines, 1978).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from bayescg._arrays import AnyArray


@dataclass(frozen=True)
class UniformSpline:
    """Cubic B-splines on a uniform grid (de Boor, A Practical Guide to Splines, 1978).

    Basis function k is beta((x - start) / h - (k - 1)), with the centered cubic B-spline beta and the knot spacing h.
    Outside [start, stop] every function is continued linearly (constant force), so that energies and forces stay finite
    and continuous wherever a simulation strays.

    Attributes:
        start: first knot, in the unit of the descriptor [nm or rad].
        stop: last knot.
        intervals: number of knot intervals, at least 4.
        periodic: whether the two ends are the same point (dihedral angles).

    Raises:
        ValueError: unless start < stop, and there are at least 4 intervals.
    """

    start: float
    stop: float
    intervals: int
    periodic: bool = False

    def __post_init__(self):
        if not self.stop > self.start:
            raise ValueError(f"a spline needs start < stop; got [{self.start}, {self.stop}]")
        if self.intervals < 4:
            raise ValueError(f"a spline needs at least 4 knot intervals; got {self.intervals}: lower the knot spacing")

    @property
    def spacing(self) -> float:
        """Distance of two knots."""
        return (self.stop - self.start) / self.intervals

    @property
    def size(self) -> int:
        """Number of basis functions."""
        return self.intervals if self.periodic else self.intervals + 3

    @property
    def knots(self) -> Float[np.ndarray, " knot"]:
        """The knots, both ends included."""
        return np.linspace(self.start, self.stop, self.intervals + 1)

    def windows(
        self, x: Float[Array, "*point"]
    ) -> tuple[Int[Array, "*point"], Float[Array, "*point 4"], Float[Array, "*point 4"]]:
        """The four basis functions that act at each x.

        Args:
            x: (...) [nm or rad].

        Returns:
            Index of the first function (...), the four values (..., 4), and the four derivatives with respect to x
            (..., 4). Indices of a periodic spline wrap: take them modulo `size`.
        """
        h = self.spacing
        t = (x - self.start) / h
        if self.periodic:
            # The caller keeps angles in [-pi, pi]; rounding may still touch the right end.
            t = t - self.intervals * jnp.floor(t / self.intervals)
        inside = jnp.clip(t, 0, self.intervals)
        first = jnp.clip(jnp.floor(inside).astype(jnp.int32), 0, self.intervals - 1)
        s = inside - first
        r = 1 - s
        values = jnp.stack([r**3 / 6, (4 - 6 * s**2 + 3 * s**3) / 6, (4 - 6 * r**2 + 3 * r**3) / 6, s**3 / 6], axis=-1)
        slopes = jnp.stack([-(r**2) / 2, (3 * s**2 - 4 * s) / 2, (4 * r - 3 * r**2) / 2, s**2 / 2], axis=-1)
        values = values + slopes * (t - inside)[..., None]
        if self.periodic:
            # Function k is centered at knot k: the window of the first interval begins with the last function.
            first = first - 1
        return first, values, slopes / h

    def curvatures(self, x: Float[Array, "*point"]) -> Float[Array, "*point 4"]:
        """Second derivatives of the four functions of `windows` at each x, zero where they are continued linearly.

        Args:
            x: (...) [nm or rad].

        Returns:
            (..., 4) [1/nm^2 or 1/rad^2].
        """
        t = (x - self.start) / self.spacing
        if self.periodic:
            t = t - self.intervals * jnp.floor(t / self.intervals)
        inside = jnp.clip(t, 0, self.intervals)
        s = inside - jnp.clip(jnp.floor(inside).astype(jnp.int32), 0, self.intervals - 1)
        r = 1 - s
        window = jnp.stack([r, 3 * s - 2, 3 * r - 2, s], axis=-1) / self.spacing**2
        return jnp.where((t == inside)[..., None], window, 0.0)

    def histogram(
        self, x: Float[Array, " point"], counted: Bool[Array, " point"]
    ) -> tuple[Float[Array, " interval"], Float[Array, ""], Float[Array, ""]]:
        """Number of points in each knot interval, and their extremes; the end intervals take what lies beyond them.

        Args:
            x: (point,) [nm or rad].
            counted: (point,) which of them to count.

        Returns:
            The numbers (intervals,), and the smallest and largest x (infinite if none counts).
        """
        interval = jnp.clip(jnp.floor((x - self.start) / self.spacing).astype(jnp.int32), 0, self.intervals - 1)
        numbers = jnp.zeros(self.intervals).at[interval].add(jnp.where(counted, 1.0, 0.0))
        lowest = jnp.min(x, where=counted, initial=jnp.inf)
        return numbers, lowest, jnp.max(x, where=counted, initial=-jnp.inf)

    def matrix(
        self, x: Float[np.ndarray, " point"] | Sequence[float] | float, derivative: int = 0
    ) -> Float[np.ndarray, "point basis"]:
        """Dense collocation matrix: all basis functions, or their derivatives, at x, in float64.

        Args:
            x: (point,) [nm or rad].
            derivative: 0, 1 or 2.

        Returns:
            (point, size).
        """
        x = np.atleast_1d(np.asarray(x, float))
        t = (x - self.start) / self.spacing
        if self.periodic:
            t = t % self.intervals
        inside = np.clip(t, 0, self.intervals)
        first = np.clip(np.floor(inside).astype(int), 0, self.intervals - 1)
        s = inside - first
        r = 1 - s
        values = np.stack([r**3, 4 - 6 * s**2 + 3 * s**3, 4 - 6 * r**2 + 3 * r**3, s**3], -1) / 6
        slopes = np.stack([-(r**2), 3 * s**2 - 4 * s, 4 * r - 3 * r**2, s**2], -1) / 2
        curvatures = np.stack([r, 3 * s - 2, 3 * r - 2, s], -1)
        outside = (t - inside)[:, None]
        window = (values + slopes * outside, slopes / self.spacing, curvatures * (outside == 0) / self.spacing**2)
        columns = first[:, None] + np.arange(4) - (1 if self.periodic else 0)
        dense = np.zeros((len(x), self.size))
        np.add.at(dense, (np.arange(len(x))[:, None], columns % self.size), window[derivative])
        return dense

    @property
    def sites(self) -> Float[np.ndarray, " basis"]:
        """Greville sites, (size,): as many points as functions, where interpolation is unique and well conditioned.

        They are the Greville abscissae of the clamped knot vector (same spline space), so that all lie in
        [start, stop]; for a periodic spline, the knots.
        """
        if self.periodic:
            return self.knots[:-1]
        h = self.spacing
        return np.concatenate([[self.start, self.start + h / 3], self.knots[1:-1], [self.stop - h / 3, self.stop]])

    def interpolate(self, values: Float[np.ndarray, " basis"]) -> Float[np.ndarray, " basis"]:
        """Coefficients of the spline that takes given values at the Greville sites.

        Args:
            values: (size,).

        Returns:
            (size,).
        """
        return np.linalg.solve(self.matrix(self.sites), np.asarray(values, float))


def spline_energy(
    spline: UniformSpline, coefficients: Float[AnyArray, " basis"], x: Float[Array, "*point"]
) -> tuple[Float[Array, "*point"], Float[Array, "*point"]]:
    """Value and slope of one spline at x, in JAX."""
    first, values, slopes = spline.windows(x)
    columns = first[..., None] + jnp.arange(4)
    if spline.periodic:
        columns = columns % spline.size
    window = jnp.asarray(coefficients)[columns]
    return jnp.sum(window * values, -1), jnp.sum(window * slopes, -1)


def add_windows(table: Array, starts: Int[Array, "window axis"], windows: Array, whole: tuple[int, ...] = ()) -> Array:
    """Add windows to a table, each at its start, as contiguous pieces: 15 times faster than elementwise scattering.

    Args:
        table: the table.
        starts: of each window along the axes that are not whole; windows lie inside the table.
        windows: (window, ...) along the last axes of the table.
        whole: axes that a window covers from end to end.
    """
    axes = tuple(k for k in range(table.ndim) if k not in whole)
    inserted = axes[: table.ndim - (windows.ndim - 1)]
    numbers = jax.lax.ScatterDimensionNumbers(
        update_window_dims=tuple(range(1, windows.ndim)),
        inserted_window_dims=inserted,
        scatter_dims_to_operand_dims=axes,
    )
    return jax.lax.scatter_add(table, starts, windows, numbers, mode="promise_in_bounds")
