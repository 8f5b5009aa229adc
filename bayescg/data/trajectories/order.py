"""Frames in the order of time: none counts twice."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bayescg.data.trajectories.damage import UNREADABLE


def first_at_each_time(trajectory, frames: Sequence[int]) -> list[int]:
    """The frames whose time is later than that of all before: of parts that overlap, each time once.

    Args:
        trajectory: an MDAnalysis reader; it is handed back at the frame where it was.
        frames: numbers, ascending. From a frame that cannot be read on, all are kept for others to complain about.
    """
    initial, kept, last = trajectory.frame, [], -np.inf
    try:
        for position, number in enumerate(frames):
            try:
                time = float(trajectory[number].time)
            except UNREADABLE:
                return kept + list(frames[position:])
            if time > last:
                kept.append(number)
                last = time
        return kept
    finally:
        trajectory[initial]


class FrameOrder:
    """Watches times while frames are read one after the other.

    Args:
        files: names of the files of a trajectory.
        continuous: False: files are simulations of their own, and time may begin anew in each; else time must go
            forward.

    Raises:
        ValueError: if one file is listed twice.
    """

    def __init__(self, files: Sequence[str], continuous: bool | None):
        real = [os.path.realpath(name) for name in files]
        twice = sorted({files[k] for k, name in enumerate(real) if name in real[:k]})
        if twice:
            raise ValueError(f"{', '.join(twice)} is listed twice: its frames would count twice; list it once")
        self._files, self._continuous = files, continuous
        self._last: tuple[int, float, NDArray] | None = None

    def check(self, number: int, file: int, time: float, positions: NDArray) -> None:
        """Look at the next frame.

        Args:
            number: of the frame in the whole trajectory.
            file: number of its file.
            time: [ps].
            positions: (atom, 3).

        Raises:
            ValueError: if time runs backward, or a frame is there twice.
        """
        if self._last is not None:
            before, last, same = self._last
            # Single precision may give two frames of a long run one time.
            repeated = time < last or (time == last and np.array_equal(positions, same))
            if repeated and not (self._continuous is False and file != before):
                raise ValueError(self._message(number, file, before, time, last))
        self._last = file, time, positions.copy()

    def _message(self, number: int, file: int, before: int, time: float, last: float) -> str:
        if file != before:
            what = f"{self._files[file]} begins at {time:g} ps, but {self._files[before]} goes on to {last:g} ps"
            own = "; if they are simulations of their own, say continuous=False"
        else:
            what, own = f"time goes from {last:g} back to {time:g} ps at frame {number} of {self._files[file]}", ""
        return (
            f"{what}: frames that overlap would count twice. If these are parts of one restarted simulation, say "
            f"continuous=True, and each time counts once{own} (in a configuration `continuous: true` or `false` in "
            "`input`)"
        )
