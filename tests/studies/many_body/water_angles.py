"""SPC/E water: what do three-body and local-density terms add to a pair potential?

Held-out R^2 of the forces, and the structure that each model simulates: g(r) and the angles of neighbors within
0.35 nm, against the atomistic run, as integrals of |difference|. Each draw is simulated by itself, so that the
errors hold what is not known of the potential and what is not sampled of its structure. The last line is the floor: a
block of the atomistic run, about as long as one of these simulations, against all other blocks.
"""

from __future__ import annotations

import time
from pathlib import Path

import jax
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr

import bayescg as bcg
from bayescg import observables
from bayescg.inference.comparison import compare
from bayescg.potentials import LocalDensity, ThreeBody
from bayescg.simulation.dynamics import Langevin
from tests.studies.inference.water_coverage import SHARED, water
from tests.studies.wanted import wanted

FRAMES, DRAWS, TIME = 200, 6, 80.0
PAIR = bcg.Pair("W", "W", cutoff=0.9)
THREE = ThreeBody("W", "W", "W", cutoff=0.4, start=0.2)
DENSITY = LocalDensity("W", "W", inner=0.3, outer=0.4)
DYNAMICS = Langevin(timestep=0.004, friction=2.0, equilibration=20.0, interval=0.4)
FIGURE = Path(__file__).parents[3] / "docs" / "assets" / "water_angles.png"


def structure(ensemble: xr.Dataset, blocks: int) -> dict[str, xr.DataArray]:
    """g(r) up to 0.9 nm and the angles of neighbors, in blocks."""
    return {
        "g": observables.rdf(ensemble, "W", "W", cutoff=0.9, bins=np.linspace(0.2, 0.9, 141), blocks=blocks),
        "angle": observables.angle_distribution(ensemble, "W", "W", "W", cutoff=0.35, bins=60, blocks=blocks),
    }


def distance(found: np.ndarray, exact: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Integral of |found - exact| over x, along the last axis."""
    return np.sum(np.abs(found - exact), axis=-1) * (x[1] - x[0])


def models(cg: xr.Dataset) -> dict[str, xr.DataTree]:
    """Posteriors of all models; the residual is learned on the mean of the pair potential's."""
    options = {"method": "laplace", "settings": bcg.Sampling(chains=1, draws=100), "key": jax.random.key(0)}
    fits = {}
    for name, given in (
        ("pair", bcg.Potential(PAIR)),
        ("pair + three-body", bcg.Potential(PAIR, THREE)),
        ("pair, then three-body", None),
        ("pair + local density", bcg.Potential(PAIR, DENSITY)),
    ):
        begin = time.perf_counter()
        potential = given
        if given is None:
            alone = fits["pair"]
            known = bcg.freeze(bcg.posterior.potential_of(alone), bcg.posterior.mean_coefficients(alone))
            potential = bcg.Potential(*known, THREE)
        statistics = bcg.force_statistics(potential, cg, pilot=bcg.fit_pilot(potential, cg))
        fits[name] = bcg.force_match(potential, statistics, **options)
        print(
            f"{name}: {potential.n_basis} coefficients, held-out R2 {fits[name].attrs['held_out_r2']:.4f} +- "
            f"{fits[name].attrs['held_out_r2_se']:.4f}, {time.perf_counter() - begin:.0f} s; "
            f"{fits[name].attrs['warnings'] or 'no warnings'}",
            flush=True,
        )
    print(compare(fits).round(5).to_string(), flush=True)
    return fits


def draw(x: dict[str, np.ndarray], curves: dict[str, dict[str, np.ndarray]]) -> None:
    """Curves (draw, x) of all models as bands of two standard deviations beside the atomistic ones."""
    figure, axes = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
    for axis, name, label in zip(axes, x, ("r (nm)", "angle of neighbors within 0.35 nm (degrees)"), strict=True):
        at = np.degrees(x[name]) if name == "angle" else x[name]
        axis.plot(at, curves[name]["atomistic"], color="black", label="atomistic")
        for model, found in curves[name].items():
            if model == "atomistic":
                continue
            (line,) = axis.plot(at, found.mean(axis=0), lw=1.2, label=model)
            half = 2 * found.std(axis=0, ddof=1)
            axis.fill_between(
                at, found.mean(axis=0) - half, found.mean(axis=0) + half, color=line.get_color(), alpha=0.3
            )
        axis.set(xlabel=label, ylabel={"g": "g(r)", "angle": "p (1/rad)"}[name])
    axes[0].set_xlim(0.23, 0.9)
    axes[1].set_xlim(40, 180)
    axes[0].legend()
    figure.savefig(FIGURE, dpi=110)


def main() -> None:
    """The table, and the figure of the documentation."""
    if not (SHARED / "data" / "spce" / "cg_long.npz").exists():
        print("cg_long.npz is not there: skipped")
        return
    data = water()
    exact = structure(data, 20)
    x = {"g": exact["g"]["r"].values, "angle": exact["angle"]["theta"].values}
    mean = {name: array.mean("block").values for name, array in exact.items()}
    curves: dict[str, dict[str, np.ndarray]] = {name: {"atomistic": mean[name]} for name in x}
    stride = data.sizes["frame"] // FRAMES
    cg = data.isel(frame=slice(None, None, stride))
    for label, posterior in models(cg).items():
        begin = time.perf_counter()
        ensemble = bcg.simulate(
            posterior,
            data.isel(frame=-1),
            time=TIME,
            draws=DRAWS,
            dynamics=DYNAMICS,
            engine="lammps",
            key=jax.random.key(1),
        )
        line = f"{label:22s}"
        for name, array in structure(ensemble, 4).items():
            own = array.mean("block").transpose("draw", ...).values
            found = distance(own, mean[name], x[name])
            line += f" | {name} {found.mean():.4f} +- {found.std(ddof=1) / np.sqrt(len(found)):.4f} (draws' sd"
            line += f" {found.std(ddof=1):.4f})"
            curves[name][label] = own
        print(f"{line} | {time.perf_counter() - begin:.0f} s, {int(ensemble.failed.sum())} failed", flush=True)
    line = f"{'atomistic blocks':22s}"
    for name, array in exact.items():
        blocks = array.transpose("block", ...).values
        rest = (blocks.sum(axis=0) - blocks) / (len(blocks) - 1)
        found = distance(blocks, rest, x[name])
        line += f" | {name} {found.mean():.4f} +- {found.std(ddof=1) / np.sqrt(len(found)):.4f}"
    print(line)
    pair, three = (
        distance(curves["angle"][name], mean["angle"], x["angle"]).mean() for name in list(curves["angle"])[1:3]
    )
    wanted("angles: three-body's integrated difference over the pair's", three / pair, high=1)
    draw(x, curves)


if __name__ == "__main__":
    main()
