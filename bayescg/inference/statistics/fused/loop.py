"""The compiled loop over frames and beads: rows, their products, histograms and scores."""

from __future__ import annotations

from typing import NamedTuple, no_type_check

import numpy as np
from jaxtyping import Float

from bayescg.inference.statistics.fused.products import (
    add_score,
    list_near,
    multiply,
    multiply_scores,
    room_of_scores,
    sum_near,
)
from bayescg.inference.statistics.fused.rows import bonded_rows, measure_bonded, pair_rows
from bayescg.loops.cells import gather, inverse_of, neighbors_of, sort_into_cells
from bayescg.loops.compiled import compiled

_ROWS = 1 << 18
"""Bytes of rows of one type that are put together for one product."""
_FEWEST = 8
"""Beads in a product, at least."""


class Frames(NamedTuple):
    """Frames that go through the loop one after the other.

    Attributes:
        positions: (frame, bead, 3) [nm].
        boxes: (frame, 3, 3) [nm].
        forces: (frame, bead, 3) [kJ/mol/nm].
        weights: (frame,) of each frame.
        extra: (frame, bead, 3, column) rows of what the loop does not know; none of them has no columns.
        spread: (frame, bead, column) their divergences.
    """

    positions: Float[np.ndarray, "frame bead 3"]
    boxes: Float[np.ndarray, "frame 3 3"]
    forces: Float[np.ndarray, "frame bead 3"]
    weights: Float[np.ndarray, " frame"]
    extra: Float[np.ndarray, "frame bead 3 column"]
    spread: Float[np.ndarray, "frame bead column"]


class Totals(NamedTuple):
    """What the loop adds to. Columns of a type are its own, the last one the force.

    Attributes:
        gram: products of rows, (column, column) for one type after the other, one triangle of each.
        divergence: (column,) for one type after the other.
        components: (type,) force components, times weights.
        counts: (bin,) histograms of terms.
        extremes: (term, 2) smallest and largest values.
        scores: products of scores, (column, column) for one unordered pair of types after the other.
    """

    gram: Float[np.ndarray, " entry"]
    divergence: Float[np.ndarray, " column"]
    components: Float[np.ndarray, " type"]
    counts: Float[np.ndarray, " bin"]
    extremes: Float[np.ndarray, "term 2"]
    scores: Float[np.ndarray, " entry"]


class Told(NamedTuple):
    """What the loop is told to do.

    Attributes:
        forces: scores of forces are taken, if any are.
        structure: divergences are wanted, and with a pilot their scores.
        kT: thermal energy [kJ/mol].
        known: (column,) coefficients of the pilot and ones for baselines, for one type after the other; empty: no
            scores.
    """

    forces: bool
    structure: bool
    kT: float
    known: Float[np.ndarray, " column"]


