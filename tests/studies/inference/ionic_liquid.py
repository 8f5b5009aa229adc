"""A planted ionic liquid: charges and known short-ranged curves, fitted from few noisy frames; coverage by distance.

216 ions of two sizes, charges of one e in a medium of permittivity 8, 400 K: contact is worth 15 kT. Simulated by
LAMMPS (mesh of 1e-6). Every replicate has frames of its own, with noise as strong as the rms force on every component.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

import bayescg as bcg
from bayescg._runtime import double_precision
from bayescg.inference import Sampling
from bayescg.posterior import curves, from_coefficients
from bayescg.potentials import Interactions
from tests.inference import systems
from tests.inference.known_truth import fit
from tests.studies.wanted import wanted

REPLICATES, FRAMES = 40, 10
EDGE, CUTOFF, KELVIN, PERMITTIVITY = 2.6, 0.9, 400.0, 8.0
CORES = {name: bcg.LennardJones(sigma, 1.0, CUTOFF) for name, sigma in (("A-A", 0.4), ("A-C", 0.36), ("C-C", 0.34))}
CHARGES = {"A": -1.0, "C": 1.0}
RANGES = (0.0, 0.05, 0.1, 0.2, 0.4, 1.0)
"""Shares of the sampled distances."""


def potential(*, known: bool, **charges: object) -> bcg.Potential:
    """Three pair terms and charges; pairs are either known, or to be learned without any baseline."""
    pairs = [
        bcg.Pair(*name.split("-"), CUTOFF, learn=not known, baseline=core if known else None)
        for name, core in CORES.items()
    ]
    return bcg.Potential(*pairs, bcg.Coulomb(CUTOFF, charges=CHARGES, **charges))  # pyright: ignore[reportArgumentType]


def simulated(frames: int) -> xr.Dataset:
    """Frames 0.5 ps apart, with the exact forces of the planted potential."""
    side = 6
    sites = np.stack(np.meshgrid(*[np.arange(side)] * 3, indexing="ij"), -1).reshape(-1, 3)
    start = bcg.from_arrays(
        sites[None] * EDGE / side,
        np.eye(3) * EDGE,
        np.where(sites.sum(axis=1) % 2 == 0, "C", "A").tolist(),
        temperature=KELVIN,
        mass=[50.0] * len(sites),
    )
    truth = potential(known=True, dielectric=PERMITTIVITY)
    run = bcg.simulate(
        from_coefficients(truth, np.zeros((1, 0)), temperature=KELVIN),
        start,
        time=0.5 * frames,
        dynamics=bcg.Langevin(timestep=0.004, friction=2.0, equilibration=20.0, interval=0.5),
        key=jax.random.key(3),
    )
    data = start.isel(frame=np.zeros(frames, int)).assign_coords(frame=np.arange(frames))
    data = data.assign(positions=(("frame", "bead", "xyz"), run["positions"].values[0].astype(float)))
    return data.assign(forces=(("frame", "bead", "xyz"), _forces(truth, data)))


def _forces(truth: bcg.Potential, data: xr.Dataset) -> np.ndarray:
    interactions, sizes = Interactions.of(truth, data), {}
    with double_precision():
        evaluate = jax.jit(truth.forces)
        frames = zip(data["positions"].values.astype(float), data["box"].values, strict=True)
        made = (interactions.configuration(x, box, sizes=sizes) for x, box in frames)
        return np.stack([np.asarray(evaluate(each, jnp.zeros(0))) for each in made])


def replicates(data: xr.Dataset) -> Iterator[xr.Dataset]:
    """Frames of each, with noise of its own."""
    noise = float(data["forces"].std())
    for k in range(REPLICATES):
        yield systems.with_noise(data.isel(frame=slice(k * FRAMES, (k + 1) * FRAMES)), noise, k)


def covered(model: bcg.Potential, data: xr.Dataset) -> tuple[dict[str, list[np.ndarray]], list[np.ndarray]]:
    """Whether 90 % bands of forces hold the truth, (replicate, range) shares by term, and draws of the permittivity."""
    found: dict[str, list[np.ndarray]] = {name: [] for name in CORES}
    permittivity = []
    plan = Sampling(chains=1, warmup=1, draws=1000)
    for k, part in enumerate(replicates(data)):
        statistics, posterior = fit(model, part, 1000 + k, plan=plan)
        draws = posterior["posterior"]["coefficients"].values.reshape(-1, statistics.potential.n_basis)
        if "dielectric" in posterior["posterior"]:
            permittivity.append(posterior["posterior"]["dielectric"].values.ravel())
        for name, core in CORES.items():
            first = statistics.ranges[name][0]
            x = np.linspace(first, CUTOFF - 0.02, 401)
            lower, upper = np.quantile(curves(statistics.potential, name, draws, x)[1], [0.05, 0.95], axis=0)
            exact = systems.true_force(core, x)
            inside = (lower <= exact) & (exact <= upper)
            place = np.digitize((x - x[0]) / (x[-1] - x[0]), RANGES[1:-1])
            found[name].append(np.array([inside[place == number].mean() for number in range(len(RANGES) - 1)]))
    return found, permittivity


def main() -> None:
    """Permittivity given, and learned."""
    warnings.filterwarnings("ignore", message="Pareto k|R-hat|only")
    data = simulated(REPLICATES * FRAMES)
    widths = np.diff(RANGES)
    for words, choice in (("given", {"dielectric": PERMITTIVITY}), ("learned", {"dielectric": 5.0, "learn": True})):
        inside, permittivity = covered(potential(known=False, **choice), data)
        pooled = np.mean([np.stack(rows) for rows in inside.values()], axis=0)
        print(f"permittivity {words}: coverage of 90 % bands, {REPLICATES} replicates of {FRAMES} frames", flush=True)
        for number, (low, high) in enumerate(pairwise(RANGES)):
            each = ", ".join(f"{name} {np.mean(rows, axis=0)[number]:.3f}" for name, rows in inside.items())
            error = pooled[:, number].std(ddof=1) / np.sqrt(len(pooled))
            label = (
                f"{100 * low:.0f} to {100 * high:.0f} % of the sampled distances ({each}; standard error {error:.3f})"
            )
            wanted(label, float(pooled[:, number].mean()), 0.85, 0.95)
        wanted("all distances", float((pooled @ widths).mean()), 0.85, 0.95)
        if permittivity:
            ends = np.quantile(np.stack(permittivity), [0.05, 0.95], axis=1)
            held = float(np.mean((ends[0] <= PERMITTIVITY) & (ends[1] >= PERMITTIVITY)))
            mean, spread = np.mean(permittivity), np.mean(np.std(permittivity, axis=1))
            print(f"permittivity {mean:.3f} +- {spread:.3f} (one replicate), planted {PERMITTIVITY:g}")
            wanted("coverage of the permittivity", held, 0.77, 1.0)  # 0.9 within 2.7 binomial errors


if __name__ == "__main__":
    main()
