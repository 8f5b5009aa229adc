"""How a molecule with one or two beads is turned, and turning it: its beads do not tell."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from bayescg._arrays import AnyArray

_LINE = 1e-4
"""Nearer to the line of two others [nm] an atom does not tell how a molecule is turned."""

Positions = Float[Array, "atom 3"]


def aligned(new: Positions, old: Positions, beads: Float[AnyArray, "bead 3"], marks: tuple[int, ...]) -> Positions:
    """Positions turned about their one bead, or the axis of their two, so that the marks lie as those of `old` do."""
    beads = jnp.asarray(beads)
    center = beads[0]
    if len(beads) == 1:
        i, j, k = marks
        return (new - center) @ (_axes(old, i, j, k) @ _axes(new, i, j, k).T).T + center
    axis = beads[1] - beads[0]
    axis = axis / jnp.sqrt(jnp.sum(axis**2))

    def azimuth(x):
        off = x[marks[0]] - center
        return off - jnp.sum(off * axis) * axis

    a, b = azimuth(new), azimuth(old)
    return rotate(new, center, axis, jnp.arctan2(jnp.sum(axis * jnp.cross(a, b)), jnp.sum(a * b)))


def _axes(x, i: int, j: int, k: int):
    u, v = x[j] - x[i], x[k] - x[i]
    u = u / jnp.sqrt(jnp.sum(u**2))
    w = jnp.cross(u, v)
    w = w / jnp.sqrt(jnp.sum(w**2))
    return jnp.stack([u, w, jnp.cross(u, w)], axis=1)


def rotate(x: Positions, center: Float[Array, "3"], axis: Float[Array, "3"], angle: Float[Array, ""]) -> Positions:
    """Positions turned about an axis through a center, by Rodrigues' formula."""
    u = axis / jnp.sqrt(jnp.sum(axis**2))
    v = x - center
    along = jnp.sum(v * u, axis=-1, keepdims=True) * u
    return center + along + jnp.cos(angle) * (v - along) + jnp.sin(angle) * jnp.cross(u, v)


def find_marks(positions: Float[np.ndarray, "draw atom 3"], beads: Float[np.ndarray, "draw bead 3"]):
    """Atoms that tell how a molecule with one or two beads is turned: never on a line, as far as draws tell.

    Args:
        positions: draws of the guide [nm].
        beads: of the same [nm].

    Returns:
        Three atoms for one bead; for two, one that is off their axis; None for more, and where all atoms lie on a line.
    """
    if beads.shape[1] > 2:
        return None
    if beads.shape[1] == 2:
        axis = beads[:, 1] - beads[:, 0]
        axis = axis / np.linalg.norm(axis, axis=-1, keepdims=True)
        off = np.linalg.norm(np.cross(positions - beads[:, :1], axis[:, None]), axis=-1).min(axis=0)
        return (int(off.argmax()),) if off.max() > _LINE else None
    apart = np.linalg.norm(positions[:, :, None] - positions[:, None], axis=-1).min(axis=0)
    i, j = (int(k) for k in np.unravel_index(int(apart.argmax()), apart.shape))
    axis = positions[:, j] - positions[:, i]
    axis = axis / np.linalg.norm(axis, axis=-1, keepdims=True)
    off = np.linalg.norm(np.cross(positions - positions[:, [i]], axis[:, None]), axis=-1).min(axis=0)
    return (i, j, int(off.argmax())) if off.max() > _LINE else None
