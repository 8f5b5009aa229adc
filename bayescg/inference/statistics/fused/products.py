"""Products of rows and of scores, in compiled loops.

Scores of beads of one type have that type's own columns. For each unordered pair of types one product is taken over the
rows of the type with fewer beads: of its scores with the sums of the other's scores around each of its beads.
"""

from __future__ import annotations

from typing import NamedTuple, no_type_check

import numpy as np
from jaxtyping import Float, Int
from numba import types

from bayescg.loops.compiled import compiled

_SCORED = 256
"""Beads of one type whose scores are put together for one product."""


class Scores(NamedTuple):
    """Scores of the beads of some frames, and sums of them around beads.

    Attributes:
        own: scores, (bead, column) for one type after the other.
        around: sums over neighbors, (bead, column) for one unordered pair of types after the other; of two equal types
            with the bead's own score.
        own_of: (type,) where each type's scores begin.
        around_of: (type, type) where each pair's sums begin, for either order.
        center: (type, type) type of the beads that sums are around.
        scores_of: (type, type) where each pair's products begin.
        widths: (type,) columns of a score.
        filled: (type,) beads so far.
        row: (place,) row of each bead among those of its type.
        frames: so far, and how many there is room for.
    """

    own: Float[np.ndarray, " entry"]
    around: Float[np.ndarray, " entry"]
    own_of: Int[np.ndarray, " type"]
    around_of: Int[np.ndarray, "type type"]
    center: Int[np.ndarray, "type type"]
    scores_of: Int[np.ndarray, "type type"]
    widths: Int[np.ndarray, " type"]
    filled: Int[np.ndarray, " type"]
    row: Int[np.ndarray, " place"]
    frames: Int[np.ndarray, " 2"]


