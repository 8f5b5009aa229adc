"""The one pass over mapped frames that makes sufficient statistics."""

from __future__ import annotations

import functools
import operator
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import xarray as xr

from bayescg._runtime import progress
from bayescg.data import pairs
from bayescg.data.dataset import check_temperature
from bayescg.inference.statistics.asked import Asked, Pilot
from bayescg.inference.statistics.canonical import require_canonical, require_one_volume
from bayescg.inference.statistics.force_statistics import ForceStatistics
from bayescg.inference.statistics.one_pass import sums_of_frames
from bayescg.inference.statistics.program.batches import Frames, Plan
from bayescg.inference.statistics.program.frames import EQUATIONS
from bayescg.inference.statistics.sums.columns import Packed, most_blocks
from bayescg.inference.statistics.sums.memory import require_memory
from bayescg.inference.statistics.weights import ALL_ZERO, counted, frame_weights, require_alike
from bayescg.potentials import Interactions, Potential, fill_ranges
from bayescg.potentials.interactions import shapes_of
from bayescg.units import BOLTZMANN

_LARGEST, _ON_TOP = 1e12, 1e-5
"""Of forces [kJ/mol/nm] and of distances [nm]: beyond, something is broken."""


def statistics_of(
    potential: Potential,
    data: xr.Dataset | Iterable[xr.Dataset],
    *,
    pilot: Pilot | None = None,
    system: str | None = None,
    equations: tuple[str, ...] = EQUATIONS[:1],
    level: int = 0,
) -> ForceStatistics:
    """`bayescg.force_statistics` with a pilot that is there, or without any and thus without scores.

    `level` is log2 of the frames in the shortest blocks that are wanted.
    """
    chunks = [data] if isinstance(data, xr.Dataset) else data
    total: ForceStatistics | None = None
    frames = data.sizes.get("frame", 1) if isinstance(data, xr.Dataset) else None
    with progress("Force statistics", frames) as advance:
        for sums in running_statistics(
            potential, chunks, pilot=pilot, system=system, equations=equations, level=level, advance=advance
        ):
            total = sums
    if total is None:
        raise ValueError("there are no frames: the trajectory is empty")
    return total


def running_statistics(
    potential: Potential,
    chunks: Iterable[xr.Dataset],
    *,
    pilot: Pilot | None = None,
    system: str | None = None,
    equations: tuple[str, ...] = EQUATIONS[:1],
    before: ForceStatistics | None = None,
    level: int = 0,
    advance: Callable[[float], object] = lambda n: None,
) -> Iterator[ForceStatistics]:
    """The sums of `statistics_of` after each chunk; frames of weight 0 are left out.

    Args:
        potential: what to fit.
        chunks: of frames.
        pilot: from `fit_pilot`.
        system: name of the thermodynamic system.
        equations: what sums are wanted for: forces, structure, or both.
        before: the sums of the chunks before these: to go on from a file gives what one pass would, to the last bit.
        level: log2 of the frames in the shortest blocks that are wanted.
        advance: called with the number of frames done since the last call.

    Raises:
        ValueError: as `force_statistics`; also if only some of the chunks have weights.
    """
    total, left_out, first_box = before, 0, None
    have: set[bool] = set()
    for given in chunks:
        have.add("weight" in given)
        require_alike(have)
        size, chunk = given.sizes.get("frame", 1), counted(given)
        if missing := size - chunk.sizes.get("frame", 1):
            left_out += missing
            advance(missing)
            if missing == size:
                continue
        if total is not None:
            potential = total.potential
        if "structure" in equations and "box" in chunk:
            boxes = np.asarray(chunk["box"].values, float).reshape(-1, 3, 3)
            first_box = boxes[:1] if first_box is None else first_box
            require_one_volume(np.concatenate([first_box, boxes]))
        # Blocks no shorter than the total's, which would merge them anyway.
        finest = level if total is None else total.levels.get(_source(chunk), level)
        part = chunk_statistics(
            potential, chunk, pilot=pilot, system=system, equations=equations, level=finest, advance=advance
        )
        total = part if total is None else total + part
        yield total
    if total is None and left_out:
        raise ValueError(ALL_ZERO)


