"""Dihedral angles and the placement of one atom by three others."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

_TINY = 1e-24
"""Added to squared lengths [nm^2]: gradients stay finite where atoms coincide or lie on a line."""


def norm(vectors: Float[Array, "*batch 3"]) -> Float[Array, "*batch"]:
    """Length, with a finite gradient at zero."""
    return jnp.sqrt(jnp.sum(vectors**2, axis=-1) + _TINY)


def unit(vectors: Float[Array, "*batch 3"]) -> Float[Array, "*batch 3"]:
    """Unit vectors."""
    return vectors / norm(vectors)[..., None]


def wrapped(angle: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
    """Into [-pi, pi)."""
    return jnp.mod(angle + np.pi, 2 * np.pi) - np.pi


def dihedral(
    d: Float[Array, "*#batch 3"],
    c: Float[Array, "*#batch 3"],
    b: Float[Array, "*#batch 3"],
    a: Float[Array, "*#batch 3"],
) -> Float[Array, "*#batch"]:
    """Dihedral a-b-c-d [rad], trans = pi, IUPAC sign."""
    first, axis, last = b - a, c - b, d - c
    left, right = jnp.cross(first, axis), jnp.cross(axis, last)
    sine, cosine = norm(axis) * jnp.sum(first * right, axis=-1), jnp.sum(left * right, axis=-1)
    # On a line the angle is undefined: zero there, without a gradient.
    return jnp.arctan2(sine, jnp.where((sine == 0) & (cosine == 0), 1.0, cosine))


def place(
    a: Float[Array, "*batch 3"],
    b: Float[Array, "*batch 3"],
    c: Float[Array, "*batch 3"],
    length: Float[Array, "*batch"],
    angle: Float[Array, "*batch"],
    torsion: Float[Array, "*batch"],
) -> Float[Array, "*batch 3"]:
    """The point at `length` from a, at `angle` to b and at dihedral `torsion` to c."""
    axis = unit(a - b)
    normal = unit(jnp.cross(b - c, axis))
    side = jnp.cross(normal, axis)
    along, across = -length * jnp.cos(angle), length * jnp.sin(angle)
    turned = jnp.cos(torsion)[..., None] * side + jnp.sin(torsion)[..., None] * normal
    return a + along[..., None] * axis + across[..., None] * turned
