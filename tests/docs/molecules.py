"""Small systems that pages take as given, where the bundled water does not do."""

from __future__ import annotations

import itertools
from functools import cache
from typing import NamedTuple

import numpy as np
import openmm
from openmm import app

from bayescg import atomistic
from tests.backmapping import planted
from tests.data.systems import universe_of

SIDE = 1.2
"""Of the box of two molecules [nm]."""
APART = 0.5

_HEXANE = (
    *("C1", "H1", "H2", "H3", "C2", "H4", "H5", "C3", "H6", "H7"),
    *("C4", "H8", "H9", "C5", "H10", "H11", "C6", "H12", "H13", "H14"),
)

VOTCA = """<cg_molecule><name>W</name><ident>SOL</ident><topology>
<cg_beads><cg_bead><name>W</name><type>W</type><mapping>M</mapping>
<beads>1:SOL:OW 1:SOL:HW1 1:SOL:HW2</beads></cg_bead></cg_beads></topology>
<maps><map><name>M</name><weights>16 1 1</weights></map></maps></cg_molecule>"""

LAMMPS = """units real
atom_style atomic
lattice fcc 5.4
region box block 0 3 0 3 0 3
create_box 1 box
create_atoms 1 box
mass 1 39.948
pair_style lj/cut 7.5
pair_coeff 1 1 0.238 3.4
velocity all create 90.0 7
fix 1 all nve
{}
run 1000
"""
"""Argon, with room for the commands of a page."""


def mixture():
    """A hexane, two waters and a sodium ion: molecules to map."""
    names = [*_HEXANE, *("OW", "HW1", "HW2") * 2, "NA"]
    carbons = [k for k, name in enumerate(_HEXANE) if name.startswith("C")]
    bonds = [*itertools.pairwise(carbons)]
    for k, name in enumerate(_HEXANE):
        if name.startswith("H"):
            bonds.append((max(c for c in carbons if c < k), k))
    bonds += [(20, 21), (20, 22), (23, 24), (23, 25)]
    masses = [{"C": 12.011, "H": 1.008, "O": 15.999, "N": 22.99}[name[0]] for name in names]
    positions = np.random.default_rng(0).uniform(0, 2, (2, len(names), 3))
    residues = [0] * 20 + [1] * 3 + [2] * 3 + [3]
    kinds = ["HEX", "SOL", "SOL", "NA"]
    return universe_of(10 * positions, None, names=names, resnames=kinds, masses=masses, bonds=bonds, residues=residues)


class Molecules(NamedTuple):
    """OpenMM's view of bent molecules 0, 1, 2 in a row.

    Attributes:
        system: their System.
        topology: their Topology.
        positions: (atom, 3) [nm].
    """

    system: openmm.System
    topology: app.Topology
    positions: np.ndarray


@cache
def bent(count: int) -> Molecules:
    """Flexible molecules of three atoms, in a periodic box where there are several."""
    system, topology = openmm.System(), app.Topology()
    bonds, angles, pairs = openmm.HarmonicBondForce(), openmm.HarmonicAngleForce(), openmm.NonbondedForce()
    chain = topology.addChain()
    for number in range(count):
        residue, first = topology.addResidue("SOL", chain), 3 * number
        atoms = [topology.addAtom(f"{e}{k}", app.Element.getBySymbol(e), residue) for k, e in enumerate("OHH")]
        for mass, charge in zip((15.999, 1.008, 1.008), (-0.2, 0.1, 0.1), strict=True):
            system.addParticle(mass)
            pairs.addParticle(charge, 0.2, 0.1)
        for k in (1, 2):
            topology.addBond(atoms[0], atoms[k])
            bonds.addBond(first, first + k, 0.1, 1.5e5)
        angles.addAngle(first + 1, first, first + 2, 1.9, 250.0)
        for i, j in ((0, 1), (0, 2), (1, 2)):
            pairs.addException(first + i, first + j, 0, 1, 0)
    for force in (bonds, angles):
        system.addForce(force)
    if count > 1:
        system.setDefaultPeriodicBoxVectors(*(openmm.Vec3(*row) for row in SIDE * np.eye(3)))
        pairs.setNonbondedMethod(pairs.CutoffPeriodic)
        pairs.setCutoffDistance(0.55)
        pairs.setUseDispersionCorrection(False)
        system.addForce(pairs)
    topology.setPeriodicBoxVectors(SIDE * np.eye(3) if count > 1 else None)
    one = planted.water(1, seed=0)[0]
    return Molecules(system, topology, np.concatenate([one - one[0] + APART * k for k in range(count)]))


@cache
def target() -> atomistic.OpenMMTarget:
    """One of them as a density."""
    return atomistic.OpenMMTarget(*bent(1), temperature=300.0)


def moving(count: int, frames: int):
    """A universe of bent molecules, each of which is turned and bent at random."""
    x = np.stack([planted.water(frames, seed=k) for k in range(count)], axis=1)
    x += APART * np.arange(count)[:, None, None] - x[:, :, :1]
    bonds = [(3 * k, 3 * k + j) for k in range(count) for j in (1, 2)]
    residues = np.repeat(np.arange(count), 3)
    made = universe_of(
        10 * x.reshape(frames, -1, 3),
        None,
        names=["O", "H1", "H2"] * count,
        resnames=["SOL"] * count,
        masses=[15.999, 1.008, 1.008] * count,
        bonds=bonds,
        residues=residues,
        box=[10 * SIDE] * 3 + [90.0] * 3,
    )
    made.add_TopologyAttr("elements", ["O", "H", "H"] * count)
    return made


def simulation() -> app.Simulation:
    """An OpenMM simulation whose steps are few."""
    made = bent(2)
    integrator = openmm.LangevinMiddleIntegrator(300.0, 1.0, 0.0005)
    running = app.Simulation(made.topology, made.system, integrator, openmm.Platform.getPlatformByName("Reference"))
    running.context.setPositions(made.positions)
    running.step = lambda steps: integrator.step(max(steps // 500, 1))
    return running
