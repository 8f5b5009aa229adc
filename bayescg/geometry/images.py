"""Periodic images on the host: the nearest one of a vector, and how far it can be trusted."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def shortest_height(box: ArrayLike) -> float:
    """Shortest distance between opposite faces of a periodic box [nm].

    A sphere with a radius of half this height fits into the box in every direction: the largest cutoff for which the
    minimum image is the only image.

    Args:
        box: (3, 3) [nm], rows are lattice vectors; or (..., 3, 3), of which the shortest height overall is taken.

    Returns:
        The height [nm].
    """
    # Column k of the inverse is the reciprocal vector of row k, whose length is one over the height along it.
    reciprocal = np.linalg.inv(np.asarray(box, dtype=np.float64))
    return float(1.0 / np.sqrt((reciprocal**2).sum(axis=-2).max()))


def minimum_image(vectors: NDArray, box: ArrayLike) -> NDArray:
    """Shift vectors between beads to their nearest periodic images: v - round(v box^-1) box.

    Exact for all vectors whose shortest image is shorter than half the shortest box height; in a strongly triclinic
    box a longer vector may not come out as its very shortest image.

    Args:
        vectors: (..., 3) [nm].
        box: (3, 3) [nm], rows are lattice vectors; leading axes broadcast against those of `vectors[..., None, :]`.

    Returns:
        (..., 3) [nm], of the type of `vectors`.
    """
    lattice = np.asarray(box, dtype=vectors.dtype)
    if lattice.ndim == 2:
        return vectors - np.rint(vectors @ np.linalg.inv(lattice)) @ lattice
    shifts = np.rint(np.squeeze(vectors[..., None, :] @ np.linalg.inv(lattice), -2))
    return vectors - np.squeeze(shifts[..., None, :] @ lattice, -2)
