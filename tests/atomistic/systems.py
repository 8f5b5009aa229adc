"""OpenMM Systems with every kind of term, and OpenMM's own energies and forces of them."""

import importlib.resources
from functools import cache

import numpy as np
import openmm as mm
from openmm import app, unit

SKEWED = np.array([[2.4, 0, 0], [0.7, 2.3, 0], [-0.8, 0.6, 2.5]])


@cache
def alanine_pdb() -> app.PDBFile:
    """The bundled alanine dipeptide."""
    source = importlib.resources.files("bayescg.data").joinpath("files", "alanine_dipeptide.pdb")
    with importlib.resources.as_file(source) as path:
        return app.PDBFile(str(path))


def alanine(*files: str, **arguments) -> tuple[mm.System, np.ndarray]:
    """Alanine dipeptide with OpenMM's force field files: System and positions [nm]."""
    pdb = alanine_pdb()
    system = app.ForceField(*files).createSystem(pdb.topology, **{"constraints": None, **arguments})
    return system, pdb.getPositions(asNumpy=True).value_in_unit(unit.nanometer)


def perturbed(positions: np.ndarray, frames: int, scale: float = 0.015) -> np.ndarray:
    """Frames around a configuration."""
    return positions + scale * np.random.default_rng(0).normal(size=(frames, *positions.shape))


def water(side: float = 2.0) -> tuple[mm.System, np.ndarray, np.ndarray]:
    """Flexible TIP3P in a cubic box with CutoffPeriodic as OpenMM builds it: System, positions, box."""
    field = app.ForceField("tip3p.xml")
    modeller = app.Modeller(app.Topology(), [] * unit.nanometer)
    modeller.addSolvent(field, boxSize=mm.Vec3(side, side, side))
    system = field.createSystem(
        modeller.topology,
        nonbondedMethod=app.CutoffPeriodic,
        nonbondedCutoff=0.9,
        constraints=None,
        rigidWater=False,
    )
    return system, np.array(modeller.positions.value_in_unit(unit.nanometer)), np.eye(3) * side


def liquid(molecules: int, box: np.ndarray, method: str, periodic_bonded: bool = False) -> tuple[mm.System, np.ndarray]:
    """A box of chains of five atoms with all kinds of bonded terms, exclusions and scaled 1-4 pairs.

    The chains start on a lattice and cross the faces of the box.
    """
    rng = np.random.default_rng(1)
    system = mm.System()
    system.setDefaultPeriodicBoxVectors(*box)
    bonds, angles, torsions = mm.HarmonicBondForce(), mm.HarmonicAngleForce(), mm.PeriodicTorsionForce()
    nonbonded = mm.NonbondedForce()
    nonbonded.setNonbondedMethod(getattr(mm.NonbondedForce, method))
    for force in (bonds, angles, torsions):
        force.setUsesPeriodicBoundaryConditions(periodic_bonded)
    nonbonded.setExceptionsUsePeriodicBoundaryConditions(periodic_bonded)
    charges, sigmas, epsilons = [-0.4, 0.3, 0.2, -0.25, 0.15], [0.3, 0.33, 0.25, 0.31, 0.1], [0.5, 0.3, 0.2, 0.6, 0.0]
    chain = np.array([[0, 0, 0], [0.14, 0.02, 0], [0.19, 0.15, 0.02], [0.33, 0.17, 0.06], [0.38, 0.2, 0.15]])
    edge = int(np.ceil(molecules ** (1 / 3)))
    positions = []
    for molecule in range(molecules):
        first = 5 * molecule
        corner = np.array(np.unravel_index(molecule, (edge,) * 3)) / edge @ box
        positions.append(corner + chain + 0.02 * rng.normal(size=chain.shape))
        for charge, sigma, epsilon in zip(charges, sigmas, epsilons, strict=True):
            system.addParticle(12.0)
            nonbonded.addParticle(charge, sigma, epsilon)
        for i in range(first, first + 4):
            bonds.addBond(i, i + 1, 0.14 + 0.002 * (i % 5), 2e5)
        for i in range(first, first + 3):
            angles.addAngle(i, i + 1, i + 2, 1.9 + 0.05 * (i % 5), 400)
        for i in range(first, first + 2):
            for order, phase, barrier in ((1, 0.0, 3.0), (2, np.pi, 5.0), (3, 0.4, 2.0), (6, -1.0, 0.5)):
                torsions.addTorsion(i, i + 1, i + 2, i + 3, order, phase, barrier)
    nonbonded.createExceptionsFromBonds(
        [(5 * m + i, 5 * m + i + 1) for m in range(molecules) for i in range(4)], 0.8, 0.5
    )
    for force in (bonds, angles, torsions, nonbonded):
        system.addForce(force)
    return system, np.concatenate(positions)


def nonbonded_of(system: mm.System) -> mm.NonbondedForce:
    """Its NonbondedForce."""
    return next(force for force in system.getForces() if isinstance(force, mm.NonbondedForce))


def by_force(system: mm.System, frames: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Energies (frame,) and forces (frame, atom, 3) of each force, from the Reference platform in double precision."""
    for group, force in enumerate(system.getForces()):
        force.setForceGroup(group)
    context = mm.Context(system, mm.VerletIntegrator(0.001), mm.Platform.getPlatformByName("Reference"))
    found = {}
    for positions in frames:
        context.setPositions(positions)
        for group, force in enumerate(system.getForces()):
            state = context.getState(getEnergy=True, getForces=True, groups={group})
            entry = found.setdefault(type(force).__name__, ([], []))
            entry[0].append(state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole))
            entry[1].append(state.getForces(asNumpy=True).value_in_unit(unit.kilojoule_per_mole / unit.nanometer))
    found.pop("CMMotionRemover", None)
    return {name: (np.array(energies), np.array(forces)) for name, (energies, forces) in found.items()}
