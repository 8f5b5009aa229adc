"""Figures of summarized observables: both error bars, the atomistic reference, and their difference in sigmas."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

from bayescg.observables import zscore
from bayescg.plots import style as look

_ERROR_BARS = 45
_SYMBOLS = {"r": "r", "theta": "θ", "phi": "φ"}
_NAMES = {
    "rdf": "g(r)",
    "bond_distribution": "p(r)",
    "bonded_angle_distribution": "p(θ)",
    "angle_distribution": "p(θ)",
    "dihedral_distribution": "p(φ)",
}


def observable(predicted: xr.Dataset, reference: xr.Dataset | None = None) -> Figure:
    """A summarized observable with its error bars, beside the atomistic one.

    The dark band is what the posterior leaves open, the light band adds finite sampling (the interval `lower` to
    `upper`); error bars are the interval of the reference. The strip below shows (CG - atomistic) in units of their
    combined standard deviation: within two, the error bars explain the difference; beyond, the potential does not.

    Args:
        predicted: what `observables.summarize` returned for an ensemble.
        reference: the same for the atomistic data.

    Returns:
        The figure.

    Raises:
        ValueError: if the observable has more than one dimension, or the two have no bins in common.
    """
    dims = predicted["mean"].dims
    if len(dims) > 1:
        raise ValueError(f"only observables of one dimension or none can be drawn; this one has {dims}")
    with look.style():
        if not dims:
            return _scalar(predicted, reference)
        rows = 1 if reference is None else 2
        ratios = {} if rows == 1 else {"height_ratios": [3.2, 1.0]}
        figure, axes = look.new_figure(
            rows, 1, width=1.35 * look.COLUMN, height=2.9 if rows == 1 else 3.7, sharex=True, gridspec_kw=ratios
        )
        _curve(axes[0, 0], predicted, reference)
        if reference is not None:
            _strip(axes[1, 0], zscore(predicted, reference))
        axes[-1, 0].set_xlabel(axis_labels(predicted)[0])
    return figure


def axis_labels(predicted: xr.Dataset) -> tuple[str, str, str]:
    """Labels of both axes with their units, and the title."""
    dimension = str(predicted["mean"].dims[0])
    symbol = _SYMBOLS.get(dimension, dimension)
    horizontal = look.label(f"${symbol}$", predicted[dimension].attrs.get("units"))
    name = str(predicted.attrs.get("observable", ""))
    title = str(predicted["mean"].attrs.get("long_name", name))
    symbol = _NAMES.get(name, title)
    vertical = look.label(f"${symbol}$" if name in _NAMES else symbol, predicted["mean"].attrs.get("units"))
    return horizontal, vertical, title.removeprefix(symbol).removeprefix(" of").strip() or title


rdf = observable
"""`observable`, under the name of the observable that is drawn most."""


def _curve(axes: Axes, predicted: xr.Dataset, reference: xr.Dataset | None) -> None:
    dimension = str(predicted["mean"].dims[0])
    x = predicted[dimension].values
    ci_prob = float(predicted.attrs.get("ci_prob", 0.9))
    quantile = stats.norm.ppf((1 + ci_prob) / 2)
    mean, sd = predicted["mean"].values, np.nan_to_num(predicted["sd_posterior"].values)
    lower, upper = predicted["lower"].values, predicted["upper"].values
    name = str(predicted.attrs.get("observable", ""))
    if name == "rdf":
        axes.axhline(1, color="0.6", lw=0.7, zorder=1)
    axes.fill_between(x, lower, upper, color=look.OUTER, lw=0, label=f"{ci_prob * 100:.0f} % posterior and sampling")
    if predicted.attrs.get("n_draws", 0) > 1:
        inner = np.maximum(mean - quantile * sd, lower), np.minimum(mean + quantile * sd, upper)
        axes.fill_between(x, *inner, color=look.INNER, lw=0, label=f"{ci_prob * 100:.0f} % posterior alone")
    axes.plot(x, mean, color=look.MODEL, label="coarse-grained", lw=1.1)
    shown = [lower, upper]
    at = x if reference is None else reference[dimension].values
    if reference is not None:
        every = max(1, len(at) // _ERROR_BARS)
        chosen = slice(every // 2, None, every)
        middle = reference["mean"].values
        errors = np.abs(np.stack([middle - reference["lower"].values, reference["upper"].values - middle]))
        axes.plot(at, middle, color=look.ATOMISTIC, lw=0.6, zorder=3)
        axes.errorbar(
            *(at[chosen], middle[chosen], errors[:, chosen]),
            **{"fmt": "o", "ms": 2.0, "color": look.ATOMISTIC, "elinewidth": 0.8, "zorder": 4, "label": "atomistic"},
        )
    if reference is not None:
        # Distributions of bonds cover the bins where something was seen, and that may be others in the two.
        union = np.unique(np.concatenate([x, at]))
        curves = ((x, lower), (x, upper), (at, reference["upper"].values))
        shown = [np.interp(union, *curve, left=np.nan, right=np.nan) for curve in curves]
        x = union
    data = np.stack(shown)
    axes.set_ylim(min(0.0, float(np.nanmin(data))), 1.05 * float(np.nanmax(data)))
    axes.set_xlim(*visited(x, data))
    _, vertical, title = axis_labels(predicted)
    axes.set_ylabel(vertical)
    axes.set_title(title)
    look.legend(axes, data, x)


def visited(x: np.ndarray, data: np.ndarray) -> tuple[float, float]:
    """The range of bins where anything was seen, with a margin: g(r) is zero over the first quarter of its axis."""
    seen = np.flatnonzero(np.nanmax(np.abs(data), axis=0) > 0)
    if len(seen) < 2:
        return float(x[0]), float(x[-1])
    margin = 0.04 * (x[-1] - x[0])
    return max(float(x[0]), float(x[seen[0]]) - margin), min(float(x[-1]), float(x[seen[-1]]) + margin)


def _strip(axes: Axes, score: xr.DataArray) -> None:
    """Bars of z scores, and the band within which the error bars explain the difference."""
    x, z = score[str(score.dims[0])].values, score.values
    largest = np.nanmax(np.abs(z)) if np.any(np.isfinite(z)) else 1.0
    limit = float(np.clip(1.1 * largest, 4.0, 12.0))
    width = float(np.median(np.diff(x))) if len(x) > 1 else 1.0
    beyond = np.abs(z) > 2
    axes.axhspan(-2, 2, color=look.UNSAMPLED, alpha=0.18, lw=0)
    axes.axhline(0, color="0.6", lw=0.7)
    clipped = np.clip(np.nan_to_num(z), -limit, limit)
    for mask, color in ((~beyond, look.MODEL), (beyond, look.REFERENCE)):
        axes.bar(x[mask], clipped[mask], width=width, color=color, lw=0)
    axes.set_ylim(-limit, limit)
    axes.set_ylabel("$z$")
    share = float(np.mean(beyond[np.isfinite(z)])) if np.any(np.isfinite(z)) else 0.0
    note = f"beyond ±2: {share * 100:.0f} % of bins" + (f"; clipped at ±{limit:.0f}" if largest > limit else "")
    axes.set_title(note, fontsize=8, color="0.3", pad=2)


def _scalar(predicted: xr.Dataset, reference: xr.Dataset | None) -> Figure:
    """A single number: points with intervals, one row for each origin."""
    figure, axes = look.new_figure(1, 1, width=1.35 * look.COLUMN, height=1.5)
    panel = axes[0, 0]
    ci_prob = float(predicted.attrs.get("ci_prob", 0.9))
    quantile = stats.norm.ppf((1 + ci_prob) / 2)
    rows = [("coarse-grained", predicted, look.MODEL)]
    if reference is not None:
        rows.append(("atomistic", reference, look.ATOMISTIC))
    for height, (_, summary, color) in enumerate(rows):
        mean, low, high = (float(summary[name]) for name in ("mean", "lower", "upper"))
        panel.plot([low, high], [height, height], color=color, lw=1.2)
        sd = np.nan_to_num(float(summary["sd_posterior"])) * quantile
        if sd > 0:
            panel.plot([max(mean - sd, low), min(mean + sd, high)], [height, height], color=color, lw=5, alpha=0.45)
        panel.plot([mean], [height], "o", color=color, ms=4)
    panel.set_yticks(range(len(rows)), [name for name, _, _ in rows])
    panel.set_ylim(len(rows) - 0.5, -0.5)
    panel.margins(x=0.15)
    title = str(predicted["mean"].attrs.get("long_name", predicted.attrs.get("observable", "")))
    panel.set_xlabel(look.label(title, predicted["mean"].attrs.get("units")))
    thick = "; thick: posterior alone" if predicted.attrs.get("n_draws", 0) > 1 else ""
    note = f"{ci_prob * 100:.0f} % intervals{thick}"
    panel.set_title(note, fontsize=8, color="0.3")
    return figure
