"""Pieces of trajectory files by name: what is sent to the workers of a cluster in place of frames."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import xarray as xr

from bayescg.data import Mapping, stream
from bayescg.data.dumps import Units
from bayescg.data.trajectories.universe import open_universe


@dataclass(frozen=True)
class TrajectoryChunk:
    """Frames of a trajectory file, mapped where it is called; see `trajectory_chunks`.

    Attributes:
        topology: file, by its absolute path.
        trajectory: files, one after the other.
        mapping: which atoms make up which bead.
        temperature: [K].
        start: first frame, counted in the whole trajectory.
        stop: frame to stop before.
        step: every how many frames.
        units: of a LAMMPS dump, "real", "metal" or `LennardJonesUnits`.
        timestep: of a LAMMPS dump [ps].
        continuous: False: files are simulations of their own.
    """

    topology: str
    trajectory: tuple[str, ...]
    mapping: Mapping
    temperature: float | None
    start: int
    stop: int
    step: int
    units: Units | None = None
    timestep: float | None = None
    continuous: bool | None = None

    def __call__(self) -> Iterator[xr.Dataset]:
        """The frames, 50 at a time."""
        universe = open_universe(self.topology, self.trajectory, units=self.units, timestep=self.timestep)
        return stream(
            *(universe, self.mapping),
            temperature=self.temperature,
            start=self.start,
            stop=self.stop,
            step=self.step,
            continuous=self.continuous,
        )

    def __repr__(self) -> str:
        return f"frames {self.start}:{self.stop}:{self.step} of {', '.join(self.trajectory)}"


def trajectory_chunks(
    universe,
    mapping: Mapping,
    *,
    temperature: float | None = None,
    start: int | None = None,
    stop: int | None = None,
    step: int | None = None,
    frames: int = 200,
    continuous: bool | None = None,
) -> list[TrajectoryChunk]:
    """Cut a trajectory into chunks for `distributed_statistics`; none of its frames is read here.

    Args:
        universe: MDAnalysis Universe of files, which every worker must find under the same paths.
        mapping: which atoms make up which bead.
        temperature: of the simulation [K].
        start: first frame.
        stop: frame to stop before.
        step: every how many frames.
        frames: in a chunk. A worker holds 50 of them at a time, whatever this number; it is what is lost when a worker
            dies.
        continuous: of several files: False if they are simulations of their own; None to refuse times that run
            backward within a chunk.

    Returns:
        The chunks, in the order of time.

    Raises:
        ValueError: if the universe is not made of files, there are no frames, `frames` is not positive, or `continuous`
            is True: frames that overlap are known to one process only.
    """
    if continuous:
        raise ValueError("continuous=True is for one process: join the parts without overlap before you cut them up")
    if frames < 1:
        raise ValueError(f"frames={frames}: give a positive number of frames for a chunk")
    reader = universe.trajectory
    files = getattr(reader, "filenames", None)
    files = [reader.filename] if files is None else list(files)
    on_disk = all(isinstance(name, str | os.PathLike) and Path(name).is_file() for name in (universe.filename, *files))
    if not on_disk or getattr(reader, "format", "") == "MEMORY" or getattr(reader, "transformations", ()):
        raise ValueError(
            f"the universe is not made of files alone ({universe.filename}, {files}; not in memory, no "
            "transformations): workers open topology and trajectory themselves; write files, or give CG datasets"
        )
    numbers = range(*slice(start, stop, step).indices(reader.n_frames))
    if numbers.step < 1 or not numbers:
        raise ValueError(f"no frames: start={start}, stop={stop}, step={step} of {reader.n_frames} frames")
    said = {"units": universe.kwargs.get("units"), "timestep": universe.kwargs.get("dt"), "continuous": continuous}
    paths = tuple(str(Path(name).absolute()) for name in files)
    parts = [numbers[begin : begin + frames] for begin in range(0, len(numbers), frames)]
    topology = str(Path(universe.filename).absolute())
    return [
        TrajectoryChunk(topology, paths, mapping, temperature, part[0], part[-1] + 1, part.step, **said)
        for part in parts
    ]
