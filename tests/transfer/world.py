"""A world of Lennard-Jones fluids: simple liquids whose potential is a known, smooth function of two descriptors.

Well depth, diameter and the height of a shoulder at 1.5 diameters change with x in the unit square; density is 0.68 in
reduced units for all. Forces get independent noise as large as their root mean square, so that two frames of one fluid
say little: what its neighbors in x say is worth as much.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
import xarray as xr

import bayescg as bcg
from bayescg.units import BOLTZMANN
from tests.seeds import shifted

CUTOFF, START, SPACING = 1.0, 0.2, 0.02
KT, MASS, BEADS, DENSITY = 2.5, 40.0, 216, 0.68
KELVIN = KT / BOLTZMANN
POTENTIAL = bcg.Potential(bcg.Pair("A", "A", cutoff=CUTOFF, start=START, knot_spacing=SPACING))
_TIMESTEP, _FRICTION, _SETTLING, _APART = 0.006, 2.0, 3000, 150


class Fluid(NamedTuple):
    """One fluid.

    Attributes:
        x: its two descriptors.
        epsilon: depth of the Lennard-Jones well [kJ/mol].
        sigma: diameter [nm].
        shoulder: height of the shoulder at 1.5 diameters [kJ/mol].
    """

    x: tuple[float, float]
    epsilon: float
    sigma: float
    shoulder: float


def fluid(x) -> Fluid:
    """The fluid at a place."""
    a, b = x
    epsilon = 1.9 * np.exp(0.28 * np.sin(1.4 * np.pi * a) + 0.25 * (b - 0.5))
    sigma = 0.355 * np.exp(0.16 * (a - 0.5) + 0.06 * np.cos(2.2 * b))
    return Fluid((a, b), epsilon, sigma, 1.25 * np.tanh(2 * (b - 0.4) + 0.8 * (a - 0.5)))


def fluids(count: int, seed: int) -> list[Fluid]:
    """Fluids at random places."""
    return [fluid(x) for x in np.random.default_rng(shifted(seed)).random((count, 2)).tolist()]


def energy(one: Fluid, r) -> np.ndarray:
    """The pair potential, force-shifted at the cutoff [kJ/mol]."""
    r = np.asarray(r, float)
    end, slope = _plain(one, np.array([CUTOFF])), _plain_slope(one, np.array([CUTOFF]))
    return np.where(r < CUTOFF, _plain(one, r) - end - slope * (r - CUTOFF), 0.0)


def force(one: Fluid, r) -> np.ndarray:
    """Minus its slope [kJ/mol/nm]."""
    r = np.asarray(r, float)
    return np.where(r < CUTOFF, _plain_slope(one, np.array([CUTOFF])) - _plain_slope(one, r), 0.0)


def frames(one: Fluid, count: int, seed: int) -> xr.Dataset:
    """Frames of a fluid, 0.9 ps apart, with its exact forces."""
    edge = round(BEADS ** (1 / 3))
    side = (BEADS / DENSITY) ** (1 / 3) * one.sigma
    lattice = np.stack(np.meshgrid(*[np.arange(edge)] * 3, indexing="ij"), -1).reshape(-1, 3) * side / edge
    table = force(one, np.linspace(0.0, CUTOFF, 8001)[1:])
    positions, forces = _run(lattice, side, np.append(table[0], table), count, np.random.default_rng(shifted(seed)))
    boxes = np.broadcast_to(np.eye(3) * side, (count, 3, 3))
    found = bcg.from_arrays(positions, boxes, ["A"] * BEADS, temperature=KELVIN, mass=[MASS] * BEADS, forces=forces)
    return found


def with_noise(data: xr.Dataset, seed: int) -> xr.Dataset:
    """The same frames with independent noise as large as the root mean square force."""
    size = float(np.sqrt(np.mean(data["forces"].values ** 2)))
    noise = np.random.default_rng(shifted(seed)).normal(0, size, data["forces"].shape)
    return data.assign(forces=data["forces"] + noise)


def _plain(one: Fluid, r):
    ratio = (one.sigma / r) ** 6
    bump = one.shoulder * np.exp(-0.5 * ((r / one.sigma - 1.5) / 0.13) ** 2)
    return 4 * one.epsilon * (ratio**2 - ratio) + bump


def _plain_slope(one: Fluid, r):
    ratio, t = (one.sigma / r) ** 6, (r / one.sigma - 1.5) / 0.13
    return -24 * one.epsilon * (2 * ratio**2 - ratio) / r - one.shoulder * np.exp(-0.5 * t**2) * t / (0.13 * one.sigma)


@numba.njit(fastmath=True, cache=True)
def _forces(x, side, table, out):
    out[:] = 0.0
    n, scale, cut = len(x), (len(table) - 1) / CUTOFF, CUTOFF**2
    for i in range(n):
        for j in range(i + 1, n):
            dx, dy, dz = x[i, 0] - x[j, 0], x[i, 1] - x[j, 1], x[i, 2] - x[j, 2]
            dx -= side * np.rint(dx / side)
            dy -= side * np.rint(dy / side)
            dz -= side * np.rint(dz / side)
            square = dx * dx + dy * dy + dz * dz
            if square < cut:
                r = np.sqrt(square)
                place = r * scale
                k = int(place)
                f = (table[k] + (place - k) * (table[k + 1] - table[k])) / r
                out[i, 0] += f * dx
                out[i, 1] += f * dy
                out[i, 2] += f * dz
                out[j, 0] -= f * dx
                out[j, 1] -= f * dy
                out[j, 2] -= f * dz


@numba.njit(fastmath=True, cache=True)
def _run(start, side, table, count, rng):
    """Langevin dynamics (BAOAB) from a lattice; positions and forces of frames."""
    x, f = start.copy(), np.empty_like(start)
    v = rng.normal(0.0, np.sqrt(KT / MASS), start.shape)
    positions, forces = np.empty((count, *start.shape)), np.empty((count, *start.shape))
    keep = np.exp(-_FRICTION * _TIMESTEP)
    kick = np.sqrt((1 - keep**2) * KT / MASS)
    _forces(x, side, table, f)
    for step in range(_SETTLING + _APART * count):
        v += 0.5 * _TIMESTEP * f / MASS
        x += 0.5 * _TIMESTEP * v
        v = keep * v + rng.normal(0.0, kick, v.shape)
        x += 0.5 * _TIMESTEP * v
        _forces(x, side, table, f)
        v += 0.5 * _TIMESTEP * f / MASS
        after = step + 1 - _SETTLING
        if after > 0 and after % _APART == 0:
            positions[after // _APART - 1] = x
            forces[after // _APART - 1] = f
    return positions, forces
