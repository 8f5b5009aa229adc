"""`Learning`: what of a trajectory a conditional is learned from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Learning:
    """Settings of `fit_conditional`. At most 2000 molecules in frames are used.

    Attributes:
        start: first frame of the trajectory to learn from, as in `coarse_grain`.
        stop: frame to stop before; None: to the end.
        step: every how many frames.
        unmapped: what to do with atoms in no bead: refuse them ("error"), or place them around the others ("free").
            None: "error" if beads are centers of several atoms, "free" if they are single atoms.

    Raises:
        ValueError: if `step` is zero or `unmapped` is another word.
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
