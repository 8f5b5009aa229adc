"""Coverage of the projection when the model is wrong about its noise: memory in time, many-body misfit, both.

A Lennard-Jones liquid; forces are its own, plus those of a local-density energy that no pair potential has (misfit),
plus noise of the rms force that follows a first-order autoregressive process from frame to frame (memory 0.7, which
multiplies the variance of averages by 5.7). The target of all fits is the least-squares projection of the true forces
on the basis over all frames, (E G)^-1 E[J' F_true]. 200 replicates of 40 frames, basis of 12 functions. Simulation-
based calibration of the plain model, whose assumptions then hold, is at the end.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

import bayescg as bcg
from bayescg._runtime import double_precision, progress
from bayescg.inference import Sampling, rank_statistics
from bayescg.inference.linear.fit import fit
from bayescg.inference.pilot import pilot_of
from bayescg.inference.statistics.streaming import statistics_of
from bayescg.posterior import curves
from tests.inference import systems

FRAMES, TRAJECTORY, MEMORY = 40, 100, 0.7
POTENTIAL = bcg.Potential(bcg.Pair("A", "A", systems.CUTOFF, start=0.28, knot_spacing=0.05))
R = np.linspace(0.33, 0.8, 48)


def density_forces(data: xr.Dataset, strength: float) -> np.ndarray:
    """Forces of U = strength sum_i rho_i^2 with rho_i = sum_j (1 - (r_ij / c)^2)^2 within c = 0.5 nm."""
    side = float(data["box"].values[0, 0, 0])

    @jax.jit
    def force(x):
        def energy(x):
            apart = x[:, None] - x[None]
            apart = apart - side * jnp.round(apart / side)
            squared = jnp.sum(apart**2, -1) + jnp.eye(len(x))
            near = jnp.where(squared < 0.25, (1 - squared / 0.25) ** 2, 0.0)
            return strength * jnp.sum(near.sum(1) ** 2)

        return -jax.grad(energy)(x)

    with double_precision():
        return np.stack([np.asarray(force(jnp.asarray(x, float))) for x in data["positions"].values])


def noise(shape, scale: float, memory: float, rng) -> np.ndarray:
    """Stationary first-order autoregressive process along the first axis."""
    values = rng.normal(0, scale, shape)
    for k in range(1, shape[0]):
        values[k] = memory * values[k - 1] + np.sqrt(1 - memory**2) * values[k]
    return values


def main(replicates: int = 200) -> None:
    """Coverage and rms z for each kind of error and each calibration."""
    data = systems.lennard_jones(TRAJECTORY * FRAMES, seed=21)
    pair = data["forces"].values
    many_body = density_forces(data, 1.0)
    many_body *= pair.std() / many_body.std()
    for name, extra, memory in (
        ("memory", 0.0, MEMORY),
        ("misfit", 1.0, 0.0),
        ("memory and misfit", 1.0, MEMORY),
    ):
        true = pair + extra * many_body
        exact = data.assign(forces=(data["forces"].dims, true))
        total = statistics_of(POTENTIAL, exact).total()
        target = np.linalg.lstsq(total.gram[0], total.cross[0], rcond=1e-10)[0]
        goal = curves(POTENTIAL, "A-A", target, R)[1]
        z = {calibration: [] for calibration in ("godambe", "magnitude", "none")}
        memories = []
        with progress(name, replicates) as advance:
            for k in range(replicates):
                first = (k % TRAJECTORY) * FRAMES
                part = exact.isel(frame=slice(first, first + FRAMES))
                rng = np.random.default_rng(1000 + k)
                added = noise(part["forces"].shape, float(pair.std()), memory, rng)
                part = part.assign(forces=part["forces"] + added)
                pilot = pilot_of(statistics_of(POTENTIAL, part))
                statistics = statistics_of(POTENTIAL, part, pilot=pilot)
                for calibration, kept in z.items():
                    with double_precision():
                        plan, key = Sampling(1, 1, 300), jax.random.key(k)
                        found = fit(statistics, {}, method="laplace", calibration=calibration, sampling=plan, key=key)
                    force = curves(POTENTIAL, "A-A", found.coefficients[0], R)[1]
                    kept.append((force.mean(axis=0) - goal) / force.std(axis=0, ddof=1))
                    memories += [found.report["score_memory"]] if calibration == "godambe" else []
                advance(1)
        print(f"{name}: score memory found {np.mean(memories):.2f} +- {np.std(memories):.2f}", flush=True)
        for calibration, kept in z.items():
            values = np.stack(kept)
            held = np.abs(values) < 1.6449
            near, far = R < 0.4, R >= 0.4
            print(
                f"  {calibration:9s} covered {held.mean():.3f} +- {held.mean(axis=1).std() / np.sqrt(replicates):.3f}"
                f" (below 0.4 nm {held[:, near].mean():.3f}), rms z {np.sqrt(np.mean(values[:, near] ** 2)):.2f} below "
                f"and {np.sqrt(np.mean(values[:, far] ** 2)):.2f} above",
                flush=True,
            )
    ranks()


def ranks(simulations: int = 400) -> None:
    """Simulation-based calibration of the plain posterior: Kolmogorov-Smirnov p-value of every quantity's ranks."""
    from scipy.stats import kstest

    data = systems.lennard_jones(FRAMES, seed=22)
    noisy = systems.with_noise(data, float(data["forces"].std()), 0)
    for method, count in (("laplace", simulations), ("nuts", simulations // 4)):
        found = rank_statistics(
            statistics_of(POTENTIAL, noisy), simulations=count, method=method, key=jax.random.key(0)
        )
        for quantity in found["quantity"].values:
            values = found["rank"].sel(quantity=quantity).values
            print(f"{method}, {count} simulations, {quantity}: p = {kstest(values, 'uniform').pvalue:.3f}", flush=True)


if __name__ == "__main__":
    main()
