"""Rows of one bead in compiled loops: windows of four functions of each of its interactions."""

from __future__ import annotations

from typing import no_type_check

import numpy as np

from bayescg.inference.statistics.fused.descriptors import describe
from bayescg.inference.statistics.fused.tables import NO_COLUMN
from bayescg.loops.compiled import compiled


@compiled
@no_type_check
def pair_rows(
    tables, kind, m, found, kinds, vectors, squares, skipped, rows, divergence, wanted, weight, counts, extremes, room,
    chosen,
):  # fmt: skip
    """Add the pair terms of one bead: rows -u'(r) grad r, divergence -(u'' + 2 u' / r), histogram, extremes.

    Args:
        tables: of the potential.
        kind: type of the bead.
        m: number of neighbors.
        found: (neighbor,) their places.
        kinds: (place,) types of beads.
        vectors: (3, neighbor) to them [nm].
        squares: (neighbor,) [nm^2].
        skipped: (place,) excluded from this bead.
        rows: (3, column) added to.
        divergence: (column,) added to, if wanted.
        wanted: whether divergences are.
        weight: of the frame; half of it is counted, as each pair is met from both ends.
        counts: (bin,) added to.
        extremes: (term, 2) smallest and largest distance.
        room: (neighbor,) to work in.
        chosen: (neighbor,) likewise.

    Returns:
        Whether all neighbors are where the terms have columns; if not, the sums are to be thrown away.
    """
    vx, vy, vz, length = vectors[0], vectors[1], vectors[2], room
    for q in range(m):
        r = np.sqrt(squares[q])
        inverse = 1.0 / r
        length[q] = r
        vx[q] *= inverse
        vy[q] *= inverse
        vz[q] *= inverse
    fits = True
    for other in range(len(tables.pair)):
        term = tables.pair[kind, other]
        if term < 0:
            continue
        count, square = 0, tables.squares[term]
        for q in range(m):
            chosen[count] = q
            p = found[q]
            count += (kinds[p] == other) & (not (squares[q] >= square)) & (not skipped[p])
        if count:
            fits &= _one_term(
                tables, kind, term, chosen[:count], length, vx, vy, vz, rows, divergence, wanted, weight, counts,
                extremes,
            )  # fmt: skip
    return fits


@compiled
@no_type_check
def _one_term(tables, kind, term, chosen, length, vx, vy, vz, rows, divergence, wanted, weight, counts, extremes):
    """Add one pair term of a bead: its chosen neighbors. Tells whether it has columns for all of them."""
    jx, jy, jz = rows[0], rows[1], rows[2]
    h, start, most, first = tables.inverse[term], tables.start[term], tables.intervals[term] - 1, tables.bins[term]
    low, high, fits = tables.open[term, 0], tables.open[term, 1], True
    column, half, lowest, highest = tables.columns[kind, term], 0.5 * weight, np.inf, -np.inf
    for q in chosen:
        r = length[q]
        t = (r - start) * h
        inside = max(t, 0.0)
        k = min(int(inside), most)
        counts[first + k] += half
        lowest, highest = min(lowest, r), max(highest, r)
        if column <= NO_COLUMN:
            continue
        if k < low or k > high:
            fits = False
            continue
        s = inside - k
        o = 1.0 - s
        # Minus the slope, times the gradient, which points away from the neighbor.
        w0, w1 = -0.5 * o * o * h, (1.5 * s - 2.0) * s * h
        w2, w3 = (2.0 - 1.5 * o) * o * h, 0.5 * s * s * h
        x, y, z = vx[q], vy[q], vz[q]
        k += column
        jx[k] += w0 * x
        jx[k + 1] += w1 * x
        jx[k + 2] += w2 * x
        jx[k + 3] += w3 * x
        jy[k] += w0 * y
        jy[k + 1] += w1 * y
        jy[k + 2] += w2 * y
        jy[k + 3] += w3 * y
        jz[k] += w0 * z
        jz[k + 1] += w1 * z
        jz[k + 2] += w2 * z
        jz[k + 3] += w3 * z
        if wanted:
            bend, spread = h * h if t >= 0.0 else 0.0, 2.0 / r
            divergence[k] -= o * bend + w0 * spread
            divergence[k + 1] -= (3.0 * s - 2.0) * bend + w1 * spread
            divergence[k + 2] -= (3.0 * o - 2.0) * bend + w2 * spread
            divergence[k + 3] -= s * bend + w3 * spread
    extremes[term, 0], extremes[term, 1] = min(extremes[term, 0], lowest), max(extremes[term, 1], highest)
    return fits


