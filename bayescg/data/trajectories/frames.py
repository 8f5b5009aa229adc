"""One atomistic frame after the other, mapped: the one place where units change, and where bad trajectories are met."""

from __future__ import annotations

import contextlib
import itertools
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from bayescg.data import dumps
from bayescg.data.dataset import assemble, check_box, check_temperature, fingerprint
from bayescg.data.mapping.mapping import Mapping
from bayescg.data.mapping.projection import Projection
from bayescg.data.plausibility import check_force_magnitude, warn_of_other_forces
from bayescg.data.trajectories.damage import UNREADABLE, FrameGuard
from bayescg.data.trajectories.net_force import NetForce
from bayescg.data.trajectories.order import FrameOrder, first_at_each_time
from bayescg.data.trajectories.vacuum import OPEN, vacuum_box

Forces = bool | Literal["unchecked"]
"""Read forces; positions only; or accept forces of any magnitude."""


class RawFrames(NamedTuple):
    """A chunk of frames, in our units."""

    positions: NDArray[np.float32]
    forces: NDArray[np.float32] | None
    box: NDArray[np.float64]
    time: NDArray[np.float64]
    frame: NDArray[np.int64]


def join_frames(chunks: Sequence[RawFrames]) -> RawFrames:
    """Chunks that follow each other, as one."""
    forces = [chunk.forces for chunk in chunks if chunk.forces is not None]
    return RawFrames(
        positions=np.concatenate([chunk.positions for chunk in chunks]),
        forces=np.concatenate(forces) if forces else None,
        box=np.concatenate([chunk.box for chunk in chunks]),
        time=np.concatenate([chunk.time for chunk in chunks]),
        frame=np.concatenate([chunk.frame for chunk in chunks]),
    )


