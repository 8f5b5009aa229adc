"""Ideal gas of dimers: bond lengths are independent draws of an exactly known distribution."""

import numpy as np

import bayescg as bcg
from bayescg.data import Topology
from bayescg.units import BOLTZMANN

KELVIN = 300.0
kT = BOLTZMANN * KELVIN
CENTER, STIFFNESS = 0.35, 4000.0
START, STOP = 0.25, 0.45
SIDE = 3.0
GRID = np.linspace(0.2, 0.6, 20001)


def energy(x):
    """A bond that is stiffer when compressed [kJ/mol]."""
    y = x - CENTER
    return 0.5 * STIFFNESS * y**2 - 2.0e4 * y**3 + 3e5 * y**4


def sample(potential_energy, frames, dimers, seed):
    """(frame, dimer) bond lengths from r^2 exp(-u/kT)."""
    density = GRID**2 * np.exp(-potential_energy(GRID) / kT)
    cumulative = np.concatenate([[0.0], np.cumsum(0.5 * (density[1:] + density[:-1]))])
    uniform = np.random.default_rng(seed).random((frames, dimers))
    return np.interp(uniform, cumulative / cumulative[-1], GRID)


def dataset(lengths, seed=0):
    """Dimers with given bond lengths at random places in random directions."""
    rng = np.random.default_rng(seed)
    frames, dimers = lengths.shape
    center = rng.random((frames, dimers, 3)) * SIDE
    direction = rng.normal(size=(frames, dimers, 3))
    direction *= lengths[..., None] / np.linalg.norm(direction, axis=-1, keepdims=True)
    positions = np.stack([center, center + direction], axis=2).reshape(frames, 2 * dimers, 3)
    bonds = np.arange(2 * dimers).reshape(-1, 2)
    return bcg.from_arrays(
        positions,
        np.full(3, SIDE),
        "A",
        temperature=KELVIN,
        mass=np.full(2 * dimers, 20.0),
        topology=Topology.from_bonds(2 * dimers, bonds),
    )


def potential(spacing=0.01):
    return bcg.Potential(bcg.Bond("A", "A", start=START, stop=STOP, knot_spacing=spacing))


def exact_log_partition(spline, w):
    """ln of the integral of r^2 exp(-u/kT) of one bond."""
    u = spline.matrix(GRID) @ w
    values = GRID**2 * np.exp(-(u - u.min()) / kT)
    return np.log(np.sum(0.5 * (values[1:] + values[:-1]) * np.diff(GRID))) - u.min() / kT
