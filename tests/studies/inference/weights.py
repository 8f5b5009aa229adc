"""Frames of a biased run: with weights, the fit of the unbiased ensemble; without, that of another where there is
misfit, and the same one where there is none.

A chain of three beads with harmonic bonds and angle, and a coupling c (b1 + b2 - 2 b0) (theta - theta0) that a
potential of bonds and angles alone does not have. The best such potential (the least-squares projection of the mean
force) depends on the ensemble: in that of an umbrella, which pulls the angle to other values, bonds are pushed by the
coupling. Forces carry noise as strong as themselves, as those of mapped atoms do. Frames come from Metropolis chains
and remember a little. The target is the projection of forces without noise over 400,000 unbiased frames.
"""

from __future__ import annotations

import warnings

import jax
import numpy as np
import xarray as xr

import bayescg as bcg
from bayescg.data import Topology
from bayescg.inference.statistics.streaming import statistics_of
from bayescg.posterior import curves
from bayescg.units import BOLTZMANN
from tests.studies.wanted import wanted

KELVIN, REST, STIFF, OPEN, BEND = 300.0, 0.35, 2500.0, 2.0, 25.0
COUPLING = 80.0
"""Of both bonds with the angle [kJ/mol/nm/rad]: the energy stays convex, 2500 x 25 > 2 x 80^2."""

UMBRELLA, PULL = 2.3, 15.0
"""Center [rad] and stiffness [kJ/mol/rad^2] of the bias on the angle."""

FRAMES, UNBIASED, REPLICATES, KT = 3000, 1300, 20, BOLTZMANN * KELVIN
POTENTIAL = bcg.Potential(
    bcg.Bond("A", "A", start=0.2, stop=0.5, knot_spacing=0.03),
    bcg.Angle("A", "A", "A", knot_spacing=0.3),
    exclude_bonds=2,
)
RANGES = {
    "bond_A-A": ((0.30, 0.33), (0.33, 0.37), (0.37, 0.40)),
    "angle_A-A-A": ((1.5, 1.8), (1.8, 2.2), (2.2, 2.5)),
}


def energy(x: np.ndarray, coupling: float) -> np.ndarray:
    """Of b1, b2 and theta (3, ...), with the logarithm of the volume element [kJ/mol]."""
    b, theta = x[:2], x[2]
    bend = theta - OPEN
    value = 0.5 * STIFF * np.sum((b - REST) ** 2, axis=0) + 0.5 * BEND * bend**2
    inside = (theta > 0.05) & (theta < np.pi - 0.05) & np.all(b > 0.1, axis=0)
    volume = np.log(np.where(inside, b[0] ** 2 * b[1] ** 2 * np.sin(theta), 1.0))
    return np.where(inside, value + coupling * np.sum(b - REST, axis=0) * bend - KT * volume, np.inf)


def bias(x: np.ndarray) -> np.ndarray:
    """The umbrella [kJ/mol]."""
    return 0.5 * PULL * (x[2] - UMBRELLA) ** 2


def sampled(chains: int, frames: int, coupling: float, biased: bool, rng) -> np.ndarray:
    """Metropolis chains, every fifth step: (3, chain, frame)."""

    def total(x):
        return energy(x, coupling) + (bias(x) if biased else 0.0)

    x = np.stack([np.full(chains, REST), np.full(chains, REST), np.full(chains, UMBRELLA if biased else OPEN)])
    now, kept = total(x), []
    for step in range(200 + 5 * frames):
        trial = x + rng.normal(size=x.shape) * np.array([0.04, 0.04, 0.35])[:, None]
        then = total(trial)
        accepted = np.log(rng.uniform(size=chains)) < (now - then) / KT
        x, now = np.where(accepted, trial, x), np.where(accepted, then, now)
        if step >= 200 and step % 5 == 0:
            kept.append(x)
    return np.stack(kept, axis=-1)


def dataset(x: np.ndarray, coupling: float, noise: float, rng) -> xr.Dataset:
    """Frames (3, frame) of the chain, turned at random, with the system's own forces (without those of the bias)."""
    b1, b2, theta = x
    size = len(theta)
    one = np.zeros((size, 3))
    one[:, 0] = b1
    other = b2[:, None] * np.stack([np.cos(theta), np.sin(theta), np.zeros(size)], axis=1)
    along, across = one / b1[:, None], other / b2[:, None]
    bend = theta - OPEN
    push = [-(STIFF * (b - REST) + coupling * bend) for b in (b1, b2)]
    turn = -(BEND * bend + coupling * (b1 + b2 - 2 * REST))
    cosine, sine = np.cos(theta)[:, None], np.sin(theta)[:, None]
    first = push[0][:, None] * along + turn[:, None] * (cosine * along - across) / (b1[:, None] * sine)
    last = push[1][:, None] * across + turn[:, None] * (cosine * across - along) / (b2[:, None] * sine)
    forces = np.stack([first, -first - last, last], axis=1)
    forces = forces + rng.normal(0, noise * forces.std(), forces.shape)
    turns, signs = np.linalg.qr(rng.normal(size=(size, 3, 3)))
    turns = turns * np.sign(np.diagonal(signs, axis1=1, axis2=2))[:, None]
    positions = np.stack([one, np.zeros((size, 3)), other], axis=1) @ turns + 2.0
    cg = bcg.from_arrays(
        positions, np.full(3, 4.0), "A", temperature=KELVIN, topology=Topology.from_bonds(3, [(0, 1), (1, 2)])
    )
    return cg.assign(forces=(("frame", "bead", "xyz"), forces @ turns))


