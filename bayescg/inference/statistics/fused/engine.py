"""The pass on a CPU: frames in threads, each stretch of frames in one compiled loop."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from jaxtyping import Float, Int

from bayescg._runtime import cpu_count
from bayescg.inference.statistics.batches import Frames
from bayescg.inference.statistics.blocks import Sums, type_pairs
from bayescg.inference.statistics.force_statistics import Pilot
from bayescg.inference.statistics.frames import Running
from bayescg.inference.statistics.fused import loop
from bayescg.inference.statistics.fused.blas import GEMM, SYRK
from bayescg.inference.statistics.fused.others import Others
from bayescg.inference.statistics.fused.tables import Layout, make_layout
from bayescg.potentials import Interactions

_BEADS, _FRAMES, _BYTES = 1 << 14, 1 << 11, 16 << 20
"""Beads, frames, and bytes of rows that JAX makes, in a stretch of frames at most: enough to be worth a thread, few
enough to keep all threads busy."""


def accumulate_frames(
    interactions: Interactions,
    frames: Frames,
    blocks: int,
    pilot: Pilot | None,
    advance: Callable[[float], object],
) -> Running:
    """Sums of all frames, each added to its block; the same for any number of threads, to the last bit.

    Use inside a float64 scope, which also leaves one thread to BLAS.

    Args:
        interactions: who interacts.
        frames: the frames.
        blocks: in the table of blocks.
        pilot: about which scores are taken; None: none are.
        advance: called with the number of frames done since the last call.
    """
    layout = make_layout(interactions, None if pilot is None else pilot.radius)
    others = Others(interactions)
    asked = _asked(layout, interactions, pilot)
    total = _Total(layout, blocks)
    order = np.argsort(frames.slots, kind="stable")
    size = max(1, min(_FRAMES, _BEADS // interactions.n_beads, _BYTES // max(others.frame_bytes, 1)))
    stretches = [order[begin : begin + size] for begin in range(0, len(order), size)]
    workers = max(1, min(cpu_count(), len(stretches)))

    def one(chosen):
        return list(_stretch(layout, others, asked, frames, chosen))

    with ThreadPoolExecutor(workers) as pool:
        waiting: deque = deque()
        for chosen in stretches:
            waiting.append((len(chosen), pool.submit(one, chosen)))
            # In their order, so that sums do not depend on who is first; few at a time, as each holds sums of its own.
            if len(waiting) > workers:
                _take(total, waiting, advance)
        while waiting:
            _take(total, waiting, advance)
    return total.running(interactions, others)


def _take(total: _Total, waiting: deque, advance: Callable[[float], object]) -> None:
    count, future = waiting.popleft()
    for slot, part in future.result():
        total.add(slot, part)
    advance(count)


def _stretch(
    layout: Layout, others: Others, asked: loop.Asked, frames: Frames, chosen: Int[np.ndarray, " frame"]
) -> Iterator[tuple[int, loop.Totals]]:
    """Sums of some frames, by block. Histograms and scores are those of all, and come with the last block."""
    tables = layout.tables
    found = _zeros(layout, scored=len(asked.known) > 0, asked=asked)
    edges = np.flatnonzero(np.diff(frames.slots[chosen])) + 1
    runs = np.split(chosen, edges)
    for number, run in enumerate(runs):
        positions, boxes = frames.positions[run].astype(float), np.ascontiguousarray(frames.boxes[run], float)
        extra, spread = others.rows(positions, boxes, None if frames.shapes is None else frames.shapes[run])
        sums = found._replace(
            gram=np.zeros_like(found.gram),
            divergence=np.zeros_like(found.divergence),
            components=np.zeros_like(found.components),
        )
        given = loop.Frames(positions, boxes, frames.forces[run].astype(float), np.ones(len(run)), extra, spread)
        loop.add_frames(tables, asked, given, sums, SYRK, GEMM)
        yield int(frames.slots[run[0]]), sums if number == len(runs) - 1 else sums._replace(scores=None, counts=None)


def _asked(layout: Layout, interactions: Interactions, pilot: Pilot | None) -> loop.Asked:
    """The pilot's coefficients in the columns of each type."""
    known = np.zeros(0)
    if pilot is not None:
        potential = interactions.potential
        every = np.concatenate([pilot.coefficients, np.ones(potential.n_baselines)])
        parts = []
        for width, local, places in zip(layout.tables.widths, layout.local, layout.places, strict=True):
            part = np.zeros(width)
            part[local] = every[places]
            parts.append(part)
        known = np.concatenate(parts)
    return loop.Asked(forces=True, structure=False, kT=0.0, known=known)


