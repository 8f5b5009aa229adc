"""One configuration of a system, as an export needs it."""

from __future__ import annotations

import numpy as np
import xarray as xr
from jaxtyping import Float


def one_frame(cg: xr.Dataset) -> xr.Dataset:
    """The last frame of a dataset, without a frame dimension (nor a draw)."""
    if "draw" in cg.dims:
        raise ValueError("an ensemble has many draws: choose a configuration by ensemble.isel(draw=0, frame=-1)")
    return cg.isel(frame=-1) if "frame" in cg.dims else cg


def reduce_box(box: Float[np.ndarray, "3 3"]) -> Float[np.ndarray, "3 3"]:
    """The same lattice with every tilt at most half an edge, as LAMMPS and OpenMM ask for."""
    a, b, c = np.asarray(box, float).copy()
    c = c - b * np.round(c[1] / b[1])
    c = c - a * np.round(c[0] / a[0])
    b = b - a * np.round(b[0] / a[0])
    return np.stack([a, b, c])
