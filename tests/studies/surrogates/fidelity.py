"""Is a cheap level worth what it should be? n + 10 n cheap points against n, and 4 n, of the best level alone.

Reported are Forrester's function (doi:10.1098/rspa.2007.1900), Branin's and Bohachevsky's as modified by Dong et al.
(doi:10.1007/s00158-014-1213-9), all without noise, and waiting times by two laws of nucleation, with noise at both
levels. n is five for each input. A misleading cheap level is a random smooth function that has nothing to do with the
best one.

Kernel, priors and sampler were chosen on `CHOSEN_ON`: other functions, other seeds. The kernel is the default,
Matern-5/2: RBF bands of Currin's function, which bends sharply in a corner, held 0.70 to 0.79. Two things came after a
first look at the reported functions (seeds 5000 on): vague trends after Forrester's, that links can be cut after
misleading levels had cost 24 % of the nucleation law. What is reported has other seeds (9000 on).
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np
from scipy.stats import qmc

from bayescg.samplers.settings import Sampling
from bayescg.surrogates import multi_fidelity, predict_levels
from tests.studies.wanted import wanted

REPLICATES = 50
SETTINGS = Sampling(1, 1, 400)
TESTED = 150
"""Inputs at which a replicate is judged."""


class Case(NamedTuple):
    """Two levels on the unit cube.

    Attributes:
        columns: number of inputs.
        levels: of one replicate: the cheap function and the best one.
        noise: standard deviation at the cheap level and at the best one, as a share of the best one's spread.
    """

    columns: int
    levels: Callable[[np.random.Generator], tuple[Callable, Callable]]
    noise: tuple[float, float]


def waves(rng: np.random.Generator, columns: int, shortest: float = 0.5) -> Callable:
    """A smooth random function of spread one: 30 waves, none much shorter than `shortest`."""
    vectors = rng.normal(size=(30, columns)) / (shortest * rng.uniform(0.5, 1.0))
    phases, sizes = rng.uniform(0, 2 * np.pi, 30), rng.normal(size=30)
    return lambda x: np.cos(x @ (2 * np.pi * 0.35 * vectors).T + phases) @ sizes / np.sqrt(15)


def forrester(_):
    def best(x):
        return (6 * x[:, 0] - 2) ** 2 * np.sin(12 * x[:, 0] - 4)

    return lambda x: 0.5 * best(x) + 10 * (x[:, 0] - 0.5) - 5, best


def branin(_):
    def base(a, b):
        return (b - 5.1 * a**2 / (4 * np.pi**2) + 5 * a / np.pi - 6) ** 2 + 10 * np.cos(a) * (1 - 1 / (8 * np.pi)) + 10

    def inputs(x):
        return 15 * x[:, 0] - 5, 15 * x[:, 1]

    def cheap(x):
        a, b = inputs(x)
        return base(0.7 * a, 0.7 * b) - 15.75 * b + 20 * (0.9 + a) ** 2 - 50

    def best(x):
        a, b = inputs(x)
        return base(a, b) - 22.5 * b

    return cheap, best


def nucleation(rng: np.random.Generator):
    """ln t of an Arrhenius law: the cheap one has a barrier linear in the stress, and another attempt time."""
    barrier, exponent, off = rng.uniform(60, 100), rng.uniform(1.3, 2.0), rng.uniform(0.85, 1.15)

    def law(x, height, power, attempt):
        stress, temperature = 0.5 + 1.5 * x[:, 0], 300 + 300 * x[:, 1]
        return attempt + height * (1 - stress / 3.0) ** power / (8.314462618e-3 * temperature)

    return (lambda x: law(x, 0.8 * off * barrier, 1.0, -4.0)), lambda x: law(x, barrier, exponent, -2.0)


def currin(_):
    def best(x):
        a, b = x[:, 0], np.maximum(x[:, 1], 1e-9)
        return (
            (1 - np.exp(-0.5 / b))
            * (2300 * a**3 + 1900 * a**2 + 2092 * a + 60)
            / (100 * a**3 + 500 * a**2 + 4 * a + 20)
        )

    def cheap(x):
        shifts = np.array([[0.05, 0.05], [0.05, -0.05], [-0.05, 0.05], [-0.05, -0.05]])
        return np.mean([best(np.maximum(x + shift, 0)) for shift in shifts], axis=0)

    return cheap, best


def bohachevsky(_):
    def best(x, squeeze=1.0):
        a, b = squeeze * (10 * x[:, 0] - 5), 10 * x[:, 1] - 5
        return a**2 + 2 * b**2 - 0.3 * np.cos(3 * np.pi * a) - 0.4 * np.cos(4 * np.pi * b) + 0.7

    return (lambda x: best(x, 0.7) + (10 * x[:, 0] - 5) * (10 * x[:, 1] - 5) - 12), best


def tilted_pair(rng: np.random.Generator):
    """Right but for a steep line."""
    cheap, scale, slope = waves(rng, 1), rng.uniform(0.5, 2.0), 3 * rng.normal()
    return cheap, lambda x: scale * cheap(x) + slope * x[:, 0]


def random_pair(columns: int):
    def pair(rng: np.random.Generator):
        cheap, apart, scale = waves(rng, columns), waves(rng, columns, 1.0), rng.uniform(0.5, 2.0)
        return cheap, lambda x: scale * cheap(x) + 0.3 * apart(x)

    return pair


CASES = {
    "Forrester": Case(1, forrester, (0.0, 0.0)),
    "Branin": Case(2, branin, (0.0, 0.0)),
    "nucleation": Case(2, nucleation, (0.1, 0.1)),
    "Bohachevsky": Case(2, bohachevsky, (0.0, 0.0)),
}
CHOSEN_ON = {
    "waves": Case(1, random_pair(1), (0.0, 0.0)),
    "tilted waves": Case(1, tilted_pair, (0.0, 0.0)),
    "Currin": Case(2, currin, (0.0, 0.0)),
    "noisy waves": Case(2, random_pair(2), (0.1, 0.1)),
}


def judged(levels: list, x: np.ndarray, truth: np.ndarray, key: jax.Array) -> list[float]:
    """Mean squared error at `x`, share of 90 % bands that hold the truth, Pareto k."""
    first, second = jax.random.split(key)
    tree = multi_fidelity(levels, method="laplace", settings=SETTINGS, key=first)
    found = predict_levels(tree, x, draws=150, key=second).isel(level=-1)
    low, high = found["band"].sel(ci_prob=0.9).transpose("bound", "point").values
    error = found["mean"].values - truth
    return [np.mean(error**2), np.mean((low <= truth) & (truth <= high)), tree.attrs["laplace_pareto_k"]]


def replicate(case: Case, seed: list[int]) -> dict[str, list[float]]:
    """All ways to fit one replicate."""
    rng = np.random.default_rng(seed)
    cheap, best = case.levels(rng)
    misleading = waves(rng, case.columns)
    n = 5 * case.columns
    new = qmc.LatinHypercube(case.columns, rng=rng).random(TESTED)
    truth = best(new)
    spread = float(np.std(truth))

    def measured(function, count, share):
        x = qmc.LatinHypercube(case.columns, rng=rng).random(count)
        noise = share * spread
        return x, function(x) + noise * rng.normal(size=count), np.full(count, noise)

    few, many = measured(best, n, case.noise[1]), measured(best, 4 * n, case.noise[1])
    size = float(np.std(best(new)))
    ways = {
        "n alone": [few],
        "4 n alone": [many],
        "n + 10 n cheap": [measured(cheap, 10 * n, case.noise[0]), few],
        "n + 10 n misleading": [measured(lambda x: size * misleading(x), 10 * n, case.noise[0]), few],
    }
    keys = jax.random.split(jax.random.key(seed[0]), len(ways))
    return {way: judged(levels, new, truth, k) for (way, levels), k in zip(ways.items(), keys, strict=True)}


def study(name: str, case: Case, replicates: int, first: int) -> None:
    """Print one case's table and its bounds."""
    begin = time.perf_counter()
    rows: dict[str, list] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pareto k is printed instead
        for number in range(replicates):
            for way, row in replicate(case, [first + number, case.columns]).items():
                rows.setdefault(way, []).append(row)
    print(f"{name}: {replicates} replicates, {time.perf_counter() - begin:.0f} s")
    print(f"{'':22s} RMSE (all), median | 90 % bands hold | Pareto k above 0.7")
    table = {way: np.array(found) for way, found in rows.items()}
    for way, found in table.items():
        error = found[:, 1].std(ddof=1) / np.sqrt(len(found))
        print(
            f"{way:22s} {np.sqrt(found[:, 0].mean()):9.4g} {np.sqrt(np.median(found[:, 0])):9.4g} | "
            f"{found[:, 1].mean():.3f} +- {error:.3f} | {np.mean(found[:, 2] > 0.7):.2f}",
            flush=True,
        )
    rmse = {way: np.sqrt(found[:, 0].mean()) for way, found in table.items()}
    wanted(f"{name}: RMSE, n + 10 n cheap over 4 n alone", rmse["n + 10 n cheap"] / rmse["4 n alone"], high=1)
    wanted(f"{name}: 90 % bands hold", float(table["n + 10 n cheap"][:, 1].mean()), 0.85, 0.95)
    wanted(f"{name}: RMSE, misleading over n alone", rmse["n + 10 n misleading"] / rmse["n alone"], high=1.10)


def main() -> None:
    """The reported functions."""
    for name, case in CASES.items():
        study(name, case, REPLICATES, 9000)


if __name__ == "__main__":
    if sys.argv[1:2] == ["choose"]:
        for name in sys.argv[3:] or CHOSEN_ON:
            study(name, CHOSEN_ON[name], int(sys.argv[2]), 100)
    else:
        main()
