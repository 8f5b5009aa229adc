"""Which molecules can interact: from the distances of beads, which do not move, and how far atoms are from them."""

from __future__ import annotations

from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from bayescg._arrays import AnyArray
from bayescg.geometry.images import minimum_image, shortest_height

_ROOM = 1.25
"""How much farther from its bead than in all draws of the guide an atom may be."""


class Extent(eqx.Module):
    """How far atoms may be from the beads: a bound of the configurations that are sampled.

    Attributes:
        owner: of each atom, the bead that it is near.
        radius: of each bead, the largest distance [nm] of such an atom.
        far: the atom that is farthest from its bead.
    """

    owner: tuple[int, ...] = eqx.field(static=True)
    radius: tuple[float, ...] = eqx.field(static=True)
    far: int = eqx.field(static=True)

    @classmethod
    def of(cls, positions: Float[np.ndarray, "draw atom 3"], beads: Float[np.ndarray, "draw bead 3"]) -> Extent:
        """From draws of the guide.

        Args:
            positions: [nm].
            beads: [nm].
        """
        apart = np.linalg.norm(positions[:, :, None] - beads[:, None], axis=-1)
        owner = apart.mean(axis=0).argmin(axis=1)
        farthest = apart.max(axis=0)[np.arange(len(owner)), owner]
        radius = np.zeros(beads.shape[1])
        np.maximum.at(radius, owner, farthest)
        typical = apart.mean(axis=0)[np.arange(len(owner)), owner]
        return cls(tuple(owner.tolist()), tuple((_ROOM * radius).tolist()), int(typical.argmax()))

    def holds(self, positions: Float[Array, "atom 3"], beads: Float[AnyArray, "bead 3"]) -> Bool[Array, ""]:
        """Whether all atoms are within the bound."""
        away, farthest = positions - beads[np.array(self.owner)], np.array(self.radius)[list(self.owner)]
        return jnp.all(jnp.sum(away**2, axis=-1) <= jnp.asarray(farthest**2, positions.dtype))


class Neighbors(NamedTuple):
    """Lists of fixed size.

    Attributes:
        others: (molecule, neighbor), filled up with the molecule itself.
        mask: (molecule, neighbor), which are neighbors.
    """

    others: np.ndarray
    mask: np.ndarray


def whole(beads: Float[np.ndarray, "molecule bead 3"], box: np.ndarray | None) -> np.ndarray:
    """Beads of each molecule at the images nearest to its first.

    Args:
        beads: [nm].
        box: (3, 3), or None.
    """
    if box is None:
        return beads
    return beads[:, :1] + minimum_image(beads - beads[:, :1], box)


def find_neighbors(
    beads: Float[np.ndarray, "molecule bead 3"], box: np.ndarray | None, cutoff: float, extent: Extent
) -> Neighbors:
    """Molecules some atoms of which may be closer than the cutoff.

    Args:
        beads: [nm].
        box: (3, 3), or None.
        cutoff: of atoms [nm].
        extent: how far atoms are from their beads.
    """
    count, each = beads.shape[:2]
    radius = np.array(extent.radius)
    reach = cutoff + radius[:, None] + radius
    near = np.zeros((count, count), bool)
    # In a skewed box, what is farther than half its height may have a nearer image than the one that rounding finds.
    skewed = box is not None and np.count_nonzero(box - np.diag(np.diag(box))) > 0
    sure = shortest_height(box) / 2 if box is not None and skewed else np.inf
    for i in range(each):
        for j in range(each):
            vectors = beads[:, None, i] - beads[None, :, j]
            vectors = vectors if box is None else minimum_image(vectors, box)
            near |= (np.linalg.norm(vectors, axis=-1) < reach[i, j]) | (reach[i, j] > sure)
    np.fill_diagonal(near, False)
    width = max(int(near.sum(axis=1).max()), 1)
    index = np.tile(np.arange(count)[:, None], (1, width))
    mask = np.zeros((count, width), bool)
    for k, row in enumerate(near):
        found = np.flatnonzero(row)
        index[k, : len(found)], mask[k, : len(found)] = found, True
    return Neighbors(index, mask)
