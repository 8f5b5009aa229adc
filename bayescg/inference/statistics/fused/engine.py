"""The pass on a CPU: frames in threads, each stretch of frames in one compiled loop."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from jaxtyping import Float, Int

from bayescg._runtime import cpu_count
from bayescg.inference.statistics.asked import Asked, Found
from bayescg.inference.statistics.batches import Frames
from bayescg.inference.statistics.blocks import type_pairs
from bayescg.inference.statistics.columns import Packed, own_columns
from bayescg.inference.statistics.fused import loop
from bayescg.inference.statistics.fused.blas import GEMM, SYRK
from bayescg.inference.statistics.fused.others import Others
from bayescg.inference.statistics.fused.tables import Layout, make_layout
from bayescg.potentials import Interactions

_BEADS, _FRAMES, _BYTES = 1 << 14, 1 << 9, 16 << 20
"""Beads, frames, and bytes of rows that JAX makes, in a stretch of frames at most: enough to be worth a thread, few
enough to keep all threads busy."""


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
    layout = make_layout(interactions, None if asked.pilot is None else asked.pilot.radius)
    others = Others(interactions, structure="structure" in asked.equations)
    told = _tell(layout, interactions, asked)
    total = _Total(layout, blocks, len(asked.equations))
    order = np.argsort(frames.slots, kind="stable")
    size = max(1, min(_FRAMES, _BEADS // interactions.n_beads, _BYTES // max(others.frame_bytes, 1)))
    stretches = [order[begin : begin + size] for begin in range(0, len(order), size)]
    workers = max(1, min(cpu_count(), len(stretches)))

    def one(chosen):
        return list(_stretch(layout, others, told, frames, chosen))

    with ThreadPoolExecutor(workers) as pool:
        waiting: deque = deque()
        for chosen in stretches:
            waiting.append((len(chosen), pool.submit(one, chosen)))
            # In their order, so that sums do not depend on who is first; few at a time, as each holds sums of its own.
            if len(waiting) >= workers:
                _take(total, waiting, advance)
        while waiting:
            _take(total, waiting, advance)
    return total.found(others)


def _take(total: _Total, waiting: deque, advance: Callable[[float], object]) -> None:
    count, future = waiting.popleft()
    parts = future.result()
    for number, (slot, part) in enumerate(parts):
        total.add(slot, part, last=number == len(parts) - 1)
    advance(count)


def _stretch(
    layout: Layout, others: Others, told: loop.Told, frames: Frames, chosen: Int[np.ndarray, " frame"]
) -> Iterator[tuple[int, loop.Totals]]:
    """Sums of some frames, by block. Histograms and scores are those of all, and come with the last block."""
    tables = layout.tables
    found = _zeros(layout, told)
    for run in np.split(chosen, np.flatnonzero(np.diff(frames.slots[chosen])) + 1):
        positions, boxes = frames.positions[run].astype(float), np.ascontiguousarray(frames.boxes[run], float)
        shapes = None if frames.shapes is None else frames.shapes[run]
        extra, spread = others.rows(positions, boxes, frames.weights[run], shapes)
        sums = found._replace(
            gram=np.zeros_like(found.gram),
            divergence=np.zeros_like(found.divergence),
            components=np.zeros_like(found.components),
        )
        given = loop.Frames(positions, boxes, frames.forces[run].astype(float), frames.weights[run], extra, spread)
        loop.add_frames(tables, told, given, sums, SYRK, GEMM)
        yield int(frames.slots[run[0]]), sums


def _tell(layout: Layout, interactions: Interactions, asked: Asked) -> loop.Told:
    """What the loop is told: the pilot's coefficients stand in the columns of each type."""
    known = np.zeros(0)
    if asked.pilot is not None:
        potential = interactions.potential
        every = np.concatenate([asked.pilot.coefficients, np.ones(potential.n_baselines)])
        parts = [np.zeros(width) for width in layout.tables.widths]
        for part, local, own in zip(parts, layout.local, own_columns(potential), strict=True):
            part[local] = every[own]
        known = np.concatenate(parts)
    return loop.Told(
        forces="forces" in asked.equations,
        structure="structure" in asked.equations,
        kT=asked.kT,
        known=known,
    )


