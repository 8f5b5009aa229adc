"""Atoms from beads, from file to file, for the command line."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from pathlib import Path

import jax
import xarray as xr

from bayescg._runtime import write_netcdf
from bayescg.atomistic import read_force_field
from bayescg.backmapping import Annealing, Learning, fit_conditional, sample, write_atoms
from bayescg.backmapping.liquid.checks import is_liquid
from bayescg.data import Mapping, load, read_beads
from bayescg.data.trajectories.universe import open_universe
from bayescg.report.results import load_ensemble


@dataclass(frozen=True)
class Files:
    """What is read.

    Attributes:
        beads: ensemble or coarse-grained dataset (netCDF), or a trajectory of beads.
        bead_topology: of a trajectory of beads.
        topology: of the atoms, with bonds.
        trajectory: atomistic, to learn from.
        system: OpenMM System of all that is placed (XML).
        mapping: YAML file; None for centers of mass by `by`.
        by: "residues", "molecules", "fragments" or "atoms".
        select: of the atoms that are mapped.
        units: of LAMMPS dumps, "real" or "metal".
    """

    beads: Path
    bead_topology: Path | None
    topology: Path
    trajectory: Path
    system: Path
    mapping: Path | None = None
    by: str = "residues"
    select: str = "all"
    units: str | None = None


@dataclass(frozen=True)
class Plan:
    """What is done.

    Attributes:
        draws: of atoms for each frame of the beads.
        method: see `backmapping.sample`; None for its choice.
        temperature: [K]; None for that of the beads.
        frames: of the beads.
        learn: how many frames of the atomistic trajectory, spread evenly; None for all.
        chains: of a liquid; None for the default.
        rounds: in which a liquid's environment is switched on, and as many until it has settled; None for the default.
        seed: of all random numbers.
    """

    draws: int = 100
    method: str | None = None
    temperature: float | None = None
    frames: slice = field(default_factory=lambda: slice(None))
    learn: int | None = None
    chains: int | None = None
    rounds: int | None = None
    seed: int = 0


def backmap(files: Files, plan: Plan, output: Path, atoms: Path | None, say) -> xr.Dataset:
    """Learn the conditional, place atoms, and write them.

    Args:
        files: what is read.
        plan: what is done.
        output: netCDF file of all draws, with energies and diagnostics.
        atoms: file of the positions in any format of MDAnalysis; None for none.
        say: told of each step.

    Returns:
        The draws.

    Raises:
        FileNotFoundError: if a file is missing.
        ValueError: if files do not fit together, naming what and the remedy.
    """
    # Everything that can be wrong with the files comes before the work.
    beads = read_configurations(files, plan)
    target = read_force_field(files.system)
    universe = open_universe(files.topology, files.trajectory, units=files.units)
    mapping = _mapping(files, universe)
    if atoms is not None and len(universe.atoms) != target.n_atoms:
        raise ValueError(
            f"--atoms: the topology has {len(universe.atoms)} atoms and the System {target.n_atoms}; names of atoms "
            "come from a topology of the same atoms"
        )
    first, second = jax.random.split(jax.random.key(plan.seed))
    every = max(len(universe.trajectory) // plan.learn, 1) if plan.learn else 1
    settings = Learning(stop=None if plan.learn is None else every * plan.learn, step=every)
    say(f"learn: {len(range(len(universe.trajectory))[settings.frames])} atomistic frames")
    conditional = fit_conditional(universe, mapping, settings=settings, key=first)
    count = beads.sizes["frame"] * beads.sizes.get("draw", 1)
    say(f"place: {count} configurations of {beads.sizes['bead']} beads")
    how = None
    if is_liquid(conditional, beads):
        given = {"chains": plan.chains, "rise": plan.rounds, "settle": plan.rounds}
        how = Annealing(**{name: value for name, value in given.items() if value is not None})
    elif plan.chains is not None or plan.rounds is not None:
        raise ValueError("--chains and --rounds are for liquids, and the beads are of one molecule")
    placed = sample(*(conditional, beads, target), draws=plan.draws, method=plan.method, tempering=how, key=second)
    write_netcdf(placed, output)
    if atoms is not None:
        write_atoms(placed, atoms, universe)
    return placed


def read_configurations(files: Files, plan: Plan) -> xr.Dataset:
    """The beads, with a temperature.

    Args:
        files: what is read.
        plan: its frames and temperature.

    Raises:
        FileNotFoundError: if a file is missing.
        ValueError: if there are no frames, or no temperature is known.
    """
    if not files.beads.is_file():
        raise FileNotFoundError(f"no such file: {files.beads}")
    if files.beads.suffix in (".nc", ".h5"):
        try:
            beads = load_ensemble(files.beads)
        except ValueError:
            beads = load(files.beads)
        beads = beads.isel(draw=~beads["failed"].values) if "failed" in beads else beads
        beads = beads.isel(frame=plan.frames)
    else:
        if files.bead_topology is None:
            raise ValueError(
                f"{files.beads} is a trajectory: give the beads' names by --bead-topology (gro, data, pdb)"
            )
        if plan.temperature is None:
            raise ValueError(f"{files.beads} does not say its temperature: give --temperature in K")
        universe = open_universe(files.bead_topology, files.beads, units=files.units)
        ends = (plan.frames.start, plan.frames.stop, plan.frames.step)
        options = dict(zip(("start", "stop", "step"), ends, strict=True))
        beads = read_beads(universe, temperature=plan.temperature, **options)
    if beads.sizes["frame"] == 0:
        raise ValueError(f"no frames of {files.beads} are chosen: it has fewer than --start")
    if plan.temperature is not None:
        beads = beads.assign_attrs(temperature=plan.temperature)
    if beads.attrs.get("temperature") is None:
        raise ValueError(f"{files.beads} has no temperature: give --temperature in K")
    return beads


def _mapping(files: Files, universe) -> Mapping:
    with warnings.catch_warnings():
        # That atoms are in no bead is what backmapping is about.
        warnings.filterwarnings("ignore", message=".*in no bead.*")
        if files.mapping is not None:
            return Mapping.from_yaml(files.mapping, universe, constraints="none")
        return Mapping.center_of_mass(universe, by=files.by, select=files.select, constraints="none")
