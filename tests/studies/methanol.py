"""Liquid methanol for the study of backmapping: OPLS-AA parameters, Lennard-Jones and reaction field, no constraints.

Combination rules are Lorentz-Berthelot's, which OpenMM's NonbondedForce has: the same Hamiltonian for all that is
compared, and near OPLS-AA, whose rule is geometric. The Lennard-Jones energy is switched off before the cutoff, so that
molecular dynamics and Monte Carlo have the same continuous energy.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np

MOLECULES, TEMPERATURE, CUTOFF, SWITCH = 125, 300.0, 0.9, 0.8
BOX = float(np.cbrt(MOLECULES * 32.042 / 0.7866 / 602.214))
"""Edge of the cubic box [nm] at 0.7866 g/cm^3."""

NAMES, ELEMENTS = ("C", "H1", "H2", "H3", "O", "HO"), ("C", "H", "H", "H", "O", "H")
MASSES = (12.011, 1.008, 1.008, 1.008, 15.999, 1.008)
BONDED = ((0, 1), (0, 2), (0, 3), (0, 4), (4, 5))
_CHARGE = (0.145, 0.04, 0.04, 0.04, -0.683, 0.418)
_SIGMA = (0.35, 0.25, 0.25, 0.25, 0.312, 0.1)
_EPSILON = (0.276144, 0.12552, 0.12552, 0.12552, 0.71128, 0.0)
_LENGTH = {"CH": (0.109, 284512.0), "CO": (0.141, 267776.0), "OH": (0.0945, 462750.4)}
_ANGLES = {"HCH": (107.8, 276.144), "HCO": (109.5, 292.88), "COH": (108.5, 460.24)}
_BARRIER = 0.9414

_HEAT, _STEP, _FRICTION = 20.0, 0.0005, 1.0


def system(molecules: int = MOLECULES, box: float = BOX):
    """An `openmm.System`."""
    import openmm

    made = openmm.System()
    made.setDefaultPeriodicBoxVectors(*(openmm.Vec3(*row) for row in box * np.eye(3)))
    bonds, angles, torsions = openmm.HarmonicBondForce(), openmm.HarmonicAngleForce(), openmm.PeriodicTorsionForce()
    pairs = openmm.NonbondedForce()
    pairs.setNonbondedMethod(pairs.CutoffPeriodic)
    pairs.setCutoffDistance(CUTOFF)
    pairs.setUseSwitchingFunction(True)
    pairs.setSwitchingDistance(SWITCH)
    pairs.setUseDispersionCorrection(False)
    for number in range(molecules):
        base = 6 * number
        for mass, charge, sigma, epsilon in zip(MASSES, _CHARGE, _SIGMA, _EPSILON, strict=True):
            made.addParticle(mass)
            pairs.addParticle(charge, sigma, epsilon)
        for i, j in BONDED:
            kind = "".join(sorted(ELEMENTS[i] + ELEMENTS[j], key="COH".index))
            bonds.addBond(base + i, base + j, *_LENGTH[kind])
        for i, j, k in ((1, 0, 2), (1, 0, 3), (2, 0, 3), (1, 0, 4), (2, 0, 4), (3, 0, 4), (0, 4, 5)):
            degrees, stiffness = _ANGLES[ELEMENTS[i] + ELEMENTS[j] + ELEMENTS[k]]
            angles.addAngle(base + i, base + j, base + k, np.deg2rad(degrees), stiffness)
        for i in (1, 2, 3):
            torsions.addTorsion(base + i, 0 + base, 4 + base, 5 + base, 3, 0.0, _BARRIER)
    pairs.createExceptionsFromBonds([(6 * k + i, 6 * k + j) for k in range(molecules) for i, j in BONDED], 0.5, 0.5)
    for force in (bonds, angles, torsions, pairs):
        made.addForce(force)
    return made


def start(molecules: int = MOLECULES, box: float = BOX, *, seed: int = 0) -> np.ndarray:
    """Molecules on a lattice, turned at random, (atom, 3) [nm]; to be minimized."""
    from scipy.spatial.transform import Rotation

    one = np.array(
        [
            (0.0, 0.0, 0.0),
            (0.103, 0.0, -0.036),
            (-0.051, 0.089, -0.036),
            (-0.051, -0.089, -0.036),
            (0.0, 0.0, 0.141),
            (-0.0896, 0.0, 0.171),
        ]
    )
    one = one - np.average(one, axis=0, weights=MASSES)
    side = int(np.ceil(np.cbrt(molecules) - 1e-9))
    sites = (np.stack(np.meshgrid(*[np.arange(side)] * 3, indexing="ij"), -1).reshape(-1, 3) + 0.5) * box / side
    turns = Rotation.random(molecules, np.random.default_rng(seed)).as_matrix()
    return (np.einsum("kxy,ay->kax", turns, one) + sites[:molecules, None]).reshape(-1, 3)


def reference(picoseconds: float, *, interval: float = 0.5, seed: int = 1) -> dict[str, np.ndarray]:
    """Molecular dynamics by OpenMM: `positions` (frame, atom, 3) [nm], molecules whole, and `energy` [kJ/mol].

    Takes hours on a few cores: frames stay in a file in the system's temporary folder and are used again; a run that
    was broken off goes on from its last frame.
    """
    import openmm
    from openmm import unit

    path = Path(tempfile.gettempdir()) / f"bayescg-methanol-{MOLECULES}-{seed}.npz"
    integrator = openmm.LangevinMiddleIntegrator(TEMPERATURE, _FRICTION, _STEP)
    integrator.setRandomNumberSeed(seed)
    platform = openmm.Platform.getPlatformByName("CPU")
    context = openmm.Context(system(), integrator, platform, {"Threads": "1"})
    steps, wanted = round(interval / _STEP), round(picoseconds / interval)
    found: dict[str, list] = {"positions": [], "energy": []}
    if path.is_file():
        with np.load(path) as kept:
            found = {name: list(kept[name]) for name in found}
            velocities = kept["velocities"]
        context.setPositions(found["positions"][-1].astype(float)) if found["positions"] else None
        context.setVelocities(velocities)
    else:
        context.setPositions(start())
        openmm.LocalEnergyMinimizer.minimize(context, 10.0, 2000)
        context.setVelocitiesToTemperature(TEMPERATURE, seed)
        integrator.step(round(_HEAT / _STEP))
    began, before = time.perf_counter(), len(found["energy"])
    while len(found["energy"]) < wanted:
        integrator.step(steps)
        state = context.getState(getPositions=True, getEnergy=True, getVelocities=True)
        found["positions"].append(state.getPositions(asNumpy=True).value_in_unit(unit.nanometer).astype(np.float32))
        found["energy"].append(state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole))
        if len(found["energy"]) % 20 == 0 or len(found["energy"]) == wanted:
            velocities = state.getVelocities(asNumpy=True).value_in_unit(unit.nanometer / unit.picosecond)
            temporary = path.with_suffix(".part.npz")
            np.savez(temporary, velocities=velocities, **{name: np.array(v) for name, v in found.items()})
            temporary.replace(path)
            rate = (len(found["energy"]) - before) / (time.perf_counter() - began)
            print(f"{len(found['energy'])} frames, {rate:.2f} per s, {found['energy'][-1]:.1f} kJ/mol", flush=True)
    kept = {name: np.array(values[:wanted]) for name, values in found.items()}
    return {**kept, "positions": handed(kept["positions"])}


def handed(positions: np.ndarray) -> np.ndarray:
    """Equal hydrogens of methyl groups named so that all molecules are of one hand, (frame, atom, 3).

    Minimization from a lattice turns some of them inside out; dynamics never does.
    """
    x = positions.reshape(len(positions), -1, 6, 3)
    first, second, third = (x[:, :, k] - x[:, :, 0] for k in (1, 2, 4))
    side = np.sign(np.sum(np.cross(first, second) * third, axis=-1))
    if np.any(side != side[:1]):
        raise RuntimeError("a methyl group turned inside out during the run")
    mirrored = side[0] != side[0, 0]
    x = x.copy()
    x[:, mirrored] = x[:, mirrored][:, :, [0, 2, 1, 3, 4, 5]]
    return x.reshape(positions.shape)