@compiled
@no_type_check
def measure_bonded(
    tables, positions, box, inverse, weight, counts, extremes, firsts, slopes, bends, gradients, spreads
):
    """Windows, gradients and Laplacians of all bonded interactions of a frame, and their histograms.

    Args:
        tables: of the potential.
        positions: (bead, 3) [nm].
        box: (3, 3) [nm].
        inverse: of the box.
        weight: of the frame.
        counts: (bin,) added to.
        extremes: (term, 2) smallest and largest value.
        firsts: (interaction,) filled: first of four functions.
        slopes: (interaction, 4) filled: of the functions.
        bends: (interaction, 4) filled: their second derivatives.
        gradients: (interaction, 4, 3) filled: of the value.
        spreads: (interaction, 4) filled: its Laplacian by the position of each bead.

    Returns:
        Whether all are where the terms have columns.
    """
    room, fits = np.empty((6, 3)), True
    for e in range(len(tables.tuples)):
        term = tables.term_of[e]
        x = describe(tables.bodies[term], positions, tables.tuples[e], box, inverse, gradients[e], spreads[e], room)
        h, intervals = tables.inverse[term], tables.intervals[term]
        t = (x - tables.start[term]) * h
        if tables.size[term] == intervals:
            t -= intervals * np.floor(t / intervals)
        inside = min(max(t, 0.0), 1.0 * intervals)
        k = min(max(int(inside), 0), intervals - 1) if inside == inside else 0
        s = inside - k
        o = 1.0 - s
        counts[tables.bins[term] + k] += weight
        fits &= (k >= tables.open[term, 0]) & (k <= tables.open[term, 1])
        extremes[term, 0] = min(extremes[term, 0], x)
        extremes[term, 1] = max(extremes[term, 1], x)
        # Function k of a periodic spline is centered at knot k: the first window begins with the last function.
        firsts[e] = k - 1 if tables.size[term] == intervals else k
        slopes[e, 0], slopes[e, 1] = -0.5 * o * o * h, (1.5 * s - 2.0) * s * h
        slopes[e, 2], slopes[e, 3] = (2.0 - 1.5 * o) * o * h, 0.5 * s * s * h
        bend = h * h if t == inside else 0.0
        bends[e, 0], bends[e, 1], bends[e, 2], bends[e, 3] = o * bend, (3 * s - 2) * bend, (3 * o - 2) * bend, s * bend
    return fits


@compiled
@no_type_check
def bonded_rows(tables, bead, kind, firsts, slopes, bends, gradients, spreads, rows, divergence, wanted):
    """Add the bonded terms of one bead; arguments as of `measure_bonded` and `pair_rows`."""
    for n in range(tables.bonded_of[bead], tables.bonded_of[bead + 1]):
        e, place = tables.bonded[n, 0], tables.bonded[n, 1]
        term = tables.term_of[e]
        column = tables.columns[kind, term]
        if column <= NO_COLUMN:
            continue
        x, y, z = gradients[e, place, 0], gradients[e, place, 1], gradients[e, place, 2]
        square = x * x + y * y + z * z
        for f in range(4):
            k = column + (firsts[e] + f) % tables.size[term]
            slope = slopes[e, f]
            rows[0, k] -= slope * x
            rows[1, k] -= slope * y
            rows[2, k] -= slope * z
            if wanted:
                divergence[k] -= bends[e, f] * square + slope * spreads[e, place]
