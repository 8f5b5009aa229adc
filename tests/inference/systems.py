"""Systems whose potential is known exactly, simulated by our own engine with the identity mapping."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

import bayescg as bcg
from bayescg._runtime import double_precision
from bayescg.data import Topology
from bayescg.posterior import from_coefficients
from bayescg.potentials import Harmonic, Interactions, LennardJones
from tests.compilation import optimized
from tests.seeds import shifted

SIGMA, EPSILON, CUTOFF, KELVIN = 0.34, 2.0, 0.85, 300.0
LJ = LennardJones(SIGMA, EPSILON, CUTOFF)
BOND, ANGLE = Harmonic(0.38, 8000.0), Harmonic(2.0, 60.0)


def lennard_jones(frames: int, *, beads: int = 125, seed: int = 0) -> xr.Dataset:
    """A liquid at reduced density 0.7, frames 0.5 ps apart, with the exact forces."""
    truth = bcg.Potential(bcg.Pair("A", "A", CUTOFF, baseline=LJ, learn=False))
    side = (beads / 0.7) ** (1 / 3) * SIGMA
    edge = round(beads ** (1 / 3))
    lattice = np.stack(np.meshgrid(*[np.arange(edge)] * 3, indexing="ij"), -1).reshape(-1, 3) * side / edge
    start = bcg.from_arrays(lattice[None], np.eye(3) * side, ["A"] * beads, temperature=KELVIN, mass=[40.0] * beads)
    return simulated(truth, start, frames, seed)


def chains(frames: int, *, molecules: int = 48, seed: int = 0) -> xr.Dataset:
    """Three-bead chains with harmonic bonds and angles and Lennard-Jones between molecules, exact forces."""
    truth = bcg.Potential(
        bcg.Pair("A", "A", CUTOFF, baseline=LJ, learn=False),
        bcg.Bond("A", "A", start=0.2, stop=0.6, baseline=BOND, learn=False),
        bcg.Angle("A", "A", "A", baseline=ANGLE, learn=False),
        exclude_bonds=2,
    )
    side, edge = 2.4, 4
    corners = np.stack(np.meshgrid(np.arange(edge), np.arange(edge), np.arange(3), indexing="ij"), -1).reshape(-1, 3)
    corners = corners[:molecules] * [side / edge, side / edge, side / 3]
    shape = np.array([[0.0, 0, 0], [0.38, 0, 0], [0.38 - 0.38 * np.cos(2.0), 0, 0.38 * np.sin(2.0)]])
    positions = (corners[:, None] + shape * [0.9, 0.9, 0.9]).reshape(1, -1, 3)
    first = np.arange(0, 3 * molecules, 3)
    bonds = np.concatenate([np.stack([first, first + 1], 1), np.stack([first + 1, first + 2], 1)])
    start = bcg.from_arrays(
        positions,
        np.eye(3) * side,
        ["A"] * (3 * molecules),
        temperature=KELVIN,
        mass=[40.0] * (3 * molecules),
        topology=Topology.from_bonds(3 * molecules, bonds),
    )
    return simulated(truth, start, frames, seed)


def forces_of(potential: bcg.Potential, data: xr.Dataset, w=()) -> np.ndarray:
    """Exact forces of every frame."""
    interactions = Interactions.of(potential, data)
    with double_precision():
        evaluate = jax.jit(potential.forces)
        return np.stack(
            [
                evaluate(interactions.configuration(p.astype(float), b), jnp.asarray(w, float))
                for p, b in zip(data["positions"].values, data["box"].values, strict=True)
            ]
        )


def with_noise(data: xr.Dataset, scale: float, seed: int) -> xr.Dataset:
    """The same frames with independent Gaussian noise on every force component."""
    noise = np.random.default_rng(shifted(seed)).normal(0, scale, data["forces"].shape)
    return data.assign(forces=data["forces"] + noise)


def true_force(baseline, x) -> np.ndarray:
    """Minus the slope of a known curve."""
    with double_precision():
        return -np.asarray(_slope(baseline, np.asarray(x, float)))


def simulated(truth: bcg.Potential, start: xr.Dataset, frames: int, seed: int) -> xr.Dataset:
    """Frames of a known potential, 0.5 ps apart, with its exact forces."""
    posterior = from_coefficients(truth, np.zeros((1, 0)), temperature=KELVIN)
    dynamics = bcg.Langevin(timestep=0.004, friction=2.0, equilibration=20.0, interval=0.5)
    with optimized():
        run = bcg.simulate(
            posterior, start, time=0.5 * frames, dynamics=dynamics, engine="jax", key=jax.random.key(shifted(seed))
        )
    sampled = start.isel(frame=np.zeros(frames, int)).assign_coords(frame=np.arange(frames))
    sampled = sampled.assign(positions=(("frame", "bead", "xyz"), run["positions"].values[0].astype(float)))
    return sampled.assign(forces=(("frame", "bead", "xyz"), forces_of(truth, sampled)))


@partial(jax.jit, static_argnums=0)
def _slope(baseline, x):
    return jax.vmap(jax.grad(baseline.energy))(x)