def chunk_statistics(
    potential: Potential,
    cg: xr.Dataset,
    *,
    pilot: Pilot | None = None,
    system: str | None = None,
    equations: tuple[str, ...] = EQUATIONS[:1],
    level: int = 0,
    plan: Plan | None = None,
    advance: Callable[[float], object] = lambda n: None,
) -> ForceStatistics:
    """`statistics_of` one chunk.

    Args:
        potential: what to fit.
        cg: the chunk.
        pilot: from `fit_pilot`.
        system: name of the thermodynamic system.
        equations: what sums are wanted for: forces, structure, or both.
        level: log2 of the frames in the shortest blocks that are wanted.
        plan: how frames go through the compiled program; None: what is fastest here.
        advance: called with the number of frames done since the last call.
    """
    cg, temperature = _checked(cg, equations)
    potential = _filled(potential, cg, pilot)
    interactions = Interactions.of(potential, cg, partial=system is not None)
    types = potential.bead_types
    source = _source(cg)
    numbers = _numbers(cg)
    positions, forces = _finite(cg, numbers, "forces" in equations)
    boxes = np.broadcast_to(np.asarray(cg["box"].values, float), (len(numbers), 3, 3))
    while len(blocks := np.unique(numbers >> level)) > most_blocks(potential):
        level += 1
    slots = np.searchsorted(blocks, numbers >> level).astype(np.int32)
    require_memory(potential, len(blocks), pilot is not None, len(equations))
    weights = frame_weights(cg, numbers)
    frames = Frames(positions, boxes, forces, slots, weights, shapes_of(potential, cg))
    parts = [(np.arange(len(numbers)), pilot)] if pilot is None else pilot.about(source, numbers)
    found = functools.reduce(
        operator.add,
        [
            sums_of_frames(
                interactions,
                frames.some(places),
                len(blocks),
                Asked(own, equations, BOLTZMANN * temperature),
                plan,
                advance,
            )
            for places, own in parts
        ],
    )
    _require_finite_sums(found.sums, frames, numbers)
    present = {types[k] for k in np.unique(interactions.type_index) if k >= 0}
    for term in potential.terms:
        if not np.isfinite(found.ranges[term.name][0]) and present.issuperset(term.types):
            raise ValueError(
                f"{term.name}: no interaction within its range in {len(numbers)} frames; check bead types and cutoff"
            )
    name = system or _composition(cg)
    return ForceStatistics(
        potential,
        temperature,
        types,
        {(source, int(b)): sums for b, sums in zip(blocks, found.sums, strict=True)},
        {source: level},
        {source: numbers},
        {name: found.counts},
        found.ranges,
        {source: name},
        {name: 1.0},
        pilot,
        {} if found.scores is None else {source: found.scores},
        equations,
        {source: (float(np.sum(weights)), float(np.sum(weights**2)))},
    )


def _checked(cg: xr.Dataset, equations: tuple[str, ...]) -> tuple[xr.Dataset, float]:
    if "frame" not in cg.dims:
        cg = cg.expand_dims("frame")
    if cg.sizes["frame"] == 0:
        raise ValueError("there are no frames: the trajectory is empty")
    if "forces" in equations and "forces" not in cg:
        raise ValueError(
            "the data hold no forces: force matching needs a trajectory written with forces (GROMACS nstfout, LAMMPS "
            "dump fx fy fz); without forces, fit the structure with structure_match or relative_entropy"
        )
    if "temperature" not in cg.attrs:
        raise ValueError("the data have no temperature: give temperature= [K] when mapping")
    if "structure" in equations:
        require_canonical(cg)
    return cg, check_temperature(cg.attrs["temperature"])


def _filled(potential: Potential, cg: xr.Dataset, pilot: Pilot | None) -> Potential:
    """The potential with all ranges, which are the pilot's if there is one."""
    if pilot is None:
        return fill_ranges(potential, cg)
    if not potential.filled_by(pilot.potential):
        raise ValueError(
            f"the pilot belongs to another potential: {pilot.potential!r}, not {potential!r}; "
            "call fit_pilot with the potential that is to be fitted"
        )
    return pilot.potential


def _source(cg: xr.Dataset) -> str:
    return str(cg.attrs.get("source", "data"))


def _composition(cg: xr.Dataset) -> str:
    return " ".join(f"{bead}{count}" for bead, count in sorted(Counter(cg["bead_type"].values.tolist()).items()))


def _numbers(cg: xr.Dataset) -> np.ndarray:
    """Absolute frame numbers."""
    numbers = np.asarray(cg["frame"].values, np.int64) if "frame" in cg.coords else np.arange(cg.sizes["frame"])
    if len(np.unique(numbers)) < len(numbers):
        raise ValueError("some frame numbers appear twice in the data: the same frames would count twice")
    return numbers


def _finite(cg: xr.Dataset, numbers: np.ndarray, wanted: bool) -> tuple[np.ndarray, np.ndarray]:
    """Positions, and forces if they are wanted, else zeros.

    Raises:
        ValueError: if a number is not finite, or a force is so large that sums of its squares are not.
    """
    positions = np.asarray(cg["positions"].values)
    forces = (
        np.asarray(cg["forces"].values) if wanted else np.broadcast_to(np.zeros(1, positions.dtype), positions.shape)
    )
    for name, values in (("positions", positions), ("forces", forces)):
        if not np.all(np.isfinite(values)):
            frame, bead = np.argwhere(~np.isfinite(values))[0][:2]
            raise ValueError(f"{name} of bead {bead} in frame {numbers[frame]} are not finite: leave that frame out")
    if np.abs(forces).max() > _LARGEST:
        frame, bead = np.unravel_index(np.argmax(np.abs(forces)), forces.shape)[:2]
        raise ValueError(
            f"the force on bead {bead} in frame {numbers[frame]} is {np.abs(forces[frame, bead]).max():.3g} kJ/mol/nm: "
            "the simulation blew up, or the file is damaged; leave that frame out"
        )
    return positions, forces


def _require_finite_sums(sums: Sequence[Packed], frames: Frames, numbers: np.ndarray) -> None:
    """Refuse sums that are not finite, naming beads on top of each other, whose forces have no direction.

    Raises:
        ValueError: naming frame and beads.
    """
    broken = [k for k, block in enumerate(sums) if not all(np.all(np.isfinite(values)) for values in block)]
    if not broken:
        return
    for position, box, number in zip(frames.positions, frames.boxes, numbers, strict=True):
        found = pairs(position.astype(float), box, _ON_TOP)
        if len(found):
            i, j = found[0]
            raise ValueError(
                f"beads {i} and {j} in frame {number} are on top of each other: a force between them has no direction. "
                "Does one molecule have two beads of the same atoms? Leave that frame out, or mend the mapping"
            )
    raise ValueError(
        f"the sums of forces are not finite in frames {numbers[frames.slots == broken[0]][:8].tolist()}: "
        "look for bonds and angles of no length there"
    )