class FrameReader:
    """Reads, maps and converts frames."""

    def __init__(
        self,
        universe,
        mapping: Mapping,
        temperature,
        frames: slice,
        partial: bool | None,
        forces: Forces,
        continuous: bool | None = None,
    ):
        self._mapping, self._partial, self._forces = mapping, partial, forces
        self._temperature = check_temperature(temperature)
        if forces not in (True, False, "unchecked"):
            raise ValueError(f'forces={forces!r}: choose True, False or "unchecked"')
        self._trajectory = _trajectory(universe)
        self._initial = self._trajectory.frame
        self._path = ", ".join(_file_names(self._trajectory))
        n_atoms = len(universe.atoms)
        if mapping.n_atoms != n_atoms:
            raise ValueError(f"the mapping is for {mapping.n_atoms} atoms, but the universe has {n_atoms}")
        self._length, self._force_unit = dumps.scales(universe)
        self._time_unit = dumps.unit_time(universe)
        self._mistakes = dumps.mistaken_for(universe)
        self._open = dumps.is_open(universe)
        self._lattice: NDArray[np.float64] | None = None
        self._continuous = continuous
        self._net = NetForce() if dumps.is_dump(universe) and forces is True else None
        if frames.step is not None and frames.step < 1:
            raise ValueError(f"step={frames.step}: give a positive number of frames")
        self._frames: Sequence[int] = range(*frames.indices(self._trajectory.n_frames))
        self._to_the_end = frames.stop is None and frames.step in (None, 1)
        if len(self._frames) == 0:
            raise ValueError(
                f"no frames: start={frames.start}, stop={frames.stop}, step={frames.step} of the "
                f"{self._trajectory.n_frames} frames in {self._path}"
            )
        if continuous:
            with _without_reader_warnings():
                self._frames = first_at_each_time(self._trajectory, self._frames)
        self._project = Projection(mapping)
        self._checked = forces != True  # noqa: E712  ("unchecked" and False both need no check)
        self._attrs = {
            "temperature": self._temperature,
            "source": _source(self._trajectory),
            "mapping": mapping.to_json(),
        }

    @property
    def n_frames(self) -> int:
        """Frames asked for."""
        return len(self._frames)

    def chunks(self, size: int, skip: int = 0) -> Iterator[RawFrames]:
        """Mapped frames, at most `size` at a time.

        Args:
            size: frames in a chunk.
            skip: so many frames have passed already, in another process, and were found good. The rest is read as if
                they had passed here.
        """
        readers = dumps.parts_of(self._trajectory)
        order = FrameOrder(_file_names(self._trajectory), self._continuous)
        with contextlib.ExitStack() as stack:
            stack.callback(self._hand_back)
            guards = [stack.enter_context(FrameGuard(reader)) for reader in readers]
            if skip:
                self._checked = True
                # The first says how large the box of a vacuum is, the last where time stands.
                with _without_reader_warnings():
                    for number in (self._frames[0], self._frames[skip - 1]):
                        self._frame(number, guards, order)
            for begin in range(skip, len(self._frames), size):
                numbers = self._frames[begin : begin + size]
                with _without_reader_warnings():
                    found = (self._frame(number, guards, order) for number in numbers)
                    rows = list(itertools.takewhile(bool, found))
                if rows:
                    yield self._stack(rows, numbers[: len(rows)])
                if len(rows) < len(numbers):
                    return
            reader, local = self._local(self._frames[-1])
            if self._to_the_end and guards[reader].cut_behind(local):
                self._damaged(self._frames[-1] + 1, EOFError("it is cut off"))

    def dataset(self, raw: RawFrames) -> xr.Dataset:
        """A chunk in the layout of datasets; forces are checked once."""
        arrays = {"positions": raw.positions, "box": raw.box}
        if raw.forces is not None:
            arrays["forces"] = raw.forces
        mapping = self._mapping
        result = assemble(
            arrays,
            bead_type=mapping.bead_type,
            mass=mapping.mass,
            charge=mapping.charge,
            topology=mapping.topology,
            time=raw.time,
            attrs=self._attrs | ({"boundary": OPEN} if self._open else {}),
            frame=raw.frame,
        )
        if not self._checked:
            warn_of_other_forces(*check_force_magnitude(result, self._mistakes), self._temperature)
            self._checked = True
            if self._net is not None:
                self._net.warn(self._temperature, float(mapping.mass.sum()), self._force_unit)
        return result

    def _hand_back(self) -> None:
        """Leave the universe at the frame where it was."""
        with _without_reader_warnings():
            self._trajectory[self._initial]

    def _local(self, number: int) -> tuple[int, int]:
        """File and frame in this file, where several files are chained."""
        chained = getattr(self._trajectory, "_get_local_frame", None)
        return (0, number) if chained is None else chained(number)

    def _frame(self, number: int, guards: list[FrameGuard], order: FrameOrder):
        """Positions, forces, box and time of one frame; None where a damaged trajectory may end."""
        try:
            reader, local = self._local(number)
            guards[reader].check(local, self._mapping.n_atoms)
            step = self._trajectory[number]
        except UNREADABLE as error:
            return self._damaged(number, error)
        if step.n_atoms != self._mapping.n_atoms:
            raise ValueError(self._changed(number, f"{step.n_atoms} atoms"))
        if self._forces and not step.has_forces:
            raise ValueError(self._no_forces(number))
        time = float(step.time) * self._time_unit
        order.check(number, reader, time, step.positions)
        box = self._box(number, step)
        positions = self._project.positions(step.positions, box)
        forces = self._project.forces(step.forces) if self._forces else None
        if self._net is not None:
            self._net.add(step.forces)
        return positions, forces, box, time

    def _box(self, number: int, step) -> NDArray[np.float64]:
        """Lattice vectors; those of a large box around a system without boundaries, the same in all frames."""
        lattice = None if self._open else step.triclinic_dimensions
        if lattice is not None:
            if self._lattice is not None:
                raise ValueError(
                    f"frame {number} of {self._path} has a box, but frame {self._frames[0]} has none: give every frame "
                    "a box, or none"
                )
            return lattice.astype(np.float64)
        if self._lattice is None:
            if number != self._frames[0] and not self._open:
                raise ValueError(
                    f"frame {number} of {self._path} has no box, but frame {self._frames[0]} has one: give every frame "
                    "a box, or none"
                )
            molecules = int(self._mapping.topology.molecule.max()) + 1
            if molecules > 1 and not self._open:
                raise ValueError(
                    f"frame {number} of {self._path} has no box, and beads of {molecules} molecules: give the "
                    "trajectory its box. A single molecule may be in vacuum"
                )
            self._open, self._lattice = True, vacuum_box(step.positions)
        return self._lattice

    def _stack(self, rows: list, numbers: Sequence[int]) -> RawFrames:
        positions, forces, box, time = zip(*rows, strict=True)
        raw = RawFrames(
            (np.array(positions) * self._length).astype(np.float32),
            (np.array(forces) * self._force_unit).astype(np.float32) if self._forces else None,
            np.array(box) * self._length,
            np.array(time, dtype=np.float64),
            np.array(numbers, dtype=np.int64),
        )
        for name, values in (("box", raw.box), ("position", raw.positions), ("force", raw.forces)):
            if values is not None and not np.isfinite(values).all():
                bad = numbers[int(np.argmin(np.isfinite(values).all(axis=(1, 2))))]
                raise ValueError(
                    f"a {name} in frame {bad} of {self._path} is not finite: the simulation blew up or the file is "
                    f"damaged; read the frames before it by stop={bad}"
                )
            if name == "box":
                check_box(raw.box)
        return raw

    def _damaged(self, number: int, error: Exception) -> None:
        if "number of atoms" in str(error).lower():
            raise ValueError(self._changed(number, "another number of atoms")) from error
        if self._partial and number > self._frames[0]:
            warnings.warn(
                f"{self._path} is damaged at frame {number} ({error}): the frames before it are used", stacklevel=5
            )
            return
        if number:
            other = "partial=True" if self._partial is not None else f"`stop: {number}` in the input of a configuration"
            before = f"use the frames before it by stop={number} or {other}"
        else:
            before = "no frame can be used"
        raise ValueError(
            f"frame {number} of {self._path} cannot be read ({error}): the file is truncated or damaged; {before}"
        ) from error

    def _changed(self, number: int, what: str) -> str:
        return (
            f"frame {number} of {self._path} has {what}, the mapping is for {self._mapping.n_atoms}: all frames must "
            "hold the same atoms; write a trajectory with a constant group of atoms"
        )

    def _no_forces(self, number: int) -> str:
        if number > self._frames[0]:
            return (
                f"frame {number} of {self._path} has no forces, but frame {self._frames[0]} has: forces were written "
                "less often than positions; read the frames that have them by step="
            )
        return (
            f"{self._path} has no forces: rerun the simulation or `mdrun -rerun` with forces written (GROMACS: "
            "nstfout, TRR, not XTC; LAMMPS: dump fx fy fz), or read positions only by forces=False"
        )


