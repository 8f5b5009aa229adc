"""Two united-atom liquids by OpenMM: positions of sites and forces on them, for mappings of our own.

Methanol: OPLS-UA (Jorgensen, J. Phys. Chem. 90, 1276 (1986), doi:10.1021/j100398a015), three charged sites, rigid.
2,3,4-Trimethylpentane: TraPPE-UA (doi:10.1021/jp984742e), eight sites without charges, bonds harmonic instead of rigid,
so that no constraint acts between beads.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from tests.studies.inference.local_coverage.frames import kept

KELVIN, STEP, FRICTION = 298.15, 0.002, 1.0
_GAS = 0.0083144626
_PRINTED = 100
"""Frames between two lines of progress."""


@dataclass(frozen=True)
class Liquid:
    """A liquid to be simulated.

    Attributes:
        name: of the molecule.
        molecules: how many, a cube.
        density: [g/cm^3].
        masses: of a molecule's sites [Da].
        shape: sites of one molecule, a guess to be minimized [nm].
        cutoff: of the sites' forces [nm].
        interval: between frames [ps].
        heat: kelvin and picoseconds of the stages before the first frame.
    """

    name: str
    molecules: int
    density: float
    masses: tuple[float, ...]
    shape: tuple[tuple[float, float, float], ...]
    cutoff: float
    interval: float
    heat: tuple[tuple[float, float], ...]

    @property
    def box(self) -> float:
        """Edge of the cube [nm]."""
        return float(np.cbrt(self.molecules * sum(self.masses) / self.density / 602.214))


METHANOL = Liquid(
    name="methanol",
    molecules=343,
    density=0.7866,
    masses=(15.035, 15.999, 1.008),
    shape=((0.0, 0.0, 0.0), (0.143, 0.0, 0.0), (0.17298, 0.08962, 0.0)),
    cutoff=1.0,
    interval=2.0,
    heat=((400.0, 20.0), (KELVIN, 60.0)),
)
TRIMETHYLPENTANE = Liquid(
    name="trimethylpentane",
    molecules=125,
    density=0.719,
    masses=(15.035, 13.019, 15.035, 13.019, 15.035, 13.019, 15.035, 15.035),
    # End, 2, its methyl; 3, its methyl; 4, its methyl, end: sites of a bead of the three-bead mapping stand together.
    shape=(
        (0.0, 0.0, 0.0),
        (0.128, 0.0, 0.086),
        (0.128, -0.126, 0.172),
        (0.256, 0.03, 0.0),
        (0.256, 0.15, -0.09),
        (0.384, 0.0, 0.086),
        (0.384, -0.126, 0.172),
        (0.512, 0.0, 0.0),
    ),
    cutoff=1.2,
    interval=2.0,
    # Hot enough first that conformers forget the guess.
    heat=((600.0, 200.0), (KELVIN, 150.0)),
)
BONDS = ((0, 1), (1, 2), (1, 3), (3, 4), (3, 5), (5, 6), (5, 7))
"""Of trimethylpentane's sites."""


def simulated(liquid: Liquid, frames: int, *, seed: int = 1) -> xr.Dataset:
    """`positions` [nm], molecules whole, and `forces` [kJ/mol/nm], both (frame, molecule, site, xyz)."""
    return kept(f"{liquid.name}-{liquid.molecules}-{frames}-{seed}", lambda: _simulate(liquid, frames, seed))


def _simulate(liquid: Liquid, frames: int, seed: int) -> xr.Dataset:
    import openmm

    integrator = openmm.LangevinMiddleIntegrator(KELVIN, FRICTION, STEP)
    integrator.setRandomNumberSeed(seed)
    integrator.setConstraintTolerance(1e-6)
    platform = openmm.Platform.getPlatformByName("CPU")
    # One thread: sums of several are added in no fixed order.
    options = {"Threads": "1", "DeterministicForces": "true"}
    context = openmm.Context(_system(liquid), integrator, platform, options)
    context.setPositions(_start(liquid, seed).reshape(-1, 3))
    openmm.LocalEnergyMinimizer.minimize(context, 10.0, 2000)
    context.setVelocitiesToTemperature(liquid.heat[0][0], seed)
    for kelvin, picoseconds in liquid.heat:
        integrator.setTemperature(kelvin)
        integrator.step(round(picoseconds / STEP))
    shape = (frames, liquid.molecules, len(liquid.masses), 3)
    positions, forces = np.empty(shape), np.empty(shape, np.float32)
    for k in range(frames):
        integrator.step(round(liquid.interval / STEP))
        state = context.getState(positions=True, forces=True)
        positions[k] = state.getPositions(asNumpy=True)._value.reshape(shape[1:])
        forces[k] = state.getForces(asNumpy=True)._value.reshape(shape[1:])
        if (k + 1) % _PRINTED == 0:
            print(f"{liquid.name}: frame {k + 1} of {frames}", flush=True)
    dims = ("frame", "molecule", "site", "xyz")
    return xr.Dataset({"positions": (dims, positions), "forces": (dims, forces)})


