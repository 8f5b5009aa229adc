"""Padded neighbor lists for compiled forces: every bead's neighbors in one row, each pair listed from both sides.

Row sums over a full list need no scattering. On a CPU that is faster than a half list, whose reaction forces have to
be scattered element by element; on a GPU sums in a fixed order are reproducible.
"""

from __future__ import annotations

import math
from collections.abc import Container
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int

from bayescg._arrays import AnyArray
from bayescg.geometry.descriptors import inverse_box
from bayescg.geometry.images import shortest_height
from bayescg.potentials import Interactions, Pair, Potential, SplineTerm, Term
from bayescg.potentials.interactions import capacity


@dataclass(frozen=True, eq=False)
class Block:
    """Rows of neighbors that interact by one term: the centers are of one bead type, the neighbors of another.

    Attributes:
        term: the pair term.
        centers: (row,) beads whose neighbors the rows hold.
        others: (column,) beads that can be neighbors.
    """

    term: Pair
    centers: Int[np.ndarray, " row"]
    others: Int[np.ndarray, " column"]


def blocks_of(interactions: Interactions) -> tuple[Block, ...]:
    """The blocks of a system, in the order of `block_terms`."""
    types = interactions.potential.bead_types
    members = {bead: np.flatnonzero(interactions.type_index == k).astype(np.int32) for k, bead in enumerate(types)}
    blocks: list[Block] = []
    for term in block_terms(interactions.potential):
        mirrored = bool(blocks) and blocks[-1].term == term
        a, b = term.types[::-1] if mirrored else term.types
        blocks.append(Block(term, members[a], members[b]))
    return tuple(blocks)


def block_terms(potential: Potential) -> tuple[Pair, ...]:
    """The term of each block: one block for a term between like beads, two (one for each side) for unlike ones."""
    pairs = [term for term in potential.terms if isinstance(term, Pair)]
    return tuple(term for term in pairs for _ in range(1 if term.a == term.b else 2))


def other_terms(potential: Potential) -> list[Term]:
    """Terms that are neither rows of neighbors nor listed tuples of one distance or angle."""
    return [
        term
        for term in potential.terms
        if not isinstance(term, Pair) and (term.cutoff or not isinstance(term, SplineTerm))
    ]


def found_tuples(potential: Potential, listed: Container[str]) -> tuple[str, ...]:
    """Names of the arrays that other terms make of neighbors, in the order in which `Lists.build` gives them.

    Args:
        potential: the potential.
        listed: names of arrays that follow from the topology.
    """
    wanted = [name for term in other_terms(potential) if term.cutoff for name in term.force_tuples]
    return tuple(name for name in wanted if name not in listed)


def largest_skin(cutoff: float, box: Float[np.ndarray, "3 3"], wanted: float) -> float:
    """The wanted skin [nm], or what the box leaves: cutoff + skin must not exceed half the shortest box height."""
    return float(np.clip(0.5 * shortest_height(box) * (1 - 1e-9) - cutoff, 0.0, wanted))


class Lists:
    """Builds padded lists for draws that run together, and remembers how wide they have to be.

    A row is padded with its own center: a bead at distance zero from itself exerts no force. The width grows when a
    list does not fit (a recompilation, counted in `overflows`); nothing is ever cut off.

    Args:
        interactions: who interacts.
        box: (3, 3) [nm].
        skin: added to the cutoffs [nm].
        on_device: search inside a compiled program, among all pairs, instead of by vesin on the CPU: for a GPU and up
            to a few thousand beads.

    Attributes:
        rebuilds: lists built so far.
        overflows: times that a width had to grow.
    """

    def __init__(
        self, interactions: Interactions, box: Float[np.ndarray, "3 3"], skin: float, on_device: bool = False
    ) -> None:
        self.interactions, self.box, self.skin, self.on_device = interactions, np.asarray(box, float), skin, on_device
        self.blocks = blocks_of(interactions)
        self.found = found_tuples(interactions.potential, interactions.bonded)
        self._sizes = dict.fromkeys(self.found, 0)
        self.widths = (0,) * len(self.blocks)
        self.rebuilds = self.overflows = 0
        self._hidden = _excluded_rows(interactions) if on_device else None

    def build(self, positions: Float[AnyArray, "draw bead 3"]) -> tuple[Int[Array, "draw _ _"], ...]:
        """Lists for these positions, one array for each block, then those of `found_tuples`."""
        self.rebuilds += 1
        if not self.blocks and not self.found:
            return ()
        if self.found:
            return self._with_tuples(positions)
        if self.on_device and self.widths[0]:
            sides = tuple((block.centers, block.others, block.term.cutoff + self.skin) for block in self.blocks)
            while True:
                lists, longest = _device_lists(positions, self.box, sides, self._hidden, self.widths)
                if not self._fit(np.asarray(longest).max(axis=0)):
                    return lists
        return self._arrays([self._rows(np.asarray(x)) for x in positions])

    def _with_tuples(self, positions) -> tuple[Int[Array, "draw _ _"], ...]:
        found = [self.interactions.pairs(np.asarray(x), self.box, self.skin) for x in positions]
        tuples = []
        for name in self.found:
            longest = max(len(each[name]) for each in found)
            if longest > self._sizes[name]:
                self.overflows += self._sizes[name] > 0
                self._sizes[name] = capacity(int(1.1 * longest))
            padded = np.zeros((len(found), self._sizes[name], found[0][name].shape[1]), np.int32)
            for row, each in zip(padded, found, strict=True):
                row[: len(each[name])] = each[name]
            tuples.append(jnp.asarray(padded))
        return (*self._arrays([self._directed(each) for each in found]), *tuples)

    def _arrays(self, found) -> tuple[Int[Array, "draw _ _"], ...]:
        if not self.blocks:
            return ()
        self._fit(np.max([[int(counts.max(initial=0)) for _, _, counts in rows] for rows in found], axis=0))
        return tuple(
            jnp.asarray(np.stack([_padded(self.blocks[k].centers, *rows[k], width=self.widths[k]) for rows in found]))
            for k in range(len(self.blocks))
        )

    def _rows(self, positions: Float[np.ndarray, "bead 3"]):
        return self._directed(self.interactions.pairs(positions, self.box, self.skin))

    def _directed(self, found: dict[str, Int[np.ndarray, "pair 2"]]):
        return [_directed(found[block.term.name], block, self.interactions.n_beads) for block in self.blocks]

    def _fit(self, counts: Int[np.ndarray, " block"]) -> bool:
        """Widen the rows that have become too short; tells whether any had."""
        # Room for density fluctuations; multiples of 8 keep rows aligned.
        roomy = [8 * math.ceil((1.1 * count + 4) / 8) for count in counts]
        grow = [count > width for count, width in zip(counts, self.widths, strict=True)]
        self.overflows += any(g and w > 0 for g, w in zip(grow, self.widths, strict=True))
        self.widths = tuple(r if g else w for r, g, w in zip(roomy, grow, self.widths, strict=True))
        return any(grow)