@contextlib.contextmanager
def _without_reader_warnings() -> Iterator[None]:
    """Silence what MDAnalysis and numpy say about damage that we report, and about dumps without a time step."""
    with warnings.catch_warnings(), np.errstate(divide="ignore", invalid="ignore"):
        warnings.filterwarnings("ignore", message="seek failed")
        warnings.filterwarnings("ignore", message="Reader has no dt information")
        yield


def _trajectory(universe):
    """The trajectory of a universe.

    Raises:
        ValueError: if there is none.
    """
    try:
        trajectory = universe.trajectory
    except AttributeError as error:
        raise ValueError(
            "the universe has no trajectory: give it one, as in mda.Universe(topology, trajectory)"
        ) from error
    if trajectory.n_frames == 0:
        raise ValueError(f"{trajectory.filename} has no frames")
    return trajectory


def _file_names(trajectory) -> list[str]:
    """Names of the files of a trajectory, chained or not."""
    chained = getattr(trajectory, "filenames", None)
    return [str(trajectory.filename or "memory")] if chained is None else [str(name) for name in chained]


def _source(trajectory) -> str:
    """A name for the trajectory that is the same in every program that reads any part of it."""
    parts = []
    with _without_reader_warnings(), contextlib.suppress(*UNREADABLE):
        for number in range(min(2, trajectory.n_frames)):
            step = trajectory[number]
            parts += [step.positions.copy(), np.array([step.time])]
            parts += [step.velocities.copy()] if step.has_velocities else []
    return f"{Path(_file_names(trajectory)[0]).name}-{fingerprint(*parts)}"