def _zeros(layout: Layout, *, scored: bool, asked: loop.Asked) -> loop.Totals:
    widths, terms = layout.tables.widths, len(layout.terms)
    times = int(asked.forces) + int(asked.structure)
    products = sum(times**2 * int(widths[a] * widths[b]) for a, b in type_pairs(len(widths))) if scored else 0
    return loop.Totals(
        np.zeros(int(np.sum(widths**2))),
        np.zeros(int(np.sum(widths))),
        np.zeros(len(widths)),
        np.zeros(int(layout.tables.bins[-1])),
        np.tile([np.inf, -np.inf], (terms, 1)),
        np.zeros(products),
    )


class _Total:
    """Sums of all stretches, in the columns of each type until the end."""

    def __init__(self, layout: Layout, blocks: int):
        self._layout, self._blocks = layout, blocks
        self._parts: dict[int, loop.Totals] = {}
        self._counts, self._extremes, self._scores = None, None, None

    def add(self, slot: int, part: loop.Totals) -> None:
        """Add the sums of one block of a stretch."""
        if slot in self._parts:
            mine = self._parts[slot]
            for name in ("gram", "divergence", "components"):
                np.add(getattr(mine, name), getattr(part, name), out=getattr(mine, name))
        else:
            self._parts[slot] = part
        if part.counts is None:
            return
        if self._counts is None:
            self._counts, self._extremes, self._scores = part.counts, part.extremes, part.scores
        else:
            self._counts += part.counts
            self._scores += part.scores
            np.minimum(self._extremes[:, 0], part.extremes[:, 0], out=self._extremes[:, 0])
            np.maximum(self._extremes[:, 1], part.extremes[:, 1], out=self._extremes[:, 1])

    def running(self, interactions: Interactions, others: Others) -> Running:
        """In the columns of the potential."""
        potential, layout = interactions.potential, self._layout
        widths, kinds = layout.tables.widths, len(layout.tables.widths)
        columns = potential.n_basis + potential.n_baselines
        sums = Sums(
            np.zeros((self._blocks, kinds, columns, columns)),
            np.zeros((self._blocks, kinds, columns)),
            np.zeros((self._blocks, kinds)),
            np.zeros((self._blocks, kinds)),
        )
        begins = np.concatenate([[0], np.cumsum(widths**2)])
        for slot in list(self._parts):
            part = self._parts.pop(slot)
            for k, (width, local, places) in enumerate(zip(widths, layout.local, layout.places, strict=True)):
                lower = part.gram[begins[k] : begins[k + 1]].reshape(width, width)
                full = np.tril(lower) + np.tril(lower, -1).T
                sums.gram[slot, k][np.ix_(places, places)] = full[np.ix_(local, local)]
                sums.cross[slot, k, places] = full[-1, local]
                sums.square[slot, k], sums.components[slot, k] = full[-1, -1], part.components[k]
        scores = self._expand_scores(potential.n_basis) if self._scores is not None and len(self._scores) else None
        counts, lowest, highest = others.visits()
        bins = layout.tables.bins
        for k, term in enumerate(layout.terms):
            counts[term.name] = self._counts[bins[k] : bins[k + 1]]
            lowest[term.name], highest[term.name] = self._extremes[k]
        return Running(sums, scores, counts, lowest, highest)

    def _expand_scores(self, basis: int) -> Float[np.ndarray, "type_pair basis basis"]:
        layout, at = self._layout, 0
        widths = layout.tables.widths
        pairs = type_pairs(len(widths))
        found = np.zeros((len(pairs), basis, basis))
        for k, (a, b) in enumerate(pairs):
            size = int(widths[a] * widths[b])
            part = self._scores[at : at + size].reshape(widths[a], widths[b])
            at += size
            (here, to), (there, onto) = (_learned(layout, kind, basis) for kind in (a, b))
            found[k][np.ix_(to, onto)] = part[np.ix_(here, there)]
            # One of equal types is symmetric but for rounding.
            found[k] = (found[k] + found[k].T) * (0.5 if a == b else 1.0)
        return found


def _learned(layout: Layout, kind: int, basis: int) -> tuple[Int[np.ndarray, " kept"], Int[np.ndarray, " kept"]]:
    """Columns of a type that belong to coefficients, and these."""
    places = layout.places[kind]
    return layout.local[kind][places < basis], places[places < basis]
