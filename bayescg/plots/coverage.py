"""Figures that show whether error bars hold: coverage by segments, and ranks of simulation-based calibration."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from bayescg.plots import style as look


def coverage(found: xr.Dataset, term: str | None = None) -> Figure:
    """Root mean square z and coverage by range of a term's descriptor, with errors over segments.

    Above: rms z at every point (line) and pooled over ranges (dots). One means that error bars are right; more, that
    they are too short. Below: the share of intervals that hold the fit to the other frames, beside the nominal one.

    Args:
        found: from `bayescg.coverage`.
        term: its name; None: the first.

    Returns:
        The figure.

    Raises:
        ValueError: if the term is not in the dataset.
    """
    names = [str(name).removeprefix("z_") for name in found.data_vars if str(name).startswith("z_")]
    name = names[0] if term is None and names else term
    if name not in names:
        raise ValueError(f"no coverage of term {term!r}; there are {', '.join(names) or 'none'}")
    low, high = found[f"low_{name}"].values, found[f"high_{name}"].values
    middle, half = 0.5 * (low + high), 0.5 * (high - low)
    nominal, firm = float(found.attrs["ci_prob"]), found[f"data_share_{name}"].values >= 0.5
    unit = found[f"x_{name}"].attrs.get("units", "")
    with look.style():
        figure, axes = look.new_figure(2, 1, width=1.3 * look.COLUMN, height=3.6, sharex=True)
        above, below = axes[:, 0]
        z = found[f"z_{name}"]
        above.axhline(1.0, color=look.ATOMISTIC, lw=0.8)
        above.plot(z[f"x_{name}"], np.sqrt((z**2).mean("segment")), color=look.INNER, lw=1.0, label="pointwise")
        _dots(above, middle, half, found[f"rms_{name}"].values, found[f"rms_se_{name}"].values, firm)
        above.set_ylabel("rms z")
        above.set_ylim(bottom=0)
        above.legend()
        below.axhline(nominal, color=look.ATOMISTIC, lw=0.8)
        _dots(below, middle, half, found[f"covered_{name}"].values, found[f"covered_se_{name}"].values, firm)
        below.set_ylabel(f"coverage of {nominal:.0%}")
        below.set_ylim(top=1.0)
        below.set_xlabel(f"{name} [{unit}]")
        frames, segments = found.attrs["frames_per_segment"], found.attrs["segments"]
        above.set_title(f"{segments} segments of {frames} frames, calibration {found.attrs['calibration']}")
    return figure


def _dots(axes: Any, middle, half, values, errors, firm) -> None:
    for chosen, face, label in ((firm, look.MODEL, "by range"), (~firm, "white", "by range, prior decides")):
        if chosen.any():
            axes.errorbar(
                *(middle[chosen], values[chosen], errors[chosen], half[chosen]),
                **{"fmt": "o", "ms": 3.5, "color": look.MODEL, "mfc": face, "lw": 1.2, "label": label},
            )


def ranks(found: xr.Dataset, names: list[str] | None = None) -> Figure:
    """Simulation-based calibration: how far the ranks' distribution is from uniform, with its simultaneous 95 % band.

    There is one panel for each quantity, drawn by arviz_plots. It shows the empirical distribution function of the
    ranks less that of a uniform variable. A line that leaves the band means that posteriors are biased (a hump on one
    side), too narrow (S shape) or too wide (mirrored S).

    Args:
        found: from `bayescg.inference.rank_statistics`.
        names: quantities to show; None: all.

    Returns:
        The figure.

    Raises:
        ValueError: if a name is unknown.
    """
    import arviz_plots
    from matplotlib import pyplot

    known = found["quantity"].values.astype(str).tolist()
    unknown = sorted(set(names or []) - set(known))
    if unknown:
        raise ValueError(f"no ranks of {', '.join(unknown)}; there are {', '.join(known)}")
    chosen = names or known
    data = xr.Dataset({name: ("sample", found["rank"].sel(quantity=name).values) for name in chosen})
    columns = min(3, len(chosen))
    size = (2 * look.COLUMN, 1.6 * -(-len(chosen) // columns) + 0.3)
    with look.style():
        collection = arviz_plots.plot_ecdf_pit(
            xr.DataTree.from_dict({"prior_sbc": data}),
            sample_dims=["sample"],
            **_envelope(arviz_plots.plot_ecdf_pit, 0.95),
            backend="matplotlib",
            col_wrap=columns,
            visuals={"ecdf_lines": {"color": look.MODEL}, "xlabel": {"text": "rank"}},
            figure_kwargs={"figsize": size, "layout": "constrained"},
        )
        figure = collection.viz["figure"].item()
        pyplot.close(figure)
    return figure


def _envelope(plot: Callable, probability: float) -> dict[str, Any]:
    """The probability of the band that ranks are to be in, by ArviZ's word for it: another one since version 1.3."""
    return {"envelope_prob" if "envelope_prob" in inspect.signature(plot).parameters else "ci_prob": probability}
