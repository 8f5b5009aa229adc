"""The pass on a CPU: frames in threads, each stretch of frames in one compiled loop."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from bayescg._runtime import cpu_count
from bayescg.inference.statistics.asked import Asked, Found
from bayescg.inference.statistics.fused import loop
from bayescg.inference.statistics.fused.blas import GEMM, SYRK
from bayescg.inference.statistics.fused.others import Others, Visits, merged
from bayescg.inference.statistics.fused.tables import Layout, make_layout
from bayescg.inference.statistics.program.batches import Frames
from bayescg.inference.statistics.sums.blocks import type_pairs
from bayescg.inference.statistics.sums.columns import Packed, own_columns
from bayescg.potentials import Interactions

_BEADS, _FRAMES, _BYTES = 1 << 14, 1 << 9, 16 << 20
"""Beads, frames, and bytes of rows that JAX makes, in a stretch of frames at most: enough to be worth a thread, few
enough to keep all threads busy."""
_LOOKED_AT, _FEWEST = 1 << 11, 2
"""Beads in the frames, and frames at least, that say beforehand which knot intervals are visited."""


class _Part(NamedTuple):
    """What a stretch of frames adds.

    Attributes:
        sums: by block.
        layout: of the columns of the scores.
        scores: products as the loop has them; none without a pilot.
        visits: of all terms.
    """

    sums: list[tuple[int, Packed]]
    layout: Layout
    scores: Float[np.ndarray, " product"]
    visits: Visits


class _Pass:
    """One pass over frames.

    Args:
        interactions: who interacts.
        frames: the frames.
        asked: what sums are wanted for.
    """

    def __init__(self, interactions: Interactions, frames: Frames, asked: Asked):
        self.others = Others(interactions, structure="structure" in asked.equations)
        self._interactions, self._frames, self._asked = interactions, frames, asked
        radius = None if asked.pilot is None else asked.pilot.radius
        self._full = make_layout(interactions, radius)
        self._narrow = make_layout(interactions, radius, self._reached())

    def stretch(self, chosen: Int[np.ndarray, " frame"], room: Float[np.ndarray, " product"] | None) -> _Part:
        """Sums of some frames; products of scores in the room of a stretch that is done, if there is one."""
        frames, runs, visits = self._frames, [], {}
        for run in np.split(chosen, np.flatnonzero(np.diff(frames.slots[chosen])) + 1):
            positions, boxes = self._read(run)
            weights, shapes = frames.weights[run], None if frames.shapes is None else frames.shapes[run]
            made = self.others.rows(positions, boxes, weights, shapes)
            visits = merged(visits, made.visits)
            forces = frames.forces[run].astype(float)
            given = loop.Frames(positions, boxes, forces, weights, made.rows, made.divergence)
            runs.append((int(frames.slots[run[0]]), given))
        # Rarely a frame goes beyond what others have reached: then all columns are taken.
        part = self._add(self._narrow, runs, visits, room) or self._add(self._full, runs, visits, room)
        assert part is not None, "all columns are there"
        return part

    def _reached(self) -> Float[np.ndarray, "term 2"]:
        """Smallest and largest value of each term that loops know, in a few frames."""
        layout = make_layout(self._interactions, None, learn=False)
        told = loop.Told(forces=True, structure=False, kT=0.0, known=np.zeros(0))
        count = max(_FEWEST, _LOOKED_AT // self._interactions.n_beads)
        some = np.unique(np.linspace(0, len(self._frames.slots) - 1, count).astype(int))
        positions, boxes = self._read(some)
        shape = (*positions.shape[:2], 0)
        nothing = loop.Frames(
            positions,
            boxes,
            np.zeros_like(positions),
            np.ones(len(some)),
            np.zeros((*shape[:2], 3, 0)),
            np.zeros(shape),
        )
        totals = _zeros(layout, told)
        loop.add_frames(layout.tables, told, nothing, totals, SYRK, GEMM)
        return totals.extremes

    def _read(self, run: Int[np.ndarray, " frame"]):
        return self._frames.positions[run].astype(float), np.ascontiguousarray(self._frames.boxes[run], float)

    def _add(self, layout: Layout, runs: list[tuple[int, loop.Frames]], visits: Visits, room) -> _Part | None:
        """Sums of runs of frames, each of one block; None if some interaction has no column."""
        told, sums = _tell(layout, self._interactions, self._asked), []
        totals = _zeros(layout, told, room)
        for slot, given in runs:
            totals = totals._replace(
                gram=np.zeros_like(totals.gram),
                divergence=np.zeros_like(totals.divergence),
                components=np.zeros_like(totals.components),
            )
            if not loop.add_frames(layout.tables, told, given, totals, SYRK, GEMM):
                return None
            sums.append((slot, _packed(layout, totals)))
        bins, own = layout.tables.bins, {}
        for k, term in enumerate(layout.terms):
            low, high = totals.extremes[k].tolist()
            own[term.name] = totals.counts[bins[k] : bins[k + 1]], low, high
        return _Part(sums, layout, totals.scores, merged(visits, own))


def accumulate_frames(
    interactions: Interactions,
    frames: Frames,
    blocks: int,
    asked: Asked,
    advance: Callable[[float], object],
) -> Found:
    """Sums of all frames, each added to its block; the same for any number of threads, to the last bit.

    Use inside a float64 scope, which also leaves one thread to BLAS.

    Args:
        interactions: who interacts.
        frames: the frames.
        blocks: in the table of blocks.
        asked: what sums are wanted for.
        advance: called with the number of frames done since the last call.
    """
    job = _Pass(interactions, frames, asked)
    order = np.argsort(frames.slots, kind="stable")
    size = max(1, min(_FRAMES, _BEADS // interactions.n_beads, _BYTES // max(job.others.frame_bytes, 1)))
    stretches = [order[begin : begin + size] for begin in range(0, len(order), size)]
    workers = max(1, min(cpu_count(), len(stretches)))
    sums: dict[int, Packed] = {}
    scores, visits = None, {}
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque = deque()
        room = None
        for number in range(len(stretches) + workers - 1):
            if number < len(stretches):
                waiting.append((len(stretches[number]), pool.submit(job.stretch, stretches[number], room)))
            if number < workers - 1:
                continue
            # In their order, so that sums do not depend on who is first; few at a time, as each holds sums of its own.
            count, future = waiting.popleft()
            part = future.result()
            for slot, new in part.sums:
                if slot in sums:
                    for there, values in zip(sums[slot], new, strict=True):
                        np.add(there, values, out=there)
                else:
                    sums[slot] = new
            if asked.pilot is not None:
                scores, room = _add_scores(scores, part.layout, part.scores, len(asked.equations)), part.scores
            visits = merged(visits, part.visits)
            advance(count)
    nothing = Packed(*map(np.zeros_like, next(iter(sums.values()))))
    return Found(
        [sums.get(slot, nothing) for slot in range(blocks)],
        scores,
        {name: counts for name, (counts, _, _) in visits.items()},
        {name: (low, high) for name, (_, low, high) in visits.items()},
    )


def _tell(layout: Layout, interactions: Interactions, asked: Asked) -> loop.Told:
    """What the loop is told: the pilot's coefficients stand in the columns of each type."""
    known = np.zeros(0)
    if asked.pilot is not None:
        potential = interactions.potential
        every = np.concatenate([asked.pilot.coefficients, np.ones(potential.n_baselines)])
        parts = [np.zeros(width) for width in layout.tables.widths]
        for part, local, own in zip(parts, layout.local, own_columns(potential), strict=True):
            part[local[local >= 0]] = every[own[local >= 0]]
        known = np.concatenate(parts)
    return loop.Told(
        forces="forces" in asked.equations,
        structure="structure" in asked.equations,
        kT=asked.kT,
        known=known,
    )


