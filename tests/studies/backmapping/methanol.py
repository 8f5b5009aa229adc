"""Liquid methanol for the study of backmapping: OPLS-AA parameters, one bead, the center of mass."""

from __future__ import annotations

import numpy as np

from tests.studies.backmapping.liquid_dynamics import STEP, TEMPERATURE, Liquid, nonbonded

MOLECULES = 125
BOX = float(np.cbrt(MOLECULES * 32.042 / 0.7866 / 602.214))
"""Edge of the cubic box [nm] at 0.7866 g/cm^3."""

ELEMENTS = ("C", "H", "H", "H", "O", "H")
MASSES = (12.011, 1.008, 1.008, 1.008, 15.999, 1.008)
BONDED = ((0, 1), (0, 2), (0, 3), (0, 4), (4, 5))
_CHARGE = (0.145, 0.04, 0.04, 0.04, -0.683, 0.418)
_SIGMA = (0.35, 0.25, 0.25, 0.25, 0.312, 0.1)
_EPSILON = (0.276144, 0.12552, 0.12552, 0.12552, 0.71128, 0.0)
_LENGTH = {"CH": (0.109, 284512.0), "CO": (0.141, 267776.0), "OH": (0.0945, 462750.4)}
_ANGLES = {"HCH": (107.8, 276.144), "HCO": (109.5, 292.88), "COH": (108.5, 460.24)}
_BARRIER = 0.9414

_HEAT = 20.0


def system(molecules: int = MOLECULES, box: float = BOX):
    """An `openmm.System`."""
    import openmm

    made, pairs = nonbonded(box)
    bonds, angles, torsions = openmm.HarmonicBondForce(), openmm.HarmonicAngleForce(), openmm.PeriodicTorsionForce()
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


def begin(context, integrator, seed: int) -> None:
    """From the lattice to equilibrium."""
    import openmm

    context.setPositions(start())
    openmm.LocalEnergyMinimizer.minimize(context, 10.0, 2000)
    context.setVelocitiesToTemperature(TEMPERATURE, seed)
    integrator.step(round(_HEAT / STEP))


LIQUID = Liquid(
    "methanol",
    MOLECULES,
    BOX,
    ELEMENTS,
    MASSES,
    BONDED,
    (tuple(range(6)),),
    {"O-O": ((4,), (4,)), "O-HO": ((4,), (5,)), "HO-HO": ((5,), (5,)), "C-C": ((0,), (0,)), "C-O": ((0,), (4,))},
    system,
    begin,
    hand=(0, 1, 2, 4),
)
