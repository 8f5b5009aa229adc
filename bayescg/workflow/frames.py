"""The mapped frames of a configuration, in chunks."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import xarray as xr

from bayescg.data import Mapping
from bayescg.data.mapping.checks import masses_are_guessed
from bayescg.data.trajectories.frames import FrameReader
from bayescg.data.trajectories.order import first_at_each_time
from bayescg.inference.statistics.weights import weights_of
from bayescg.storage.expected import load_trajectory
from bayescg.workflow.schema.sections import Input, MappingChoice


class Frames:
    """Mapped frames, read anew by every iteration; those of a trajectory are never held together.

    Args:
        given: where they come from. A coarse-grained dataset is read as a whole, a trajectory chunk by chunk.
        mapping: which atoms make up which bead.
        folder: where relative paths start.
        forces: whether they are read; without, trajectories need none.

    Attributes:
        count: how many frames there are.
    """

    def __init__(self, given: Input, mapping: MappingChoice, folder: Path, forces: bool = True):
        self._given, self._chosen, self._folder, self._forces = given, mapping, folder, forces
        self._window = slice(given.start, given.stop, given.step)
        if given.dataset is not None:
            self._dataset = load_trajectory(folder / Path(given.dataset).expanduser())
            if given.temperature is not None:
                self._dataset = self._dataset.assign_attrs(temperature=given.temperature)
            self._numbers = range(*self._window.indices(self._dataset.sizes["frame"]))
            self._dataset = self._dataset.isel(frame=self._window)
            self.count = self._dataset.sizes["frame"]
            if self.count == 0:
                raise ValueError(f"{given.dataset} has no frames between start and stop")
            return
        self._dataset = None
        self._universe = given.universe(folder)
        self._mapping = mapping_of(self._universe, mapping, folder, constraints=given.constraints)
        self._numbers: Sequence[int] = range(*self._window.indices(self._universe.trajectory.n_frames))
        if given.continuous:
            self._numbers = first_at_each_time(self._universe.trajectory, self._numbers)
        self.count = len(self._numbers)
        if self.count == 0:
            raise ValueError(
                f"no frames: start={given.start}, stop={given.stop}, step={given.step} of the "
                f"{self._universe.trajectory.n_frames} frames in {', '.join(given.trajectory)}"
            )

    def __iter__(self) -> Iterator[xr.Dataset]:
        return self.after(0)

    def after(self, done: int) -> Iterator[xr.Dataset]:
        """The frames, 50 at a time, without so many that have passed before; borders of chunks are the same."""
        if self._dataset is not None:
            for begin in range(done, self.count, 50):
                yield self._dataset.isel(frame=slice(begin, begin + 50))
            return
        given = self._given
        how = given.temperature, self._window, None, self._forces, given.continuous
        reader = FrameReader(self._universe, self._mapping, *how)
        for raw in reader.chunks(50, skip=done):
            yield reader.dataset(raw)

    def chunks(self, size: int = 200) -> list[Callable[[], Frames]]:
        """Functions that open so many successive frames each, wherever they are called.

        Raises:
            ValueError: if frames of overlapping parts were to be left out.
        """
        numbers = self._numbers
        if not isinstance(numbers, range):
            raise ValueError(
                "`continuous: true` is for one process: for a cluster, join the parts without overlap first"
            )
        numbers = numbers if numbers.step > 0 else numbers[::-1]
        return [self._opening(numbers[begin : begin + size]) for begin in range(0, len(numbers), size)]

    def first(self, count: int) -> Frames:
        """The first frames alone."""
        numbers = self._numbers[:count]
        low, high = sorted((numbers[0], numbers[-1]))
        return self._opening(range(low, high + 1, abs(self._window.step or 1)))()

    @property
    def n_beads(self) -> int:
        """Beads in each."""
        return self._mapping.n_beads if self._dataset is None else self._dataset.sizes["bead"]

    @property
    def weights(self) -> np.ndarray | None:
        """Of all frames; None if they have none."""
        return None if self._dataset is None else weights_of(self._dataset)

    @property
    def guessed(self) -> bool:
        """Whether masses were guessed from names."""
        return self._dataset is None and masses_are_guessed(self._universe)

    def last(self) -> Frames:
        """The last frame alone."""
        return self._opening(range(self._numbers[-1], self._numbers[-1] + 1))()

    def _opening(self, numbers: range) -> Callable[[], Frames]:
        part = {"start": numbers[0], "stop": numbers[-1] + 1, "step": numbers.step}
        given = self._given.model_copy(update=part)
        return functools.partial(Frames, given, self._chosen, self._folder.absolute(), self._forces)


def mapping_of(universe, chosen: MappingChoice, folder: Path, *, constraints: str) -> Mapping:
    """The mapping that a configuration asks for.

    Args:
        universe: MDAnalysis Universe.
        chosen: settings.
        folder: where relative paths start.
        constraints: what the simulation held rigid.
    """
    if chosen.file:
        return Mapping.from_yaml(folder / Path(chosen.file).expanduser(), universe, constraints=constraints)
    if chosen.votca:
        files = [folder / Path(name).expanduser() for name in chosen.votca]
        return Mapping.from_votca(files, universe, constraints=constraints)
    make = Mapping.center_of_mass if chosen.center == "mass" else Mapping.center_of_geometry
    return make(universe, chosen.by, chosen.names or None, select=chosen.select, constraints=constraints)
