"""Molecules whose conditional density is known: what a conditional should learn."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import expit, logsumexp
from scipy.stats import norm

from tests.atomistic.molecules import rotation

LENGTH, LENGTH_SD = 0.15, 0.004
ANGLE, ANGLE_SD = 1.9, 0.08
TORSION_SD, WELL_SD, WELL = 0.25, 0.2, 1.3
SLOPE, OFFSET = 60.0, -15.3
MIDDLE, WIDTH = 0.25, 0.02


class Chain(NamedTuple):
    """Frames of five atoms 0-1-2-3-4, of which the first three are kept.

    Attributes:
        positions: (frame, 5, 3) [nm].
        distance: of atoms 0 and 2 [nm], which all depends on.
        internal: (frame, 6): length, angle, torsion of atom 3, then of atom 4.
    """

    positions: np.ndarray
    distance: np.ndarray
    internal: np.ndarray


def torsion_mean(distance):
    """Mean torsion of atom 3 [rad]."""
    return 2.6 + 0.6 * np.sin((distance - MIDDLE) / WIDTH)


def positive_well(distance):
    """Probability that the torsion of atom 4 is the positive one of two."""
    return expit(SLOPE * distance + OFFSET)


def angle_mean(distance, torsion):
    """Mean angle of atom 4 [rad], which the torsion of atom 3 moves."""
    return ANGLE + 0.15 * (torsion - torsion_mean(distance))


def chain(frames: int, seed: int) -> Chain:
    """Frames of the chain, turned and moved at random."""
    rng = np.random.default_rng(seed)
    distance = MIDDLE + WIDTH * rng.uniform(-1.7, 1.7, frames)
    sites = triangle(distance)
    torsion = torsion_mean(distance) + TORSION_SD * rng.normal(size=frames)
    well = np.where(rng.uniform(size=frames) < positive_well(distance), WELL, -WELL)
    internal = np.stack(
        [
            rng.normal(LENGTH, LENGTH_SD, frames),
            rng.normal(ANGLE, ANGLE_SD, frames),
            torsion,
            rng.normal(LENGTH, LENGTH_SD, frames),
            rng.normal(angle_mean(distance, torsion), ANGLE_SD / 2),
            well + WELL_SD * rng.normal(size=frames),
        ],
        axis=1,
    )
    return Chain(moved(grown(sites, internal), rng), distance, internal)


def triangle(distance: np.ndarray) -> np.ndarray:
    """Kept atoms 0, 1, 2, bonded at 0.15 nm, with 0 and 2 at a distance."""
    half = np.arcsin(distance / 2 / LENGTH)
    zero = np.zeros_like(distance)
    left = np.stack([-np.sin(half), -np.cos(half), zero], axis=1) * LENGTH
    right = left * [-1, 1, 1]
    return np.stack([left, np.zeros_like(left), right], axis=1)


def grown(sites: np.ndarray, internal: np.ndarray) -> np.ndarray:
    """Positions of all five atoms."""
    third = placed(sites[:, 2], sites[:, 1], sites[:, 0], *internal[:, :3].T)
    fourth = placed(third, sites[:, 2], sites[:, 1], *internal[:, 3:].T)
    return np.concatenate([sites, third[:, None], fourth[:, None]], axis=1)


def placed(a, b, c, length, angle, torsion):
    """The point at a length from a, an angle to b and a dihedral to c (trans = pi)."""
    axis = (b - a) / np.linalg.norm(b - a, axis=-1, keepdims=True)
    toward = c - b
    side = toward - np.sum(toward * axis, axis=-1, keepdims=True) * axis
    side /= np.linalg.norm(side, axis=-1, keepdims=True)
    # Looking from a to b, the dihedral goes counterclockwise from the side of c.
    turned = np.cross(side, axis)
    across = np.cos(torsion)[..., None] * side + np.sin(torsion)[..., None] * turned
    return a + length[..., None] * (np.cos(angle)[..., None] * axis + np.sin(angle)[..., None] * across)


def moved(positions: np.ndarray, rng) -> np.ndarray:
    """Every frame turned and moved by another random motion."""
    turns = np.stack([rotation(rng) for _ in positions])
    return np.einsum("fij,faj->fai", turns, positions) + rng.normal(size=(len(positions), 1, 3))


def log_density(distance: float, internal: np.ndarray) -> np.ndarray:
    """The planted density over the Cartesian positions of atoms 3 and 4, from their internal coordinates."""
    length, angle, torsion, second, bend, turn = internal.T
    images = 2 * np.pi * np.arange(-3, 4)
    wrapped = lambda x, m, s: logsumexp(norm.logpdf(x[:, None] - m + images, scale=s), axis=1)  # noqa: E731
    p = positive_well(distance)
    wells = np.stack([np.log(p) + wrapped(turn, WELL, WELL_SD), np.log1p(-p) + wrapped(turn, -WELL, WELL_SD)])
    # The angle's mean needs the torsion's image next to its own mean.
    near = torsion_mean(distance)
    torsion = near + (torsion - near + np.pi) % (2 * np.pi) - np.pi
    value = norm.logpdf(length, LENGTH, LENGTH_SD) + norm.logpdf(angle, ANGLE, ANGLE_SD)
    value += wrapped(torsion, near, TORSION_SD) + norm.logpdf(second, LENGTH, LENGTH_SD)
    value += norm.logpdf(bend, angle_mean(distance, torsion), ANGLE_SD / 2) + logsumexp(wells, axis=0)
    return value - 2 * np.log(length * second) - np.log(np.sin(angle) * np.sin(bend))


def methyl(frames: int, seed: int, *, third: str = "H", turn_sd: float = 0.3) -> np.ndarray:
    """Kept atoms 0, 1, 2 and three atoms 3, 4, 5 on atom 2, whose labels are turned at random if they are equal."""
    rng = np.random.default_rng(seed)
    sites = triangle(rng.uniform(0.24, 0.26, frames))
    turn = rng.normal(0.4, turn_sd, frames)
    if third == "H":
        turn += 2 * np.pi / 3 * rng.integers(0, 3, frames)
    atoms = []
    for k in range(3):
        branch = 2 * np.pi / 3 * k + (0.05 * rng.normal(size=frames) if k else 0.0)
        angle, length = rng.normal(ANGLE, 0.05, frames), rng.normal(0.11, 0.003, frames)
        atoms.append(placed(sites[:, 2], sites[:, 1], sites[:, 0], length, angle, turn + branch))
    return moved(np.concatenate([sites, np.stack(atoms, axis=1)], axis=1), rng)


def universe(positions: np.ndarray, bonds, elements=None, scale: float = 10.0):
    """An MDAnalysis Universe of one molecule [nm], or of several where positions have an axis for them."""
    import MDAnalysis
    from MDAnalysis.coordinates.memory import MemoryReader

    count = positions.shape[1]
    made = MDAnalysis.Universe.empty(count, n_residues=1, atom_resindex=[0] * count, trajectory=True)
    symbols = list(elements or "C" * count)
    made.add_TopologyAttr("elements", symbols)
    made.add_TopologyAttr("names", [f"{e}{k}" for k, e in enumerate(symbols)])
    made.add_TopologyAttr("masses", [12.011] * count)
    made.add_TopologyAttr("resnames", ["MOL"])
    if bonds:
        made.add_TopologyAttr("bonds", bonds)
    made.load_new(positions * scale, format=MemoryReader, order="fac")
    return made


def kept(molecule, select: str):
    """A mapping that keeps atoms, without its warning."""
    import warnings

    import bayescg

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*in no bead.*")
        return bayescg.Mapping.center_of_mass(molecule, by="atoms", select=select, constraints="none")


def log_density_methyl(positions: np.ndarray, turn_sd: float = 0.3) -> np.ndarray:
    """The planted density over the positions of atoms 3, 4, 5 of `methyl`, all three labelings as likely."""
    images = 2 * np.pi * np.arange(-3, 4)
    wrapped = lambda x, s: logsumexp(norm.logpdf(x[:, None] + images, scale=s), axis=1)  # noqa: E731
    length = np.linalg.norm(positions[:, 3:] - positions[:, 2:3], axis=-1)
    phi = np.stack([dihedral(*(positions[:, k] for k in (atom, 2, 1, 0))) for atom in (3, 4, 5)], axis=1)
    bend = np.stack([angle(positions[:, k], positions[:, 2], positions[:, 1]) for k in (3, 4, 5)], axis=1)
    common = norm.logpdf(length, 0.11, 0.003).sum(axis=1) + norm.logpdf(bend, ANGLE, 0.05).sum(axis=1)
    common -= np.sum(2 * np.log(length) + np.log(np.sin(bend)), axis=1)
    terms = []
    for first in range(3):
        a, b, c = (phi[:, (first + k) % 3] for k in range(3))
        turns = wrapped(a - 0.4, turn_sd)
        terms.append(turns + wrapped(b - a - 2 * np.pi / 3, 0.05) + wrapped(c - a - 4 * np.pi / 3, 0.05))
    return common + logsumexp(terms, axis=0) - np.log(3)


def angle(x, a, b):
    """Angle x-a-b [rad]."""
    u, v = x - a, b - a
    return np.arctan2(np.linalg.norm(np.cross(u, v), axis=-1), np.sum(u * v, axis=-1))


def dihedral(x, a, b, c):
    """Dihedral x-a-b-c [rad], IUPAC sign."""
    first, axis, last = b - c, a - b, x - a
    left, right = np.cross(first, axis), np.cross(axis, last)
    return np.arctan2(np.linalg.norm(axis, axis=-1) * np.sum(first * right, axis=-1), np.sum(left * right, axis=-1))


def water(frames: int, seed: int) -> np.ndarray:
    """A bent molecule 0 (in the middle), 1, 2 with soft bonds, turned and moved at random."""
    rng = np.random.default_rng(seed)
    first, second = rng.normal(0.1, 0.004, (2, frames))
    bend = rng.normal(1.9, 0.1, frames)
    zero = np.zeros(frames)
    arm = np.stack([second * np.cos(bend), second * np.sin(bend), zero], axis=1)
    return moved(np.stack([np.zeros((frames, 3)), np.stack([first, zero, zero], axis=1), arm], axis=1), rng)


def log_density_water(positions: np.ndarray) -> np.ndarray:
    """The planted density of atoms 1 and 2 about atom 0, every direction as likely."""
    length = np.linalg.norm(positions[:, 1:] - positions[:, :1], axis=-1)
    bend = angle(positions[:, 1], positions[:, 0], positions[:, 2])
    value = norm.logpdf(length, 0.1, 0.004).sum(axis=1) + norm.logpdf(bend, 1.9, 0.1)
    return value - 2 * np.log(length).sum(axis=1) - np.log(np.sin(bend)) - np.log(8 * np.pi**2)
