"""Which fit has water's g(r)? Forces, structure equations and relative entropy on the same 100 frames.

Time and error bars of each fit, and g(r) of a simulation of its posterior mean beside that of the frames.
"""

from __future__ import annotations

import time
import warnings
from itertools import pairwise

import jax
import numpy as np
import xarray as xr

import bayescg as bcg
from bayescg._runtime import double_precision
from bayescg.posterior import curves
from tests.studies.inference.water_coverage import SHARED, water
from tests.studies.wanted import wanted

FRAMES = 100
_POTENTIAL = bcg.Potential(bcg.Pair("W", "W", cutoff=0.9))
_DYNAMICS = bcg.Langevin(timestep=0.004, equilibration=10.0, interval=0.2)
_RANGES = (0.25, 0.27, 0.30, 0.35, 0.45, 0.88)
_BINS = np.linspace(0.24, 0.9, 133)


def main() -> None:
    """All three, if the frames are there."""
    if not (SHARED / "data" / "spce" / "cg_long.npz").exists():
        print("cg_long.npz is not there: skipped")
        return
    warnings.simplefilter("ignore")
    everything = water()
    cg = everything.isel(frame=slice(0, FRAMES))
    fits = {
        "force_match": lambda key: bcg.force_match(_POTENTIAL, cg, method="laplace", key=key),
        "structure_match": lambda key: bcg.structure_match(
            _POTENTIAL, cg.drop_vars("forces"), method="laplace", key=key
        ),
        "relative_entropy": lambda key: bcg.relative_entropy(
            _POTENTIAL, cg.drop_vars("forces"), settings=bcg.Refinement(dynamics=_DYNAMICS), key=key
        ),
    }
    few, many = (_distribution(data) for data in (cg, everything))
    print(f"the {FRAMES} frames against all {everything.sizes['frame']}: {_apart(few, many)}", flush=True)
    mean = {}
    for name, fit in fits.items():
        wall, cpu = time.perf_counter(), time.process_time()
        posterior = fit(jax.random.key(0))
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        print(f"{name}: {wall:.0f} s, {cpu:.0f} CPU-s in this process (LAMMPS runs in others)")
        print(f"  sd of the force in {_RANGES} nm [kJ/mol/nm]: {_spread(posterior)}", flush=True)
        run = bcg.simulate(posterior, cg.isel(frame=-1), time=200.0, runs=2, dynamics=_DYNAMICS, key=jax.random.key(1))
        found = _distribution(run)
        print(
            f"  g(r) against the {FRAMES} frames: {_apart(found, few)}; against all: {_apart(found, many)}", flush=True
        )
        mean[name] = float(np.mean(np.abs(found - many)))
    wanted(
        "mean |dg| of relative entropy over that of forces", mean["relative_entropy"] / mean["force_match"], high=0.5
    )
    ratio = mean["structure_match"] / mean["force_match"]
    wanted("mean |dg| of structure equations over that of forces", ratio, low=0.5, high=2.0)


def _distribution(data: xr.Dataset) -> np.ndarray:
    """g(r), a mean over blocks and runs."""
    found = bcg.observables.rdf(data, "W", "W", cutoff=0.9, bins=_BINS)
    return found.mean([dim for dim in found.dims if dim != "r"]).values


def _apart(one: np.ndarray, other: np.ndarray) -> str:
    difference = np.abs(one - other)
    worst = int(difference.argmax())
    where = (_BINS[worst] + _BINS[worst + 1]) / 2
    return f"largest {difference[worst]:.3f} at {where:.3f} nm, mean {difference.mean():.4f}"


def _spread(posterior: xr.DataTree) -> np.ndarray:
    """Standard deviation of the force, a mean over each range."""
    x = np.linspace(_RANGES[0], _RANGES[-1], 316)
    rows = posterior["posterior"]["coefficients"].values.reshape(-1, _POTENTIAL.n_basis)
    with double_precision():
        sd = curves(_POTENTIAL, "W-W", rows, x)[1].std(axis=0)
    return np.array([np.round(sd[(x >= low) & (x <= high)].mean(), 2) for low, high in pairwise(_RANGES)])


if __name__ == "__main__":
    main()