@compiled
@no_type_check
def add_frames(tables, told, frames, totals, syrk, gemm):
    """Add frames of one time block, in their order.

    Returns:
        Whether all interactions are where terms have columns. If not, it stops, and the sums are to be thrown away.
    """
    n, kinds = len(tables.types), len(tables.widths)
    widths = tables.widths
    scored = len(told.known) > 0
    times = (1 if told.forces else 0) + (1 if told.structure else 0)
    wide = widths.max()
    # Rows of each type until there are enough for one product.
    begin, gram_of, column_of = np.zeros(kinds, np.int64), np.zeros(kinds, np.int64), np.zeros(kinds, np.int64)
    room, size, entries, columns = np.zeros(kinds, np.int64), 0, 0, 0
    of_kind = np.zeros(kinds, np.int64)
    for i in range(n):
        if tables.types[i] >= 0:
            of_kind[tables.types[i]] += 1
    for t in range(kinds):
        begin[t], gram_of[t], column_of[t] = size, entries, columns
        fitting = max(_ROWS // (24 * widths[t]), _FEWEST)
        room[t] = min(fitting, max(of_kind[t], 1) * len(frames.positions))
        size += room[t] * 3 * widths[t]
        entries += widths[t] * widths[t]
        columns += widths[t]
    buffer, filled = np.empty(size), np.zeros(kinds, np.int64)
    # Neighbors.
    order, place_types, skipped = np.empty(n, np.int64), np.empty(n, np.int64), np.zeros(n, np.bool_)
    place_of, near_of = np.empty(n, np.int64), np.empty(n + 1, np.int64)
    begins = np.empty(max(n // 2, 1) + 2, np.int64)
    places, chosen, around = np.empty(n, np.int64), np.empty(n + 1, np.int64), np.empty((3, n))
    fractions, vectors, work = np.empty((3, n)), np.empty((3, n + 1)), np.empty((4, n + 1))
    found, squares = np.empty(n + 1, np.int64), np.empty(n + 1)
    # Bonded interactions.
    bonded = len(tables.tuples)
    firsts, slopes, bends = np.empty(bonded, np.int64), np.empty((bonded, 4)), np.empty((bonded, 4))
    gradients, spreads = np.empty((bonded, 4, 3)), np.empty((bonded, 4))
    divergence = np.zeros(wide)
    searched = tables.reach > 0.0 or scored
    scores, near = (
        room_of_scores(n, widths, of_kind, times if scored else 0, len(frames.positions)),
        np.empty(64 * n, np.int64),
    )
    for number in range(len(frames.positions)):
        positions, box, weight = frames.positions[number], frames.boxes[number], frames.weights[number]
        root = np.sqrt(weight)
        inverse, heights = inverse_of(box)
        straight = True
        for a in range(3):
            for b in range(3):
                straight = straight and (a == b or box[a, b] == 0.0)
        shell = min(tables.radius, 0.5 * heights.min()) if scored else 0.0
        reach = max(tables.reach, shell)
        if searched:
            counts = sort_into_cells(positions, box, inverse, heights, reach, fractions, order, begins)
        else:
            counts = np.ones(3, np.int64)
            for i in range(n):
                order[i] = i
        for p in range(n):
            place_types[p] = tables.types[order[p]]
            place_of[order[p]] = p
        fits = True
        if bonded:
            fits = measure_bonded(
                tables, positions, box, inverse, weight, totals.counts, totals.extremes,
                firsts, slopes, bends, gradients, spreads,
            )  # fmt: skip
        if not fits:
            return False  # their windows have no place in the rows
        listed, gathered, cell = 0, 0, -1
        for p in range(n):
            i, t = order[p], place_types[p]
            near_of[p] = listed
            if t < 0:
                continue
            width = widths[t]
            if filled[t] == room[t]:
                multiply(buffer, begin[t], 3 * filled[t], width, totals.gram, gram_of[t], syrk)
                filled[t] = 0
            at = begin[t] + filled[t] * 3 * width
            rows = buffer[at : at + 3 * width].reshape((3, width))
            rows[:] = 0.0
            if told.structure:
                divergence[:width] = 0.0
            if searched:
                if p >= begins[cell + 1]:
                    while p >= begins[cell + 1]:
                        cell += 1
                    gathered = gather(cell, counts, fractions, begins, places, around)
                m = neighbors_of(
                    p, gathered, places, around, fractions, box, straight, reach * reach, found, vectors, squares, work
                )
                if scored:
                    near, listed = list_near(near, listed, m, found, squares, shell * shell, place_types)
                first, last = tables.excluded_of[i], tables.excluded_of[i + 1]
                for e in range(first, last):
                    skipped[place_of[tables.excluded[e]]] = True
                fits &= pair_rows(
                    tables, t, m, found, place_types, vectors, squares, skipped, rows, divergence, told.structure,
                    weight, totals.counts, totals.extremes, work[0], chosen,
                )  # fmt: skip
                for e in range(first, last):
                    skipped[place_of[tables.excluded[e]]] = False
            if bonded:
                bonded_rows(tables, i, t, firsts, slopes, bends, gradients, spreads, rows, divergence, told.structure)
            extra = frames.extra.shape[3]
            own = width - extra - 1
            for c in range(3):
                for k in range(extra):
                    rows[c, own + k] = frames.extra[number, i, c, k]
                rows[c, width - 1] = frames.forces[number, i, c]
            if told.structure:
                for k in range(extra):
                    divergence[own + k] = frames.spread[number, i, k]
                for k in range(width):
                    divergence[k] *= weight
                    totals.divergence[column_of[t] + k] += divergence[k]
            if weight != 1.0:
                for c in range(3):
                    for k in range(width):
                        rows[c, k] *= root
            totals.components[t] += 3.0 * weight
            filled[t] += 1
            if scored:
                known = told.known[column_of[t] : column_of[t] + width]
                add_score(scores, p, t, rows, divergence, known, told.forces, told.structure, told.kT)
        if not fits:
            return False
        near_of[n] = listed
        if scored:
            sum_near(scores, near_of, near, place_types)
            if scores.frames[0] == scores.frames[1]:
                multiply_scores(scores, totals.scores, gemm)
    for t in range(kinds):
        if filled[t]:
            multiply(buffer, begin[t], 3 * filled[t], widths[t], totals.gram, gram_of[t], syrk)
    if scored:
        multiply_scores(scores, totals.scores, gemm)
    return True
