"""`bayescg backmap`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from bayescg.cli.console import errors, say, table
from bayescg.cli.single import Seed


class Method(StrEnum):
    """How atoms are sampled."""

    smc = "smc"
    nuts = "nuts"
    imh = "imh"
    gp = "gp"
    blocks = "blocks"


class By(StrEnum):
    """One bead for each of these."""

    residues = "residues"
    molecules = "molecules"
    fragments = "fragments"
    atoms = "atoms"


class Units(StrEnum):
    """Of LAMMPS dumps."""

    real = "real"
    metal = "metal"


def backmap(
    beads: Annotated[
        Path,
        typer.Argument(help="Ensemble or coarse-grained dataset (netCDF), or a trajectory of beads (xtc, dump, ..)."),
    ],
    topology: Annotated[Path, typer.Option(help="Topology of the atoms, with bonds (tpr, psf, prmtop, pdb).")],
    trajectory: Annotated[Path, typer.Option(help="Atomistic trajectory to learn from.")],
    system: Annotated[Path, typer.Option(help="OpenMM System of what is placed, as XmlSerializer writes it.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Draws to write, with energies and diagnostics.")
    ] = Path("atoms.nc"),
    atoms: Annotated[
        Path | None, typer.Option(help="File of the positions too (pdb, xtc, dcd, ..): all draws of each frame.")
    ] = None,
    bead_topology: Annotated[
        Path | None, typer.Option(help="Topology of a trajectory of beads (gro, data, pdb).")
    ] = None,
    mapping: Annotated[Path | None, typer.Option(help="Mapping (YAML); centers of mass if left out.")] = None,
    by: Annotated[By, typer.Option(help="One center of mass for each of these.")] = By.residues,
    select: Annotated[str, typer.Option(help="Selection of the atoms that are mapped.")] = "all",
    draws: Annotated[int, typer.Option(help="Draws of atoms for each configuration of the beads.")] = 100,
    method: Annotated[
        Method | None, typer.Option(help="smc if left out, of liquids blocks; gp is approximate.")
    ] = None,
    temperature: Annotated[float | None, typer.Option(help="In K; that of the dataset if left out.")] = None,
    units: Annotated[Units | None, typer.Option(help="Of LAMMPS dumps.")] = None,
    start: Annotated[int | None, typer.Option(help="First frame of the beads.")] = None,
    stop: Annotated[int | None, typer.Option(help="Frame of the beads to stop before.")] = None,
    step: Annotated[int | None, typer.Option(help="Every how many frames of the beads.")] = None,
    learn: Annotated[int | None, typer.Option(help="Learn from this many atomistic frames, spread evenly.")] = None,
    chains: Annotated[int | None, typer.Option(help="Independent chains of a liquid.")] = None,
    rounds: Annotated[
        int | None, typer.Option(help="In which a liquid's environment rises, and until it settles.")
    ] = None,
    seed: Seed = 0,
) -> None:
    """Place atoms for beads: learn a conditional from an atomistic trajectory, and correct it by the force field.

    Example: bayescg backmap ensemble.nc --topology topol.tpr --trajectory traj.xtc --system system.xml --draws 10
    --atoms atoms.xtc
    """
    with errors():
        from bayescg.workflow import backmap as work

        placed = work.backmap(
            work.Files(
                *(beads, bead_topology, topology, trajectory, system, mapping, by.value, select),
                units=None if units is None else units.value,
            ),
            work.Plan(
                draws=draws,
                method=None if method is None else method.value,
                temperature=temperature,
                frames=slice(start, stop, step),
                learn=learn,
                chains=chains,
                rounds=rounds,
                seed=seed,
            ),
            output,
            atoms,
            say,
        )
        rows = {"method": str(placed.attrs["method"]), "frames": str(placed.sizes["frame"])}
        rows["draws of each"] = str(placed.sizes["draw"])
        rows["mean energy"] = f"{float(placed['energy'].mean()):.6g} {placed['energy'].attrs['units']}"
        for name, words in (("ess_run", "effective samples"), ("rhat", "R-hat"), ("acceptance", "acceptance")):
            if name in placed and placed.attrs["exact"]:
                rows[words] = f"{float(placed[name].min()):.3g} to {float(placed[name].max()):.3g}"
        reliable = int(placed["reliable"].sum())
        rows["reliable"] = f"{reliable} of {placed['reliable'].size}" if placed.attrs["exact"] else "approximate (gp)"
        table(rows, [output] if atoms is None else [output, atoms])
