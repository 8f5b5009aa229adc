"""Distances between beads of a frame, counted in bins: by a compiled loop where numba is, else from a list of pairs."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bayescg.data.neighbors import pairs, require_room
from bayescg.geometry.images import minimum_image
from bayescg.observables._beads import histogram, pair_filter

_WORTH_LOADING = 100_000
"""Beads in all frames from which on numba, whose import takes a second, is worth it."""

Counter = Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.int64]]


class Wanted(NamedTuple):
    """Which pairs are counted, and where.

    Attributes:
        is_a: (bead,) whether a bead is of the first of two types.
        alike: whether there is one type only; otherwise pairs are of a bead of the first and one of the other.
        excluded: (pair, 2) beads that do not count with each other.
        edges: (bin + 1,) [nm].
        cutoff: pairs are closer than this [nm].
    """

    is_a: NDArray[np.bool_]
    alike: bool
    excluded: NDArray[np.int64]
    edges: NDArray[np.float64]
    cutoff: float


def counter(wanted: Wanted, frames: int) -> Counter:
    """What counts the pairs of a frame.

    Args:
        wanted: which pairs, and where.
        frames: how many will come.

    Returns:
        `(positions (bead, 3), box (3, 3)) -> (bin,)`; raises ValueError for what `data.neighbors.pairs` does.
    """
    worth = "numba" in sys.modules or frames * len(wanted.is_a) >= _WORTH_LOADING
    if worth and importlib.util.find_spec("numba") is not None:
        return _by_loop(wanted)
    return _by_list(wanted)


def _by_list(wanted: Wanted) -> Counter:
    keep = pair_filter(wanted.excluded, len(wanted.is_a))

    def count(positions: NDArray, box: NDArray) -> NDArray[np.int64]:
        found = pairs(positions, box, wanted.cutoff)
        chosen = np.ones(len(found), dtype=bool)
        if not wanted.alike:
            chosen = wanted.is_a[found[:, 0]] != wanted.is_a[found[:, 1]]
        if keep is not None:
            chosen &= keep(found)
        # Contiguous indices of the machine's word make this four times faster than positions[found[:, 0]].
        first, second = found.T.astype(np.intp)
        vectors = minimum_image(positions.take(first, axis=0) - positions.take(second, axis=0), box)
        distances = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
        return histogram(distances if chosen.all() else distances[chosen], wanted.edges)

    return count


def _by_loop(wanted: Wanted) -> Counter:
    from bayescg.loops.distances import count_distances

    kinds = wanted.is_a.astype(np.int64)
    both = np.concatenate([wanted.excluded, wanted.excluded[:, ::-1]]).astype(np.int64)
    both = both[np.argsort(both[:, 0], kind="stable")]
    excluded_of = np.searchsorted(both[:, 0], np.arange(len(kinds) + 1))
    excluded, edges = np.ascontiguousarray(both[:, 1]), np.ascontiguousarray(wanted.edges, np.float64)
    exactly = _by_list(wanted)

    def count(positions: NDArray, box: NDArray) -> NDArray[np.int64]:
        points, lattice = (np.ascontiguousarray(each, np.float64) for each in (positions, box))
        require_room(lattice, wanted.cutoff)
        counts = np.zeros(len(edges) - 1, np.int64)
        sure = count_distances(
            points, lattice, float(wanted.cutoff), kinds, wanted.alike, excluded_of, excluded, edges, counts
        )
        # A distance at an edge, as in a crystal: on which side it is must not depend on whether numba is there.
        return counts if sure else exactly(points, lattice)

    return count