def _start(liquid: Liquid, seed: int) -> np.ndarray:
    """Molecules on a lattice, turned at random."""
    from scipy.spatial.transform import Rotation

    one = np.array(liquid.shape)
    one = one - np.average(one, axis=0, weights=liquid.masses)
    side = round(np.cbrt(liquid.molecules))
    sites = (np.stack(np.meshgrid(*[np.arange(side)] * 3, indexing="ij"), -1).reshape(-1, 3) + 0.5) * liquid.box / side
    turns = Rotation.random(liquid.molecules, np.random.default_rng(seed)).as_matrix()
    return np.einsum("kxy,ay->kax", turns, one) + sites[:, None]


def _system(liquid: Liquid):
    import openmm

    system, pairs = openmm.System(), openmm.NonbondedForce()
    system.setDefaultPeriodicBoxVectors(*(openmm.Vec3(*row) for row in liquid.box * np.eye(3)))
    pairs.setCutoffDistance(liquid.cutoff)
    pairs.setUseSwitchingFunction(True)
    pairs.setSwitchingDistance(liquid.cutoff - 0.1)
    pairs.setUseDispersionCorrection(False)
    system.addForce(pairs)
    fill = _methanol if liquid.name == "methanol" else _trimethylpentane
    for _ in range(liquid.molecules):
        for mass in liquid.masses:
            system.addParticle(mass)
    fill(liquid, system, pairs)
    return system


def _methanol(liquid: Liquid, system, pairs) -> None:
    pairs.setNonbondedMethod(pairs.PME)
    pairs.setEwaldErrorTolerance(1e-4)
    far = np.sqrt(0.143**2 + 0.0945**2 - 2 * 0.143 * 0.0945 * np.cos(np.deg2rad(108.5)))
    for base in range(0, 3 * liquid.molecules, 3):
        for charge, sigma, epsilon in ((0.265, 0.3775, 0.8661), (-0.7, 0.307, 0.7113), (0.435, 0.1, 0.0)):
            pairs.addParticle(charge, sigma, epsilon)
        for i, j, length in ((0, 1, 0.143), (1, 2, 0.0945), (0, 2, far)):
            system.addConstraint(base + i, base + j, length)
            pairs.addException(base + i, base + j, 0.0, 0.1, 0.0)


def _trimethylpentane(liquid: Liquid, system, pairs) -> None:
    import openmm

    pairs.setNonbondedMethod(pairs.CutoffPeriodic)
    bonds, angles, torsions = openmm.HarmonicBondForce(), openmm.HarmonicAngleForce(), openmm.PeriodicTorsionForce()
    for force in (bonds, angles, torsions):
        system.addForce(force)
    near = [{j for pair in BONDS if i in pair for j in pair if j != i} for i in range(8)]
    bent = [(i, j, k) for j in range(8) for i in near[j] for k in near[j] if i < k]
    turned = [(i, j, k, m) for j, k in BONDS for i in near[j] - {k} for m in near[k] - {j}]
    # c1 (1 + cos), c2 (1 - cos 2), c3 (1 + cos 3) of CH-CH [K].
    waves = ((1, 0.0, 428.73), (2, np.pi, -111.85), (3, 0.0, 441.27))
    apart = {tuple(sorted(ends)) for ends in BONDS}
    apart |= {tuple(sorted((i, k))) for i, _, k in bent} | {tuple(sorted((i, m))) for i, _, _, m in turned}
    for base in range(0, 8 * liquid.molecules, 8):
        for site in range(8):
            pairs.addParticle(0.0, *((0.375, 98 * _GAS) if len(near[site]) == 1 else (0.468, 10 * _GAS)))
        for i, j in BONDS:
            bonds.addBond(base + i, base + j, 0.154, 224262.4)
        for i, j, k in bent:
            angles.addAngle(base + i, base + j, base + k, np.deg2rad(112.0), 62500 * _GAS)
        for i, j, k, m in turned:
            for period, phase, kelvin in waves:
                torsions.addTorsion(base + i, base + j, base + k, base + m, period, phase, kelvin * _GAS)
        for i, j in sorted(apart):
            pairs.addException(base + i, base + j, 0.0, 0.1, 0.0)


if __name__ == "__main__":
    simulated(METHANOL, 440)
    simulated(TRIMETHYLPENTANE, 300)
