"""Pairs of beads within a cutoff (vesin) and minimum images, in any lower-triangular periodic box."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bayescg.geometry.images import shortest_height


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
    require_room(lattice, cutoff)
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


def require_room(box: NDArray, cutoff: float) -> None:
    """Refuse a cutoff within which a bead could meet two images of another.

    Args:
        box: (3, 3) [nm], rows are lattice vectors.
        cutoff: [nm].

    Raises:
        ValueError: if it is not positive or exceeds half the shortest box height.
    """
    half = shortest_height(box) / 2
    if not 0.0 < cutoff <= half * (1 + 1e-9):
        raise ValueError(
            f"cutoff {cutoff:g} nm is not between 0 and half the shortest box height, {half:.4f} nm: "
            "a bead would meet two images of another; choose a shorter cutoff or a larger box"
        )
