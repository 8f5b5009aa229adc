"""OpenMM: a System with the forces of a potential, as XML (units are OpenMM's, which are ours: nm, ps, kJ/mol, Da)."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import numpy as np
import xarray as xr
from jaxtyping import Float

from bayescg.atomistic.system_files import require_no_code
from bayescg.exports.conditions import Conditions
from bayescg.exports.openmm.force import force_of
from bayescg.exports.tables.configuration import one_frame, reduce_box
from bayescg.exports.tables.curves import Comparison
from bayescg.exports.terms import require_terms
from bayescg.potentials import Interactions, Potential

_RUN = '''"""Langevin dynamics of the exported coarse-grained model: python run.py [steps]"""

import sys

from openmm import LangevinMiddleIntegrator, XmlSerializer, app, unit

steps = int(sys.argv[1]) if len(sys.argv) > 1 else 10000
pdb = app.PDBFile("configuration.pdb")
with open("system.xml") as file:
    system = XmlSerializer.deserialize(file.read())
temperature, friction, timestep = TEMPERATURE * unit.kelvin, FRICTION / unit.picosecond, TIMESTEP * unit.picoseconds
integrator = LangevinMiddleIntegrator(temperature, friction, timestep)
simulation = app.Simulation(pdb.topology, system, integrator)
simulation.context.setPositions(pdb.positions)
simulation.minimizeEnergy(maxIterations=100)
simulation.context.setVelocitiesToTemperature(temperature, 90210)
simulation.reporters.append(app.DCDReporter("trajectory.dcd", 500))
simulation.reporters.append(
    app.StateDataReporter(sys.stdout, 1000, step=True, potentialEnergy=True, temperature=True, speed=True)
)
simulation.step(steps)
'''


def require_openmm() -> ModuleType:
    """The `openmm` module.

    Raises:
        ImportError: saying how to install it.
    """
    try:
        import openmm
    except ImportError as error:
        raise ImportError("this export needs OpenMM, which is not installed: pip install 'bayescg[openmm]'") from error
    return openmm


def build_system(potential: Potential, coefficients: Float[np.ndarray, " basis"], cg: xr.Dataset):
    """The potential and a configuration as an `openmm.System`.

    Args:
        potential: the potential.
        coefficients: (basis,) [kJ/mol].
        cg: a configuration (the last frame, if there are several): box, masses, bead types, bonds.

    Returns:
        The System; each force carries the name of its term (`pairs` for all pair terms together).

    Raises:
        ImportError: if OpenMM is missing.
        ValueError: if the potential does not fit the system, or OpenMM has no force for a term.
    """
    mm = require_openmm()
    require_forces(potential)
    cg = one_frame(cg)
    forces = dict.fromkeys(force for term in potential.terms if (force := force_of(term)) is not None)
    for force in forces:
        force.check(potential, cg)
    found = Interactions.of(potential, cg)
    system = mm.System()
    system.setDefaultPeriodicBoxVectors(*reduce_box(cg["box"].values))
    for mass in cg["mass"].values.tolist():
        system.addParticle(mass)
    for force in forces:
        made = force.make(mm, potential, np.asarray(coefficients), cg, found)
        made.setName(force.name)
        system.addForce(made)
    return system


def run_text(conditions: Conditions) -> str:
    """A script that runs the exported System."""
    text = _RUN
    for name, value in conditions._asdict().items():
        text = text.replace(name.upper(), f"{value:g}")
    return text


def require_forces(potential: Potential) -> None:
    """Refuse a potential with terms that OpenMM has no force for.

    Raises:
        ValueError: naming them.
    """
    remedy = "simulate(..., engine='jax') evaluates such terms"
    require_terms(potential, lambda term: force_of(term) is not None, "OpenMM", remedy)


def compare_system(path: Path, potential: Potential, coefficients: Float[np.ndarray, " basis"]) -> list[Comparison]:
    """Read a written System and compare all its tables with the fit, as OpenMM interpolates them."""
    mm = require_openmm()
    try:
        text = Path(path).read_text()
        require_no_code(text, str(path))
        system = mm.XmlSerializer.deserialize(text)  # forces live as long as their System
        forces = {force.getName(): force for force in system.getForces()}
    except (mm.OpenMMException, ElementTree.ParseError):
        forces = {}
    found = []
    for term in potential.terms:
        force, error = force_of(term), np.inf
        if force is not None and force.name in forces:
            error = force.error(forces[force.name], term, potential, coefficients)
        found.append(Comparison(Path(path), term.name, error))
    return found


def pdb_text(cg: xr.Dataset) -> str:
    """A configuration in PDB format, one residue a bead (PDB readers want unique atom names within a residue)."""
    import io

    require_openmm()
    from openmm import app

    cg = one_frame(cg)
    topology = app.Topology()
    chain = topology.addChain()
    beads = [
        topology.addAtom(bead[:4], None, topology.addResidue(bead[:3], chain))
        for bead in cg["bead_type"].values.astype(str).tolist()
    ]
    for a, b in cg["bonds"].values.tolist():
        topology.addBond(beads[a], beads[b])
    topology.setPeriodicBoxVectors(reduce_box(cg["box"].values))
    text = io.StringIO()
    app.PDBFile.writeFile(topology, np.asarray(cg["positions"].values, float) * 10, text)
    return text.getvalue()
