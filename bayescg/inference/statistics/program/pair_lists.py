"""Neighbor lists of a batch of frames, padded to common lengths: by vesin on the host, or on the device.

Vesin's searches do not run side by side in one process: with version 0.6, two threads took as long as one after the
other. Beside a CPU's compiled programs one search at a time costs little, as they run meanwhile on another core; a GPU
would wait most of the time. There, up to a few thousand beads, a compiled program looks at all pairs of all frames of
a batch instead.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from bayescg._arrays import AnyArray
from bayescg.data import neighbors
from bayescg.geometry.descriptors import minimum_image
from bayescg.geometry.images import shortest_height
from bayescg.potentials import Interactions, Pair, Potential
from bayescg.potentials.interactions import capacity

ALL_PAIRS = 4096
"""Beads up to which a GPU searches neighbors among all pairs."""
SCORES = "scores"
"""Name of the list of beads whose noise may correlate, beside the lists of terms."""
_STEP = 512
"""That list grows in such steps, so that few different shapes are compiled."""

Sizes = dict[str, int]
Padded = dict[str, Int[AnyArray, "frame _ _"]]


class HostLists:
    """Searches frame by frame with vesin.

    Args:
        interactions: who interacts.
        radius: beads closer than this have correlated noise [nm]; None: no list of them.

    Attributes:
        sizes: padded lengths so far, which only ever grow.
    """

    def __init__(self, interactions: Interactions, radius: float | None):
        self._interactions, self._radius = interactions, radius
        self.sizes: Sizes = {}

    def search(
        self, positions: Float[np.ndarray, "frame bead 3"], boxes: Float[np.ndarray, "frame 3 3"], distinct: int
    ) -> Padded:
        """Lists by name of the pair term, and `SCORES`. Frames from the distinct ones on repeat the last of them."""
        found = [self._one(x, box) for x, box in zip(positions[:distinct], boxes[:distinct], strict=True)]
        found += found[-1:] * (len(positions) - distinct)
        grow(self.sizes, {name: max(len(each[name]) for each in found) for name in found[0]})
        padded = {}
        for name in found[0]:
            shape = (len(found), self.sizes[name], found[0][name].shape[1])
            padded[name] = np.full(shape, _fill(name, positions.shape[1]), np.int32)
            for row, each in zip(padded[name], found, strict=True):
                row[: len(each[name])] = each[name]
        return padded

    def _one(self, positions, box) -> dict[str, Int[np.ndarray, "_ _"]]:
        found = self._interactions.pairs(positions, box)
        if self._radius is not None:
            found[SCORES] = neighbors.pairs(positions, box, _reach(self._radius, box))
        return found


class DeviceLists:
    """Searches all pairs of a batch in one compiled program.

    Args:
        interactions: who interacts.
        radius: beads closer than this have correlated noise [nm]; None: no list of them.
        sizes: lengths to begin with. A list that does not fit is searched again with more room: none is cut off.
    """

    def __init__(self, interactions: Interactions, radius: float | None, sizes: Sizes):
        potential, n = interactions.potential, interactions.n_beads
        assert self.hold(potential), "a term is made of its neighbors by a function of the host"
        self.sizes, self._radius = dict(sizes), radius
        every = np.stack(np.triu_indices(n, 1), axis=1).astype(np.int32)
        free = ~np.isin(every[:, 0].astype(np.int64) * n + every[:, 1], interactions.excluded)
        types = np.sort(interactions.type_index[every], axis=1)
        self._reaches: dict[str, float] = {}
        self._candidates: dict[str, Array] = {}
        for term in potential.terms:
            if isinstance(term, Pair):
                wanted = sorted(potential.bead_types.index(bead) for bead in term.types)
                self._reaches[term.name] = term.cutoff
                self._candidates[term.name] = jnp.asarray(every[free & np.all(types == wanted, axis=1)])
        if radius is not None:
            self._candidates[SCORES] = jnp.asarray(every)

    @staticmethod
    def hold(potential: Potential) -> bool:
        """Whether pairs are all that is searched for a potential."""
        return all(isinstance(term, Pair) or not term.cutoff for term in potential.terms)

    def search(
        self, positions: Float[np.ndarray, "frame bead 3"], boxes: Float[np.ndarray, "frame 3 3"], distinct: int
    ) -> Padded:
        """Lists by name of the pair term, and `SCORES`; of all frames, distinct or not."""
        del distinct
        reaches = {name: np.full(len(boxes), reach) for name, reach in self._reaches.items()}
        if self._radius is not None:
            reaches[SCORES] = np.array([_reach(self._radius, box) for box in boxes])
        while True:
            sizes = tuple((name, self.sizes[name]) for name in self._candidates)
            found, counts = _among_all(sizes, self._candidates, positions, boxes, reaches)
            if not grow(self.sizes, {name: int(count) for name, count in counts.items()}):
                return found


def grow(sizes: Sizes, counts: dict[str, int]) -> bool:
    """Lengthen what has become too short, to one of few lengths; tells whether anything had."""
    short = {name: count for name, count in counts.items() if count > sizes.get(name, -1)}
    for name, count in short.items():
        sizes[name] = max(1, -(-count // _STEP)) * _STEP if name == SCORES else capacity(count)
    return bool(short)


def _reach(radius: float, box) -> float:
    return min(radius, shortest_height(box) / 2)


def _fill(name: str, beads: int) -> int:
    """Bead number of padding: a bead with itself in a term's list; beyond the last bead, so dropped, for scores."""
    return beads if name == SCORES else 0


@partial(jax.jit, static_argnums=0)
def _among_all(
    sizes: tuple[tuple[str, int], ...],
    candidates: dict[str, Int[Array, "candidate 2"]],
    positions: Float[Array, "frame bead 3"],
    boxes: Float[Array, "frame 3 3"],
    reaches: dict[str, Float[Array, " frame"]],
) -> tuple[Padded, dict[str, Int[Array, ""]]]:
    """Padded lists, and the length of the longest of each name (lists are valid only if that fits)."""
    found, counts = {}, {}
    for name, size in sizes:
        listed, fill = candidates[name], _fill(name, positions.shape[1])

        def one(x, box, reach, listed=listed, size=size, fill=fill):
            apart = minimum_image(x[listed[:, 1]] - x[listed[:, 0]], box)
            return _compacted(listed, jnp.sum(apart**2, axis=-1) < reach**2, size, fill)

        found[name], lengths = jax.vmap(one)(positions, boxes, reaches[name])
        counts[name] = jnp.max(lengths)
    return found, counts


def _compacted(listed: Int[Array, "candidate 2"], near: Bool[Array, " candidate"], size: int, fill: int):
    """The pairs that are near, moved to the front, and how many they are."""
    place = jnp.cumsum(near, dtype=jnp.int32) - 1
    front = jnp.full((size, 2), fill, jnp.int32)
    return front.at[jnp.where(near, place, size)].set(listed, mode="drop"), jnp.sum(near)
