"""Molecular liquids for the study of backmapping, and their molecular dynamics by OpenMM.

Lennard-Jones and reaction field with a cutoff, no constraints, 0.5 fs. Combination rules are Lorentz-Berthelot's, which
OpenMM's NonbondedForce has: the same Hamiltonian for all that is compared, and near OPLS-AA, whose rule is geometric.
The Lennard-Jones energy is switched off before the cutoff, so that molecular dynamics and Monte Carlo have the same
continuous energy.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

TEMPERATURE, CUTOFF, SWITCH = 300.0, 0.9, 0.8
STEP, FRICTION = 0.0005, 1.0


@dataclass(frozen=True)
class Liquid:
    """One kind of molecule, many times, in a cubic box.

    Attributes:
        name: of the file with its frames.
        molecules: how many.
        box: edge [nm].
        elements: of a molecule's atoms.
        masses: of the same [Da].
        bonds: of one molecule.
        beads: atoms of each bead.
        pairs: names of RDFs, and the two groups of a molecule's atoms that each is of.
        system: makes the `openmm.System`.
        begin: gives an `openmm.Context` of it positions and brings it to equilibrium.
        hand: an atom and three of its neighbors, the first two equal hydrogens that a minimization may exchange.
    """

    name: str
    molecules: int
    box: float
    elements: tuple[str, ...]
    masses: tuple[float, ...]
    bonds: tuple[tuple[int, int], ...]
    beads: tuple[tuple[int, ...], ...]
    pairs: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]]
    system: Callable
    begin: Callable
    hand: tuple[int, int, int, int] | None = None

    @property
    def atoms(self) -> int:
        """Of a molecule."""
        return len(self.elements)


def nonbonded(box: float):
    """A periodic system, and its force of pairs, both still empty."""
    import openmm

    system = openmm.System()
    system.setDefaultPeriodicBoxVectors(*(openmm.Vec3(*row) for row in box * np.eye(3)))
    pairs = openmm.NonbondedForce()
    pairs.setNonbondedMethod(pairs.CutoffPeriodic)
    pairs.setCutoffDistance(CUTOFF)
    pairs.setUseSwitchingFunction(True)
    pairs.setSwitchingDistance(SWITCH)
    pairs.setUseDispersionCorrection(False)
    return system, pairs


def reference(liquid: Liquid, picoseconds: float, *, interval: float = 0.5, seed: int = 1) -> dict[str, np.ndarray]:
    """Molecular dynamics: `positions` (frame, atom, 3) [nm], molecules whole, and `energy` [kJ/mol].

    Takes an hour or so on one core: frames stay in a file in the system's temporary folder and are used again; a run
    that was broken off goes on from its last frame.
    """
    path = Path(tempfile.gettempdir()) / f"bayescg-{liquid.name}-{liquid.molecules}-{seed}.npz"
    wanted = round(picoseconds / interval)
    found: dict[str, np.ndarray] = {}
    if path.is_file():
        with np.load(path) as kept:
            found = dict(kept)
    if len(found.get("energy", ())) < wanted:
        found = _run(liquid, path, found, wanted, round(interval / STEP), seed)
    positions = found["positions"][:wanted]
    return {"positions": one_handed(liquid, positions), "energy": found["energy"][:wanted]}


def _run(liquid: Liquid, path: Path, kept: dict[str, np.ndarray], wanted: int, steps: int, seed: int):
    import openmm
    from openmm import unit

    positions, energy = list(kept.get("positions", ())), list(kept.get("energy", ()))
    integrator = openmm.LangevinMiddleIntegrator(TEMPERATURE, FRICTION, STEP)
    integrator.setRandomNumberSeed(seed + len(energy))
    platform = openmm.Platform.getPlatformByName("CPU")
    context = openmm.Context(liquid.system(), integrator, platform, {"Threads": "1"})
    if kept:
        context.setPositions(positions[-1].astype(float))
        context.setVelocities(kept["velocities"])
    else:
        liquid.begin(context, integrator, seed)
    began, before = time.perf_counter(), len(energy)
    while len(energy) < wanted:
        integrator.step(steps)
        state = context.getState(getPositions=True, getEnergy=True, getVelocities=True)
        positions.append(state.getPositions(asNumpy=True).value_in_unit(unit.nanometer).astype(np.float32))
        energy.append(state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole))
        if len(energy) % 20 == 0 or len(energy) == wanted:
            velocities = state.getVelocities(asNumpy=True).value_in_unit(unit.nanometer / unit.picosecond)
            temporary = path.with_suffix(".part.npz")
            kept = {"positions": np.array(positions), "energy": np.array(energy), "velocities": velocities}
            np.savez(temporary, **kept)
            temporary.replace(path)
            rate = (len(energy) - before) / (time.perf_counter() - began)
            print(f"{len(energy)} frames, {rate:.2f} per s, {energy[-1]:.1f} kJ/mol", flush=True)
    return kept


def one_handed(liquid: Liquid, positions: np.ndarray) -> np.ndarray:
    """Equal hydrogens named so that all molecules are of one hand, (frame, atom, 3); dynamics never changes it."""
    if liquid.hand is None:
        return positions
    x = positions.reshape(len(positions), -1, liquid.atoms, 3).copy()
    center, *three = liquid.hand
    first, second, third = (x[:, :, k] - x[:, :, center] for k in three)
    side = np.sign(np.sum(np.cross(first, second) * third, axis=-1))
    if np.any(side != side[:1]):
        raise RuntimeError("a methyl group turned inside out during the run")
    mirrored = side[0] != side[0, 0]
    swapped = np.arange(liquid.atoms)
    swapped[three[:2]] = three[1], three[0]
    x[:, mirrored] = x[:, mirrored][:, :, swapped]
    return x.reshape(positions.shape)
