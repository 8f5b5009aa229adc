"""RDF bands of fits to 50 frames of water: do they cover the RDF of the model fitted to all 2000 frames?

Each fit is propagated from one reference run of its posterior mean. The band is sqrt(sd_posterior^2 + sd_sampling^2 +
(the target's own standard error)^2); 90 % of it is 1.645 of that on either side. A few draws of the first fit are also
simulated one by one.
"""

import functools
import sys
import time
import warnings
from pathlib import Path

import jax
import numpy as np

import bayescg as bcg
from bayescg import observables as obs
from bayescg.posterior import draw_coefficients, from_coefficients, mean_coefficients

POTENTIAL = bcg.Potential(bcg.Pair("W", "W", cutoff=0.9))
DYNAMICS = bcg.Langevin(equilibration=5.0, interval=0.5)
RDF = functools.partial(obs.rdf, a="W", b="W", cutoff=0.9)
RANGES = ((0.25, 0.30), (0.30, 0.35), (0.35, 0.45), (0.45, 0.88), (0.25, 0.88))
QUANTILE = 1.645


def water(folder: Path):
    """All 2000 frames of centers of mass."""
    with np.load(folder / "spce" / "cg_long.npz") as stored:
        positions, box, forces = (stored[name].astype(float) for name in ("positions", "box", "forces"))
    mass = np.full(positions.shape[1], 18.015)
    return bcg.from_arrays(positions, box, "W", forces=forces, temperature=300.0, mass=mass)


def explicitly(posterior, reference, start, picoseconds: float, draws: int) -> None:
    """Print how draws that are reweighted differ from the same draws simulated."""
    rows = draw_coefficients(posterior, draws, key=jax.random.key(11)).coefficients
    some = from_coefficients(POTENTIAL, rows, temperature=300.0)
    guard = obs.Guard(references=0, simulations=0, tolerance=0.5)
    ours = obs.propagate(some, reference, RDF, draws=draws, guard=guard, key=jax.random.key(12))
    runs = bcg.simulate(some, start, time=picoseconds, draws=draws, dynamics=DYNAMICS, key=jax.random.key(13))
    theirs = RDF(runs)
    for k in range(draws):
        pair = [obs.summarize(array.isel(draw=[k])).sel(r=slice(0.25, 0.88)) for array in (ours, theirs)]
        z = obs.zscore(*pair).values
        shift = float(abs(pair[0]["mean"] - obs.summarize(RDF(reference))["mean"]).max())
        print(
            f"draw {k} ({float(ours['ess'][k]):.0f} effective frames): reweighted against simulated, "
            f"rms z {np.sqrt(np.mean(z**2)):.2f}, largest {np.abs(z).max():.2f}; up to {shift:.3f} from the mean",
            flush=True,
        )


def main(
    shared: str | None = None, fits: int = 20, frames: int = 50, picoseconds: float = 100.0, longest: float = 400.0
) -> None:
    """Pointwise coverage by distance, with jackknife errors over fits."""
    warnings.filterwarnings("ignore", message="Pareto k|R-hat|only|.*neighboring blocks")
    folder = Path(shared) if shared else Path(__file__).resolve().parents[3].parent / "shared" / "data"
    cg = water(folder)
    begin = time.perf_counter()
    best = bcg.force_match(POTENTIAL, cg, method="laplace", key=jax.random.key(0))
    mean = from_coefficients(POTENTIAL, mean_coefficients(best), temperature=300.0)
    long = bcg.simulate(mean, cg.isel(frame=-1), time=longest, dynamics=DYNAMICS, key=jax.random.key(1))
    target = obs.summarize(RDF(long))
    seconds = time.perf_counter() - begin
    print(f"target: {longest:g} ps, calibration {best.attrs.get('calibration')}, {seconds:.0f} s", flush=True)
    scores, bands = [], []
    for k in range(fits):
        begin = time.perf_counter()
        first = k * (cg.sizes["frame"] // fits)
        part = cg.isel(frame=slice(first, first + frames))
        posterior = bcg.force_match(POTENTIAL, part, method="laplace", key=jax.random.key(100 + k))
        fitted = time.perf_counter()
        start = part.isel(frame=-1)
        reference = bcg.simulate(posterior, start, time=picoseconds, dynamics=DYNAMICS, key=jax.random.key(200 + k))
        simulated = time.perf_counter()
        guard = obs.Guard(references=0, simulations=0)
        array = obs.propagate(posterior, reference, RDF, guard=guard, key=jax.random.key(300 + k))
        summary = obs.summarize(array)
        done = time.perf_counter()
        band = np.sqrt(summary["sd"] ** 2 + target["sd_sampling"] ** 2)
        scores.append((summary["mean"] - target["mean"]) / band)
        bands.append([float(summary[name].sel(r=slice(0.25, 0.88)).mean()) for name in ("sd_posterior", "sd_sampling")])
        failing = int((array["source"] != "reweighted").sum())
        inside = float((abs(scores[-1].sel(r=slice(0.25, 0.88))) < QUANTILE).mean())
        print(
            f"fit {k}: {fitted - begin:.0f} s, reference {simulated - fitted:.1f} s, bands {done - simulated:.1f} s; "
            f"share {float(array['ess_share'].median()):.2f}, {failing} of 200 fail the guard, linear response "
            f"{array.attrs['linear_response']:.2f}; sd posterior {bands[-1][0]:.4f}, sampling {bands[-1][1]:.4f}; "
            f"inside {inside:.2f}",
            flush=True,
        )
        if k == 0:
            explicitly(posterior, reference, start, picoseconds, draws=4)
    for low, high in RANGES:
        z = np.stack([score.sel(r=slice(low, high)).values for score in scores])
        inside = (np.abs(z) < QUANTILE).mean(axis=1)
        rms = np.sqrt(np.mean(z**2))
        left = np.array([np.sqrt(np.mean(np.delete(z, k, axis=0) ** 2)) for k in range(fits)])
        print(
            f"{low:.2f}-{high:.2f} nm: inside {inside.mean():.3f} +- {inside.std(ddof=1) / np.sqrt(fits):.3f}, "
            f"rms z {rms:.2f} +- {np.sqrt((fits - 1) * left.var()):.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main(*sys.argv[1:2])
