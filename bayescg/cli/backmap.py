"""`bayescg backmap`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from bayescg.cli.console import errors, say, table
from bayescg.workflow.schema.choices import By, Placement

_files = partial(typer.Option, rich_help_panel="What is read and written")
_placed = partial(typer.Option, rich_help_panel="Which beads, which atoms")
_how = partial(typer.Option, rich_help_panel="How atoms are placed")


def backmap(
    beads: Annotated[
        Path,
        typer.Argument(help="Ensemble or coarse-grained dataset (netCDF), or a trajectory of beads (xtc, dump, ..)."),
    ],
    topology: Annotated[Path, _files(help="Topology of the atoms, with bonds (tpr, psf, prmtop, pdb).")],
    trajectory: Annotated[Path, _files(help="Atomistic trajectory to learn from.")],
    system: Annotated[Path, _files(help="OpenMM System of what is placed, as XmlSerializer writes it.")],
    output: Annotated[
        Path,
        _files("--output", "-o", help="Draws to write, with energies and diagnostics."),
    ] = Path("atoms.nc"),
    atoms: Annotated[
        Path | None,
        _files(help="File of the positions too (pdb, xtc, dcd, ..): all draws of each frame."),
    ] = None,
    mapping: Annotated[Path | None, _files(help="Mapping (YAML); centers of mass if left out.")] = None,
    bead_topology: Annotated[Path | None, _files(help="Topology of a trajectory of beads (gro, data, pdb).")] = None,
    settings: Annotated[
        Path | None,
        _files(help="YAML file with any of the settings below, and with units, learn, chains, rounds."),
    ] = None,
    by: Annotated[By | None, _placed(help="One center of mass for each; residues if left out.")] = None,
    select: Annotated[str | None, _placed(help="Selection of the atoms that are mapped.")] = None,
    start: Annotated[int | None, _placed(help="First frame of the beads.")] = None,
    stop: Annotated[int | None, _placed(help="Frame of the beads to stop before.")] = None,
    step: Annotated[int | None, _placed(help="Every how many frames of the beads.")] = None,
    draws: Annotated[int | None, _how(help="Draws of atoms for each frame; 100 if left out.")] = None,
    method: Annotated[
        Placement | None,
        _how(help="smc if left out, of liquids blocks; gp is approximate."),
    ] = None,
    temperature: Annotated[float | None, _how(help="In K; that of the dataset if left out.")] = None,
    seed: Annotated[int | None, _how(help="Seed of all random numbers.")] = None,
) -> None:
    """Place atoms for beads: learn a conditional from an atomistic trajectory, and correct it by the force field.

    Example: bayescg backmap ensemble.nc --topology topol.tpr --trajectory traj.xtc --system system.xml --draws 10
    --atoms atoms.xtc
    """
    with errors():
        from bayescg.workflow import backmap as work

        given = {"by": by, "select": select, "start": start, "stop": stop, "step": step, "draws": draws}
        given |= {"method": method, "temperature": temperature, "seed": seed}
        files = work.Files(beads, topology, trajectory, system, output, atoms, mapping, bead_topology)
        placed = work.backmap(files, work.read_plan(settings, given), say)
        rows = {"method": str(placed.attrs["method"]), "frames": str(placed.sizes["frame"])}
        rows["draws of each"] = str(placed.sizes["draw"])
        rows["mean energy"] = f"{float(placed['energy'].mean()):.6g} {placed['energy'].attrs['units']}"
        for name, words in (("ess_run", "effective samples"), ("rhat", "R-hat"), ("acceptance", "acceptance")):
            if name in placed and placed.attrs["exact"]:
                rows[words] = f"{float(placed[name].min()):.3g} to {float(placed[name].max()):.3g}"
        reliable = int(placed["reliable"].sum())
        rows["reliable"] = f"{reliable} of {placed['reliable'].size}" if placed.attrs["exact"] else "approximate (gp)"
        table(rows, [output] if atoms is None else [output, atoms])
