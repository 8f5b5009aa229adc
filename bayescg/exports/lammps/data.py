"""LAMMPS: the data file of a configuration and an input script that runs it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xarray as xr

from bayescg._runtime import atomic_path
from bayescg.exports.charges import charges_of, coulomb_of
from bayescg.exports.conditions import Conditions
from bayescg.exports.lammps.names import keyword
from bayescg.exports.tables.configuration import one_frame, reduce_box
from bayescg.exports.tables.curves import terms_of
from bayescg.geometry.images import minimum_image
from bayescg.potentials import Interactions, Potential
from bayescg.units import ANGSTROM


def bead_types_of(potential: Potential, cg: xr.Dataset | None = None) -> tuple[str, ...]:
    """Names of the atom types 1, 2, ...: those of the potential and of the system together, sorted."""
    present = () if cg is None else np.unique(cg["bead_type"].values.astype(str)).tolist()
    return tuple(sorted({*potential.bead_types, *present}))


def other_bonds_of(potential: Potential, interactions: Interactions, cg: xr.Dataset) -> np.ndarray:
    """(n, 2) bonds that no term describes but that exclusions count along."""
    if not potential.exclude_bonds or "bonds" not in cg:
        return np.zeros((0, 2), int)
    described = {
        tuple(sorted(row)) for t in terms_of(potential, "bond") for row in interactions.bonded[t.name].tolist()
    }
    rest = [row for row in cg["bonds"].values.tolist() if tuple(sorted(row)) not in described]
    return np.array(rest, int).reshape(-1, 2)


def masses_by_type(cg: xr.Dataset, bead_types: Sequence[str]) -> list[float]:
    """Mass of each bead type [Da].

    Raises:
        ValueError: if beads of one type differ in mass.
    """
    types, mass = cg["bead_type"].values.astype(str), cg["mass"].values
    masses = []
    for bead in bead_types:
        own = mass[types == bead]
        if np.ptp(own) > 1e-3 * own.mean():
            raise ValueError(
                f"beads of type {bead} have masses from {own.min():g} to {own.max():g} Da, but LAMMPS knows one mass a "
                "type: give them different bead types"
            )
        masses.append(float(own.mean()))
    return masses


def atom_style(potential: Potential) -> str:
    """What the data file has of each bead: its molecule, and its charge if the model has charges."""
    return "molecular" if coulomb_of(potential) is None else "full"


def data_text(cg: xr.Dataset, potential: Potential) -> str:
    """The text of a LAMMPS data file (`atom_style`, units real).

    Atom types are those of `bead_types_of(potential, cg)`, bond, angle and dihedral types the terms in their order; a
    further bond type holds bonds that no term describes, where exclusions need them.

    Args:
        cg: a configuration; the last frame if there are several.
        potential: the potential.

    Raises:
        ValueError: if the potential does not fit the system.
    """
    cg = one_frame(cg)
    interactions = Interactions.of(potential, cg)
    types = bead_types_of(potential, cg)
    numbers = {bead: k + 1 for k, bead in enumerate(types)}
    sections: dict[str, list[str]] = {}
    counts, kinds = [f"{cg.sizes['bead']} atoms"], [f"{len(types)} atom types"]
    for kind in ("bond", "angle", "dihedral"):
        listed = [interactions.bonded[term.name] for term in terms_of(potential, kind)]
        if kind == "bond" and len(rest := other_bonds_of(potential, interactions, cg)):
            listed.append(rest)
        if listed:
            rows = [(k + 1, *(bead + 1 for bead in row)) for k, tuples in enumerate(listed) for row in tuples.tolist()]
            sections[f"{kind.capitalize()}s"] = [f"{i} {' '.join(map(str, row))}" for i, row in enumerate(rows, 1)]
            counts.append(f"{len(rows)} {kind}s")
            kinds.append(f"{len(listed)} {kind} types")
    box = reduce_box(cg["box"].values) / ANGSTROM
    edges = [f"0 {box[k, k]:.12g} {axis}lo {axis}hi" for k, axis in enumerate("xyz")]
    if np.any(np.abs(box[[1, 2, 2], [0, 0, 1]]) > 0):
        edges.append(f"{box[1, 0]:.12g} {box[2, 0]:.12g} {box[2, 1]:.12g} xy xz yz")
    mass = masses_by_type(cg, types)
    masses = [f"{k} {m:.10g}  # {keyword(bead)}" for k, (bead, m) in enumerate(zip(types, mass, strict=True), 1)]
    molecule = cg["molecule"].values - int(cg["molecule"].values.min()) + 1
    positions = np.asarray(cg["positions"].values, float) / ANGSTROM
    beads = cg["bead_type"].values.astype(str)
    charged = coulomb_of(potential)
    charge = [""] * len(beads) if charged is None else [f"{q:.12g} " for q in charges_of(charged, cg)]
    atoms = [
        f"{i + 1} {molecule[i]} {numbers[beads[i]]} {charge[i]}{x:.12g} {y:.12g} {z:.12g}"
        for i, (x, y, z) in enumerate(positions.tolist())
    ]
    blocks = ["LAMMPS data file by bayescg, units real", "\n".join(counts + kinds), "\n".join(edges)]
    for title, rows in {"Masses": masses, f"Atoms  # {atom_style(potential)}": atoms, **sections}.items():
        blocks += [title, "\n".join(rows)]
    return "\n\n".join(blocks) + "\n"


def write_data_file(path: str | os.PathLike[str], cg: xr.Dataset, potential: Potential) -> Path:
    """Write a LAMMPS data file, atomically; see `data_text`. Returns the path."""
    text = data_text(cg, potential)
    with atomic_path(path) as temporary:
        temporary.write_text(text)
    return Path(path)


def ghost_cutoff(cg: xr.Dataset, potential: Potential) -> float:
    """How far LAMMPS must keep ghost beads [nm], so that each processor sees all beads of its bonded interactions."""
    positions, bonds = np.asarray(cg["positions"].values, float), cg["bonds"].values
    vectors = minimum_image(positions[bonds[:, 1]] - positions[bonds[:, 0]], cg["box"].values)
    longest = np.linalg.norm(vectors, axis=-1).max(initial=0.0)
    reach = max((term.body - 1 for term in potential.terms if not term.cutoff), default=0)
    return max(potential.cutoff + 0.2, 1.5 * longest * reach)


def input_text(cg: xr.Dataset, potential: Potential, conditions: Conditions) -> str:
    """An input script: NVT Langevin dynamics of `system.data` with the commands of `potential.in`."""
    temperature, timestep, friction = conditions
    return f"""# bayescg: Langevin dynamics of the coarse-grained model. Run: lmp -in in.bayescg
units real
atom_style {atom_style(potential)}
boundary p p p
read_data system.data
include potential.in

neighbor 2.0 bin
neigh_modify every 1 delay 5 check yes
comm_modify cutoff {ghost_cutoff(one_frame(cg), potential) / ANGSTROM:.6g}
timestep {1e3 * timestep:g}
velocity all create {temperature:g} 90210 mom yes dist gaussian
fix integrate all nve
fix thermostat all langevin {temperature:g} {temperature:g} {1e3 / friction:g} 48271
thermo_style custom step temp pe press
thermo 1000
dump trajectory all custom 500 trajectory.lammpstrj id mol type xu yu zu
run 10000
"""
