"""Levels of fidelity, read and checked: points (x, y, error), or curves over bins with errors that are correlated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from jaxtyping import Float

from bayescg.surrogates.data import LARGEST, check_inputs, numbers, parts

_ALIKE = 1e-9
"""Relative difference up to which the shapes of two error covariances are the same."""


@dataclass(frozen=True, eq=False)
class Level:
    """One level. A point is a curve of one bin.

    Attributes:
        name: of the level.
        x: (point, d) inputs, or states.
        y: (point, bin) values.
        error: (point, bin, bin) covariance of the measurement of each point; zeros where unknown.
        has_error: whether it is known; if not, noise is learned.
    """

    name: str
    x: Float[np.ndarray, "point d"]
    y: Float[np.ndarray, "point bin"]
    error: Float[np.ndarray, "point bin bin"]
    has_error: bool

    @property
    def spread(self) -> float:
        """Standard deviation of all values."""
        return float(np.std(self.y))

    @property
    def change(self) -> float:
        """Root mean square over bins of the standard deviation between points; of one point that of its bins."""
        return float(np.sqrt(np.mean(np.var(self.y, axis=0)))) or self.spread


@dataclass(frozen=True, eq=False)
class Levels:
    """All levels, from the cheapest to the best.

    Attributes:
        levels: two or more; one for a plain Gaussian process.
        bins: (bin,) where curves are known; None for points.
    """

    levels: tuple[Level, ...]
    bins: Float[np.ndarray, " bin"] | None

    @property
    def names(self) -> list[str]:
        """Of the levels."""
        return [level.name for level in self.levels]

    @property
    def x(self) -> Float[np.ndarray, "point d"]:
        """All inputs, one level after the other."""
        return np.concatenate([level.x for level in self.levels])

    @property
    def y(self) -> Float[np.ndarray, "point bin"]:
        """All values."""
        return np.concatenate([level.y for level in self.levels])

    @property
    def error(self) -> Float[np.ndarray, "point bin bin"]:
        """All error covariances."""
        return np.concatenate([level.error for level in self.levels])

    @property
    def level(self) -> np.ndarray:
        """(point,) number of each point's level."""
        return np.repeat(np.arange(len(self.levels)), [len(level.x) for level in self.levels])

    @property
    def span(self) -> Float[np.ndarray, " d"]:
        """Largest minus smallest input, by column, over all levels."""
        return np.ptp(self.x, axis=0)

    @property
    def noisy(self) -> tuple[int, ...]:
        """Numbers of the levels whose noise is learned."""
        return tuple(number for number, level in enumerate(self.levels) if not level.has_error)

    def common_error(self) -> tuple[Float[np.ndarray, " point"], Float[np.ndarray, "bin bin"]] | None:
        """Error covariances as scale (point,) times one matrix (bin, bin), if they are that; None if not.

        Noise that is learned is the same and independent at all bins: its matrix is one.
        """
        size = self.y.shape[1]
        scale = np.trace(self.error, axis1=1, axis2=2) / size
        known = np.concatenate([np.full(len(level.x), level.has_error) for level in self.levels])
        if np.any(scale[known] <= 0):
            return None
        shapes = self.error[known] / scale[known, None, None]
        if not known.all():
            shapes = np.concatenate([shapes, np.eye(size)[None]])
        if np.max(np.abs(shapes - shapes[0])) > _ALIKE or np.linalg.eigvalsh(shapes[0])[0] < _ALIKE:
            return None
        return np.where(known, scale, 0.0), shapes[0]


