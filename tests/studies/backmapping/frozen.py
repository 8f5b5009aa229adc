"""Atoms of alanine dipeptide given five heavy ones, against dynamics in which those have no mass: ten CG frames.

Six observables that the kept atoms do not fix, and the energy. z = (sampled - dynamics) / error of both; that of
sampled means follows from the reported effective samples, that of dynamics from the autocorrelation.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import xarray as xr

from bayescg.atomistic import alanine_dipeptide
from bayescg.backmapping import Tempering, fit_conditional, sample
from tests.studies.backmapping.alanine import KEPT, frames, mapping, universe
from tests.studies.backmapping.held_dynamics import angle, averaged, distance, frozen, torsion
from tests.studies.wanted import wanted

FRAMES, LEARNED = 10, 500
TIME, BURN, EVERY = 40.0, 3.0, 40

RESULT = Path(__file__).with_name("frozen.npz")

OBSERVABLES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "sin omega 1": lambda x: np.sin(torsion(x, 1, 4, 6, 8)),
    "sin omega 2": lambda x: np.sin(torsion(x, 8, 14, 16, 18)),
    "length CH3-C": lambda x: distance(x, 1, 4),
    "angle N-CA-CB": lambda x: angle(x, 6, 8, 10),
    "distance O-H": lambda x: distance(x, 5, 17),
    "cos 3 chi": lambda x: np.cos(3 * torsion(x, 6, 8, 10, 11)),
}
NAMES = (*OBSERVABLES, "energy")

METHODS = {
    "imh": {"draws": 4000},
    "smc": {"draws": 512, "tempering": Tempering(particles=128)},
    "nuts": {"draws": 1024, "tempering": Tempering(particles=64)},
    "gp": {"draws": 4000},
}


def referee(test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means and errors of all observables, (frame, observable), by dynamics."""
    mean, error = np.zeros((2, len(test), len(NAMES)))
    for k, start in enumerate(test):
        run = frozen(start, KEPT, time=TIME, burn=BURN, every=EVERY, seed=k)
        series = [*(f(run.positions) for f in OBSERVABLES.values()), run.energy]
        found = [averaged(values) for values in series]
        mean[k], error[k] = [f.mean for f in found], [f.error for f in found]
        print(f"dynamics {k}: inefficiency {' '.join(f'{f.inefficiency:.0f}' for f in found)}", flush=True)
    return mean, error


def reference(every: np.ndarray) -> dict[str, np.ndarray]:
    """Start configurations, means and errors: from the file, or computed and written there if it was deleted."""
    if not RESULT.exists():
        test = every[-FRAMES:].astype(np.float32)
        mean, error = referee(test)
        np.savez_compressed(RESULT, positions=test, mean=mean, error=error)
    return dict(np.load(RESULT))


def averages(data: xr.Dataset, functions=OBSERVABLES) -> tuple[np.ndarray, np.ndarray]:
    """Means and errors of all observables, (frame, observable), of draws."""
    positions = data["positions"].transpose("frame", "draw", "atom", "xyz").values
    values = np.stack([*(f(positions) for f in functions.values()), data["energy"].values.T], axis=-1)
    weight = np.exp(data["log_weight"].values.T)[..., None]
    mean = np.sum(weight * values, axis=1)
    variance = np.sum(weight * (values - mean[:, None]) ** 2, axis=1)
    return mean, np.sqrt(variance / data["ess"].values[:, None])


def main() -> None:
    target = alanine_dipeptide()
    every = frames(target)
    molecule, known = universe(every[:LEARNED]), reference(every)
    conditional = fit_conditional(molecule, mapping(molecule), key=jax.random.key(0))
    sites = known["positions"][:, list(KEPT)].astype(float)
    beads = xr.Dataset({"positions": (("frame", "bead", "xyz"), sites)}, attrs={"temperature": 300.0})
    print(f"{FRAMES} frames, dynamics of {TIME:g} ps each; wanted: max |z| < 4, rms z 0.8-1.25")
    for method, options in METHODS.items():
        begin = time.process_time()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            data = sample(conditional, beads, target, method=method, key=jax.random.key(1), **options)
        mean, error = averages(data)
        z = (mean - known["mean"]) / np.hypot(error, known["error"])
        each = ", ".join(f"{name} {v:.2f}" for name, v in zip(NAMES, np.sqrt(np.mean(z**2, axis=0)), strict=True))
        share = np.mean(error**2 / (error**2 + known["error"] ** 2))
        print(
            f"{method:<5} max |z| {np.abs(z).max():.2f}, rms z {np.sqrt(np.mean(z**2)):.2f} ({each}); sampling's share "
            f"of the variance {share:.2f}; effective samples {data['ess'].values.min():.0f}-"
            f"{data['ess'].values.max():.0f}, reliable {int(data['reliable'].sum())}; ln Z error "
            f"at most {data['log_z_se'].values.max():.3f}; "
            f"{int(data['evaluations'].mean())} evaluations a frame, {time.process_time() - begin:.0f} s",
            flush=True,
        )
        if method != "gp":
            wanted(f"{method}: max |z|", np.abs(z).max(), high=4)
            wanted(f"{method}: rms z", np.sqrt(np.mean(z**2)), 0.8, 1.25)
            print("      ln Z", " ".join(f"{v:.3f}" for v in data["log_z"].values), flush=True)


if __name__ == "__main__":
    main()
