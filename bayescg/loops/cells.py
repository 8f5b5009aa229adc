"""Neighbors of one bead after the other: all within reach, found in cells of that size where there are many."""

from __future__ import annotations

from typing import no_type_check

import numpy as np

from bayescg.loops.compiled import compiled

_FEWEST = 4
"""Cells along an axis: with three, all are neighbors."""


@compiled
@no_type_check
def inverse_of(box):
    """Inverse of a 3 x 3 matrix, and the heights of the cell."""
    inverse, heights = np.empty((3, 3)), np.empty(3)
    volume = 0.0
    for a in range(3):
        b, c = (a + 1) % 3, (a + 2) % 3
        x = box[b, 1] * box[c, 2] - box[b, 2] * box[c, 1]
        y = box[b, 2] * box[c, 0] - box[b, 0] * box[c, 2]
        z = box[b, 0] * box[c, 1] - box[b, 1] * box[c, 0]
        inverse[0, a], inverse[1, a], inverse[2, a] = x, y, z
        volume = box[a, 0] * x + box[a, 1] * y + box[a, 2] * z
    for a in range(3):
        norm = np.sqrt(inverse[0, a] ** 2 + inverse[1, a] ** 2 + inverse[2, a] ** 2)
        heights[a] = abs(volume) / norm
        for c in range(3):
            inverse[c, a] /= volume
    return inverse, heights


@compiled
@no_type_check
def sort_into_cells(positions, box, inverse, heights, reach, fractions, order, begins):
    """Sort beads into cells; beads of neighboring cells along the last axis lie side by side.

    Args:
        positions: (bead, 3) [nm].
        box: (3, 3) [nm].
        inverse: of the box.
        heights: of the box [nm].
        reach: how far neighbors are looked for [nm].
        fractions: (3, bead) filled: coordinates in units of the box, in [0, 1), in the order of the cells.
        order: (bead,) filled: number of the bead at each place.
        begins: (cell + 1,) filled as far as cells go: place of the first bead of each cell.

    Returns:
        Cells along each axis; one where there are too few for them to leave anybody out.
    """
    n = len(positions)
    counts = np.ones(3, np.int64)
    if reach > 0.0:
        for axis in range(3):
            fitting = int(heights[axis] / reach)
            if fitting >= _FEWEST:
                counts[axis] = fitting
        while counts[0] * counts[1] * counts[2] > len(begins) - 1:
            largest = np.argmax(counts)
            counts[largest] = counts[largest] // 2 if counts[largest] // 2 >= _FEWEST else 1
    cells = counts[0] * counts[1] * counts[2]
    own, wrapped = np.empty(n, np.int64), np.empty((n, 3))
    for c in range(cells + 1):
        begins[c] = 0
    for i in range(n):
        cell = 0
        for axis in range(3):
            s = positions[i, 0] * inverse[0, axis] + positions[i, 1] * inverse[1, axis]
            s += positions[i, 2] * inverse[2, axis]
            s -= np.floor(s)
            wrapped[i, axis] = s
            # A position that is not finite goes to the first cell; its sums will show it.
            place = min(max(int(s * counts[axis]), 0), counts[axis] - 1) if s == s else 0
            cell = cell * counts[axis] + place
        own[i] = cell
        begins[cell + 1] += 1
    for c in range(cells):
        begins[c + 1] += begins[c]
    filled = begins[:cells].copy()
    for i in range(n):
        p = filled[own[i]]
        filled[own[i]] += 1
        order[p] = i
        for axis in range(3):
            fractions[axis, p] = wrapped[i, axis]
    return counts


@compiled
@no_type_check
def gather(cell, counts, fractions, begins, places, around):
    """Put the beads of a cell and of those around it side by side, once for all beads of the cell.

    Args:
        cell: number of the cell.
        counts: cells along each axis.
        fractions: as `sort_into_cells` has filled them.
        begins: likewise.
        places: (bead,) filled: their places.
        around: (3, bead) filled: their coordinates in units of the box.

    Returns:
        How many they are.
    """
    home = (cell // (counts[1] * counts[2]), cell // counts[2] % counts[1], cell % counts[2])
    reach = (1 if counts[0] > 1 else 0, 1 if counts[1] > 1 else 0, 1 if counts[2] > 1 else 0)
    m = 0
    for da in range(-reach[0], reach[0] + 1):
        a = (home[0] + da + counts[0]) % counts[0]
        for db in range(-reach[1], reach[1] + 1):
            b = (home[1] + db + counts[1]) % counts[1]
            for dc in range(-reach[2], reach[2] + 1):
                c = (a * counts[1] + b) * counts[2] + (home[2] + dc + counts[2]) % counts[2]
                for q in range(begins[c], begins[c + 1]):
                    places[m] = q
                    around[0, m], around[1, m], around[2, m] = fractions[0, q], fractions[1, q], fractions[2, q]
                    m += 1
    return m


@compiled
@no_type_check
def neighbors_of(p, size, places, around, fractions, box, straight, square, found, vectors, squares, room):
    """Beads within reach of one bead, of those that were gathered around its cell.

    Args:
        p: place of the bead.
        size: how many were gathered.
        places: as `gather` has filled them.
        around: likewise.
        fractions: as `sort_into_cells` has filled them.
        box: (3, 3) [nm].
        straight: whether the box is a cuboid along the axes.
        square: of the reach [nm^2].
        found: (bead,) filled: places of the neighbors.
        vectors: (3, bead) filled: vectors to the neighbors, nearest images [nm].
        squares: (bead,) filled: their squared lengths [nm^2].
        room: (4, bead) to work in.

    Returns:
        Number of neighbors.
    """
    x, y, z = fractions[0, p], fractions[1, p], fractions[2, p]
    fx, fy, fz = around[0], around[1], around[2]
    rx, ry, rz, rd = room[0], room[1], room[2], room[3]
    # Two loops: the first one runs over several beads at once.
    if straight:
        lx, ly, lz = box[0, 0], box[1, 1], box[2, 2]
        for q in range(size):
            a, b, c = fx[q] - x, fy[q] - y, fz[q] - z
            a = (a - np.rint(a)) * lx
            b = (b - np.rint(b)) * ly
            c = (c - np.rint(c)) * lz
            rx[q], ry[q], rz[q], rd[q] = a, b, c, a * a + b * b + c * c
    else:
        for q in range(size):
            a, b, c = fx[q] - x, fy[q] - y, fz[q] - z
            a -= np.rint(a)
            b -= np.rint(b)
            c -= np.rint(c)
            u = a * box[0, 0] + b * box[1, 0] + c * box[2, 0]
            v = a * box[0, 1] + b * box[1, 1] + c * box[2, 1]
            w = a * box[0, 2] + b * box[1, 2] + c * box[2, 2]
            rx[q], ry[q], rz[q], rd[q] = u, v, w, u * u + v * v + w * w
    m = 0
    for q in range(size):
        found[m] = q
        # A distance that is not a number is kept, so that the sums show it.
        m += (not (rd[q] >= square)) & (places[q] != p)
    vx, vy, vz = vectors[0], vectors[1], vectors[2]
    for k in range(m):
        q = found[k]
        vx[k], vy[k], vz[k], squares[k] = rx[q], ry[q], rz[q], rd[q]
        found[k] = places[q]
    return m
