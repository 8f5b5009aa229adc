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

from bayescg.data.dataset import assemble, check_box, check_temperature, fingerprint
from bayescg.data.mapping.mapping import Mapping
from bayescg.data.mapping.projection import Projection
from bayescg.data.plausibility import check_force_magnitude
from bayescg.data.trajectories.damage import FrameGuard

Forces = bool | Literal["unchecked"]
"""Read forces; positions only; or accept forces of any magnitude."""

_NM = 0.1  # one Angstrom in nm
_PER_NM = 10.0  # one kJ/mol/Angstrom in kJ/mol/nm
# LAMMPS dumps come through MDAnalysis as written. One kcal/mol/A and one eV/A in kJ/mol/nm.
_LAMMPS_FORCE = {"real": 41.84, "metal": 964.8533212331}
_UNREADABLE = (OSError, EOFError, ValueError, IndexError, KeyError, StopIteration, RuntimeError)
_LAMMPS_REMEDY = 'mda.Universe("system.data", "traj.lammpsdump", units="real")  # or "metal"'


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

    def __init__(self, universe, mapping: Mapping, temperature, frames: slice, partial: bool | None, forces: Forces):
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
        self._length, self._force_unit = _NM, _PER_NM * _force_scale(universe)
        if frames.step is not None and frames.step < 1:
            raise ValueError(f"step={frames.step}: give a positive number of frames")
        self._frames = range(*frames.indices(self._trajectory.n_frames))
        self._to_the_end = frames.stop is None and frames.step in (None, 1)
        if len(self._frames) == 0:
            raise ValueError(
                f"no frames: start={frames.start}, stop={frames.stop}, step={frames.step} of the "
                f"{self._trajectory.n_frames} frames in {self._path}"
            )
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

    def chunks(self, size: int) -> Iterator[RawFrames]:
        """Mapped frames, at most `size` at a time."""
        readers = getattr(self._trajectory, "readers", [self._trajectory])
        with contextlib.ExitStack() as stack:
            # The universe is handed back at the frame where it was.
            stack.callback(self._trajectory.__getitem__, self._initial)
            guards = [stack.enter_context(FrameGuard(reader)) for reader in readers]
            for begin in range(0, len(self._frames), size):
                numbers = self._frames[begin : begin + size]
                with _without_reader_warnings():
                    rows = list(itertools.takewhile(bool, (self._frame(number, guards) for number in numbers)))
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
            attrs=self._attrs,
            frame=raw.frame,
        )
        if not self._checked:
            check_force_magnitude(result)
            self._checked = True
        return result

    def _local(self, number: int) -> tuple[int, int]:
        """File and frame in this file, where several files are chained."""
        chained = getattr(self._trajectory, "_get_local_frame", None)
        return (0, number) if chained is None else chained(number)

    def _frame(self, number: int, guards: list[FrameGuard]):
        """Positions, forces, box and time of one frame; None where a damaged trajectory may end."""
        try:
            reader, local = self._local(number)
            guards[reader].check(local, self._mapping.n_atoms)
            step = self._trajectory[number]
        except _UNREADABLE as error:
            return self._damaged(number, error)
        if step.n_atoms != self._mapping.n_atoms:
            raise ValueError(self._changed(number, f"{step.n_atoms} atoms"))
        if self._forces and not step.has_forces:
            raise ValueError(self._no_forces(number))
        lattice = step.triclinic_dimensions
        if lattice is None:
            raise ValueError(
                f"frame {number} of {self._path} has no box: periodic boundaries are needed; give it a box"
            )
        box = lattice.astype(np.float64)
        positions = self._project.positions(step.positions, box)
        forces = self._project.forces(step.forces) if self._forces else None
        return positions, forces, box, step.time

    def _stack(self, rows: list, numbers: range) -> RawFrames:
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


def _force_scale(universe) -> float:
    """Factor from what MDAnalysis returns to kJ/mol/Angstrom.

    Raises:
        ValueError: for a LAMMPS dump whose units were not said.
    """
    formats = np.atleast_1d(getattr(universe.trajectory, "format", "")).tolist()
    readers = getattr(universe.trajectory, "readers", None)
    formats = [reader.format for reader in readers] if readers else formats
    if "LAMMPSDUMP" not in formats:
        return 1.0
    units = universe.kwargs.get("units")
    if units not in _LAMMPS_FORCE:
        raise ValueError(
            f"a LAMMPS dump does not say its units, and units={units!r}: say them where the universe is made, as in "
            f"{_LAMMPS_REMEDY}"
        )
    return _LAMMPS_FORCE[units] / _PER_NM


def _file_names(trajectory) -> list[str]:
    """Names of the files of a trajectory, chained or not."""
    chained = getattr(trajectory, "filenames", None)
    return [str(trajectory.filename or "memory")] if chained is None else [str(name) for name in chained]


def _source(trajectory) -> str:
    """A name for the trajectory that is the same in every program that reads any part of it."""
    parts = []
    with _without_reader_warnings(), contextlib.suppress(*_UNREADABLE):
        for number in range(min(2, trajectory.n_frames)):
            step = trajectory[number]
            parts += [step.positions.copy(), np.array([step.time])]
            parts += [step.velocities.copy()] if step.has_velocities else []
    return f"{Path(_file_names(trajectory)[0]).name}-{fingerprint(*parts)}"
