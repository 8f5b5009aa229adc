"""Molecular dynamics of alanine dipeptide with its beads held: what backmapping is measured against.

`frozen` is OpenMM's: atoms that are beads have no mass and stay where they are; Langevin middle integrator, 1 fs,
300 K, no constraints, CPU platform (single precision). `walked` is many walkers at once by BAOAB, 1 fs, with the
library's translation of the same energy in single precision, nine times as many steps in the same time: atoms are
frozen, or held by springs.
"""

from __future__ import annotations

import importlib.resources
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from bayescg.atomistic.force_field import ForceField

TEMPERATURE, FRICTION, TIMESTEP = 300.0, 5.0, 0.001
KT = 8.31446261815324e-3 * TEMPERATURE


class Held(NamedTuple):
    """A trajectory: positions (sample, atom, 3) [nm] and the molecule's own potential energy [kJ/mol]."""

    positions: np.ndarray
    energy: np.ndarray


class Series(NamedTuple):
    """Mean of a time series, its standard error corrected for autocorrelation, and the inefficiency."""

    mean: float
    error: float
    inefficiency: float


def system():
    """The molecule of `bayescg.atomistic.alanine_dipeptide`, without removal of the center's motion."""
    from openmm import app

    source = importlib.resources.files("bayescg.data").joinpath("files", "alanine_dipeptide.pdb")
    with importlib.resources.as_file(source) as path:
        topology = app.PDBFile(str(path)).topology
    field = app.ForceField("amber96.xml", "implicit/obc1.xml")
    return field.createSystem(topology, constraints=None, rigidWater=False, removeCMMotion=False)


def frozen(start: np.ndarray, kept: Sequence[int], *, time: float, burn: float, every: int, seed: int) -> Held:
    """Dynamics with frozen atoms; times in ps, a sample after each `every` steps."""
    made = system()
    for k in kept:
        made.setParticleMass(int(k), 0.0)
    return _run(made, start, time, burn, every, seed)


def walked(
    field: ForceField,
    start: np.ndarray,
    *,
    kept: Sequence[int] = (),
    bias: Callable | None = None,
    parameters: tuple = (),
    samples: int,
    every: int,
    burn: int,
    seed: int,
    rungs: Sequence[float] = (TEMPERATURE,),
) -> np.ndarray:
    """Positions of walkers, (sample, walker, atom, 3) [nm].

    With several temperatures every so many walkers in a row are a ladder of replicas, whose neighbors are exchanged
    between samples; the lowest one's are returned.

    Args:
        field: energy and masses.
        start: (walker, atom, 3).
        kept: frozen atoms.
        bias: further energy [kJ/mol] of positions and the walker's parameters.
        parameters: arrays, (walker, ...), given to it.
        samples: of each walker.
        every: steps between samples.
        burn: samples left out at the beginning.
        seed: of the noise.
        rungs: temperatures [K], the first 300.
    """
    count = len(rungs)
    thermal = jnp.asarray(np.resize(np.array(rungs) / TEMPERATURE * KT, len(start)), jnp.float32)[:, None, None]
    mobile = np.ones(field.n_atoms)
    mobile[list(kept)] = 0.0
    inverse = jnp.asarray(mobile / np.asarray(field.masses), jnp.float32)[:, None]
    parameters = tuple(jnp.asarray(each, jnp.float32) for each in parameters)

    def energy(x, *own):
        return field.energy(x) + (0.0 if bias is None else bias(x, *own))

    slope = jax.vmap(jax.grad(energy))
    damped = float(np.exp(-FRICTION * TIMESTEP))
    kick = float(np.sqrt(1 - damped**2))

    @jax.jit
    def run(x, v, key):
        def step(carry, key):
            x, v, f = carry
            x = x + 0.5 * TIMESTEP * (v := v + 0.5 * TIMESTEP * f * inverse)
            v = damped * v + kick * jnp.sqrt(thermal * inverse) * jax.random.normal(key, v.shape, v.dtype)
            x = x + 0.5 * TIMESTEP * v
            f = -slope(x, *parameters)
            return (x, v + 0.5 * TIMESTEP * f * inverse, f), None

        return jax.lax.scan(step, (x, v, -slope(x, *parameters)), jax.random.split(key, every))[0][:2]

    @jax.jit
    def exchange(x, v, odd, key):
        """Neighbors with an even or odd lower rung."""
        beta, own = 1 / thermal[:, 0, 0], jax.vmap(energy)(x, *parameters)
        number = jnp.arange(len(x))
        lower = (number % count % 2 == odd) & (number % count < count - 1)
        other = jnp.minimum(number + 1, len(x) - 1)
        ratio = (beta - beta[other]) * (own - own[other])
        taken = lower & (jnp.log(jax.random.uniform(key, (len(x),), minval=1e-30)) < ratio)
        source = jnp.where(taken, other, jnp.where(jnp.roll(taken, 1), number - 1, number))
        return x[source], v[source] * jnp.sqrt(thermal / thermal[source]), jnp.sum(taken) / jnp.sum(lower)

    x, found, shares = jnp.asarray(start, jnp.float32), [], []
    v = jnp.zeros_like(x)
    for k in range(burn + samples):
        first, second = jax.random.split(jax.random.fold_in(jax.random.key(seed), k))
        x, v = run(x, v, first)
        if count > 1:
            x, v, share = exchange(x, v, k % 2, second)
            shares.append(float(share))
        if k >= burn:
            found.append(np.asarray(x[::count], float))
    if shares:
        print(f"{count} temperatures, {100 * np.mean(shares):.0f} % of exchanges accepted", flush=True)
    return np.array(found)


