"""Structure equations on water and ethane: coverage, what forces gain by them, agreement, and a wrong temperature.

Segments of a trajectory are fitted to forces, to structure, and to both, and compared with the forces' fit to the other
frames. Ethane at 230 K was looked at only when all was chosen.
"""

from __future__ import annotations

import dataclasses
import functools
import operator
import warnings
from itertools import pairwise

import jax
import numpy as np
import xarray as xr

import bayescg as bcg
from bayescg import posterior as posterior_room
from bayescg._runtime import double_precision, hidden_progress
from bayescg.inference import ForceStatistics, Sampling
from bayescg.inference.linear import marginal
from bayescg.inference.linear.consistency import consistency
from bayescg.inference.linear.fit import fit
from bayescg.inference.linear.priors import build_prior
from tests.studies.inference.second_liquid import ethane
from tests.studies.inference.water_coverage import SHARED, water
from tests.studies.wanted import wanted

_EDGES = (0.0, 0.02, 0.05, 0.1, 0.2, 0.4, 0.7, 1.0)
_PIECE = 10
_PLAN = Sampling(chains=1, warmup=1, draws=300)


def main() -> None:
    """Water if it is there, then ethane."""
    warnings.simplefilter("ignore")
    if (SHARED / "data" / "spce" / "cg_long.npz").exists():
        study("water", bcg.Pair("W", "W", 0.9), water(), ((20, 40, 1.15), (50, 40, 1.15), (100, 20, 1.15)))
    warm = ethane("warm", 1000, seed=31)
    study("ethane", bcg.Pair("E", "E", 1.2), warm, ((20, 50, 1.0), (50, 20, 1.0)))


def study(name: str, term: bcg.Pair, data: xr.Dataset, lengths) -> None:
    """One liquid.

    Args:
        name: of the liquid.
        term: what is fitted.
        data: its frames, with forces.
        lengths: frames in a segment, segments, and the gain wanted.
    """
    potential = bcg.Potential(term)
    pilot = bcg.fit_pilot(potential, data, frames=50 if name == "water" else 1000, structure=True)
    with hidden_progress():
        pieces = [
            bcg.force_statistics(potential, data.isel(frame=slice(k, k + _PIECE)), pilot=pilot, structure=True)
            for k in range(0, data.sizes["frame"], _PIECE)
        ]
    whole = _sum(pieces)
    agreement = consistency(whole)
    print(f"{name}: {agreement}", flush=True)
    wanted(f"{name}, p of right data", agreement.p, low=1e-3)
    hot = consistency(dataclasses.replace(whole, temperature=whole.temperature * 300 / 320))
    wanted(f"{name}, p of 320 K said to be 300 K", hot.p, high=1e-3)
    _agree(name, potential, whole)
    for length, count, gain in lengths:
        size = length // _PIECE
        segments = [_sum(pieces[k * size : (k + 1) * size]) for k in range(count)]
        flagged = np.mean([consistency(segment).p < 1e-3 for segment in segments])
        wanted(f"{name}, {length} frames, share of right segments flagged", float(flagged), high=0.01)
        _segments(f"{name}, {length} frames", potential, whole, segments, length / data.sizes["frame"], gain)


def _sum(parts: list[ForceStatistics]) -> ForceStatistics:
    return functools.reduce(operator.add, parts)


def _agree(name: str, potential: bcg.Potential, whole: ForceStatistics) -> None:
    """Forces and structure of all frames, within three combined standard deviations of each other."""
    (term,), x = potential.terms, _grid([whole])
    with double_precision():
        found = [
            posterior_room.curves(potential, term.name, _fit(whole.of(equation), 0).coefficients[0], x)[1]
            for equation in ("forces", "structure")
        ]
    (f, s), (a, b) = ([each.mean(axis=0) for each in found], [each.std(axis=0) for each in found])
    within = np.mean(np.abs(f - s) < 3 * np.sqrt(a**2 + b**2))
    wanted(f"{name}, share of distances where both are within 3 combined sd", float(within), low=0.95)


def _fit(statistics: ForceStatistics, key: int):
    plan = {"method": "laplace", "calibration": "godambe", "sampling": _PLAN}
    return fit(statistics, {}, **plan, key=jax.random.key(key))


def _grid(segments: list[ForceStatistics]) -> np.ndarray:
    (term,) = segments[0].potential.terms
    low, high = (pick(each.ranges[term.name][k] for each in segments) for pick, k in ((max, 0), (min, 1)))
    start, stop = term.span
    return np.linspace(low, min(high, stop - 2 * (stop - start) / term.bins), 400)


def _segments(what: str, potential, whole: ForceStatistics, segments, share: float, gain: float) -> None:
    (term,), x = potential.terms, _grid(segments)
    found: dict[str, list] = {"forces": [], "both": [], "structure": []}
    with double_precision():
        forces = whole.of("forces")
        prior = build_prior(forces, {})
        for number, segment in enumerate(segments):
            rest = jax.tree.map(np.subtract, forces.total(), segment.of("forces").total())
            values = {name: np.exp(d.loc) for name, d in prior.distributions().items()}
            mean, _ = marginal.mean_at(prior, marginal.reduce(prior, rest), values)
            w = prior.mean + prior.lift @ np.asarray(mean)
            reference = posterior_room.curves(potential, term.name, w, x)[1]
            for kind, rows in found.items():
                fitted = _fit(segment if kind == "both" else segment.of(kind), number)
                curves = posterior_room.curves(potential, term.name, fitted.coefficients[0], x)[1]
                rows.append((curves.mean(axis=0) - reference, curves.std(axis=0)))
    ranges = [(x >= a) & (x <= b) for a, b in pairwise(x[0] + (x[-1] - x[0]) * np.array(_EDGES))]
    error, sd = (np.stack([[row[k] for row in found[kind]] for kind in found]) for k in (0, 1))
    covered = np.mean(np.abs(error / sd * np.sqrt(1 - share)) < 1.645, axis=(1, 2))
    inner = np.mean(np.abs(error[2] / sd[2])[:, ranges[0]] < 1.645)
    square = np.mean(error**2, axis=1)
    gains = [float(np.mean(square[0, r]) / np.mean(square[1, r])) for r in ranges]
    ratio = [float(np.mean(sd[2][:, r]) / np.mean(sd[0][:, r])) for r in ranges]
    print(f"{what}: forces cover {covered[0]:.3f}, both {covered[1]:.3f}, structure {covered[2]:.3f} ({inner:.2f} at")
    print(f"  the innermost 2 %), sd of structure over that of forces {np.round(ratio, 2)}, gains {np.round(gains, 2)}")
    wanted(f"{what}, coverage of structure", float(covered[2]), low=0.86, high=0.94)
    wanted(f"{what}, gain by both", float(np.exp(np.mean(np.log(square[0] / square[1])))), low=gain)
    wanted(f"{what}, smallest gain of a range", min(gains), low=0.98)
