"""`Learning`: what of a trajectory a conditional is learned from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Learning:
    """Settings of `fit_conditional`.

    Attributes:
        start: first frame of the trajectory to learn from, as in `coarse_grain`.
        stop: the frame before which to stop; None: to the end.
        step: every how many-th frame. At most 2000 molecules in frames are used.
        unmapped: what to do with atoms in no bead: refuse them ("error"), or place them around the others ("free");
            None for the former if beads are centers of several atoms, for the latter if they are single ones.
    """

    start: int | None = None
    stop: int | None = None
    step: int | None = None
    unmapped: Literal["error", "free"] | None = None

    @property
    def frames(self) -> slice:
        """The frames as a slice."""
        return slice(self.start, self.stop, self.step)

    def __post_init__(self):
        if self.step == 0:
            raise ValueError("step=0: give every how many-th frame to take, 1 for all")
        if self.unmapped not in (None, "error", "free"):
            raise ValueError(f'unmapped={self.unmapped!r}: choose "error" or "free"')
