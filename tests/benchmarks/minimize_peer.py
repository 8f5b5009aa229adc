"""Place and minimize: what backmapping tools do, with OpenMM, the same energy and the same kept atoms."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tests.studies.backmapping.held_dynamics import FRICTION, TEMPERATURE, TIMESTEP, system


def placed(beads: np.ndarray, known: np.ndarray, kept: Sequence[int], count: int) -> np.ndarray:
    """The known configurations whose kept atoms lie nearest after superposition, kept atoms put on the beads.

    Args:
        beads: (bead, 3) [nm].
        known: configurations to choose from, (frame, atom, 3) [nm].
        kept: atoms that are beads.
        count: how many of the nearest ones.

    Returns:
        (count, atom, 3) [nm].
    """
    kept = list(kept)
    sites = known[:, kept]
    middle = sites.mean(axis=1, keepdims=True)
    aim = beads - beads.mean(axis=0)
    u, _, v = np.linalg.svd(np.einsum("nbi,bj->nij", sites - middle, aim))
    u[:, :, -1] *= np.linalg.det(u @ v)[:, None]
    turned = (known - middle) @ (u @ v) + beads.mean(axis=0)
    nearest = np.argsort(np.sum((turned[:, kept] - beads) ** 2, axis=(1, 2)))[:count]
    turned = turned[nearest]
    turned[:, kept] = beads
    return turned


def minimized(starts: np.ndarray, kept: Sequence[int], *, steps: int = 0) -> np.ndarray:
    """Minima of the energy beside kept atoms that stay, or where so many steps of dynamics lead from there.

    Args:
        starts: (start, atom, 3) [nm].
        kept: atoms that do not move.
        steps: of 1 fs, Langevin dynamics.

    Returns:
        (start, atom, 3) [nm].
    """
    import openmm as mm

    made = system()
    for atom in kept:
        made.setParticleMass(int(atom), 0.0)
    integrator = mm.LangevinMiddleIntegrator(TEMPERATURE, FRICTION, TIMESTEP)
    integrator.setRandomNumberSeed(1)
    context = mm.Context(made, integrator, mm.Platform.getPlatformByName("CPU"), {"Threads": "1"})
    found = []
    for k, start in enumerate(starts):
        context.setPositions(start)
        mm.LocalEnergyMinimizer.minimize(context)
        if steps:
            context.setVelocitiesToTemperature(TEMPERATURE, k + 1)
            integrator.step(steps)
        found.append(context.getState(positions=True).getPositions(asNumpy=True)._value)
    return np.array(found, float)


def energies(positions: np.ndarray) -> np.ndarray:
    """Potential energies [kJ/mol] of (..., atom, 3) [nm], in double precision."""
    import openmm as mm

    context = mm.Context(system(), mm.VerletIntegrator(TIMESTEP), mm.Platform.getPlatformByName("Reference"))
    found = []
    for x in positions.reshape(-1, *positions.shape[-2:]):
        context.setPositions(x)
        found.append(context.getState(energy=True).getPotentialEnergy()._value)
    return np.reshape(found, positions.shape[:-2])
