"""Atoms from beads, from file to file, for the command line."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import xarray as xr

from bayescg import _checkpoint
from bayescg._runtime import write_netcdf
from bayescg._settings import Count, Positive, Section, Text, validate
from bayescg._yaml import Document, read_yaml
from bayescg.atomistic import read_force_field
from bayescg.backmapping import Annealing, Learning, fit_conditional, sample, write_atoms
from bayescg.backmapping.liquid.checks import is_liquid
from bayescg.data import Mapping, read_beads
from bayescg.data.trajectories.universe import open_universe
from bayescg.workflow.schema.choices import By, Placement, Units
from bayescg.workflow.single import open_beads


@dataclass(frozen=True)
class Files:
    """What is read and written.

    Attributes:
        beads: ensemble or coarse-grained dataset (netCDF), or a trajectory of beads.
        topology: of the atoms, with bonds.
        trajectory: atomistic, to learn from.
        system: OpenMM System of all that is placed (XML).
        output: netCDF file of all draws, with energies and diagnostics.
        atoms: file of the positions in any format of MDAnalysis; None for none.
        mapping: YAML file; None for centers of mass.
        bead_topology: of a trajectory of beads.
    """

    beads: Path
    topology: Path
    trajectory: Path
    system: Path
    output: Path
    atoms: Path | None = None
    mapping: Path | None = None
    bead_topology: Path | None = None


class Plan(Section):
    """What is done: the options of `bayescg backmap`, and of the file that its --settings names."""

    by: By = "residues"
    """One center of mass for each of these, where no mapping is given."""
    select: Text = "all"
    """Selection of the atoms that are mapped."""
    units: Units | None = None
    """Of LAMMPS dumps."""
    draws: Count = 100
    """Draws of atoms for each frame of the beads."""
    method: Placement | None = None
    """See `backmapping.sample`; its choice if left out."""
    temperature: Positive | None = None
    """In K; that of the beads if left out."""
    start: int | None = None
    """First frame of the beads."""
    stop: int | None = None
    """Frame of the beads to stop before."""
    step: int | None = None
    """Every how many frames of the beads."""
    learn: Count | None = None
    """Learn from this many frames of the atomistic trajectory, spread evenly; from all if left out."""
    chains: Count | None = None
    """Independent chains of a liquid."""
    rounds: Count | None = None
    """In which a liquid's environment is switched on, and as many until it has settled."""
    seed: int = 0
    """Of all random numbers."""


def read_plan(path: Path | None, given: dict[str, Any]) -> Plan:
    """A plan from a settings file and from options, which go first.

    Args:
        path: YAML file; None for none.
        given: options; None for those not given.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: for what is wrong in it, with its line.
    """
    document = Document("bayescg backmap", "", {}, {}) if path is None else read_yaml(path)
    chosen = {name: value for name, value in given.items() if value is not None}
    return validate(Plan, document._replace(table={**document.table, **chosen}))


def backmap(files: Files, plan: Plan, say: Callable[[str], None]) -> xr.Dataset:
    """Learn the conditional, place atoms, and write them.

    Finished configurations are kept beside the output until all are there: the same call learns again and goes on from
    them.

    Args:
        files: what is read and written.
        plan: what is done.
        say: told of each step.

    Returns:
        The draws.

    Raises:
        FileNotFoundError: if a file is missing.
        ValueError: if files do not fit together, naming what and the remedy.
        KeyboardInterrupt: if interrupted; what is finished is written, and kept for the next call.
    """
    # Everything that can be wrong with the files comes before the work.
    beads = read_configurations(files, plan)
    target = read_force_field(files.system)
    universe = open_universe(files.topology, files.trajectory, units=plan.units)
    mapping = _mapping(files, plan, universe)
    n_atoms = len(universe.atoms)  # pyright: ignore[reportArgumentType]  MDAnalysis has no types; guessed is None
    if files.atoms is not None and n_atoms != target.n_atoms:
        raise ValueError(
            f"--atoms: the topology has {n_atoms} atoms and the System {target.n_atoms}; names of atoms "
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
        raise ValueError("`chains` and `rounds` are for liquids, and the beads are of one molecule")
    parts = files.output.with_name(f"{files.output.name}.unfinished")
    options = {"draws": plan.draws, "method": plan.method, "tempering": how, "checkpoint": parts}
    placed = sample(conditional, beads, target, **options, key=second)
    write_netcdf(placed, files.output)
    if files.atoms is not None:
        write_atoms(placed, files.atoms, universe)
    if placed.attrs["interrupted"]:
        raise KeyboardInterrupt
    _checkpoint.remove(parts)
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
    window = {"start": plan.start, "stop": plan.stop, "step": plan.step}
    if files.beads.suffix in (".nc", ".h5"):
        beads = open_beads(files.beads).isel(frame=slice(*window.values()))
    else:
        if files.bead_topology is None:
            raise ValueError(
                f"{files.beads} is a trajectory: give the beads' names by --bead-topology (gro, data, pdb)"
            )
        if plan.temperature is None:
            raise ValueError(f"{files.beads} does not say its temperature: give --temperature in K")
        universe = open_universe(files.bead_topology, files.beads, units=plan.units)
        beads = read_beads(universe, temperature=plan.temperature, **window)
    if beads.sizes["frame"] == 0:
        raise ValueError(f"no frames of {files.beads} are chosen: it has fewer than --start")
    if plan.temperature is not None:
        beads = beads.assign_attrs(temperature=plan.temperature)
    if beads.attrs.get("temperature") is None:
        raise ValueError(f"{files.beads} has no temperature: give --temperature in K")
    return beads


def _mapping(files: Files, plan: Plan, universe) -> Mapping:
    with warnings.catch_warnings():
        # That atoms are in no bead is what backmapping is about.
        warnings.filterwarnings("ignore", message=".*in no bead.*")
        if files.mapping is not None:
            return Mapping.from_yaml(files.mapping, universe, constraints="none")
        return Mapping.center_of_mass(universe, by=plan.by, select=plan.select, constraints="none")
