"""Frames to sums, by whatever is fastest here: compiled loops on a CPU, programs of JAX on a GPU or without numba."""

from __future__ import annotations

import importlib.util
import warnings
from collections import deque
from collections.abc import Callable

import jax
import numpy as np

from bayescg._runtime import double_precision
from bayescg.inference.statistics.asked import Asked, Found
from bayescg.inference.statistics.program.batches import Frames, Plan, make_batches
from bayescg.inference.statistics.program.frames import NOWHERE, Shared, accumulate, empty
from bayescg.inference.statistics.sums.blocks import Sums
from bayescg.inference.statistics.sums.columns import pack, pack_scores
from bayescg.potentials import Interactions

_SLOW = (
    "numba is not installed: the pass over frames takes some five times longer without it; get it by "
    "pip install 'bayescg[fast]'"
)


def sums_of_frames(
    interactions: Interactions,
    frames: Frames,
    blocks: int,
    asked: Asked,
    plan: Plan | None,
    advance: Callable[[float], object],
) -> Found:
    """Sums of all frames, each added to its block.

    Args:
        interactions: who interacts.
        frames: the frames.
        blocks: in the table of blocks.
        asked: what sums are wanted for.
        plan: how frames go through a program of JAX; None: what is fastest here.
        advance: called with the number of frames done since the last call.
    """
    with double_precision():
        if plan is None and _loops_can_be_compiled():
            from bayescg.inference.statistics.fused.engine import accumulate_frames

            return accumulate_frames(interactions, frames, blocks, asked, advance)
        return _by_batches(interactions, frames, blocks, asked, plan or Plan(), advance)


def _loops_can_be_compiled() -> bool:
    """Whether numba is there to compile the pass; on a GPU JAX does it."""
    if jax.default_backend() != "cpu":
        return False
    found = importlib.util.find_spec("numba") is not None
    if not found:
        warnings.warn(_SLOW, UserWarning, stacklevel=2)
    return found


def _by_batches(
    interactions: Interactions,
    frames: Frames,
    blocks: int,
    asked: Asked,
    plan: Plan,
    advance: Callable[[float], object],
) -> Found:
    potential, pilot, equations = interactions.potential, asked.pilot, asked.equations
    types = len(potential.bead_types)
    rows = [np.flatnonzero(interactions.type_index == k).astype(np.int32) for k in range(types)]
    everything = rows if len(rows) > 1 or len(rows[0]) < interactions.n_beads else None
    running = empty(potential, blocks, types, pilot is not None, equations)
    known = None if pilot is None else np.asarray(pilot.coefficients)
    kT = np.asarray(asked.kT) if "structure" in equations else None
    shared = Shared(interactions.bonded, everything, known, kT)
    under_way: deque = deque()
    radius = None if pilot is None else pilot.radius
    for batch in make_batches(interactions, frames, radius, plan, len(equations)):
        running, done = accumulate(potential, running, batch, shared, equations)
        # Two batches under way keep the device busy; more would only hold memory.
        under_way.append(done)
        if len(under_way) > 2:
            under_way.popleft().block_until_ready()
        advance(int(np.count_nonzero(batch.slots < NOWHERE)))
    running = jax.tree.map(np.asarray, running)
    return Found(
        [pack(potential, Sums(*(table[k] for table in running.sums))) for k in range(blocks)],
        None if running.scores is None else pack_scores(potential, len(equations), running.scores),
        running.counts,
        {name: (float(low), float(running.highest[name])) for name, low in running.lowest.items()},
    )
