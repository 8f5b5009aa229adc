"""One frame as terms see it, and the neighbors that terms make their tuples of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from bayescg._arrays import AnyArray
from bayescg.geometry.images import minimum_image


class Configuration(NamedTuple):
    """One frame as terms see it.

    Attributes:
        positions: (bead, 3) [nm], wrapped or not.
        box: (3, 3) lattice vectors as rows [nm].
        tuples: for each term's name the beads of each interaction (interaction, body). A row that names the same bead
            twice is padding and counts for nothing.
        shapes: (bead, 3, 3) second moments of ellipsoidal beads [nm^2]; None where no term asks for them.
    """

    positions: Float[AnyArray, "bead 3"]
    box: Float[AnyArray, "3 3"]
    tuples: Mapping[str, Int[AnyArray, "interaction body"]]
    shapes: Float[AnyArray, "bead 3 3"] | None = None


def real_tuples(tuples: Int[AnyArray, "interaction body"]) -> Bool[Array, " interaction"]:
    """Which rows are interactions: a row that names the same bead twice is padding."""
    return jnp.asarray(tuples[:, 0] != tuples[:, 1])


@dataclass(frozen=True, eq=False)
class Neighbors:
    """Beads within reach of each other in one frame, on the host.

    Attributes:
        pairs: (pair, 2) beads, each pair once, exclusions taken out.
        types: (bead,) number of each bead's type; -1: in no term.
        numbers: the number of each bead type.
        positions: (bead, 3) [nm].
        box: (3, 3) [nm].
        reach: how far apart the pairs are at most [nm].
        skin: how much farther than a cutoff they are listed [nm].
    """

    pairs: Int[np.ndarray, "pair 2"]
    types: Int[np.ndarray, " bead"]
    numbers: Mapping[str, int]
    positions: Float[np.ndarray, "bead 3"]
    box: Float[np.ndarray, "3 3"]
    reach: float
    skin: float = 0.0

    def within(self, cutoff: float) -> Neighbors:
        """Those not farther apart than a cutoff and the skin."""
        reach = cutoff + self.skin
        if reach >= self.reach:
            return self
        return replace(self, pairs=self.pairs[self._squared < reach**2], reach=reach)

    def between(self, a: str, b: str) -> Int[np.ndarray, "pair 2"]:
        """Pairs of a bead of type a and one of type b, each once."""
        one, other = self.numbers[a], self.numbers[b]
        if one == other and np.all(self.types == one):
            return self.pairs
        first, second = self._ends
        return self.pairs[((first == one) & (second == other)) | ((first == other) & (second == one))]

    def around(self, center: str, neighbor: str) -> Int[np.ndarray, "side 2"]:
        """(center, neighbor) for every bead of one type and its neighbors of another, sorted by center."""
        both = np.concatenate([self.pairs, self.pairs[:, ::-1]])
        wanted = (self.types[both[:, 0]] == self.numbers[center]) & (self.types[both[:, 1]] == self.numbers[neighbor])
        both = both[wanted]
        return both[np.argsort(both[:, 0], kind="stable")]

    @cached_property
    def _squared(self) -> np.ndarray:
        first, second = self.pairs.T
        return np.sum(minimum_image(self.positions[second] - self.positions[first], self.box) ** 2, axis=-1)

    @cached_property
    def _ends(self) -> tuple[np.ndarray, np.ndarray]:
        types = self.types[self.pairs]
        return types[:, 0], types[:, 1]
