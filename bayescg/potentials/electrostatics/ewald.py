"""Ewald's sum over the reciprocal lattice, exact to a tolerance, in a box of any shape.

Ewald, Ann. Phys. 369, 253 (1921), doi:10.1002/andp.19213690304; Frenkel & Smit, Understanding Molecular Simulation,
section 12.1. Phases factor along the lattice vectors, exp(i k.r) = x^a y^b z^c, so that structure factors are a matrix
product of a few powers: for hundreds of beads that is as quick as a mesh and has no error of interpolation.
"""

from __future__ import annotations

import math

import jax.numpy as jnp
import numpy as np
from jax.scipy.special import erf, erfc
from jaxtyping import Array, Float, Int

from bayescg._arrays import AnyArray
from bayescg.geometry.descriptors import inverse_box

Waves = tuple[Int[AnyArray, " a"], Int[AnyArray, " b"], Int[AnyArray, " c"]]
"""Numbers of the waves along each reciprocal vector; along the first one from 0 on, as k and -k are one wave."""


def splitting(cutoff: float, tolerance: float) -> tuple[float, float]:
    """Where the sum is split into distances and waves, such that both ends are cut at one tolerance.

    Args:
        cutoff: of the sum over distances [nm].
        tolerance: relative error of forces, roughly; OpenMM's `ewaldErrorTolerance`.

    Returns:
        alpha [1/nm] of erfc(alpha r) / r, and the longest wave vector [1/nm].
    """
    x = math.sqrt(-math.log(2 * tolerance))
    return x / cutoff, 2 * x * x / cutoff


def waves(boxes: Float[np.ndarray, "*frame 3 3"], longest: float) -> Waves:
    """The waves up to a longest one in the largest of some boxes.

    Args:
        boxes: (..., 3, 3) lattice vectors as rows [nm].
        longest: wave vector [1/nm].
    """
    edges = np.linalg.norm(np.reshape(boxes, (-1, 3, 3)), axis=-1).max(axis=0)
    a, b, c = (math.ceil(longest * edge / (2 * math.pi)) for edge in edges)
    return np.arange(a + 1), np.arange(-b, b + 1), np.arange(-c, c + 1)


def reciprocal(
    positions: Float[AnyArray, "bead 3"],
    box: Float[AnyArray, "3 3"],
    charges: Float[AnyArray, " bead"],
    numbers: Waves,
    alpha: float,
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Energy of smooth charges of width 1 / (2 alpha) in a neutral box, their own included, over Coulomb's constant.

    Args:
        positions: (bead, 3) [nm].
        box: (3, 3) [nm].
        charges: (bead,) [e].
        numbers: from `waves`.
        alpha: from `splitting` [1/nm].

    Returns:
        Sum over k of 2 pi / V exp(-k^2 / 4 alpha^2) / k^2 |S(k)|^2 [e^2/nm], and its Laplacian summed over beads
        [e^2/nm^3].
    """
    box = jnp.asarray(box)
    inverse = inverse_box(box)
    x, y, z = jnp.moveaxis(jnp.asarray(positions) @ inverse, -1, 0)
    a, b, c = (_powers(f, n) for f, n in zip((x, y, z), numbers, strict=True))
    first = (charges * a[:, None, :] * b[None, :, :]).reshape(-1, a.shape[-1])
    factor = (first @ c.T).reshape(a.shape[0], b.shape[0], c.shape[0])
    vectors = sum(
        2 * math.pi * n.reshape([-1 if axis == k else 1 for k in range(3)] + [1]) * inverse[:, axis]
        for axis, n in enumerate(map(jnp.asarray, numbers))
    )
    squared = jnp.sum(vectors**2, axis=-1)
    zero = squared == 0
    # The half of the waves that is left out gives as much again.
    twice = jnp.where(jnp.asarray(numbers[0]) > 0, 2.0, 1.0)[:, None, None]
    weight = jnp.where(zero, 0.0, twice * jnp.exp(-squared / (4 * alpha**2)) / jnp.where(zero, 1.0, squared))
    weight = weight * 2 * math.pi / jnp.dot(box[0], jnp.cross(box[1], box[2]))
    power = jnp.real(factor) ** 2 + jnp.imag(factor) ** 2
    # A bead moves against all others, not against itself.
    laplacian = -2 * jnp.sum(weight * squared * (power - jnp.sum(charges**2)))
    return jnp.sum(weight * power), laplacian


def _powers(fraction: Float[Array, " bead"], numbers) -> Array:
    """exp(2 pi i n f), (wave, bead)."""
    phase = 2 * math.pi * jnp.asarray(numbers)[:, None] * fraction
    return jnp.cos(phase) + 1j * jnp.sin(phase)


def sharp(r: Float[Array, " pair"], alpha: float) -> tuple[Float[Array, " pair"], Float[Array, " pair"]]:
    """erfc(alpha r) / r [1/nm], and its Laplacian for one of both beads [1/nm^3]."""
    return erfc(alpha * r) / r, _bend(r, alpha)


def smooth(r: Float[Array, " pair"], alpha: float) -> tuple[Float[Array, " pair"], Float[Array, " pair"]]:
    """erf(alpha r) / r [1/nm], what the sum over waves has of a pair, and its Laplacian for one of both beads."""
    return erf(alpha * r) / r, -_bend(r, alpha)


def _bend(r, alpha: float):
    return 4 * alpha**3 / math.sqrt(math.pi) * jnp.exp(-((alpha * r) ** 2))


def own(charges: Float[Array, " bead"], alpha: float) -> Float[Array, ""]:
    """What the sum over waves has of each bead with itself [e^2/nm]."""
    return alpha / math.sqrt(math.pi) * jnp.sum(charges**2)
