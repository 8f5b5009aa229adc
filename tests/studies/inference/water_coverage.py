"""Coverage on SPC/E water: disjoint segments of 20, 50 and 100 frames against the rest of 2000 frames.

Printed for each range of distance: rms z with its jackknife error and the 95 % bootstrap interval over segments, and
the share of 90 % bands that hold the fit to the other frames.
"""

from __future__ import annotations

from pathlib import Path

import jax
import numpy as np
import xarray as xr

import bayescg as bcg

SHARED = Path(__file__).resolve().parents[4] / "shared"
_EDGES = {"W-W": [0.25, 0.26, 0.27, 0.30, 0.35, 0.45, 0.88]}


def water() -> xr.Dataset:
    """2000 frames of 510 molecules' centers of mass."""
    found = np.load(SHARED / "data" / "spce" / "cg_long.npz")
    return bcg.from_arrays(
        found["positions"], found["box"], ["W"] * 510, temperature=300.0, forces=found["forces"], mass=[18.015] * 510
    )


def main(lengths: tuple[int, ...] = (20, 50, 100), calibrations: tuple[str, ...] = ("godambe", "magnitude", "none")):
    """All segment lengths and calibrations."""
    if not (SHARED / "data" / "spce" / "cg_long.npz").exists():
        print("cg_long.npz is not there: skipped")
        return
    data = water()
    potential = bcg.Potential(bcg.Pair("W", "W", cutoff=0.9))
    for calibration in calibrations:
        for length in lengths:
            found = bcg.coverage(
                potential,
                data,
                segments=data.sizes["frame"] // length,
                ranges=_EDGES,
                calibration=calibration,
                key=jax.random.key(0),
            )
            show(found, "W-W", 0.30)


def show(found: xr.Dataset, name: str, contact: float) -> None:
    """Print a table."""
    z, x = found[f"z_{name}"].values, found[f"x_{name}"].values
    half = 1.6449
    core = np.mean(np.abs(z[:, x < contact]) < half)
    print(
        f"{found.attrs['frames_per_segment']} frames, {found.attrs['segments']} segments, calibration "
        f"{found.attrs['calibration']}: covered {found[f'covered_{name}'].attrs['covered']:.3f}, below {contact:g} nm "
        f"{core:.3f}; Laplace warnings {found.attrs['poor_laplace']}",
        flush=True,
    )
    rng = np.random.default_rng(0)
    for k, (low, high) in enumerate(zip(found[f"low_{name}"].values, found[f"high_{name}"].values, strict=True)):
        inside = np.mean(z[:, (x >= low) & (x <= high)] ** 2, axis=1)
        boot = np.sqrt([rng.choice(inside, len(inside)).mean() for _ in range(4000)])
        below, above = np.quantile(boot, [0.025, 0.975])
        print(
            f"  {low:.2f}-{high:.2f}: rms z {float(found[f'rms_{name}'][k]):.2f} +- "
            f"{float(found[f'rms_se_{name}'][k]):.2f}, bootstrap {below:.2f}-{above:.2f}, covered "
            f"{float(found[f'covered_{name}'][k]):.3f}",
            flush=True,
        )
