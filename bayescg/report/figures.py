"""Files of a figure: a picture for the screen, one for print, and the numbers that it shows."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import Collection, PolyCollection, QuadMesh
from matplotlib.figure import Figure


def png(figure: Figure) -> bytes:
    """A figure as a PNG file."""
    return _saved(figure, "png", dpi=200)


def pdf(figure: Figure) -> bytes:
    """A figure as a PDF file; the same figure gives the same bytes."""
    return _saved(figure, "pdf", metadata={"CreationDate": None})


def csv(figure: Figure) -> bytes:
    """What a figure shows, as a table of comma-separated values.

    Columns: `panel` (its number), `x label`, `y label`, `curve` (its label in the legend, or its number), `x`, `y`; a
    band has its lower end in `y` and the upper one in `y upper`, a map of colors has its value in `value`.
    """
    parts = [part for number, axes in enumerate(figure.axes) for part in _panel(number, axes)]
    table = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame({"panel": []})
    return table.dropna(axis="columns", how="all").to_csv(index=False, float_format="%.8g").encode()


def _saved(figure: Figure, form: str, **options) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format=form, **options)
    return buffer.getvalue()


def _panel(number: int, axes: Axes) -> Iterator[pd.DataFrame]:
    # Panels that share an axis have its label once.
    below = (other.get_xlabel() for other in axes.get_shared_x_axes().get_siblings(axes))
    x_label = axes.get_xlabel() or next(filter(None, below), "")
    place = {"panel": number, "x label": _plain(x_label), "y label": _plain(axes.get_ylabel())}
    for count, line in enumerate(axes.get_lines()):
        x, y = np.asarray(line.get_xdata(), float), np.asarray(line.get_ydata(), float)
        if len(x) and line.get_transform() == axes.transData:
            yield pd.DataFrame({**place, "curve": _name(line, f"line {count + 1}"), "x": x, "y": y})
    for count, collection in enumerate(axes.collections):
        found = _collection(collection)
        if found is not None:
            yield pd.DataFrame({**place, "curve": _name(collection, f"band {count + 1}"), **found})


def _name(artist, otherwise: str) -> str:
    label = str(artist.get_label())
    return otherwise if label.startswith("_") else label


def _collection(collection: Collection) -> dict[str, np.ndarray] | None:
    """The numbers of a band or of a map of colors; None of anything else."""
    if isinstance(collection, QuadMesh):
        corners = np.asarray(collection.get_coordinates())
        values = np.ma.filled(np.ma.asarray(collection.get_array(), float), np.nan)
        if values.size != corners[..., 0].size:
            corners = (corners[1:, 1:] + corners[:-1, :-1]) / 2
        return {"x": corners[..., 0].ravel(), "y": corners[..., 1].ravel(), "value": values.ravel()}
    if not isinstance(collection, PolyCollection) or not collection.get_paths():
        return None
    # A band is a polygon: along its lower end and back along the upper one.
    corners = np.concatenate([path.vertices for path in collection.get_paths()])
    x, place = np.unique(corners[:, 0], return_inverse=True)
    low, high = np.full(len(x), np.inf), np.full(len(x), -np.inf)
    np.minimum.at(low, place, corners[:, 1])
    np.maximum.at(high, place, corners[:, 1])
    return {"x": x, "y": low, "y upper": high}


def _plain(label: str) -> str:
    return label.replace("$", "").replace("\\mathrm", "").replace("{", "").replace("}", "")
