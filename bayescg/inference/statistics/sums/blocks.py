"""Time blocks of sufficient statistics: keyed by source and absolute block number, merged pairwise as they grow.

Block b at level l holds the frames with absolute number b 2^l .. (b + 1) 2^l - 1. Because the borders depend on
absolute frame numbers only, partial blocks from different chunks, workers or runs merge by key into the same sums.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, TypeVar

from jaxtyping import Float

from bayescg._arrays import AnyArray

MAX_BLOCKS = 64
"""Most blocks kept of one source: enough for long-run covariances and leave-block-out scores, bounded in memory."""

Key = tuple[str, int]


class Sums(NamedTuple):
    """Sums over the beads of each type and the frames of one block; columns are coefficients, then baselines.

    Attributes:
        gram: (bead_type, column, column) J'J [1/nm^2].
        cross: (bead_type, column) J'f [kJ/mol/nm^2].
        square: (bead_type,) |f|^2 [(kJ/mol/nm)^2].
        components: (bead_type,) number of force components.
        divergence: (bead_type, column) sum of the divergences of J by the bead's own position, [1/nm^2] of
            coefficients and [kJ/mol/nm^2] of baselines; zero unless structure was asked for.
    """

    gram: Float[AnyArray, "bead_type column column"]
    cross: Float[AnyArray, "bead_type column"]
    square: Float[AnyArray, " bead_type"]
    components: Float[AnyArray, " bead_type"]
    divergence: Float[AnyArray, "bead_type column"]


S = TypeVar("S", bound=tuple)
"""Sums in either form: `Sums`, or `columns.Packed`."""


def type_pairs(types: int) -> list[tuple[int, int]]:
    """Unordered pairs of bead types, in the order of score products."""
    return [(a, b) for a in range(types) for b in range(a, types)]


def add(a: S, b: S) -> S:
    """Sums of two disjoint sets of frames."""
    return type(a)(*(x + y for x, y in zip(a, b, strict=True)))


def merge_to_level(sums: Mapping[Key, S], level: int, target: int) -> dict[Key, S]:
    """Merge the blocks of one source from one level to a coarser one."""
    merged: dict[Key, S] = {}
    for (source, number), block in sorted(sums.items(), key=lambda item: item[0]):
        key = (source, number >> (target - level))
        merged[key] = add(merged[key], block) if key in merged else block
    return merged


def combine(
    a: Mapping[Key, S],
    a_levels: Mapping[str, int],
    b: Mapping[Key, S],
    b_levels: Mapping[str, int],
    most: int = MAX_BLOCKS,
) -> tuple[dict[Key, S], dict[str, int]]:
    """Blocks of both, each source at the finest common level that keeps at most so many blocks of it."""
    sums: dict[Key, S] = {}
    levels: dict[str, int] = {}
    for source in {**a_levels, **b_levels}:
        level = max(levels[source] for levels in (a_levels, b_levels) if source in levels)
        own: dict[Key, S] = {}
        for blocks, from_levels in ((a, a_levels), (b, b_levels)):
            mine = {key: block for key, block in blocks.items() if key[0] == source}
            for key, block in merge_to_level(mine, from_levels.get(source, level), level).items():
                own[key] = add(own[key], block) if key in own else block
        while len(own) > most:
            own = merge_to_level(own, level, level + 1)
            level += 1
        sums.update(own)
        levels[source] = level
    return sums, levels
