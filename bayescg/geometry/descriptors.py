"""Descriptors of one-dimensional terms with their exact gradients: distance, angle, dihedral.

Each function takes bead positions of its tuples and returns the descriptor and its gradient with respect to every bead
of the tuple. Gradients are written out rather than taken by autodiff: design rows need them for every tuple anyway.
"""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float

from bayescg._arrays import AnyArray


def inverse_box(box: Float[AnyArray, "3 3"]) -> Float[Array, "3 3"]:
    """Inverse of a 3 x 3 matrix by cross products (no LAPACK call inside a compiled step)."""
    a, b, c = box
    bc, ca, ab = jnp.cross(b, c), jnp.cross(c, a), jnp.cross(a, b)
    return jnp.stack([bc, ca, ab], axis=-1) / jnp.dot(a, bc)


def minimum_image(vector: Float[AnyArray, "*tuple 3"], box: Float[AnyArray, "3 3"]) -> Float[Array, "*tuple 3"]:
    """Shortest periodic image of each vector.

    Rounding fractional coordinates is exact for every vector shorter than half the smallest box height, in any
    triclinic box: such a vector has |fraction| < 1/2 along each axis.
    """
    vector, box = jnp.asarray(vector), jnp.asarray(box)
    return vector - _times(jnp.round(_times(vector, inverse_box(box))), box)


def _times(vector: Float[Array, "*tuple 3"], matrix: Float[Array, "3 3"]) -> Float[Array, "*tuple 3"]:
    # Written out, the product fuses with what stands around it; a matrix product is a pass over memory of its own.
    return vector[..., 0:1] * matrix[0] + vector[..., 1:2] * matrix[1] + vector[..., 2:3] * matrix[2]


def distance(
    tuples: Float[AnyArray, "tuple 2 3"], box: Float[AnyArray, "3 3"], padding=None
) -> tuple[Float[Array, " tuple"], Float[Array, "tuple 2 3"]]:
    """Distance of two beads [nm], gradient (tuple, 2, 3).

    `padding` marks tuples to ignore: their distance is set to `padding[1]` (beyond any cutoff) with a unit gradient,
    which keeps every derivative finite.
    """
    vector = minimum_image(tuples[..., 1, :] - tuples[..., 0, :], box)
    if padding is not None:
        mask, far = padding
        vector = jnp.where(mask[..., None], jnp.array([far, 0.0, 0.0], vector.dtype), vector)
    length = jnp.sqrt(jnp.sum(vector**2, -1))
    unit = vector / length[..., None]
    return length, jnp.stack([-unit, unit], axis=-2)


def angle(
    tuples: Float[AnyArray, "tuple 3 3"], box: Float[AnyArray, "3 3"]
) -> tuple[Float[Array, " tuple"], Float[Array, "tuple 3 3"]]:
    """Angle at the middle bead [rad, 0..pi], gradient (tuple, 3, 3).

    At 0 and pi the gradient has no limit; terms have zero slope there, so a floor on sin(theta) suffices.
    """
    left = minimum_image(tuples[..., 0, :] - tuples[..., 1, :], box)
    right = minimum_image(tuples[..., 2, :] - tuples[..., 1, :], box)
    left_length = jnp.linalg.norm(left, axis=-1, keepdims=True)
    right_length = jnp.linalg.norm(right, axis=-1, keepdims=True)
    a, b = left / left_length, right / right_length
    cosine = jnp.sum(a * b, -1, keepdims=True)
    # atan2 keeps full precision near 0 and pi, where arccos loses half the digits.
    cross = jnp.cross(a, b)
    squared = jnp.sum(cross**2, -1, keepdims=True)
    sine = jnp.sqrt(jnp.maximum(squared, 1e-16))
    first = (cosine * a - b) / (sine * left_length)
    last = (cosine * b - a) / (sine * right_length)
    theta = jnp.arctan2(sine, cosine)[..., 0]
    return theta, jnp.stack([first, -first - last, last], axis=-2)


def dihedral(
    tuples: Float[AnyArray, "tuple 4 3"], box: Float[AnyArray, "3 3"]
) -> tuple[Float[Array, " tuple"], Float[Array, "tuple 4 3"]]:
    """Dihedral angle [rad, -pi..pi], IUPAC sign, gradient (tuple, 4, 3).

    Blondel & Karplus, J. Comput. Chem. 17, 1132 (1996).
    """
    f = minimum_image(tuples[..., 0, :] - tuples[..., 1, :], box)
    g = minimum_image(tuples[..., 1, :] - tuples[..., 2, :], box)
    h = minimum_image(tuples[..., 3, :] - tuples[..., 2, :], box)
    a, b = jnp.cross(f, g), jnp.cross(h, g)
    length = jnp.linalg.norm(g, axis=-1, keepdims=True)
    phi = jnp.arctan2(jnp.sum(jnp.cross(b, a) * g, -1) / length[..., 0], jnp.sum(a * b, -1))
    # Three beads in line leave the angle undefined: the floor keeps the gradient finite there.
    a = a / jnp.maximum(jnp.sum(a**2, -1, keepdims=True), 1e-12)
    b = b / jnp.maximum(jnp.sum(b**2, -1, keepdims=True), 1e-12)
    fg = jnp.sum(f * g, -1, keepdims=True) / length
    hg = jnp.sum(h * g, -1, keepdims=True) / length
    first = -length * a
    last = length * b
    middle = fg * a - hg * b
    return phi, jnp.stack([first, middle - first, -middle - last, last], axis=-2)
