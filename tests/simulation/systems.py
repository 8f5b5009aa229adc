"""Small systems with known answers, shared by the tests of simulation."""

import numpy as np

from bayescg.data import from_arrays
from bayescg.data.mapping.topology import Topology
from bayescg.potentials import WCA, Angle, Bond, Dihedral, Harmonic, Interactions, LennardJones, Pair, Potential, Spline
from bayescg.simulation.dynamics import Langevin, System
from bayescg.units import BOLTZMANN

LATTICE = np.array([[3.0, 0, 0], [0.4, 2.9, 0], [-0.3, 0.5, 2.8]])


def liquid(count, density, seed=0, temperature=300.0):
    """`count` beads of type A on a jittered lattice in a cubic box; density in 1/nm^3."""
    edge = (count / density) ** (1 / 3)
    side = int(np.ceil(count ** (1 / 3)))
    sites = np.stack(np.meshgrid(*[np.arange(side)] * 3, indexing="ij"), -1).reshape(-1, 3)[:count]
    jitter = np.random.default_rng(seed).normal(size=(count, 3)) * 0.01
    return from_arrays(
        sites * edge / side + jitter, [edge] * 3, "A", temperature=temperature, mass=np.full(count, 18.0)
    ).isel(frame=0)


def chains(molecules, edge=None, box=None, beads="ABA", seed=1):
    """Stretched chains on a lattice, bonded, bond length 0.25 nm."""
    rng = np.random.default_rng(seed)
    length = len(beads)
    box = np.diag([edge] * 3) if box is None else box
    side = int(np.ceil(molecules ** (1 / 3)))
    sites = np.stack(np.meshgrid(*[np.arange(side)] * 3, indexing="ij"), -1).reshape(-1, 3)[:molecules]
    # A zigzag: no three beads in line.
    zigzag = 0.25 * np.stack([0.85 * np.arange(length), 0.5 * (np.arange(length) % 2), 0 * np.arange(length)], -1)
    positions = (sites[:, None] / side) @ box + zigzag + rng.normal(size=(molecules, length, 3)) * 0.01
    first = length * np.arange(molecules)[:, None]
    bonds = np.stack([first + np.arange(length - 1), first + np.arange(1, length)], -1).reshape(-1, 2)
    return from_arrays(
        positions.reshape(-1, 3),
        box,
        list(beads) * molecules,
        temperature=300.0,
        mass=[{"A": 15.0, "B": 28.0}[bead] for bead in beads] * molecules,
        topology=Topology.from_bonds(length * molecules, bonds),
    ).isel(frame=0)


def everything():
    """A potential with each kind of term and baseline for chains A-B-A-B, and coefficients for it."""
    rng = np.random.default_rng(5)
    potential = Potential(
        Pair("A", "A", cutoff=0.9, start=0.1, knot_spacing=0.05, baseline=WCA(0.3, 1.5)),
        Pair("A", "B", cutoff=0.8, knot_spacing=0.04),
        Pair("B", "B", cutoff=1.0, baseline=LennardJones(0.3, 1.0, 1.0), learn=False),
        Bond("A", "B", start=0.1, stop=0.5, knot_spacing=0.05, baseline=Harmonic(0.25, 2000.0)),
        Angle("A", "B", "A", knot_spacing=0.3, baseline=Spline(0.0, np.pi, tuple(rng.normal(size=9).tolist()))),
        Dihedral("A", "B", "A", "B", knot_spacing=0.5),
        exclude_bonds=2,
    )
    return potential, 5 * rng.normal(size=potential.n_basis)


def system(potential, frame, frames=1, temperature=300.0, **dynamics):
    return System(
        Interactions.of(potential, frame),
        np.asarray(frame["positions"].values, float),
        np.asarray(frame["box"].values, float),
        frame["mass"].values,
        temperature,
        Langevin(**dynamics),
        frames,
    )


def bond_statistics(center, stiffness, temperature=300.0):
    """Mean and variance of a harmonic bond's length: the density has the Jacobian r^2."""
    r = np.linspace(0.2 * center, 2.5 * center, 20001)
    density = r**2 * np.exp(-0.5 * stiffness * (r - center) ** 2 / (BOLTZMANN * temperature))
    density /= density.sum()
    mean = (density * r).sum()
    return mean, (density * (r - mean) ** 2).sum()


def z_score(values, truth):
    """Deviation of the mean from a known number in standard errors, from 10 blocks along axis 0."""
    values = np.asarray(values, float)
    blocks = np.array([block.mean() for block in np.array_split(values, 10)])
    return (blocks.mean() - truth) / (blocks.std(ddof=1) / np.sqrt(len(blocks)))
