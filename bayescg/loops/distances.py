"""Counts of the distances between beads, in bins."""

from __future__ import annotations

from typing import no_type_check

import numpy as np

from bayescg.loops.cells import gather, inverse_of, neighbors_of, sort_into_cells
from bayescg.loops.compiled import compiled

_ROUNDING = 1e-13
"""By how much rounding may move a distance, relative to the largest coordinate."""


@compiled
@no_type_check
def count_distances(positions, box, cutoff, kinds, alike, excluded_of, excluded, edges, counts):
    """Count pairs of beads by their distance, nearest images, each pair once.

    Args:
        positions: (bead, 3) [nm].
        box: (3, 3) [nm].
        cutoff: at most half the shortest height of the box [nm].
        kinds: (bead,) kind of each bead.
        alike: whether pairs of all kinds count; otherwise those of different kinds.
        excluded_of: (bead + 1,) where the beads begin that each bead does not count with.
        excluded: those beads.
        edges: (bin + 1,) of the bins, up to the cutoff at most [nm].
        counts: (bin,) added to.

    Returns:
        Whether rounding does not matter. If not, a distance lies at an edge or at the cutoff, and the counts are to be
        thrown away.
    """
    n, last = len(positions), len(edges) - 1
    inverse, heights = inverse_of(box)
    straight = True
    for a in range(3):
        for b in range(3):
            straight = straight and (a == b or box[a, b] == 0.0)
    largest = np.abs(positions).max() + np.abs(box).sum()
    doubt = _ROUNDING * largest
    reach = cutoff + doubt
    order, place_of, skipped = np.empty(n, np.int64), np.empty(n, np.int64), np.zeros(n, np.bool_)
    begins, places, found = np.empty(max(n // 2, 1) + 2, np.int64), np.empty(n, np.int64), np.empty(n + 1, np.int64)
    fractions, around, vectors = np.empty((3, n)), np.empty((3, n)), np.empty((3, n + 1))
    squares, work = np.empty(n + 1), np.empty((4, n + 1))
    axes = sort_into_cells(positions, box, inverse, heights, reach, fractions, order, begins)
    for p in range(n):
        place_of[order[p]] = p
    # Equal bins are found by one product, others by bisection.
    scale, equal = last / (edges[last] - edges[0]), True
    for k in range(last):
        equal = equal and abs((edges[k] - edges[0]) * scale - k) < 1e-6
    for cell in range(axes[0] * axes[1] * axes[2]):
        size = gather(cell, axes, fractions, begins, places, around)
        for p in range(begins[cell], begins[cell + 1]):
            i = order[p]
            m = neighbors_of(
                p, size, places, around, fractions, box, straight, reach * reach, found, vectors, squares, work
            )
            for e in range(excluded_of[i], excluded_of[i + 1]):
                skipped[place_of[excluded[e]]] = True
            for k in range(m):
                q = found[k]
                if q < p or skipped[q]:
                    continue
                j = order[q]
                if not alike and kinds[i] == kinds[j]:
                    continue
                d = np.sqrt(squares[k])
                if abs(d - cutoff) <= doubt:
                    return False
                if d < edges[0] - doubt or d > edges[last] + doubt:
                    continue
                b = int((d - edges[0]) * scale) if equal else np.searchsorted(edges, d, side="right") - 1
                b = min(max(b, 0), last - 1)
                # Also where rounding has given the next bin.
                if not (d - edges[b] > doubt and edges[b + 1] - d > doubt):
                    return False
                counts[b] += 1
            for e in range(excluded_of[i], excluded_of[i + 1]):
                skipped[place_of[excluded[e]]] = False
    return True