def _zeros(layout: Layout, told: loop.Told, room: Float[np.ndarray, " product"] | None = None) -> loop.Totals:
    widths, terms = layout.tables.widths, len(layout.terms)
    times = int(told.forces) + int(told.structure) if len(told.known) else 0
    products = sum(times**2 * int(widths[a] * widths[b]) for a, b in type_pairs(len(widths)))
    if room is None or room.size != products:
        room = np.empty(products)
    room[:] = 0.0
    return loop.Totals(
        np.zeros(int(np.sum(widths**2))),
        np.zeros(int(np.sum(widths))),
        np.zeros(len(widths)),
        np.zeros(int(layout.tables.bins[-1])),
        np.tile([np.inf, -np.inf], (terms, 1)),
        room,
    )


def _packed(layout: Layout, totals: loop.Totals) -> Packed:
    """In each type's own columns of the potential, zeros where the loop had none."""
    sizes = np.array([len(local) for local in layout.local])
    grams, crosses, divergences = np.zeros(np.sum(sizes**2)), np.zeros(np.sum(sizes)), np.zeros(np.sum(sizes))
    squares, entry, column, at_gram, at_cross = [], 0, 0, 0, 0
    for width, local, size in zip(layout.tables.widths, layout.local, sizes, strict=True):
        kept = np.flatnonzero(local >= 0)
        at = local[kept]
        lower = totals.gram[entry : entry + width**2].reshape(width, width)
        # Columns of a type stand in the order of the loop, which need not be that of the potential.
        both = np.where(at[:, None] >= at, lower[np.ix_(at, at)], lower.T[np.ix_(at, at)])
        grams[at_gram : at_gram + size**2].reshape(size, size)[np.ix_(kept, kept)] = both
        crosses[at_cross + kept], divergences[at_cross + kept] = lower[-1, at], totals.divergence[column + at]
        squares.append(lower[-1, -1])
        entry, column, at_gram, at_cross = entry + width**2, column + width, at_gram + size**2, at_cross + size
    return Packed(grams, crosses, np.array(squares), totals.components, divergences)


def _add_scores(
    packed: Float[np.ndarray, " entry"] | None, layout: Layout, products: Float[np.ndarray, " product"], times: int
) -> Float[np.ndarray, " entry"]:
    """Add products of scores in the columns of both types; those of equal types are symmetric but for rounding.

    One pair of types after the other, into what is there: a copy of all would double what a pass with many coefficients
    takes.
    """
    at, to, widths = 0, 0, layout.tables.widths
    local = [each[:count] for each, count in zip(layout.local, layout.coefficients, strict=True)]
    if packed is None:
        packed = np.zeros(sum(times**2 * len(local[a]) * len(local[b]) for a, b in type_pairs(len(widths))))
    for a, b in type_pairs(len(widths)):
        size = times**2 * int(widths[a] * widths[b])
        part = products[at : at + size].reshape(times, widths[a], times, widths[b])
        at += size
        (here, there) = (np.flatnonzero(local[kind] >= 0) for kind in (a, b))
        full = np.zeros((times, len(local[a]), times, len(local[b])))
        found = part[:, local[a][here]][:, :, :, local[b][there]]
        full[np.ix_(np.arange(times), here, np.arange(times), there)] = found
        full = full.reshape(times * len(local[a]), -1)
        packed[to : to + full.size] += (0.5 * (full + full.T) if a == b else full).ravel()
        to += full.size
    return packed
