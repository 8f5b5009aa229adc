"""Systems without boundaries: the box of empty space around them."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from bayescg.data import dumps

OPEN = "open"
"""`boundary` of a dataset whose box is only empty space around a molecule."""

_AROUND, _LEAST = 4.0, 100.0


def vacuum_box(positions: NDArray) -> NDArray[np.float64]:
    """(3, 3) a cube in which no atom sees an image of another, whatever the molecule does.

    Four times as wide as the system, and 100 units of length more: an unfolded chain still fits.

    Args:
        positions: (atom, 3) of the first frame.
    """
    return np.eye(3) * (_AROUND * float(np.ptp(positions, axis=0).max()) + _LEAST)


def in_vacuum(universe) -> bool:
    """Whether the trajectory of an MDAnalysis universe has no box.

    Raises:
        ValueError: for a LAMMPS dump that is periodic in some directions only.
    """
    return dumps.is_open(universe) or universe.trajectory.ts.triclinic_dimensions is None


def refuse_open(dataset: xr.Dataset, what: str, instead: str) -> None:
    """Refuse a quantity that needs the volume of a periodic box.

    Args:
        dataset: CG trajectory or ensemble.
        what: the quantity, with what it needs.
        instead: what can be had.

    Raises:
        ValueError: if its box is only empty space.
    """
    if dataset.attrs.get("boundary") == OPEN:
        raise ValueError(f"these beads are in vacuum (boundary: {OPEN}), in a box of any size: {what}; {instead}")
