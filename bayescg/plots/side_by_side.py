"""Figures of one observable of several models beside the atomistic one."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bayescg.plots import style as look
from bayescg.plots.observables import axis_labels, visited


def side_by_side(predicted: Mapping[str, xr.Dataset], reference: xr.Dataset | None = None) -> Figure:
    """A summarized observable of several models, beside the atomistic one.

    Bands are intervals (`lower` to `upper`): what the posterior leaves open, and finite sampling. The lower panel shows
    the difference of each model from the atomistic observable; gray is the interval of the latter.

    Args:
        predicted: by name of the model what `observables.summarize` returned for its ensemble.
        reference: the same for the atomistic data.

    Returns:
        The figure.

    Raises:
        ValueError: if there is no model, or the observable has more than one dimension.
    """
    if not predicted:
        raise ValueError("no model to draw: give summaries by name, such as {'pair': summarize(array)}")
    dims = next(iter(predicted.values()))["mean"].dims
    if len(dims) > 1:
        raise ValueError(f"only observables of one dimension or none can be drawn; this one has {dims}")
    with look.style():
        if not dims:
            return _numbers(predicted, reference)
        rows = 1 if reference is None else 2
        ratios = {} if rows == 1 else {"height_ratios": [2.6, 1.0]}
        figure, axes = look.new_figure(
            rows, 1, width=1.6 * look.COLUMN, height=3.0 if rows == 1 else 4.0, sharex=True, gridspec_kw=ratios
        )
        _curves(axes[0, 0], predicted, reference)
        if reference is not None:
            _differences(axes[1, 0], predicted, reference)
        horizontal, _, _ = axis_labels(next(iter(predicted.values())))
        axes[-1, 0].set_xlabel(horizontal)
    return figure


def _curves(axes: Axes, predicted: Mapping[str, xr.Dataset], reference: xr.Dataset | None) -> None:
    first = next(iter(predicted.values()))
    dimension = str(first["mean"].dims[0])
    # Distributions of bonds cover the bins where something was seen, and that may be others in each.
    x = np.unique(
        np.concatenate([each[dimension].values for each in (*predicted.values(), reference) if each is not None])
    )
    shown = []
    for (name, summary), color in zip(predicted.items(), _colors(len(predicted)), strict=True):
        at = summary[str(summary["mean"].dims[0])].values
        axes.fill_between(at, summary["lower"].values, summary["upper"].values, color=color, alpha=0.3, lw=0)
        axes.plot(at, summary["mean"].values, color=color, lw=1.2, label=name)
        shown.append(np.interp(x, at, summary["upper"].values, left=np.nan, right=np.nan))
    if reference is not None:
        at = reference[str(reference["mean"].dims[0])].values
        axes.plot(at, reference["mean"].values, color=look.ATOMISTIC, lw=1.0, ls=(0, (4, 2)), label="atomistic")
        shown.append(np.interp(x, at, reference["upper"].values, left=np.nan, right=np.nan))
    data = np.stack(shown)
    axes.set_ylim(min(0.0, float(np.nanmin(data))), 1.05 * float(np.nanmax(data)))
    axes.set_xlim(*visited(x, data))
    _, vertical, title = axis_labels(first)
    axes.set_ylabel(vertical)
    axes.set_title(title)
    look.legend(axes, data, x)


def _differences(axes: Axes, predicted: Mapping[str, xr.Dataset], reference: xr.Dataset) -> None:
    dimension = str(reference["mean"].dims[0])
    at = reference[dimension].values
    low, high = (reference[end].values - reference["mean"].values for end in ("lower", "upper"))
    axes.fill_between(at, low, high, color=look.UNSAMPLED, alpha=0.4, lw=0)
    axes.axhline(0, color="0.6", lw=0.7)
    for summary, color in zip(predicted.values(), _colors(len(predicted)), strict=True):
        apart, own = xr.align(summary[["mean", "lower", "upper"]], reference["mean"], join="inner")
        x = apart[dimension].values
        axes.fill_between(x, (apart["lower"] - own).values, (apart["upper"] - own).values, color=color, alpha=0.3, lw=0)
        axes.plot(x, (apart["mean"] - own).values, color=color, lw=1.2)
    axes.set_ylabel("difference")


def _numbers(predicted: Mapping[str, xr.Dataset], reference: xr.Dataset | None) -> Figure:
    """A single number: points with intervals, one row for each model."""
    rows = list(zip(predicted, predicted.values(), _colors(len(predicted)), strict=True))
    if reference is not None:
        rows.append(("atomistic", reference, look.ATOMISTIC))
    figure, axes = look.new_figure(1, 1, width=1.6 * look.COLUMN, height=1.0 + 0.25 * len(rows))
    panel = axes[0, 0]
    for height, (_, summary, color) in enumerate(rows):
        panel.plot([float(summary["lower"]), float(summary["upper"])], [height, height], color=color, lw=1.4)
        panel.plot([float(summary["mean"])], [height], "o", color=color, ms=4)
    panel.set_yticks(range(len(rows)), [name for name, _, _ in rows])
    panel.set_ylim(len(rows) - 0.5, -0.5)
    panel.margins(x=0.15)
    first = rows[0][1]
    title = str(first["mean"].attrs.get("long_name", first.attrs.get("observable", "")))
    panel.set_xlabel(look.label(title, first["mean"].attrs.get("units")))
    panel.set_title(f"{float(first.attrs.get('ci_prob', 0.9)) * 100:.0f} % intervals", fontsize=8, color="0.3")
    return figure


def _colors(count: int) -> list[str]:
    return [look.CHAINS[number % len(look.CHAINS)] for number in range(count)]