def between_walkers(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and error of (sample, walker, ...) from the walkers' own means, which are independent."""
    own = values.mean(axis=0)
    return own.mean(axis=0), own.std(axis=0, ddof=1) / np.sqrt(len(own))


def _run(made, start, time, burn, every, seed) -> Held:
    import openmm as mm

    integrator = mm.LangevinMiddleIntegrator(TEMPERATURE, FRICTION, TIMESTEP)
    integrator.setRandomNumberSeed(seed + 1)
    context = mm.Context(made, integrator, mm.Platform.getPlatformByName("CPU"), {"Threads": "1"})
    context.setPositions(np.asarray(start, float))
    context.setVelocitiesToTemperature(TEMPERATURE, seed + 1)
    integrator.step(round(burn / TIMESTEP))
    positions, energy = [], []
    for _ in range(round(time / TIMESTEP / every)):
        integrator.step(every)
        state = context.getState(positions=True, energy=True)
        positions.append(state.getPositions(asNumpy=True)._value)
        energy.append(state.getPotentialEnergy()._value)
    return Held(np.array(positions), np.array(energy))


def averaged(series: np.ndarray) -> Series:
    """Mean and error of a time series; the autocorrelation time is summed over five times itself (Sokal)."""
    x = np.asarray(series, float)
    centered = x - x.mean()
    size = len(x)
    transform = np.fft.rfft(centered, 2 * size)
    correlation = np.fft.irfft(np.abs(transform) ** 2)[:size] / np.arange(size, 0, -1)
    ratio = correlation / max(correlation[0], 1e-300)
    total = 2 * np.cumsum(ratio) - 1
    window = int(np.argmax(np.arange(size) > 5 * total / 2))
    inefficiency = max(float(total[window]), 1.0)
    return Series(float(x.mean()), float(np.sqrt(correlation[0] * inefficiency / size)), inefficiency)


def torsion(x: np.ndarray, a: int, b: int, c: int, d: int) -> np.ndarray:
    """Dihedral [rad] of four atoms in (..., atom, 3)."""
    one, two, three = (x[..., j, :] - x[..., i, :] for i, j in ((a, b), (b, c), (c, d)))
    first, second = np.cross(one, two), np.cross(two, three)
    sine = np.sum(np.cross(first, second) * two, axis=-1) / np.linalg.norm(two, axis=-1)
    return np.arctan2(sine, np.sum(first * second, axis=-1))


def angle(x: np.ndarray, a: int, b: int, c: int) -> np.ndarray:
    """Angle [rad] at b."""
    u, v = x[..., a, :] - x[..., b, :], x[..., c, :] - x[..., b, :]
    cosine = np.sum(u * v, axis=-1) / np.linalg.norm(u, axis=-1) / np.linalg.norm(v, axis=-1)
    return np.arccos(np.clip(cosine, -1, 1))


def distance(x: np.ndarray, a: int, b: int) -> np.ndarray:
    """Distance [nm]."""
    return np.linalg.norm(x[..., a, :] - x[..., b, :], axis=-1)