def projection(cg: xr.Dataset) -> np.ndarray:
    """Coefficients of least squares, without any prior."""
    total = statistics_of(POTENTIAL, cg).total()
    return np.linalg.lstsq(total.gram[0], total.cross[0], rcond=1e-10)[0]


def grid(name: str, number: int) -> np.ndarray:
    """Points of a range."""
    low, high = RANGES[name][number]
    return np.linspace(low, high, 21)[:-1] + 0.5 * (high - low) / 20


def held(posterior, target: np.ndarray) -> np.ndarray:
    """Whether the 90 % band of the force holds that of the target: (term and range, point)."""
    draws = posterior["posterior"]["coefficients"].values[0]
    rows = []
    for name, ranges in RANGES.items():
        for k in range(len(ranges)):
            x = grid(name, k)
            low, high = np.quantile(curves(POTENTIAL, name, draws, x)[1], [0.05, 0.95], axis=0)
            goal = curves(POTENTIAL, name, target, x)[1]
            rows.append((low <= goal) & (goal <= high))
    return np.array(rows)


def compared(coupling: float, replicates: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Coverage (replicate, term and range, point) of biased frames with weights and without, and of as many unbiased
    frames as those are worth; and effective frames."""
    rng = np.random.default_rng(7)
    many = sampled(400, 1000, coupling, False, rng).reshape(3, -1)
    target = projection(dataset(many, coupling, 0.0, rng))
    frames = sampled(replicates, FRAMES, coupling, True, rng)
    free = sampled(replicates, UNBIASED, coupling, False, rng)
    found: dict[str, list] = {"weighted": [], "unweighted": [], "unbiased": [], "structure, weighted": []}
    worth = []
    for k in range(replicates):
        cg = dataset(frames[:, k], coupling, 1.0, rng)
        exponent = bias(frames[:, k]) / KT
        weight = np.exp(exponent - exponent.max())
        control = dataset(free[:, k], coupling, 1.0, rng)
        kinds = {"weighted": cg.assign(weight=("frame", weight)), "unweighted": cg, "unbiased": control}
        for name, data in kinds.items():
            plan = bcg.Sampling(1, 1, 1000)
            posterior = bcg.force_match(POTENTIAL, data, method="laplace", settings=plan, key=jax.random.key(k))
            found[name].append(held(posterior, target))
            if name == "weighted":
                by_structure = bcg.structure_match(
                    POTENTIAL, data, method="laplace", settings=plan, key=jax.random.key(k)
                )
                found["structure, weighted"].append(held(by_structure, target))
                worth.append(posterior["posterior"].attrs["effective_frames"])
    return {name: np.array(rows) for name, rows in found.items()}, np.array(worth)


def main(replicates: int = REPLICATES) -> None:
    """Coverage of the 90 % bands, with misfit and without."""
    warnings.filterwarnings("ignore", message="Pareto k|R-hat|no pair term|only")
    names = [f"{name} {low:g} to {high:g}" for name, ranges in RANGES.items() for low, high in ranges]
    for title, coupling in (("misfit", COUPLING), ("no misfit", 0.0)):
        found, worth = compared(coupling, replicates)
        print(f"{title}: {FRAMES} biased frames are worth {worth.mean():.0f} +- {worth.std():.0f}", flush=True)
        for kind, rows in found.items():
            error = rows.mean(axis=(1, 2)).std(ddof=1) / np.sqrt(len(rows))
            print(f"  {kind}: {rows.mean():.3f} +- {error:.3f} of all", flush=True)
            for name, covered in zip(names, rows.mean(axis=(0, 2)), strict=True):
                print(f"    {name}: {covered:.3f}", flush=True)
        wanted(f"{title}, weighted, coverage", float(found["weighted"].mean()), 0.85, 0.95)
        if coupling:
            wanted(f"{title}, unweighted, coverage", float(found["unweighted"].mean()), high=0.6)
        else:
            wanted(f"{title}, unweighted, coverage", float(found["unweighted"].mean()), 0.85, 0.95)


if __name__ == "__main__":
    main()
