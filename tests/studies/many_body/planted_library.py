"""A library of candidates with a few planted ones among them: does the relevance vector machine find exactly those?

Beads of a Lennard-Jones liquid (positions only) get the forces of a few candidates and independent noise.

Shapes: Gaussians and inverse powers of the distance, no two of whose forces correlate by 0.9 or more. Five of them are
planted, their forces' variances 0.5, 1.4, 4, 11 and 32 % of that of the noise, in random order and with random signs.
"""

import functools
import warnings
from pathlib import Path

import jax
import numpy as np

import bayescg as bcg
from bayescg._runtime import double_precision
from bayescg.inference import Sampling
from bayescg.inference.comparison import compare
from bayescg.inference.sparse import library
from bayescg.posterior import only_choice
from bayescg.potentials import Interactions
from tests.inference import systems
from tests.studies.wanted import wanted

SHARES = np.geomspace(0.005, 0.32, 5)
"""Variances of planted forces over that of the noise."""

PLAN = Sampling(chains=2, warmup=400, draws=500)
POTENTIAL = bcg.Potential(bcg.Pair("A", "A", systems.CUTOFF, start=0.2))


def _power(n):
    return lambda r: (r / 0.34) ** -n


def _gaussian(center, width):
    return lambda r: np.exp(-0.5 * ((r - center) / width) ** 2)


def candidates() -> dict:
    """All that are looked at, before those that correlate too much are left out."""
    found = {f"r^-{n}": _power(n) for n in (12, 8, 4)}
    for width in (0.02, 0.05):
        for center in np.arange(0.32, 0.78, 0.06):
            found[f"bump {center:.2f} +- {width:.2f}"] = _gaussian(center, width)
    return found


@functools.cache
def liquid(frames: int):
    """Positions; and the pass over them without forces, whose sums do not change with those."""
    return systems.lennard_jones(frames, seed=11)


def columns(potential, data, shapes: dict) -> np.ndarray:
    """Forces of each shape, (shape, frame, bead, xyz)."""
    term = potential.terms[0]
    values = [term.spline.interpolate(_continued(shape, term.sites))[: term.n_basis] for shape in shapes.values()]
    interactions, sizes = Interactions.of(potential, data), {}
    with double_precision():
        rows = jax.jit(potential.design_rows)
        return np.stack(
            [
                np.einsum("bkx,sk->sbx", rows(interactions.configuration(p.astype(float), box, sizes=sizes)), values)
                for p, box in zip(data["positions"].values, data["box"].values, strict=True)
            ],
            axis=1,
        )


def _continued(shape, sites, low=0.28):
    inside = np.maximum(sites, low)
    slope = (shape(low + 1e-6) - shape(low - 1e-6)) / 2e-6
    return shape(inside) + slope * (sites - inside)


@functools.cache
def chosen_library(frames: int) -> tuple[dict, np.ndarray, np.ndarray]:
    """Shapes no two of whose forces correlate by 0.9; their forces at unit root mean square, which is given too."""
    shapes = candidates()
    forces = columns(POTENTIAL, liquid(frames), shapes)
    lengths = np.sqrt(np.mean(forces**2, axis=(1, 2, 3)))
    forces /= lengths[:, None, None, None]
    correlation = np.einsum("ifbx,jfbx->ij", forces, forces) / forces[0].size
    kept: list[int] = []
    for k in range(len(shapes)):
        if all(abs(correlation[k, j]) < 0.9 for j in kept):
            kept.append(k)
    names = list(shapes)
    return {names[k]: shapes[names[k]] for k in kept}, forces[kept], lengths[kept]


def planted(seed: int, frames: int, noise: float = 50.0):
    """A dataset, the library, and the true strength of each shape in units of its root mean square force."""
    shapes, forces, _ = chosen_library(frames)
    rng = np.random.default_rng(seed)
    truth = np.zeros(len(shapes))
    truth[rng.choice(len(shapes), len(SHARES), replace=False)] = (
        noise * np.sqrt(SHARES) * rng.choice([-1, 1], len(SHARES))
    )
    total = np.tensordot(truth, forces, 1) + rng.normal(0, noise, forces.shape[1:])
    return liquid(frames).assign(forces=(("frame", "bead", "xyz"), total)), shapes, truth


def fit(data, shapes, method: str, calibration: str, seed: int):
    """A sparse fit to planted data."""
    pilot = None if calibration == "none" else bcg.fit_pilot(POTENTIAL, data)
    statistics = bcg.force_statistics(POTENTIAL, data, pilot=pilot)
    return bcg.force_match(
        POTENTIAL,
        statistics,
        kernels={"A-A": shapes},
        method=method,
        calibration=calibration,
        settings=PLAN,
        key=jax.random.key(seed),
    )