def read_levels(levels: Sequence | Mapping, bins: Sequence | np.ndarray | None) -> Levels:
    """Check levels and bring them into shape.

    Args:
        levels: from the cheapest to the best, each (x, y), (x, y, error) or a dataset or mapping with these names; or a
            mapping from names of levels to these.
        bins: (bin,) of curves; None for points.

    Raises:
        ValueError: for anything that cannot be fitted.
    """
    if isinstance(levels, xr.Dataset) or (isinstance(levels, Mapping) and {"x", "y"} <= set(levels)):
        raise ValueError("levels must be a sequence from the cheapest to the best; got the data of one: give [data]")
    if isinstance(levels, Mapping):
        named = [(str(name), data) for name, data in levels.items()]
    elif isinstance(levels, list | tuple):
        named = [(f"level {number}", data) for number, data in enumerate(levels)]
    else:
        raise ValueError(f"levels must be a list of (x, y, error), the cheapest first; got {type(levels).__name__}")
    if not named:
        raise ValueError("there are no levels: give at least one (x, y) or (x, y, error)")
    if bins is not None:
        bins = numbers("bins", bins)
        if bins.ndim != 1 or len(bins) < 2 or np.any(np.diff(bins) <= 0):
            raise ValueError(f"bins must be at least two numbers that rise, shape (bin,); they have shape {bins.shape}")
    found: list[Level] = []
    for name, data in named:
        found.append(_level(name, data, bins, found[0].x.shape[1] if found else None))
    out = Levels(tuple(found), bins)
    size = out.y.size
    flat = np.flatnonzero(out.span == 0)
    if len(flat):
        raise ValueError(f"column {flat[0]} of x never varies, at any level: leave it out")
    if size > LARGEST and (bins is None or out.common_error() is None):
        remedy = "average neighbors and give the averages' errors"
        if bins is not None:
            remedy = "use fewer bins, or give errors that are one covariance times a number for each curve"
        raise ValueError(f"{size} values are too many for a dense covariance (at most {LARGEST}): {remedy}")
    return out


def _level(name: str, data, bins: np.ndarray | None, columns: int | None) -> Level:
    try:
        x, y, error = parts(data)
        x, y = check_inputs(numbers("x", x), columns), numbers("y", y)
        wanted = (len(x),) if bins is None else (len(x), len(bins))
        if y.shape != wanted:
            raise ValueError(f"y has shape {y.shape}; with x {x.shape} it must be {wanted}")
        least = 3 if bins is None and columns is None else 2 if bins is None or columns is None else 1
        if len(x) < least:
            raise ValueError(f"{len(x)} points are too few: give at least {least}")
        if np.ptp(y) == 0:
            raise ValueError(f"all values of y are {y.flat[0]:g}: there is nothing to learn")
        covariance = _covariance(error, y.shape)
        y = y.reshape(len(x), -1)
        out = Level(name, x, y, covariance, error is not None)
        if out.has_error:
            _check_twice(out)
    except ValueError as problem:
        raise ValueError(f"{name}: {problem}") from None
    return out


def _covariance(error, shape: tuple[int, ...]) -> np.ndarray:
    """Errors as covariances (point, bin, bin)."""
    points, size = shape[0], shape[1] if len(shape) == 2 else 1
    if error is None:
        return np.zeros((points, size, size))
    error = numbers("error", error)
    if len(shape) == 2 and error.shape == (points, size, size):
        if not np.allclose(error, error.transpose(0, 2, 1), rtol=1e-6, atol=1e-12 * np.abs(error).max()):
            raise ValueError("error of shape (state, bin, bin) is a covariance, and must be symmetric")
        lowest = np.linalg.eigvalsh(error)[:, 0]
        if np.any(lowest < -1e-8 * np.abs(error).max()):
            raise ValueError(f"a covariance of errors has the negative eigenvalue {lowest.min():g}")
        return 0.5 * (error + error.transpose(0, 2, 1))
    try:
        error = np.broadcast_to(error, shape)
    except ValueError:
        also = f", or {(points, size, size)} for covariances" if len(shape) == 2 else ""
        raise ValueError(f"error has shape {error.shape}; it must be {shape}{also}") from None
    if np.any(error < 0):
        raise ValueError(f"measurement errors are standard deviations; the smallest is {error.min():g}")
    return error.reshape(points, size)[:, :, None] ** 2 * np.eye(size)


def _check_twice(level: Level) -> None:
    """Points at the same input without an error cannot have different values, and make the covariance singular."""
    exact = np.flatnonzero(np.trace(level.error, axis1=1, axis2=2) == 0)
    unique, counts = np.unique(level.x[exact], axis=0, return_counts=True)
    if np.any(counts > 1):
        raise ValueError(
            f"{counts.max()} points at x = {unique[counts > 1][0].tolist()} have no measurement error: average them, "
            "give their errors, or give no errors, so that noise is learned"
        )
