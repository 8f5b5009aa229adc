"""Trajectories of beads, as LAMMPS or GROMACS write them."""

from __future__ import annotations

import warnings

import xarray as xr

from bayescg.data.mapping.mapping import Mapping
from bayescg.data.trajectories.reading import coarse_grain


def read_beads(
    universe,
    *,
    temperature: float,
    start: int | None = None,
    stop: int | None = None,
    step: int | None = None,
) -> xr.Dataset:
    """Read a trajectory whose particles are beads already.

    Types are the particles' names (types where there are no names: LAMMPS). Molecules are those of the topology: its
    molecule numbers, else what bonds connect, else residues. A LAMMPS dump does not say its units: give them where the
    universe is made, as in `mda.Universe("beads.data", "beads.lammpsdump", units="real")`.

    Args:
        universe: MDAnalysis Universe of beads.
        temperature: of the simulation [K].
        start: first frame.
        stop: frame to stop before.
        step: every how many frames.

    Returns:
        The dataset, without forces, as `coarse_grain` makes it. Positions are as in the file: wrapped beads stay so.

    Raises:
        ValueError: as `coarse_grain`.
    """
    universe = with_masses(universe)
    mapping = Mapping.center_of_geometry(universe, by="atoms", constraints="none")
    return coarse_grain(universe, mapping, temperature=temperature, start=start, stop=stop, step=step, forces=False)


def with_masses(universe):
    """The universe, or a copy with 1 Da for each particle if masses are missing or zero: where beads are placed does
    not depend on them.

    Args:
        universe: MDAnalysis Universe.
    """
    masses = getattr(universe.atoms, "masses", None)
    if masses is not None and (masses > 0).all():
        return universe
    with warnings.catch_warnings():
        # Said by readers of single frames, which are copied too.
        warnings.filterwarnings("ignore", message="Reader has no dt information")
        copy = universe.copy()
    copy.add_TopologyAttr("masses", [1.0] * len(copy.atoms))
    return copy
