"""Triplets of a center and two of its neighbors, on the host."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from bayescg.potentials.configuration import Neighbors


class Triplets(NamedTuple):
    """Triplets of one center type, each once.

    Attributes:
        beads: (triplet, 3) center, first neighbor, second neighbor.
        sides: (side, 3) center, neighbor, and 1 for neighbors that can only be second, else 0.
        sides_of: (triplet, 2) rows of `sides` of the first and second neighbor.
    """

    beads: Int[np.ndarray, "triplet 3"]
    sides: Int[np.ndarray, "side 3"]
    sides_of: Int[np.ndarray, "triplet 2"]


def triplets_of(neighbors: Neighbors, center: str, first: str, second: str) -> Triplets:
    """All triplets of a center and two of its neighbors.

    Args:
        neighbors: beads within reach of each other.
        center: type of the center.
        first: type of one neighbor.
        second: type of the other; if it is the same, both orders are one triplet.
    """
    beads = len(neighbors.types)
    sides = neighbors.around(center, first)
    count = np.bincount(sides[:, 0], minlength=beads)
    end = np.cumsum(count)
    number = np.arange(len(sides))
    if first == second:
        begin, partners = number + 1, end[sides[:, 0]] - number - 1
        listed, role = sides, np.zeros(len(sides), int)
    else:
        others = neighbors.around(center, second)
        count = np.bincount(others[:, 0], minlength=beads)
        begin = len(sides) + (np.cumsum(count) - count)[sides[:, 0]]
        partners = count[sides[:, 0]]
        listed, role = np.concatenate([sides, others]), np.repeat([0, 1], [len(sides), len(others)])
    one = np.repeat(number, partners)
    place = np.arange(len(one)) - np.repeat(np.cumsum(partners) - partners, partners)
    two = np.repeat(begin, partners) + place
    beads_of = np.stack([listed[one, 0], listed[one, 1], listed[two, 1]], axis=1)
    return Triplets(
        beads_of.astype(np.int32),
        np.column_stack([listed, role]).astype(np.int32),
        np.stack([one, two], axis=1).astype(np.int32),
    )
