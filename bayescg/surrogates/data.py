"""What is fitted: inputs, values and, where known, measurement errors; bad input is refused here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from jaxtyping import Float

LARGEST = 2000
"""Points: the covariance is dense, and its factor is taken at every step of the sampler."""


@dataclass(frozen=True, eq=False)
class Data:
    """Checked data.

    Attributes:
        x: (point, d) inputs.
        y: (point,) values.
        error: (point,) standard deviations of the measurement; zeros where unknown.
        has_error: whether they are known.
    """

    x: Float[np.ndarray, "point d"]
    y: Float[np.ndarray, " point"]
    error: Float[np.ndarray, " point"]
    has_error: bool

    @property
    def span(self) -> Float[np.ndarray, " d"]:
        """Largest minus smallest input, by column."""
        return np.ptp(self.x, axis=0)

    @property
    def spread(self) -> float:
        """Standard deviation of the values."""
        return float(np.std(self.y))


def read(data: xr.Dataset | Mapping | Sequence, columns: int | None, noisy: bool) -> Data:
    """Check data and bring them into shape.

    Args:
        data: a dataset or mapping with `x` (point, d) or (point,), `y` (point,) and optionally `error`, or a tuple of
            these.
        columns: how many the mean takes; None: any number.
        noisy: noise is learned also where errors are given.

    Raises:
        ValueError: for anything that cannot be fitted.
    """
    x, y, error = parts(data)
    has_error = error is not None
    x = numbers("x", x)
    x = check_inputs(x, columns)
    y = numbers("y", y)
    if y.shape != (len(x),):
        raise ValueError(f"y has shape {y.shape}; there are {len(x)} points in x {x.shape}")
    error = np.zeros(len(y)) if error is None else np.broadcast_to(numbers("error", error), y.shape)
    if np.any(error < 0):
        raise ValueError(f"measurement errors are standard deviations; the smallest is {error.min():g}")
    if len(y) < 5:
        raise ValueError(f"{len(y)} points are too few to tell physics, discrepancy and noise apart: give at least 5")
    if len(y) > LARGEST:
        raise ValueError(
            f"{len(y)} points are too many for a dense covariance (at most {LARGEST}): average neighbors and give "
            "the averages' errors"
        )
    flat = np.flatnonzero(np.ptp(x, axis=0) == 0)
    if len(flat):
        raise ValueError(f"column {flat[0]} of x never varies: leave it out, or put it into the mean as a constant")
    if np.ptp(y) == 0:
        raise ValueError(f"all values of y are {y[0]:g}: there is nothing to learn")
    found = Data(x, y, np.ascontiguousarray(error, float), has_error)
    if has_error and not noisy:
        _check_duplicates(found)
    return found


def check_inputs(x: np.ndarray, columns: int | None) -> Float[np.ndarray, "point d"]:
    """Inputs as (point, d).

    Raises:
        ValueError: if they have another shape, or another number of columns than the mean takes.
    """
    x = np.asarray(x, float)
    if x.ndim == 1 and columns in (None, 1):
        x = x[:, None]
    if x.ndim != 2 or (columns is not None and x.shape[1] != columns):
        wanted = "(point, d)" if columns is None else f"(point, {columns})"
        raise ValueError(f"x has shape {x.shape}; this model takes {wanted}")
    return x


def parts(data: xr.Dataset | Mapping | Sequence) -> tuple:
    """Inputs, values and errors (or None) of a dataset, a mapping or a tuple.

    Raises:
        ValueError: if it is none of these.
    """
    if isinstance(data, xr.Dataset | Mapping):
        missing = [name for name in ("x", "y") if name not in data]
        if missing:
            raise ValueError(f"the data have no {' and no '.join(missing)}; they have {[str(name) for name in data]}")
        if isinstance(data, xr.Dataset) and data["x"].ndim == 2 and data["x"].dims[0] not in data["y"].dims:
            data = data.transpose(*data["y"].dims, ...)
        return data["x"], data["y"], data.get("error")
    if isinstance(data, tuple | list) and len(data) in (2, 3):
        return data[0], data[1], data[2] if len(data) == 3 else None
    raise ValueError(f"data must be (x, y), (x, y, error) or a dataset with x and y; got {type(data).__name__}")


def numbers(name: str, values) -> np.ndarray:
    """Values as finite numbers.

    Raises:
        ValueError: if they are not, with the place of the first that is none.
    """
    try:
        values = np.asarray(values, float)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must be numbers: {error}") from error
    bad = np.argwhere(~np.isfinite(values))
    if len(bad):
        raise ValueError(f"{name} is {values[tuple(bad[0])]} at {tuple(bad[0].tolist())}: leave such points out")
    return values


def _check_duplicates(data: Data) -> None:
    """Points at the same input and without an error cannot have different values, and make the covariance singular."""
    exact = np.flatnonzero(data.error == 0)
    unique, counts = np.unique(data.x[exact], axis=0, return_counts=True)
    if np.any(counts > 1):
        at = unique[counts > 1][0]
        raise ValueError(
            f"{counts.max()} points at x = {at.tolist()} have no measurement error: average them, give their errors, "
            "or let the noise be learned (priors={'noise': ...})"
        )
