"""The configuration that simulations start from: taken out of a dataset and checked."""

from __future__ import annotations

import numpy as np
import xarray as xr
from jaxtyping import Float
from scipy.sparse import coo_array
from scipy.sparse.csgraph import breadth_first_order, connected_components

from bayescg.geometry.images import minimum_image
from bayescg.potentials import Potential

_NEEDED = ("positions", "box", "bead_type", "mass")


def start_of(initial: xr.Dataset, potential: Potential) -> xr.Dataset:
    """One frame of a dataset without the frame dimension, fit to be simulated with a potential.

    Args:
        initial: a coarse-grained dataset with one frame, or one frame of it.
        potential: what is to be simulated.

    Returns:
        The frame, float64, molecules whole.

    Raises:
        ValueError: if it is no frame, holds numbers that are not finite, lacks mass, or has beads without interactions.
    """
    missing = [name for name in _NEEDED if name not in initial.variables]
    if missing:
        raise ValueError(f"the initial frame lacks {', '.join(missing)}: take a frame of a dataset, cg.isel(frame=-1)")
    if "draw" in initial.dims:
        raise ValueError("initial has several draws: take one configuration, ensemble.isel(draw=0, frame=-1)")
    if "frame" in initial.dims:
        if initial.sizes["frame"] != 1:
            raise ValueError(f"initial has {initial.sizes['frame']} frames: take one, such as cg.isel(frame=-1)")
        initial = initial.isel(frame=0)
    positions, box = np.asarray(initial["positions"].values, float), np.asarray(initial["box"].values, float)
    if not (np.all(np.isfinite(positions)) and np.all(np.isfinite(box))):
        raise ValueError("the initial frame has positions or a box that are not finite: take another frame")
    if abs(np.linalg.det(box)) < 1e-9:
        raise ValueError("the initial frame's box has no volume: simulations are periodic in all three directions")
    mass = np.asarray(initial["mass"].values, float)
    if not np.all(np.isfinite(mass) & (mass > 0)):
        raise ValueError(f"bead masses must be positive and finite; the smallest is {np.nanmin(mass):g} Da")
    present = sorted(set(initial["bead_type"].values.astype(str).tolist()))
    strangers = [bead for bead in present if bead not in potential.bead_types]
    if strangers:
        raise ValueError(
            f"the potential has no term for bead type {', '.join(strangers)} of the initial frame; it describes "
            f"{', '.join(potential.bead_types)}. Add a term, or leave these beads out"
        )
    bonds = initial["bonds"].values if "bonds" in initial else np.zeros((0, 2), int)
    return initial.assign(positions=(("bead", "xyz"), _whole(positions, box, bonds)))


def _whole(positions: Float[np.ndarray, "bead 3"], box: Float[np.ndarray, "3 3"], bonds) -> np.ndarray:
    """Positions with every bead at the image next to the bead that it is bonded to."""
    result = positions.copy()
    if not len(bonds):
        return result
    n = len(positions)
    graph = coo_array((np.ones(len(bonds)), np.asarray(bonds).T), shape=(n, n)).tocsr()
    _, label = connected_components(graph, directed=False)
    for first in np.unique(np.unique(label, return_index=True)[1]):
        order, parent = breadth_first_order(graph, first, directed=False)
        for bead in order[1:]:
            result[bead] = result[parent[bead]] + minimum_image(positions[bead] - positions[parent[bead]], box)
    return result