def _zeros(layout: Layout, told: loop.Told) -> loop.Totals:
    widths, terms = layout.tables.widths, len(layout.terms)
    times = int(told.forces) + int(told.structure) if len(told.known) else 0
    products = sum(times**2 * int(widths[a] * widths[b]) for a, b in type_pairs(len(widths)))
    return loop.Totals(
        np.zeros(int(np.sum(widths**2))),
        np.zeros(int(np.sum(widths))),
        np.zeros(len(widths)),
        np.zeros(int(layout.tables.bins[-1])),
        np.tile([np.inf, -np.inf], (terms, 1)),
        np.zeros(products),
    )


class _Total:
    """Sums of all stretches."""

    def __init__(self, layout: Layout, blocks: int, equations: int):
        self._layout, self._blocks, self._equations = layout, blocks, equations
        self._parts: dict[int, Packed] = {}
        self._whole: loop.Totals | None = None

    def add(self, slot: int, part: loop.Totals, *, last: bool) -> None:
        """Add the sums of one block of a stretch, and with the last one histograms and scores of all of it."""
        packed = self._packed(part)
        if slot in self._parts:
            for mine, new in zip(self._parts[slot], packed, strict=True):
                np.add(mine, new, out=mine)
        else:
            self._parts[slot] = packed
        if not last:
            return
        if self._whole is None:
            self._whole = part
            return
        whole = self._whole
        whole.counts[:] += part.counts
        whole.scores[:] += part.scores
        np.minimum(whole.extremes[:, 0], part.extremes[:, 0], out=whole.extremes[:, 0])
        np.maximum(whole.extremes[:, 1], part.extremes[:, 1], out=whole.extremes[:, 1])

    def found(self, others: Others) -> Found:
        """In each type's own columns of the potential."""
        layout, bins = self._layout, self._layout.tables.bins
        counts, ranges = others.visits()
        assert self._whole is not None, "there was at least one frame"
        whole = self._whole
        for k, term in enumerate(layout.terms):
            counts[term.name] = whole.counts[bins[k] : bins[k + 1]]
            ranges[term.name] = float(whole.extremes[k, 0]), float(whole.extremes[k, 1])
        sums = [self._parts[slot] for slot in range(self._blocks)]
        return Found(sums, self._packed_scores(whole.scores) if len(whole.scores) else None, counts, ranges)

    def _packed(self, part: loop.Totals) -> Packed:
        grams, crosses, squares, divergences, entry, column = [], [], [], [], 0, 0
        for width, local in zip(self._layout.tables.widths, self._layout.local, strict=True):
            lower = part.gram[entry : entry + width**2].reshape(width, width)
            gram = lower[np.ix_(local, local)]
            # Columns of a type stand in the order of the loop, which need not be that of the potential.
            upper = lower.T[np.ix_(local, local)]
            grams.append(np.where(local[:, None] >= local, gram, upper).ravel())
            crosses.append(lower[-1, local])
            squares.append(lower[-1, -1])
            divergences.append(part.divergence[column + local])
            entry, column = entry + width**2, column + width
        return Packed(
            np.concatenate(grams),
            np.concatenate(crosses),
            np.array(squares),
            part.components,
            np.concatenate(divergences),
        )

    def _packed_scores(self, products: Float[np.ndarray, " product"]) -> Float[np.ndarray, " entry"]:
        """Products of scores in the columns of both types; those of equal types are symmetric but for rounding."""
        layout, at, parts, times = self._layout, 0, [], self._equations
        widths = layout.tables.widths
        for a, b in type_pairs(len(widths)):
            size = times**2 * int(widths[a] * widths[b])
            part = products[at : at + size].reshape(times, widths[a], times, widths[b])
            at += size
            part = part[:, self._learned(a)][:, :, :, self._learned(b)]
            part = part.reshape(part.shape[0] * part.shape[1], -1)
            parts.append((0.5 * (part + part.T) if a == b else part).ravel())
        return np.concatenate(parts)

    def _learned(self, kind: int) -> Int[np.ndarray, " own"]:
        """Columns of the loop that hold coefficients."""
        return self._layout.local[kind][: self._layout.coefficients[kind]]
