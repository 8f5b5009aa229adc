"""Frames put together for the compiled program, in batches of few different shapes.

On a CPU a batch is one frame: there is no launch to save, and the arrays of one frame stay in the cache. On a GPU a
batch is as many frames as fit a number of bytes, and costs one launch for the lists and one for the sums.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Int

from bayescg.inference.statistics.program.frames import NOWHERE, Batch
from bayescg.inference.statistics.program.pair_lists import ALL_PAIRS, SCORES, DeviceLists, HostLists, Sizes
from bayescg.potentials import Interactions

DEVICE_BYTES = 512 << 20
"""Memory that the frames of one batch may take on a GPU [bytes], by `frame_bytes`."""
_MOST = 1024
"""Frames in a batch of a tiny system, at most."""


class Frames(NamedTuple):
    """Mapped frames as arrays.

    Attributes:
        positions: (frame, bead, 3) [nm].
        boxes: (frame, 3, 3) [nm].
        forces: (frame, bead, 3) [kJ/mol/nm].
        slots: (frame,) row of each frame's block in the table of blocks.
        weights: (frame,) of the frames; ones for those of the ensemble itself.
        shapes: (frame, bead, 3, 3) second moments of ellipsoidal beads [nm^2]; None where no term asks for them.
    """

    positions: Float[np.ndarray, "frame bead 3"]
    boxes: Float[np.ndarray, "frame 3 3"]
    forces: Float[np.ndarray, "frame bead 3"]
    slots: Int[np.ndarray, " frame"]
    weights: Float[np.ndarray, " frame"]
    shapes: Float[np.ndarray, "frame bead 3 3"] | None = None

    def some(self, places: Int[np.ndarray, " some"]) -> Frames:
        """Those at some places; all of them without a copy."""
        if len(places) == len(self.slots):
            return self
        shapes = None if self.shapes is None else self.shapes[places]
        positions, boxes, forces = self.positions[places], self.boxes[places], self.forces[places]
        return Frames(positions, boxes, forces, self.slots[places], self.weights[places], shapes)


class Plan(NamedTuple):
    """How frames go through the compiled program; the sums do not depend on it, but for rounding.

    Attributes:
        at_once: frames in a batch; None: one on a CPU, on a GPU what `DEVICE_BYTES` allow.
        on_device: pairs are searched by a compiled program; None: on a GPU, for up to `ALL_PAIRS` beads.
    """

    at_once: int | None = None
    on_device: bool | None = None


def make_batches(
    interactions: Interactions, frames: Frames, radius: float | None, plan: Plan, equations: int = 1
) -> Iterator[Batch]:
    """All frames, in their order.

    The last batch is filled up by its last frame, which goes `NOWHERE` from there on: a few frames' work is nothing
    beside another shape to compile. Use inside a float64 scope.

    Args:
        interactions: who interacts.
        frames: the frames.
        radius: beads closer than this have correlated noise [nm]; None: no scores are taken.
        plan: how.
        equations: that each have scores.
    """
    cpu = jax.default_backend() == "cpu"
    at_once, on_device = 1 if plan.at_once is None and cpu else plan.at_once, plan.on_device
    if on_device is None:
        on_device = not cpu and interactions.n_beads <= ALL_PAIRS and DeviceLists.hold(interactions.potential)
    lists = HostLists(interactions, radius)
    if on_device or at_once is None:
        # The first frame tells how long the lists are.
        lists.search(frames.positions[:1].astype(float), frames.boxes[:1], 1)
    if at_once is None:
        at_once = frames_at_once(frame_bytes(interactions, lists.sizes, on_device, equations))
    if on_device:
        lists = DeviceLists(interactions, radius, lists.sizes)
    count = len(frames.slots)
    for begin in range(0, count, at_once):
        wanted = np.arange(begin, begin + at_once)
        taken, real = np.minimum(wanted, count - 1), wanted < count
        positions, boxes = frames.positions[taken].astype(float), frames.boxes[taken]
        pairs = lists.search(positions, boxes, int(np.count_nonzero(real)))
        near = pairs.pop(SCORES, None)
        slots = np.where(real, frames.slots[taken], NOWHERE).astype(np.int32)
        shapes = None if frames.shapes is None else frames.shapes[taken]
        weights = frames.weights[taken]
        yield Batch(positions, boxes, frames.forces[taken].astype(float), slots, pairs, near, weights, shapes)


def frames_at_once(bytes_a_frame: int) -> int:
    """Frames in a batch on a GPU: the largest power of two that keeps to `DEVICE_BYTES`, at least one."""
    fitting = max(1, min(_MOST, DEVICE_BYTES // bytes_a_frame))
    return 1 << (fitting.bit_length() - 1)


def frame_bytes(interactions: Interactions, sizes: Sizes, on_device: bool, equations: int = 1) -> int:
    """Memory of one frame of a batch on the device [bytes], from above.

    Args:
        interactions: who interacts.
        sizes: padded length of each list of pairs.
        on_device: pairs are searched there.
        equations: that each have scores.
    """
    potential, beads = interactions.potential, interactions.n_beads
    types = len(potential.bead_types)
    columns = potential.n_basis + potential.n_baselines
    # Design rows: of each term, put together, and as the products take them.
    numbers = 4 * beads * columns * 3 + types * columns**2
    for term in potential.terms:
        listed = sizes[term.name] if term.name in sizes else len(interactions.bonded[term.name])
        # For each bead of a tuple a window of 4 functions x 3, its gradient, its position and where it is added.
        numbers += listed * (term.body * (12 + 3 + 3 + 2) + 16)
    if SCORES in sizes:
        # Scores of each type, and for each product of two types their sums around each bead, gathered for both sides.
        combinations, scores = types * (types + 1) // 2, equations * potential.n_basis
        numbers += scores * beads * (1 + types + combinations)
        numbers += combinations * (scores * 2 * sizes[SCORES] + 2 * scores**2)
    if on_device:
        # Both beads' positions, the vector between them, its length, and the place in the list, for one list at a time.
        numbers += beads * (beads - 1) // 2 * 12
    return 8 * numbers
