"""How figures look: one palette that color-blind readers can tell apart, one size of type, no pyplot state."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

# Okabe and Ito's palette (https://jfly.uni-koeln.de/color).
MODEL = "#0072B2"
INNER = "#7FB8D9"
OUTER = "#CBE2F0"
REFERENCE = "#D55E00"
ATOMISTIC = "#111111"
UNSAMPLED = "#8C8C8C"
CHAINS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")

COLUMN = 3.4
"""Width of a journal's column [inch]."""

_PARAMETERS = {
    "font.size": 9.0,
    "axes.labelsize": 9.5,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "xtick.direction": "out",
    "ytick.direction": "out",
    "legend.fontsize": 8.0,
    "legend.frameon": False,
    "legend.handlelength": 1.6,
    "lines.linewidth": 1.6,
    "lines.solid_capstyle": "round",
    "figure.dpi": 100.0,
    "savefig.dpi": 200.0,
    "savefig.facecolor": "white",
    "mathtext.default": "it",
    "axes.unicode_minus": True,
}


@contextlib.contextmanager
def style() -> Iterator[None]:
    """Our defaults inside the scope; the user's settings are as before afterwards."""
    with mpl.rc_context(_PARAMETERS):
        yield


def new_figure(rows: int, columns: int, *, width: float, height: float, **grid) -> tuple[Figure, NDArray]:
    """A figure that pyplot does not know, and its axes (rows, columns).

    Args:
        rows: of axes.
        columns: of axes.
        width: [inch].
        height: [inch].
        **grid: passed on to `Figure.subplots`.
    """
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **grid)


def label(name: str, unit: str | None) -> str:
    """An axis label: the quantity and its unit; none for pure numbers."""
    pretty = {"kJ/mol/nm": "kJ mol⁻¹ nm⁻¹", "kJ/mol": "kJ mol⁻¹", "kJ/mol/rad": "kJ mol⁻¹ rad⁻¹"}
    pretty |= {"1/nm": "nm⁻¹", "1/rad": "rad⁻¹"}
    return name if unit in (None, "", "1") else f"{name} ({pretty.get(str(unit), unit)})"


def legend(axes: Axes, data: NDArray, x: NDArray) -> None:
    """A legend in the emptier upper corner, with the axis stretched until no curve runs below it.

    Args:
        axes: where to; labeled artists are listed.
        data: (curve, x) everything that must stay visible.
        x: (x,).
    """
    handles, _ = axes.get_legend_handles_labels()
    if not handles:
        return
    low, high = axes.get_ylim()
    left, right = axes.get_xlim()
    tops = np.nanmax(np.where(np.isfinite(data), data, -np.inf), axis=0)
    tops = np.minimum(tops, high)
    position = (x - left) / (right - left)
    sides = {"upper right": position > 0.5, "upper left": (position < 0.5) & (position > 0)}
    heights = {where: tops[mask].max() if mask.any() else low for where, mask in sides.items()}
    where = min(heights, key=lambda name: heights[name])
    inches = axes.bbox.height / axes.figure.dpi
    share = min(0.6, (0.16 * len(handles) + 0.12) / max(inches, 0.5))
    needed = low + (heights[where] - low) / (1 - share)
    if needed > high:
        axes.set_ylim(low, needed)
    axes.legend(loc=where, borderaxespad=0.2)
