"""Pairs of beads within a cutoff (vesin) and minimum images, in any lower-triangular periodic box."""

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


def pairs(positions: NDArray, box: ArrayLike, cutoff: float) -> NDArray[np.int32]:
    """All pairs of beads closer than a cutoff, each listed once (vesin's cell list).

    Args:
        positions: (n_beads, 3) [nm], inside the box or not.
        box: (3, 3) [nm], rows are lattice vectors.
        cutoff: [nm], at most half the shortest box height.

    Returns:
        (n_pairs, 2) bead indices with i < j, in no particular order.

    Raises:
        ValueError: if the cutoff is not positive or exceeds half the shortest box height, or a position is not finite.
    """
    from vesin import NeighborList

    lattice = np.ascontiguousarray(box, dtype=np.float64)
    half = shortest_height(lattice) / 2
    if not 0.0 < cutoff <= half * (1 + 1e-9):
        raise ValueError(
            f"cutoff {cutoff:g} nm is not between 0 and half the shortest box height, {half:.4f} nm: "
            "a bead would meet two images of another; choose a shorter cutoff or a larger box"
        )
    points = np.ascontiguousarray(positions, dtype=np.float64)
    # NaN would send the cell list into undefined behavior; the sum is the cheapest test that sees one.
    if not np.isfinite(points.sum()):
        raise ValueError("a bead position is not finite: the simulation blew up or the input holds NaN")
    # One thread: frames are what callers run in parallel. A fresh list: its buffers are not safe to share.
    search = NeighborList(cutoff=float(cutoff), full_list=False, n_threads=1)
    (found,) = search.compute(points, lattice, periodic=True, quantities="P", copy=False)
    listed = found.astype(np.int32)
    if len(listed) and not np.all(listed[:, 0] < listed[:, 1]):
        listed.sort(axis=1)
    return listed
