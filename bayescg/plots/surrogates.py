"""Figures of physics-guided regression: the curve with its bands, the law, and the discrepancy."""

from __future__ import annotations

import json

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bayescg.plots import style as look

_CI_PROB = 0.95


def surrogate(
    prediction: xr.Dataset,
    data: xr.Dataset | None = None,
    *,
    column: str | int = 0,
    reference: tuple[np.ndarray, np.ndarray] | None = None,
) -> Figure:
    """A predicted curve: above the data, the law and the latent curve with 95 % bands; below the discrepancy.

    Dark is the band of the curve, light that of new data. Where no data were fitted the background is hatched.

    Args:
        prediction: from `surrogates.predict`, along a line of inputs.
        data: the group `constant_data` of the posterior; None: no points.
        column: the input that varies along the line, by name or number.
        reference: (x, y) of a curve to compare with.

    Returns:
        The figure.

    Raises:
        ValueError: if this is no prediction, or the column is unknown or does not vary.
    """
    if "band" not in prediction or "part" not in prediction.dims:
        raise ValueError("this is no prediction: call bayescg.surrogates.predict(posterior, inputs, key=key)")
    names = [str(name) for name in prediction["input"].values]
    if column not in names and column not in range(len(names)):
        raise ValueError(f"no input {column!r}; there are {', '.join(names)}")
    number = names.index(column) if column in names else int(column)
    x = prediction["x"].values[:, number]
    if len(x) < 2 or np.ptp(x) == 0:
        raise ValueError(f"{names[number]} does not vary in this prediction: choose another column")
    order = np.argsort(x, kind="stable")
    x, found = x[order], prediction.isel(point=order)
    units = json.loads(prediction.attrs.get("input_units", "[]")) or [""] * len(names)
    with look.style():
        figure, axes = look.new_figure(
            *(2, 1), width=1.35 * look.COLUMN, height=4.0, sharex=True, gridspec_kw={"height_ratios": [2.2, 1]}
        )
        above, below = axes[:, 0]
        _unsampled(above, x, found["outside"].values, label="no data fitted")
        _unsampled(below, x, found["outside"].values)
        for part, color, label in (
            ("observation", look.OUTER, "new data, 95 %"),
            ("latent", look.INNER, "curve, 95 %"),
        ):
            low, high = found["band"].sel(part=part, ci_prob=_CI_PROB).transpose("bound", "point").values
            above.fill_between(x, low, high, color=color, lw=0, label=label)
        above.plot(x, found["mean"].sel(part="latent"), color=look.MODEL, label="mean curve", zorder=3)
        above.plot(x, found["mean"].sel(part="physics"), color=look.REFERENCE, ls="--", label="the law", zorder=3)
        if reference is not None:
            above.plot(*reference, color=look.ATOMISTIC, lw=1.0, label="reference", zorder=4)
        if data is not None:
            _points(above, data, number)
        low, high = found["band"].sel(part="discrepancy", ci_prob=_CI_PROB).transpose("bound", "point").values
        below.fill_between(x, low, high, color=look.INNER, lw=0)
        below.plot(x, found["mean"].sel(part="discrepancy"), color=look.MODEL)
        below.axhline(0.0, color="0.3", lw=0.8, ls=":")
        unit = prediction["mean"].attrs.get("units")
        above.set_ylabel(look.label("$y$", unit))
        below.set_ylabel(look.label("discrepancy", unit))
        below.set_xlabel(look.label(names[number].replace("_", " "), units[number]))
        below.set_xlim(x[0], x[-1])
        figure.legend(loc="outside upper center", ncols=3)
    return figure


def _points(axes: Axes, data: xr.Dataset, number: int) -> None:
    x, y = data["x"].values[:, number], data["y"].values
    error = data["error"].values if data["error"].attrs.get("known") else None
    axes.errorbar(
        *(x, y, error),
        fmt="o",
        ms=3,
        mfc="white",
        color=look.ATOMISTIC,
        elinewidth=0.7,
        mew=0.8,
        label="data",
        zorder=5,
    )


def _unsampled(axes: Axes, x: np.ndarray, outside: np.ndarray, label: str | None = None) -> None:
    """Hatch the runs of inputs beyond the fitted box, up to the next input inside."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], outside.astype(int), [0]])))
    for begin, end in zip(edges[::2], edges[1::2], strict=True):
        axes.axvspan(
            *(float(x[max(begin - 1, 0)]), float(x[min(end, len(x) - 1)])),
            label=label,
            facecolor="none",
            edgecolor="0.88",
            hatch="////",
            lw=0,
            zorder=0,
        )
        label = None
