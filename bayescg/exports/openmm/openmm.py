"""OpenMM: a System with tabulated forces, as XML (units are OpenMM's, which are ours: nm, ps, kJ/mol, Da).

All pair terms stand in one table, one after another, so that one CustomNonbondedForce with an ordinary neighbor list
evaluates them whatever the number of bead types. Bonded terms are CustomCompoundBondForces: OpenMM's CustomBondForce,
CustomAngleForce and CustomTorsionForce take no tables. Three-body and local-density terms: `openmm_many_body`.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from types import ModuleType

import numpy as np
import xarray as xr
from jaxtyping import Float

from bayescg.data.mapping.topology import exclusions
from bayescg.exports.openmm.many_body import density_force, require_terms, table_error, three_body_force
from bayescg.exports.tables import curves
from bayescg.exports.tables.configuration import one_frame, reduced_box
from bayescg.exports.tables.curves import Comparison, Curve, terms_of
from bayescg.potentials import Interactions, LocalDensity, Potential, ThreeBody

# Zeros (or a smooth continuation) around each curve: what a cubic spline remembers of a jump falls fourfold per entry.
_PAD = 40

RUN = '''"""Langevin dynamics of the exported coarse-grained model: python run.py [steps]"""

import sys

from openmm import LangevinMiddleIntegrator, XmlSerializer, app, unit

steps = int(sys.argv[1]) if len(sys.argv) > 1 else 10000
pdb = app.PDBFile("configuration.pdb")
with open("system.xml") as file:
    system = XmlSerializer.deserialize(file.read())
integrator = LangevinMiddleIntegrator({temperature:g} * unit.kelvin, 1 / unit.picosecond, 0.002 * unit.picoseconds)
simulation = app.Simulation(pdb.topology, system, integrator)
simulation.context.setPositions(pdb.positions)
simulation.minimizeEnergy(maxIterations=100)
simulation.context.setVelocitiesToTemperature({temperature:g} * unit.kelvin, 90210)
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
    cg = one_frame(cg)
    require_terms(potential, cg)
    interactions = Interactions.of(potential, cg)
    system = mm.System()
    system.setDefaultPeriodicBoxVectors(*reduced_box(cg["box"].values))
    for mass in cg["mass"].values.tolist():
        system.addParticle(mass)
    if terms_of(potential, "pair"):
        system.addForce(_pair_force(mm, potential, coefficients, cg, interactions))
    for term in potential.terms:
        if isinstance(term, ThreeBody | LocalDensity):
            make = three_body_force if isinstance(term, ThreeBody) else density_force
            force = make(mm, term, coefficients[potential.slices[term.name]], cg, potential.exclude_bonds)
            force.setName(term.name)
            system.addForce(force)
        elif term.kind != "pair":
            force = _bonded_force(mm, Curve.of(potential, term, coefficients))
            force.setName(term.name)
            force.setUsesPeriodicBoundaryConditions(True)
            for beads in interactions.bonded[term.name].tolist():
                force.addBond(beads, [])
            system.addForce(force)
    return system


def grid(curve: Curve, points: int, reach: float | None = None) -> Float[np.ndarray, " x"]:
    """Abscissae of a table of one term: its domain (pairs: up to `reach`), angles with entries beyond both ends."""
    low, high = curve.domain
    if curve.term.kind != "angle":
        return np.linspace(low, reach or high, points)
    step = (high - low) / (points - 1)
    return low + step * np.arange(-_PAD, points + _PAD)


def compare_system(path: Path, potential: Potential, coefficients: Float[np.ndarray, " basis"]) -> list[Comparison]:
    """Read a written System and compare all its tables with the fit, as OpenMM interpolates them."""
    mm = require_openmm()
    try:
        system = mm.XmlSerializer.deserialize(Path(path).read_text())
        forces = {force.getName(): force for force in system.getForces()}
    except mm.OpenMMException:
        forces = {}
    found = []
    pair_terms = terms_of(potential, "pair")
    for term in potential.terms:
        force = forces.get("pairs" if term.kind == "pair" else term.name)
        error = np.inf
        if force is not None and isinstance(term, ThreeBody | LocalDensity):
            error = table_error(force, term, coefficients[potential.slices[term.name]])
        elif force is not None:
            curve = Curve.of(potential, term, coefficients)
            values, low, high = force.getTabulatedFunction(0).getFunctionParameters()[:3]
            x, values = np.linspace(low, high, len(values)), np.asarray(values)
            if term.kind == "pair":
                begin = _begin(force) * pair_terms.index(term)
                read = partial(_read_segment, x, values, begin)
            else:
                read = curves.periodic_spline if term.kind == "dihedral" else curves.natural_spline
            error = curves.worst_error(curve, x, values, np.zeros_like(values), read)
        found.append(Comparison(Path(path), term.name, error))
    return found


def _begin(force) -> float:
    """Where the second pair curve begins in the common table [nm]; 0 if there is one."""
    return force.getGlobalParameterDefaultValue(0) if force.getNumGlobalParameters() else 0.0


def _read_segment(x, values, begin, _x, _energy, _force, at):
    return curves.natural_spline(x, values, None, at + begin)


def _points(listed: list[Curve], reach: float | None = None) -> int:
    """Entries that all of these curves need."""
    return max(
        curves.needed_points(
            curve,
            lambda n, curve=curve: grid(curve, n, reach),
            curves.periodic_spline if curve.term.kind == "dihedral" else curves.natural_spline,
            least=1001,
        )
        for curve in listed
    )


def _pair_force(mm, potential, coefficients, cg, interactions):
    terms = terms_of(potential, "pair")
    listed = [Curve.of(potential, term, coefficients) for term in terms]
    reach = max(term.cutoff for term in terms)
    points = _points(listed, reach)
    types = sorted(set(cg["bead_type"].values.astype(str).tolist()))
    segments = np.full((len(types), len(types)), len(terms))
    for number, term in enumerate(terms):
        a, b = (types.index(bead) for bead in term.types)
        segments[a, b] = segments[b, a] = number
    blocks = [np.concatenate([curve(grid(curve, points, reach))[0], np.zeros(_PAD)]) for curve in listed]
    if np.any(segments == len(terms)):
        blocks.append(np.zeros(points + _PAD))
    step = reach / (points - 1)
    values = np.concatenate(blocks)
    several = len(types) > 1
    force = mm.CustomNonbondedForce("u(r+span*segment(kind1,kind2))" if several else "u(r)")
    force.setName("pairs")
    force.addTabulatedFunction("u", mm.Continuous1DFunction(values, 0.0, step * (len(values) - 1)))
    if several:
        force.addTabulatedFunction("segment", mm.Discrete2DFunction(len(types), len(types), segments.ravel().tolist()))
        force.addPerParticleParameter("kind")
        force.addGlobalParameter("span", step * (points + _PAD))
    for bead in cg["bead_type"].values.astype(str):
        force.addParticle([types.index(bead)] if several else [])
    force.setNonbondedMethod(mm.CustomNonbondedForce.CutoffPeriodic)
    force.setCutoffDistance(reach)
    for i, j in exclusions(cg["bonds"].values, cg.sizes["bead"], potential.exclude_bonds).tolist():
        force.addExclusion(i, j)
    return force


def _bonded_force(mm, curve: Curve):
    x = grid(curve, _points([curve]))
    energy, force = curve(x)
    low, high = float(x[0]), float(x[-1])
    if curve.term.kind == "dihedral":
        energy[-1] = energy[0]
        made = mm.CustomCompoundBondForce(4, "u(dihedral(p1,p2,p3,p4))")
        made.addTabulatedFunction("u", mm.Continuous1DFunction(energy, low, high, True))
        return made
    if curve.term.kind == "angle":
        made = mm.CustomCompoundBondForce(3, "u(angle(p1,p2,p3))")
    else:
        # OpenMM's functions are zero outside their table: a bond would let go there instead of pulling back.
        pull = float(force[-1])
        length = "distance(p1,p2)"
        made = mm.CustomCompoundBondForce(2, f"u(min({length},{high!r}))-({pull!r})*max(0,{length}-{high!r})")
    made.addTabulatedFunction("u", mm.Continuous1DFunction(energy, low, high))
    return made


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
    topology.setPeriodicBoxVectors(reduced_box(cg["box"].values))
    text = io.StringIO()
    app.PDBFile.writeFile(topology, np.asarray(cg["positions"].values, float) * 10, text)
    return text.getvalue()
