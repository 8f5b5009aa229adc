"""Atomistic trajectories to coarse-grained datasets."""

from __future__ import annotations

from collections.abc import Iterator

import xarray as xr

from bayescg._runtime import progress
from bayescg.data.mapping.mapping import Mapping
from bayescg.data.trajectories.frames import Forces, FrameReader, join_frames


def coarse_grain(
    universe,
    mapping: Mapping,
    *,
    temperature: float | None = None,
    start: int | None = None,
    stop: int | None = None,
    step: int | None = None,
    partial: bool = False,
    forces: Forces = True,
    continuous: bool | None = None,
) -> xr.Dataset:
    """Map an atomistic trajectory onto beads (Noid et al., doi:10.1063/1.2938860).

    Bead positions are weighted means of atom positions, bead forces are sums of atom forces, as the mapping says. Beads
    are made whole across periodic boundaries, but not wrapped into the box.

    It reads what MDAnalysis reads with forces: GROMACS TRR, AMBER NetCDF, H5MD, LAMMPS dump. A LAMMPS dump does not say
    its units. Give them where the universe is made, as in
    `mda.Universe("system.data", "traj.lammpsdump", units="real", dt=0.002)` (or "metal"; `dt` is the time step of the
    simulation in ps, by which MDAnalysis multiplies the numbers of steps in a dump).

    Args:
        universe: MDAnalysis Universe with a trajectory.
        mapping: which atoms make up which bead.
        temperature: of the simulation [K].
        start: first frame.
        stop: frame to stop before.
        step: every how many frames.
        partial: use the frames before a damaged one (with a warning) instead of raising.
        forces: True; False to read positions only; "unchecked" to accept any magnitude.
        continuous: of several files: True if they are parts of one simulation, of whose frames that overlap in time one
            is used; False if they are simulations of their own; None to refuse times that run backward.

    Returns:
        The dataset: `positions` [nm], `forces` [kJ/mol/nm] (frame, bead, xyz), `box` [nm] (frame, vector, xyz); `frame`
        counts in the whole trajectory.

    Raises:
        ValueError: for a missing temperature, missing or implausible forces, an empty or damaged trajectory, frames
            that would count twice, values that are not finite, atoms that do not match the mapping, or a LAMMPS dump
            without units.
    """
    reader = FrameReader(universe, mapping, temperature, slice(start, stop, step), partial, forces, continuous)
    chunks = []
    with progress("Mapping the trajectory", reader.n_frames) as advance:
        for raw in reader.chunks(50):
            chunks.append(raw)
            advance(len(raw.frame))
    return reader.dataset(join_frames(chunks))


def stream(
    universe,
    mapping: Mapping,
    *,
    temperature: float | None = None,
    start: int | None = None,
    stop: int | None = None,
    step: int | None = None,
    chunk: int = 50,
    forces: Forces = True,
    continuous: bool | None = None,
) -> Iterator[xr.Dataset]:
    """Map an atomistic trajectory chunk by chunk; never more than one chunk is in memory.

    Args:
        universe: MDAnalysis Universe with a trajectory.
        mapping: which atoms make up which bead.
        temperature: of the simulation [K].
        start: first frame.
        stop: frame to stop before.
        step: every how many frames.
        chunk: frames in a chunk.
        forces: True; False to read positions only; "unchecked" to accept any magnitude.
        continuous: of several files: True if they are parts of one simulation, of whose frames that overlap in time one
            is used; False if they are simulations of their own; None to refuse times that run backward.

    Returns:
        Iterator over datasets as `coarse_grain` makes them.

    Raises:
        ValueError: as `coarse_grain`; at once for what can be seen at once, else when the chunk is asked for.
    """
    if chunk < 1:
        raise ValueError(f"chunk={chunk}: give a positive number of frames")
    reader = FrameReader(universe, mapping, temperature, slice(start, stop, step), None, forces, continuous)
    return (reader.dataset(raw) for raw in reader.chunks(chunk))
