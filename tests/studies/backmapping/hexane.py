"""Liquid hexane for the study of backmapping: OPLS-AA parameters, two beads, the halves of the molecule."""

from __future__ import annotations

from functools import partial

import numpy as np

from tests.studies.backmapping.liquid_dynamics import STEP, TEMPERATURE, Liquid, nonbonded

CARBONS = 6
ELEMENTS = ("C",) * CARBONS + ("H",) * (2 * CARBONS + 2)
ATOMS = len(ELEMENTS)
MASSES = tuple({"C": 12.011, "H": 1.008}[e] for e in ELEMENTS)
_OF_CARBON = ((0, 3), (1, 2), (2, 2), (3, 2), (4, 2), (5, 3))
BEADS = ((0, 1, 2, 6, 7, 8, 9, 10, 11, 12), (3, 4, 5, 13, 14, 15, 16, 17, 18, 19))

_DENSITY, _PACKED = 0.655, 1.25
"""Of the liquid [g/cm^3]; edge of the box at the beginning over that of the liquid."""

_SQUEEZE, _HEAT = 60.0, 60.0


def bonds() -> tuple[tuple[int, int], ...]:
    """Of one molecule: carbons first, then the hydrogens of each."""
    found, hydrogen = [(k, k + 1) for k in range(CARBONS - 1)], CARBONS
    for carbon, count in _OF_CARBON:
        found += [(carbon, hydrogen + k) for k in range(count)]
        hydrogen += count
    return tuple(found)


def system(molecules: int, box: float):
    """An `openmm.System`."""
    import openmm

    made, pairs = nonbonded(box)
    lengths, angles, torsions = openmm.HarmonicBondForce(), openmm.HarmonicAngleForce(), openmm.PeriodicTorsionForce()
    joined, every = bonds(), []
    beside = {k: sorted({j for bond in joined for j in bond if k in bond} - {k}) for k in range(ATOMS)}
    charges = [-0.06 * len([j for j in beside[k] if j >= CARBONS]) if k < CARBONS else 0.06 for k in range(ATOMS)]
    for base in range(0, molecules * ATOMS, ATOMS):
        for k, element in enumerate(ELEMENTS):
            made.addParticle(MASSES[k])
            pairs.addParticle(charges[k], *{"C": (0.35, 0.276144), "H": (0.25, 0.12552)}[element])
        for i, j in joined:
            every.append((base + i, base + j))
            lengths.addBond(base + i, base + j, *((0.1529, 224262.4) if j < CARBONS else (0.109, 284512.0)))
        for b in range(CARBONS):
            for a, c in ((a, c) for a in beside[b] for c in beside[b] if a < c):
                hydrogens = (a >= CARBONS) + (c >= CARBONS)
                value = {0: (112.7, 488.273), 1: (110.7, 313.8), 2: (107.8, 276.144)}[hydrogens]
                angles.addAngle(base + a, base + b, base + c, np.radians(value[0]), value[1])
        for b, c in joined[: CARBONS - 1]:
            for a, d in ((a, d) for a in beside[b] if a != c for d in beside[c] if d != b):
                terms = {1: 2.7196, 2: 0.1046, 3: 0.4184} if max(a, d) < CARBONS else {3: 0.6276}
                for n, k in terms.items():
                    torsions.addTorsion(base + a, base + b, base + c, base + d, n, 0.0, k)
    pairs.createExceptionsFromBonds(every, 0.5, 0.5)
    for force in (lengths, angles, torsions, pairs):
        made.addForce(force)
    return made


def one() -> np.ndarray:
    """A stretched molecule along z, (atom, 3) [nm]; to be minimized."""
    half = np.radians(112.7) / 2
    rise, side = 0.1529 * np.sin(half), 0.1529 * np.cos(half)
    carbons = np.array([(side / 2 * (-1) ** k, 0.0, rise * k) for k in range(CARBONS)])
    hydrogens = []
    for carbon, count in _OF_CARBON:
        out, end = np.sign(carbons[carbon, 0]), -1.0 if carbon == 0 else 1.0
        around = [(0.5 * out, 0.81, 0.0), (0.5 * out, -0.81, 0.0)]
        around += [(-0.3 * out, 0.0, 0.95 * end)] if count == 3 else []
        hydrogens += [carbons[carbon] + 0.109 * np.array(v) / np.linalg.norm(v) for v in around]
    x = np.concatenate([carbons, hydrogens])
    return x - np.average(x, axis=0, weights=MASSES)


def start(molecules: int, box: float, *, seed: int = 0) -> np.ndarray:
    """Molecules side by side on a lattice, turned about their axes at random, (atom, 3) [nm]."""
    from scipy.spatial.transform import Rotation

    side = int(np.ceil(np.cbrt(2 * molecules) - 1e-9))
    grid = np.meshgrid(np.arange(side), np.arange(side), np.arange(-(-side // 2)), indexing="ij")
    sites = (np.stack(grid, -1).reshape(-1, 3) + 0.5) * box / np.array([side, side, -(-side // 2)])
    angles = np.random.default_rng(seed).uniform(0, 2 * np.pi, molecules)
    turns = Rotation.from_rotvec(angles[:, None] * [0, 0, 1]).as_matrix()
    return (np.einsum("kxy,ay->kax", turns, one()) + sites[:molecules, None]).reshape(-1, 3)


def begin(molecules: int, box: float, context, integrator, seed: int) -> None:
    """The box shrunk to its size, hot, centers of molecules with it; then cooled."""
    import openmm
    from openmm import unit

    context.setPeriodicBoxVectors(*(openmm.Vec3(*row) for row in _PACKED * box * np.eye(3)))
    context.setPositions(start(molecules, _PACKED * box))
    openmm.LocalEnergyMinimizer.minimize(context, 10.0, 2000)
    context.setVelocitiesToTemperature(TEMPERATURE, seed)
    integrator.setTemperature(450.0)
    for edge in np.linspace(_PACKED, 1.0, 61)[1:] * box:
        state = context.getState(getPositions=True)
        x = state.getPositions(asNumpy=True).value_in_unit(unit.nanometer).reshape(molecules, ATOMS, 3)
        old = state.getPeriodicBoxVectors(asNumpy=True).value_in_unit(unit.nanometer)[0, 0]
        center = np.average(x, axis=1, weights=MASSES)[:, None]
        context.setPeriodicBoxVectors(*(openmm.Vec3(*row) for row in edge * np.eye(3)))
        context.setPositions((x + center * (edge / old - 1)).reshape(-1, 3))
        integrator.step(round(_SQUEEZE / 60 / STEP))
    integrator.setTemperature(TEMPERATURE)
    integrator.step(round(_HEAT / STEP))


_ENDS, _INNER, _HYDROGENS = (0, 5), (1, 2, 3, 4), tuple(range(CARBONS, ATOMS))


def liquid(molecules: int = 108) -> Liquid:
    """So many molecules at the liquid's density."""
    box = float(np.cbrt(molecules * sum(MASSES) / _DENSITY / 602.214))
    return Liquid(
        "hexane",
        molecules,
        box,
        ELEMENTS,
        MASSES,
        bonds(),
        BEADS,
        {
            "CH3-CH3": (_ENDS, _ENDS),
            "CH3-CH2": (_ENDS, _INNER),
            "CH2-CH2": (_INNER, _INNER),
            "C-H": (tuple(range(CARBONS)), _HYDROGENS),
            "H-H": (_HYDROGENS, _HYDROGENS),
        },
        partial(system, molecules, box),
        partial(begin, molecules, box),
    )