@compiled
@no_type_check
def room_of_scores(places, widths, of_kind, times, frames):
    """Empty `Scores`.

    Args:
        places: beads in a frame.
        widths: (type,) columns of rows.
        of_kind: (type,) beads of each type.
        times: scores of one bead, one after the other; 0: none are taken.
        frames: that will come.
    """
    kinds = len(widths)
    fitting = max(1, min(frames, _SCORED // max(of_kind.max(), 1)))
    own_of, around_of = np.zeros(kinds, np.int64), np.zeros((kinds, kinds), np.int64)
    center, scores_of = np.zeros((kinds, kinds), np.int64), np.zeros((kinds, kinds), np.int64)
    size = sums = products = 0
    for a in range(kinds):
        own_of[a] = size
        size += fitting * of_kind[a] * times * widths[a]
        for b in range(a, kinds):
            here = a if of_kind[a] <= of_kind[b] else b
            there = a + b - here
            center[a, b] = center[b, a] = here
            around_of[a, b] = around_of[b, a] = sums
            scores_of[a, b] = scores_of[b, a] = products
            sums += fitting * of_kind[here] * times * widths[there]
            products += times * times * widths[a] * widths[b]
    return Scores(
        np.empty(size), np.zeros(sums), own_of, around_of, center, scores_of, times * widths,
        np.zeros(kinds, np.int64), np.zeros(places, np.int64),
        np.array([0, fitting]),
    )  # fmt: skip


@compiled
@no_type_check
def list_near(near, listed, m, found, squares, square, kinds):
    """Append the neighbors of a bead whose noise may correlate with its own; returns the list and its new length."""
    if listed + m > len(near):
        longer = np.empty(2 * (listed + m), np.int64)
        longer[:listed] = near[:listed]
        near = longer
    for q in range(m):
        near[listed] = found[q]
        listed += squares[q] < square and kinds[found[q]] >= 0
    return near, listed


@compiled
@no_type_check
def add_score(scores, p, kind, rows, divergence, known, forces, structure, kT):
    """Scores of one bead about the pilot: J'(f - J w~), and -kT div J - J'(J w~), each after the other.

    Args:
        scores: added to.
        p: place of the bead.
        kind: its type.
        rows: (3, column) of the bead, the force at the end.
        divergence: (column,) of the rows.
        known: (column,) w~ and ones, 0 for the force.
        forces: the first is wanted.
        structure: the second is wanted.
        kT: thermal energy [kJ/mol].
    """
    width, wide = rows.shape[1], scores.widths[kind]
    row = scores.filled[kind]
    scores.filled[kind] += 1
    scores.row[p] = row
    at = scores.own_of[kind] + row * wide
    x, y, z = rows[0], rows[1], rows[2]
    fx = fy = fz = 0.0
    for k in range(width):
        fx += x[k] * known[k]
        fy += y[k] * known[k]
        fz += z[k] * known[k]
    if forces:
        own = scores.own[at : at + width]
        a, b, c = x[width - 1] - fx, y[width - 1] - fy, z[width - 1] - fz
        for k in range(width):
            own[k] = x[k] * a + y[k] * b + z[k] * c
        at += width
    if structure:
        own = scores.own[at : at + width]
        for k in range(width):
            own[k] = -kT * divergence[k] - (x[k] * fx + y[k] * fy + z[k] * fz)


@compiled
@no_type_check
def sum_near(scores, near_of, near, kinds):
    """Sum the scores of the neighbors around each bead of the frame that is under way."""
    widths = scores.widths
    for p in range(len(kinds)):
        a = kinds[p]
        if a < 0:
            continue
        at, wide = scores.own_of[a] + scores.row[p] * widths[a], widths[a]
        to = scores.around_of[a, a] + scores.row[p] * wide
        own, sums = scores.own[at : at + wide], scores.around[to : to + wide]
        for k in range(wide):
            sums[k] += own[k]
        for n in range(near_of[p], near_of[p + 1]):
            q = near[n]
            b = kinds[q]
            if scores.center[a, b] != a:
                continue
            wide = widths[b]
            at, to = scores.own_of[b] + scores.row[q] * wide, scores.around_of[a, b] + scores.row[p] * wide
            other, sums = scores.own[at : at + wide], scores.around[to : to + wide]
            for k in range(wide):
                sums[k] += other[k]
    scores.frames[0] += 1


@compiled
@no_type_check
def multiply_scores(scores, products, gemm):
    """Add the products of all scores that are there, and begin anew."""
    kinds = len(scores.widths)
    for a in range(kinds):
        for b in range(a, kinds):
            here = scores.center[a, b]
            there = a + b - here
            count, wide, across = scores.filled[here], scores.widths[here], scores.widths[there]
            if count:
                # (here, there) if here is a, else its transpose.
                own, around = scores.own_of[here], scores.around_of[a, b]
                if here == a:
                    _product(
                        scores.around,
                        around,
                        across,
                        scores.own,
                        own,
                        wide,
                        count,
                        products,
                        scores.scores_of[a, b],
                        gemm,
                    )
                else:
                    _product(
                        scores.own,
                        own,
                        wide,
                        scores.around,
                        around,
                        across,
                        count,
                        products,
                        scores.scores_of[a, b],
                        gemm,
                    )
                scores.around[around : around + count * across] = 0.0
    scores.filled[:] = 0
    scores.frames[0] = 0


@compiled
@no_type_check
def _hold(letters, sizes, one):
    """Use arrays after a call that has their addresses only: they would otherwise be freed before it reads them."""
    letters[0], sizes[0], one[0] = 0, 0, 0.0


@compiled
@no_type_check
def _product(first, at, m, second, to, n, rows, products, into, gemm):
    """Add second' first, (n, m), of rows of n and m numbers. BLAS sees arrays by columns, hence the order."""
    letters, sizes, one = np.array([78, 84], np.uint8), np.array([m, n, rows], np.int32), np.array([1.0])
    gemm(
        types.intp(letters.ctypes.data), types.intp(letters.ctypes.data + 1),
        types.intp(sizes.ctypes.data), types.intp(sizes.ctypes.data + 4), types.intp(sizes.ctypes.data + 8),
        types.intp(one.ctypes.data), types.intp(first.ctypes.data + 8 * at), types.intp(sizes.ctypes.data),
        types.intp(second.ctypes.data + 8 * to), types.intp(sizes.ctypes.data + 4),
        types.intp(one.ctypes.data), types.intp(products.ctypes.data + 8 * into), types.intp(sizes.ctypes.data),
    )  # fmt: skip
    _hold(letters, sizes, one)


@compiled
@no_type_check
def multiply(rows, at, count, width, gram, into, syrk):
    """Add the products of rows of numbers with themselves: entries (k, l) with l <= k, by rows."""
    letters, sizes, one = np.array([85, 78], np.uint8), np.array([width, count], np.int32), np.array([1.0])
    syrk(
        types.intp(letters.ctypes.data), types.intp(letters.ctypes.data + 1),
        types.intp(sizes.ctypes.data), types.intp(sizes.ctypes.data + 4),
        types.intp(one.ctypes.data), types.intp(rows.ctypes.data + 8 * at), types.intp(sizes.ctypes.data),
        types.intp(one.ctypes.data), types.intp(gram.ctypes.data + 8 * into), types.intp(sizes.ctypes.data),
    )  # fmt: skip
    _hold(letters, sizes, one)
