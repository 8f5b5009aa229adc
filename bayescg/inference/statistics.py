"""Sufficient statistics of force matching: one streamed pass over a trajectory, after which it is never read again.

Bead forces are linear in the coefficients, f = J w + noise, and J depends neither on kernels nor on noise. Everything
that any later posterior needs are the sums J'J, J'f and |f|^2, here kept by time block and bead type, with the columns
of the baselines' forces appended to J (Noid et al., J. Chem. Phys. 128, 244114 (2008), doi:10.1063/1.2938860).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr

from bayescg import __version__
from bayescg._runtime import double_precision, progress, write_netcdf
from bayescg.data.dataset import check_temperature
from bayescg.inference.blocks import MAX_BLOCKS, Sums, combine, merge_to_level
from bayescg.inference.frames import accumulate, zeros
from bayescg.potentials import Interactions, Potential

_FORMAT = 1


@dataclass(frozen=True, eq=False)
class ForceStatistics:
    """Sums of one pass. `a + b` adds those of disjoint frames; any split of a trajectory gives the same sums.

    Attributes:
        potential: the potential with all ranges filled in.
        temperature: of the data [K].
        bead_types: types whose beads enter, in the order of the type axis.
        sums: per (source, absolute block number) the block's `Sums`.
        levels: for each source, log2 of the frames in a block.
        frames: for each source, the absolute frame numbers that were read.
        counts: for each term, interactions by knot interval of its spline.
        ranges: for each term, smallest and largest descriptor met.
    """

    potential: Potential
    temperature: float
    bead_types: tuple[str, ...]
    sums: dict[tuple[str, int], Sums]
    levels: dict[str, int]
    frames: dict[str, np.ndarray]
    counts: dict[str, np.ndarray]
    ranges: dict[str, tuple[float, float]]

    @property
    def n_frames(self) -> int:
        """Frames read."""
        return sum(len(numbers) for numbers in self.frames.values())

    @property
    def blocks(self) -> list[Sums]:
        """Sums of each block, in order of source and time."""
        return [self.sums[key] for key in sorted(self.sums)]

    def total(self) -> Sums:
        """Sums over all blocks."""
        blocks = self.blocks
        return Sums(*(np.sum([getattr(b, f) for b in blocks], axis=0) for f in Sums._fields))

    def __add__(self, other: ForceStatistics) -> ForceStatistics:
        """Statistics of both sets of frames together.

        Raises:
            ValueError: if potentials, temperatures or bead types differ, or a frame would be counted twice.
        """
        if not isinstance(other, ForceStatistics):
            return NotImplemented
        if self.potential != other.potential:
            raise ValueError(
                "statistics of different potentials cannot be added; bonds without a range get one from their own "
                "data: call potential.with_ranges(cg) once and use the result for every trajectory"
            )
        if self.temperature != other.temperature:
            raise ValueError(f"temperatures differ: {self.temperature} K and {other.temperature} K")
        if self.bead_types != other.bead_types:
            raise ValueError(f"bead types differ: {self.bead_types} and {other.bead_types}")
        for source in set(self.frames) & set(other.frames):
            twice = np.intersect1d(self.frames[source], other.frames[source])
            if len(twice):
                raise ValueError(f"{len(twice)} frames of {source!r} would count twice (first: {twice[0]})")
        sums, levels = combine(self.sums, self.levels, other.sums, other.levels)
        names = [term.name for term in self.potential.terms]
        empty = np.zeros(0, np.int64)
        return ForceStatistics(
            self.potential,
            self.temperature,
            self.bead_types,
            sums,
            levels,
            {
                s: np.sort(np.concatenate([self.frames.get(s, empty), other.frames.get(s, empty)]))
                for s in {**self.frames, **other.frames}
            },
            {n: self.counts[n] + other.counts[n] for n in names},
            {
                n: (min(self.ranges[n][0], other.ranges[n][0]), max(self.ranges[n][1], other.ranges[n][1]))
                for n in names
            },
        )

    def to_dataset(self) -> xr.Dataset:
        """All numbers as a Dataset with dims (block, bead_type, column, column_)."""
        keys = sorted(self.sums)
        blocks = [self.sums[key] for key in keys]
        variables: dict = {
            "gram": (("block", "bead_type", "column", "column_"), np.stack([b.gram for b in blocks])),
            "cross": (("block", "bead_type", "column"), np.stack([b.cross for b in blocks])),
            "square": (("block", "bead_type"), np.stack([b.square for b in blocks])),
            "components": (("block", "bead_type"), np.stack([b.components for b in blocks])),
        }
        for name, counts in self.counts.items():
            variables[f"counts_{name}"] = (f"interval_{name}", counts)
        for number, (source, frames) in enumerate(sorted(self.frames.items())):
            variables[f"frames_{number}"] = (f"frame_{number}", frames, {"source": source})
        coords = {
            "bead_type": np.asarray(self.bead_types, str),
            "block_source": ("block", np.asarray([source for source, _ in keys], str)),
            "block_number": ("block", np.asarray([number for _, number in keys], np.int64)),
        }
        attrs = {
            "kind": "force statistics",
            "format": _FORMAT,
            "bayescg_version": __version__,
            "potential": self.potential.to_json(),
            "temperature": self.temperature,
            "levels": json.dumps(self.levels),
            "ranges": json.dumps({name: list(pair) for name, pair in self.ranges.items()}),
        }
        return xr.Dataset(variables, coords, attrs)

    @classmethod
    def from_dataset(cls, data: xr.Dataset) -> ForceStatistics:
        """Rebuild from `to_dataset`.

        Raises:
            ValueError: if the dataset holds no statistics or another format.
        """
        if data.attrs.get("kind") != "force statistics" or int(data.attrs["format"]) != _FORMAT:
            raise ValueError(f"not force statistics of format {_FORMAT}: {dict(data.attrs)!r:.200}")
        keys = zip(data["block_source"].values.tolist(), data["block_number"].values.tolist(), strict=True)
        sums = {
            (str(source), int(number)): Sums(*(data[name].values[row] for name in Sums._fields))
            for row, (source, number) in enumerate(keys)
        }
        potential = Potential.from_json(data.attrs["potential"])
        frames = [data[name] for name in data.data_vars if str(name).startswith("frames_")]
        return cls(
            potential,
            float(data.attrs["temperature"]),
            tuple(data["bead_type"].values.tolist()),
            sums,
            json.loads(data.attrs["levels"]),
            {str(array.attrs["source"]): array.values for array in frames},
            {term.name: data[f"counts_{term.name}"].values for term in potential.terms},
            {name: (pair[0], pair[1]) for name, pair in json.loads(data.attrs["ranges"]).items()},
        )

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write to netCDF, atomically."""
        return write_netcdf(self.to_dataset(), path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> ForceStatistics:
        """Read from netCDF.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if it is not netCDF or holds no statistics of this format.
        """
        if not Path(path).exists():
            raise FileNotFoundError(f"no statistics at {path}")
        try:
            data = xr.load_dataset(path, engine="h5netcdf")
        except (OSError, ValueError) as error:
            raise ValueError(f"{path} is not a readable netCDF file: {error}") from error
        return cls.from_dataset(data)

    def __repr__(self) -> str:
        return (
            f"ForceStatistics({self.n_frames} frames in {len(self.sums)} blocks, "
            f"{self.potential.n_basis} coefficients, bead types {', '.join(self.bead_types)}, {self.temperature:g} K)"
        )


def force_statistics(potential: Potential, data: xr.Dataset | Iterable[xr.Dataset]) -> ForceStatistics:
    """One pass over mapped frames.

    Args:
        potential: what to fit. Ranges that bonds left open are filled in from the first chunk.
        data: a CG dataset with forces, or an iterable of chunks of one (`bayescg.stream`), of which only one is held.

    Returns:
        The sums that `force_match` needs.

    Raises:
        ValueError: if the data hold no forces or no frames, or do not fit the potential.
    """
    chunks = [data] if isinstance(data, xr.Dataset) else data
    total: ForceStatistics | None = None
    frames = data.sizes.get("frame", 1) if isinstance(data, xr.Dataset) else None
    with progress("Force statistics", frames) as advance:
        for chunk in chunks:
            if total is not None:
                potential = total.potential
            part = _pass(potential, chunk, advance)
            total = part if total is None else total + part
    if total is None:
        raise ValueError("there are no frames: the trajectory is empty")
    return total


def _pass(potential: Potential, cg: xr.Dataset, advance) -> ForceStatistics:
    if "frame" not in cg.dims:
        cg = cg.expand_dims("frame")
    if cg.sizes["frame"] == 0:
        raise ValueError("there are no frames: the trajectory is empty")
    if "forces" not in cg:
        raise ValueError(
            "the data hold no forces: force matching needs a trajectory written with forces (GROMACS nstfout, LAMMPS "
            "dump fx fy fz); without forces, fit the structure instead"
        )
    if "temperature" not in cg.attrs:
        raise ValueError("the data have no temperature: give temperature= [K] when mapping")
    temperature = check_temperature(cg.attrs["temperature"])
    potential = potential.with_ranges(cg)
    interactions = Interactions.of(potential, cg)
    types = potential.bead_types
    rows = [np.flatnonzero(interactions.type_index == k).astype(np.int32) for k in range(len(types))]
    source = str(cg.attrs.get("source", "data"))
    numbers = np.asarray(cg["frame"].values, np.int64) if "frame" in cg.coords else np.arange(cg.sizes["frame"])
    if len(np.unique(numbers)) < len(numbers):
        raise ValueError("some frame numbers appear twice in the data: the same frames would count twice")
    level = 0
    sums: dict[tuple[str, int], Sums] = {}
    counts = {term.name: np.zeros(term.spline.intervals) for term in potential.terms}
    low = dict.fromkeys(counts, np.inf)
    high = dict.fromkeys(counts, -np.inf)
    positions, forces = np.asarray(cg["positions"].values), np.asarray(cg["forces"].values)
    for name, values in (("positions", positions), ("forces", forces)):
        if not np.all(np.isfinite(values)):
            frame, bead = np.argwhere(~np.isfinite(values))[0][:2]
            raise ValueError(f"{name} of bead {bead} in frame {numbers[frame]} are not finite: leave that frame out")
    boxes = np.broadcast_to(np.asarray(cg["box"].values, float), (len(numbers), 3, 3))
    sizes: dict[str, int] = {}
    with double_precision():
        columns = potential.n_basis + sum(term.baseline is not None for term in potential.terms)
        open_key, open_sums = None, None
        everything = rows if len(rows) > 1 or len(rows[0]) < interactions.n_beads else None
        for k, number in enumerate(numbers.tolist()):
            key = (source, number >> level)
            if key != open_key:
                if open_key is not None:
                    _add(sums, open_key, open_sums)
                    if len(sums) > MAX_BLOCKS:
                        while len(sums) > MAX_BLOCKS:
                            level += 1
                            sums = merge_to_level(sums, level - 1, level)
                        key = (source, number >> level)
                open_key, open_sums = key, zeros(len(rows), columns)
            configuration = interactions.configuration(positions[k].astype(float), boxes[k], sizes=sizes)
            open_sums, found = accumulate(potential, open_sums, configuration, forces[k].astype(float), everything)
            for name, (histogram, lowest, highest) in found.items():
                counts[name] += np.asarray(histogram)
                low[name], high[name] = min(low[name], float(lowest)), max(high[name], float(highest))
            advance(1)
        _add(sums, open_key, open_sums)
        while len(sums) > MAX_BLOCKS:
            level += 1
            sums = merge_to_level(sums, level - 1, level)
    for name in counts:
        if not np.isfinite(low[name]):
            raise ValueError(
                f"{name}: no interaction within its range in {len(numbers)} frames; check bead types and cutoff"
            )
    return ForceStatistics(
        potential,
        temperature,
        types,
        sums,
        {source: level},
        {source: numbers},
        counts,
        {name: (low[name], high[name]) for name in counts},
    )


def _add(sums: dict, key, block: Sums) -> None:
    block = Sums(*(np.asarray(part) for part in block))
    sums[key] = block if key not in sums else Sums(*(a + b for a, b in zip(sums[key], block, strict=True)))
