"""mstool 0.3 on alanine dipeptide: one residue, a bead on each kept atom, the same energy in the form that it reads.

mstool ("ungroup", soft repulsion, minimization) knows CHARMM36 and what is written like it: charges of the residue's
atoms, Lennard-Jones terms in a force of their own. Bonded terms are added by a script in the file, GB by OpenMM's file.
Beads are where it begins; nothing keeps them there.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tests.studies.backmapping.held_dynamics import TEMPERATURE, system

_ELEMENTS = "HCHHCONHCHCHHHCONHCHHH"
_NAMES = tuple(f"{element}{k + 1}" for k, element in enumerate(_ELEMENTS))
_BEADS = {4: (4, 5, 1, 0, 2, 3), 6: (6, 7), 8: (8, 9, 10, 11, 12, 13), 14: (14, 15), 16: (16, 17, 18, 19, 20, 21)}
_CHIRAL = (9, 8, 6, 10, 14)
"""H, CA, N, CB, C as in mstool's own mapping of alanine."""

_FAR = 3.0
_SCRIPT = """<Script>
import openmm as mm
at = {atom.name: atom.index for atom in topology.atoms()}
bonds, angles, torsions = mm.HarmonicBondForce(), mm.HarmonicAngleForce(), mm.PeriodicTorsionForce()
for row in BONDS: bonds.addBond(*(at[name] for name in row[:2]), *row[2:])
for row in ANGLES: angles.addAngle(*(at[name] for name in row[:3]), *row[3:])
for row in TORSIONS: torsions.addTorsion(*(at[name] for name in row[:4]), *row[4:])
for force in (bonds, angles, torsions): sys.addForce(force)
</Script>"""


def write_files(folder: Path) -> tuple[Path, Path]:
    """The force field and the mapping, in mstool's formats."""
    made = system()
    forces = {type(force).__name__: force for force in made.getForces()}
    bonds = _rows(forces["HarmonicBondForce"], "Bond", 2)
    angles, torsions = (
        _rows(forces["HarmonicAngleForce"], "Angle", 3),
        _rows(forces["PeriodicTorsionForce"], "Torsion", 4),
    )
    nonbonded = [
        [float(value._value) for value in forces["NonbondedForce"].getParticleParameters(k)] for k in range(len(_NAMES))
    ]
    each = list(zip(_NAMES, _ELEMENTS, nonbonded, strict=True))
    lines = ["<ForceField>", "<AtomTypes>"]
    lines += [
        f'<Type name="{n}" class="{n}" element="{e}" mass="{made.getParticleMass(k)._value}"/>'
        for k, (n, e, _) in enumerate(each)
    ]
    lines += ["</AtomTypes>", '<Residues><Residue name="ALAD">']
    lines += [f'<Atom name="{n}" type="{n}" charge="{p[0]}"/>' for n, _, p in each]
    lines += [f'<Bond atomName1="{row[0]}" atomName2="{row[1]}"/>' for row in bonds]
    lines += ["</Residue></Residues>", '<NonbondedForce coulomb14scale="0.8333333333333334" lj14scale="0.5">']
    lines += ['<UseAttributeFromResidue name="charge"/>']
    lines += [f'<Atom type="{n}" sigma="1.0" epsilon="0.0"/>' for n in _NAMES]
    lines += ["</NonbondedForce>", '<LennardJonesForce lj14scale="0.5">']
    lines += [f'<Atom type="{n}" sigma="{p[1]}" epsilon="{p[2]}"/>' for n, _, p in each]
    lines += ["</LennardJonesForce>"]
    script = _SCRIPT.replace("BONDS", repr(bonds)).replace("ANGLES", repr(angles)).replace("TORSIONS", repr(torsions))
    field, mapping = folder / "field.xml", folder / "mapping.dat"
    field.write_text("\n".join([*lines, script, "</ForceField>"]))
    beads = [f"[ B{bead} ]\n{' '.join(_NAMES[k] for k in atoms)}" for bead, atoms in _BEADS.items()]
    chiral = " ".join(_NAMES[k] for k in _CHIRAL)
    mapping.write_text("\n".join(["RESI ALAD", *beads, "[ chiral ]", chiral, ""]))
    return field, mapping


def _rows(force, kind: str, atoms: int) -> list[tuple]:
    rows = []
    for k in range(getattr(force, f"getNum{kind}s")()):
        values = getattr(force, f"get{kind}Parameters")(k)
        rest = [float(getattr(v, "_value", v)) for v in values[atoms:]]
        if kind == "Torsion":
            rest[0] = int(rest[0])
        rows.append((*(_NAMES[i] for i in values[:atoms]), *rest))
    return rows


def backmapped(beads: np.ndarray, kept: Sequence[int], folder: Path, *, steps: int) -> np.ndarray:
    """Positions (atom, 3) [nm] that mstool makes of beads (bead, 3) [nm]; steps of 2 fs of its dynamics at the end."""
    import mstool  # pyright: ignore[reportMissingImports]
    import openmm as mm
    from openmm import app

    # One thread, as for the others: more of them wait for each other in so small a molecule.
    mm.Platform.getPlatformByName("CPU").setPropertyDefaultValue("Threads", "1")
    folder.mkdir(parents=True)
    field, mapping = write_files(folder)
    implicit = Path(app.__file__).parent / "data" / "implicit" / "obc1.xml"
    columns = dict(zip("xyz", 10 * np.asarray(beads, float).T, strict=True))
    count = len(beads)
    data = {"name": [f"B{k}" for k in kept], "resname": ["ALAD"] * count, "resid": [1] * count, "chain": ["A"] * count}
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        start, end = str(folder / "ungrouped.dms"), str(folder / "end.dms")
        universe = mstool.Universe(data={**data, **columns, "bfactor": 0.0})
        universe.dimensions, universe.cell = [90.0] * 6, (90 * np.eye(3)).tolist()
        mstool.Ungroup(universe, out=start, mapping=str(mapping), ff=str(field), backbone=False)
        mstool.REM(
            start, out=end, mapping=str(mapping), ff=[str(field), str(implicit)], pbc=False, rcut=_FAR, T=TEMPERATURE,
            nsteps=steps,
        )  # fmt: skip
        found = mstool.Universe(end).atoms
    by_name = found.set_index("name").loc[list(_NAMES)]
    return 0.1 * by_name[["x", "y", "z"]].to_numpy(float)