def _padded(centers, row, neighbor, counts, width: int) -> Int[np.ndarray, "row width"]:
    filled = np.repeat(centers[:, None], width, axis=1)
    filled[row, np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)] = neighbor
    return filled


def _excluded_rows(interactions: Interactions) -> Int[np.ndarray, "bead excluded"]:
    """Beads that each bead does not see, itself included, padded with itself."""
    n = interactions.n_beads
    seen_by = [[bead] for bead in range(n)]
    for code in interactions.excluded.tolist():
        seen_by[code // n].append(code % n)
        seen_by[code % n].append(code // n)
    longest = max(map(len, seen_by))
    return np.array([hidden + [hidden[0]] * (longest - len(hidden)) for hidden in seen_by], np.int32)


def _directed(found: Int[np.ndarray, "pair 2"], block: Block, n_beads: int):
    """Rows, neighbors and row lengths of a block, sorted by row."""
    row_of = np.full(n_beads, -1, np.int32)
    row_of[block.centers] = np.arange(len(block.centers), dtype=np.int32)
    center = np.concatenate([found[:, 0], found[:, 1]])
    neighbor = np.concatenate([found[:, 1], found[:, 0]])
    row = row_of[center]
    if block.term.a != block.term.b:
        mine = row >= 0
        row, neighbor = row[mine], neighbor[mine]
    # 16-bit keys are sorted by radix, four times faster.
    order = np.argsort(row.astype(np.uint16) if len(block.centers) < 2**16 else row, kind="stable")
    return row[order], neighbor[order], np.bincount(row, minlength=len(block.centers))


@partial(jax.jit, static_argnums=(4,))
def _device_lists(
    positions: Float[Array, "draw bead 3"],
    box: Float[Array, "3 3"],
    sides: tuple[tuple[Array, Array, float], ...],
    hidden: Int[Array, "bead excluded"],
    widths: tuple[int, ...],
) -> tuple[tuple[Int[Array, "draw _ _"], ...], Int[Array, "draw block"]]:
    """Lists by looking at all pairs, and the longest row of each block (valid only where it fits its width)."""
    n_beads = positions.shape[1]
    unseen = jnp.zeros((n_beads, n_beads), bool).at[jnp.arange(n_beads)[:, None], hidden].set(True)

    def one(beads):
        fraction = beads @ inverse_box(jnp.asarray(box))
        result, longest = [], []
        for (centers, others, reach), width in zip(sides, widths, strict=True):
            apart = fraction[others][None, :, :] - fraction[centers][:, None, :]
            vector = (apart - jnp.round(apart)) @ box
            near = (jnp.sum(vector**2, -1) < reach**2) & ~unseen[centers[:, None], others[None, :]]
            # Sorting moves the neighbors to the front: far beads carry a number behind the last column.
            column = lax.sort(jnp.where(near, jnp.arange(len(others), dtype=jnp.int32), len(others)), dimension=1)
            column = jnp.pad(column[:, :width], ((0, 0), (0, max(0, width - len(others)))), constant_values=len(others))
            bead = jnp.append(others, 0)[column]
            result.append(jnp.where(column < len(others), bead, centers[:, None]))
            longest.append(jnp.max(jnp.sum(near, axis=1)))
        return tuple(result), jnp.stack(longest)

    return jax.vmap(one)(positions)