def scored(posterior, truth, units, *, only_best: bool = False) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which candidates are kept; z of planted coefficients (nan: left out); whether their 90 % interval is right."""
    relevance = posterior["relevance"]
    kept = relevance["kept"].values if "kept" in relevance else relevance["probability"].values > 0.5
    posterior = only_choice(posterior) if only_best else posterior
    draws = posterior["posterior"]["candidate_coefficient"].values.reshape(-1, len(truth))[:, truth != 0]
    exact = (truth / units)[truth != 0]
    spread = draws.std(axis=0)
    z = np.where(spread > 0, draws.mean(axis=0) - exact, np.nan) / np.where(spread > 0, spread, 1.0)
    low, high = np.quantile(draws, [0.05, 0.95], axis=0)
    return kept, z, (low <= exact) & (exact <= high)


def told(data, shapes, truth) -> np.ndarray:
    """z of least squares with the planted shapes alone: how lucky the data are, with exact error bars."""
    statistics = bcg.force_statistics(POTENTIAL, data, pilot=None)
    found = library.build(statistics, {}, {"A-A": shapes}, "none")
    problem = library.problem(found, statistics, "none")
    on = truth != 0
    inverse = np.linalg.inv(problem.gram[np.ix_(on, on)])
    # Columns have the force of the noise at one; the truth is in units of force.
    exact = (truth / chosen_library(data.sizes["frame"])[2])[on] / found.units[on]
    return (inverse @ problem.cross[on] - exact) / np.sqrt(np.diag(inverse))


def run(method: str, frames: int, seeds: range, calibration: str = "none") -> None:
    """Exact support, z and coverage over seeds."""
    length = chosen_library(frames)[2]
    exact, missed, extra, zs, inside, probabilities = 0, 0, 0, [], [], {True: [], False: []}
    known, alone, doubtful = [], [], []
    for seed in seeds:
        data, shapes, truth = planted(seed, frames)
        posterior = fit(data, shapes, method, calibration, seed)
        kept, z, held = scored(posterior, truth, length)
        exact += bool(np.array_equal(kept, truth != 0))
        missed += int(np.sum(~kept & (truth != 0)))
        extra += int(np.sum(kept & (truth == 0)))
        zs.append(z)
        inside.append(held)
        known.append(told(data, shapes, truth))
        if method == "rvm":
            alone.append(scored(posterior, truth, length, only_best=True)[1])
            wrong = kept != (truth != 0)
            doubtful += posterior["relevance"]["inclusion"].values[wrong].round(2).tolist()
        if method == "horseshoe":
            for is_true in (True, False):
                probabilities[is_true].append(posterior["relevance"]["probability"].values[(truth != 0) == is_true])
    z = np.concatenate(zs)
    print(
        f"{method}, {calibration}, {frames} frames, {len(length)} candidates, seeds {seeds.start} to {seeds.stop - 1}: "
        f"exact support {exact} of {len(seeds)}; {missed} missed, {extra} too many; rms z "
        f"{np.sqrt(np.nanmean(z**2)):.2f} of {np.sum(~np.isnan(z))} (of the others every draw is zero), coverage of "
        f"90 % {np.mean(np.concatenate(inside)):.3f} of {z.size}",
        flush=True,
    )
    if method == "rvm":
        wanted("share of exact supports", exact / len(seeds), low=0.9)
        best_z = np.concatenate(alone)
        print(
            f"  draws of the best choice alone: rms z {np.sqrt(np.nanmean(best_z**2)):.2f} of "
            f"{np.sum(~np.isnan(best_z))}; inclusion of what is kept or left out wrongly: {doubtful}"
        )
    told_z = np.concatenate(known)
    print(
        f"  least squares on the same data, told which ones: rms z {np.sqrt(np.mean(told_z**2)):.2f}, coverage "
        f"{np.mean(np.abs(told_z) < 1.645):.3f}"
    )
    if method == "horseshoe":
        for is_true, values in probabilities.items():
            low, middle, high = np.quantile(np.concatenate(values), [0.05, 0.5, 0.95])
            print(
                f"  P(1 - kappa > 1/2) of {'planted' if is_true else 'other'} ones: {middle:.3f} ({low:.3f}-{high:.3f})"
            )


def water(frames: int = 200) -> None:
    """What is kept of shapes for the pair potential of SPC/E water, and what the whole spline knows beyond them."""
    stored = np.load(Path(__file__).parents[3].parent / "shared" / "data" / "spce" / "cg_long.npz")
    part = [stored[name][:frames] for name in ("positions", "box", "forces")]
    data = bcg.from_arrays(part[0], part[1], ["W"] * part[0].shape[1], forces=part[2], temperature=300.0)
    potential = bcg.Potential(bcg.Pair("W", "W", 0.9, start=0.2))
    statistics = bcg.force_statistics(potential, data, pilot=bcg.fit_pilot(potential, data))
    shapes = {f"r^-{n}": _power(n) for n in (12, 8, 4)}
    for width in (0.015, 0.03, 0.06):
        for center in np.arange(0.26, 0.86, 0.06):
            shapes[f"bump {center:.2f} +- {width:.3f}"] = _gaussian(center, width)
    everything = library.build(statistics, {}, {"W-W": shapes}, "none")
    gram = library.problem(everything, statistics, "none").gram
    correlation = gram / np.sqrt(np.outer(np.diag(gram), np.diag(gram)))
    chosen: list[int] = []
    for k in range(len(shapes)):
        if all(abs(correlation[k, j]) < 0.9 for j in chosen):
            chosen.append(k)
    names = list(shapes)
    kernels = {"W-W": {names[k]: shapes[names[k]] for k in chosen}}
    options = {"settings": PLAN, "key": jax.random.key(0)}
    fits = {"spline": bcg.force_match(potential, statistics, method="laplace", **options)}
    for method in ("rvm", "horseshoe"):
        fits[method] = bcg.force_match(potential, statistics, kernels=kernels, method=method, **options)
    table = fits["rvm"]["relevance"].to_dataset().to_dataframe()
    table["probability"] = fits["horseshoe"]["relevance"]["probability"].values
    print(table.drop(columns="term").round(4).to_string(), flush=True)
    print(compare(fits).round(5).to_string(), flush=True)


def main() -> None:
    """Planted shapes by both methods, without and with calibration; shapes of water.

    Averaging over choices was added after seeing what the first twenty seeds gave without; the forty others are fresh.
    """
    warnings.filterwarnings("ignore", message="R-hat|only|.*divergent")
    first = range(20)
    for frames in (100, 40):
        run("rvm", frames, first)
    run("rvm", 100, first, "godambe")
    run("rvm", 100, range(20, 60))
    water()
    run("horseshoe", 100, first)


if __name__ == "__main__":
    main()
