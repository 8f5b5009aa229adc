"""Bonded descriptors with gradients and Laplacians, in compiled loops: those of `bayescg.geometry.descriptors`."""

from __future__ import annotations

from typing import no_type_check

import numpy as np

from bayescg.loops.compiled import compiled

_STRAIGHT, _IN_LINE = 1e-16, 1e-12
"""Smallest squared sine of an angle, and smallest squared area [nm^4] of a dihedral angle's planes."""


@compiled
@no_type_check
def nearest_image(positions, i, j, box, inverse, vector):
    """Fill the shortest vector from bead i to bead j [nm]."""
    dx, dy, dz = positions[j, 0] - positions[i, 0], positions[j, 1] - positions[i, 1], positions[j, 2] - positions[i, 2]
    a = np.rint(dx * inverse[0, 0] + dy * inverse[1, 0] + dz * inverse[2, 0])
    b = np.rint(dx * inverse[0, 1] + dy * inverse[1, 1] + dz * inverse[2, 1])
    c = np.rint(dx * inverse[0, 2] + dy * inverse[1, 2] + dz * inverse[2, 2])
    vector[0] = dx - a * box[0, 0] - b * box[1, 0] - c * box[2, 0]
    vector[1] = dy - a * box[0, 1] - b * box[1, 1] - c * box[2, 1]
    vector[2] = dz - a * box[0, 2] - b * box[1, 2] - c * box[2, 2]


@compiled
@no_type_check
def describe(body, positions, beads, box, inverse, gradient, laplacian, room):
    """Value of one bonded interaction.

    Args:
        body: its number of beads: 2 a bond, 3 an angle, 4 a dihedral angle.
        positions: (bead, 3) [nm].
        beads: (4,) of the interaction.
        box: (3, 3) [nm].
        inverse: of the box.
        gradient: (4, 3) filled: derivative by the position of each bead.
        laplacian: (4,) filled: sum of second derivatives by the position of each bead.
        room: (6, 3) to work in.

    Returns:
        Length [nm] or angle [rad].
    """
    if body == 2:
        return _bond(positions, beads, box, inverse, gradient, laplacian, room)
    if body == 3:
        return _angle(positions, beads, box, inverse, gradient, laplacian, room)
    return _dihedral(positions, beads, box, inverse, gradient, laplacian, room)


@compiled
@no_type_check
def _bond(positions, beads, box, inverse, gradient, laplacian, room):
    vector = room[0]
    nearest_image(positions, beads[0], beads[1], box, inverse, vector)
    length = np.sqrt(vector[0] ** 2 + vector[1] ** 2 + vector[2] ** 2)
    for c in range(3):
        gradient[1, c] = vector[c] / length
        gradient[0, c] = -gradient[1, c]
    laplacian[0] = laplacian[1] = 2.0 / length
    return length


@compiled
@no_type_check
def _angle(positions, beads, box, inverse, gradient, laplacian, room):
    left, right, cross = room[0], room[1], room[2]
    nearest_image(positions, beads[1], beads[0], box, inverse, left)
    nearest_image(positions, beads[1], beads[2], box, inverse, right)
    a = np.sqrt(left[0] ** 2 + left[1] ** 2 + left[2] ** 2)
    b = np.sqrt(right[0] ** 2 + right[1] ** 2 + right[2] ** 2)
    for c in range(3):
        left[c] /= a
        right[c] /= b
    cosine = left[0] * right[0] + left[1] * right[1] + left[2] * right[2]
    _cross(left, right, cross)
    # As geometry.descriptors: at 0 and pi the gradient has no limit, and terms have no slope.
    sine = np.sqrt(max(cross[0] ** 2 + cross[1] ** 2 + cross[2] ** 2, _STRAIGHT))
    for c in range(3):
        gradient[0, c] = (cosine * left[c] - right[c]) / (sine * a)
        gradient[2, c] = (cosine * right[c] - left[c]) / (sine * b)
        gradient[1, c] = -gradient[0, c] - gradient[2, c]
    # The angle is the polar angle of either end about the other side; of the middle, all second derivatives by both
    # sides, of which the mixed ones are -1 / (sin a b).
    laplacian[0], laplacian[2] = cosine / (sine * a * a), cosine / (sine * b * b)
    laplacian[1] = laplacian[0] + laplacian[2] - 2.0 / (sine * a * b)
    return np.arctan2(sine, cosine)


@compiled
@no_type_check
def _dihedral(positions, beads, box, inverse, gradient, laplacian, room):
    f, g, h, a, b, cross = room[0], room[1], room[2], room[3], room[4], room[5]
    nearest_image(positions, beads[1], beads[0], box, inverse, f)
    nearest_image(positions, beads[2], beads[1], box, inverse, g)
    nearest_image(positions, beads[2], beads[3], box, inverse, h)
    _cross(f, g, a)
    _cross(h, g, b)
    _cross(b, a, cross)
    length = np.sqrt(g[0] ** 2 + g[1] ** 2 + g[2] ** 2)
    sine = (cross[0] * g[0] + cross[1] * g[1] + cross[2] * g[2]) / length
    cosine = a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
    aa = max(a[0] ** 2 + a[1] ** 2 + a[2] ** 2, _IN_LINE)
    bb = max(b[0] ** 2 + b[1] ** 2 + b[2] ** 2, _IN_LINE)
    fg = (f[0] * g[0] + f[1] * g[1] + f[2] * g[2]) / length
    hg = (h[0] * g[0] + h[1] * g[1] + h[2] * g[2]) / length
    for c in range(3):
        first, last = -length * a[c] / aa, length * b[c] / bb
        middle = fg * a[c] / aa - hg * b[c] / bb
        gradient[0, c], gradient[1, c] = first, middle - first
        gradient[2, c], gradient[3, c] = -middle - last, last
        # A dihedral angle is harmonic in the position of each of its beads.
    laplacian[0] = laplacian[1] = laplacian[2] = laplacian[3] = 0.0
    return np.arctan2(sine, cosine)


@compiled
@no_type_check
def _cross(a, b, product):
    product[0] = a[1] * b[2] - a[2] * b[1]
    product[1] = a[2] * b[0] - a[0] * b[2]
    product[2] = a[0] * b[1] - a[1] * b[0]
