"""`make bench`: atoms from beads, alanine dipeptide with five heavy atoms kept, beside tools that place and minimize.

CPU seconds after compilation. Held-out CG frames, their mean energies and errors are those of the study
`backmapping_frozen`, from 40 ps of dynamics each with kept atoms frozen.
"""

from __future__ import annotations

import functools
import importlib.util
import time
import warnings
from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

from bayescg._runtime import double_precision
from bayescg.atomistic import alanine_dipeptide
from bayescg.backmapping import Tempering, fit_conditional, sample
from tests.benchmarks import minimize_peer, mstool_peer
from tests.studies.backmapping.alanine import KEPT, frames, judged, mapping, universe
from tests.studies.backmapping.frozen import OBSERVABLES, RESULT
from tests.studies.backmapping.held_dynamics import KT, angle, averaged, frozen, torsion

FRAMES, LEARNED, SIZES = 3, 500, (125, 250, 500, 1000)
STARTS, HEATED = 8, 1000
MSTOOL, MSTOOL_STEPS = 4, 1000
TIME, BURN, EVERY = 10.0, 1.0, 10
PLACED = (1, 5, 10, 15, 18)
"""Heavy atoms that are not kept."""

SMALL = Tempering(particles=64)
METHODS = {
    "gp": {"draws": 1000},
    "imh": {"draws": 1000},
    "smc": {"draws": 256, "tempering": SMALL},
    "nuts": {"draws": 512, "tempering": SMALL},
}


class Setting(NamedTuple):
    """What all benchmarks share; energies in kJ/mol."""

    target: object
    known: np.ndarray
    test: np.ndarray
    mean: np.ndarray
    error: np.ndarray
    fit: Callable


class Ensemble(NamedTuple):
    """Structures of each test frame, (frame, structure, atom, 3) [nm], what they are worth and cost."""

    positions: np.ndarray
    worth: np.ndarray
    seconds: float


@pytest.fixture(scope="module")
def setting() -> Setting:
    """The molecule, frames to learn from, frames to test."""
    target = alanine_dipeptide()
    known = frames(target)
    reference = np.load(RESULT)

    @functools.cache
    def fit(size: int):
        molecule = universe(known[:size])
        begin = time.process_time()
        return fit_conditional(molecule, mapping(molecule), key=jax.random.key(0)), time.process_time() - begin

    positions = reference["positions"].astype(float)
    return Setting(target, known, positions, reference["mean"][:, -1], reference["error"][:, -1], fit)


@pytest.fixture(scope="module")
def dynamics(setting) -> tuple[Ensemble, int]:
    """Dynamics with frozen atoms, begun at the true configuration; effective samples; steps of a frame."""
    begin = time.process_time()
    options = {"time": TIME, "burn": BURN, "every": EVERY}
    runs = [frozen(x, KEPT, seed=k, **options) for k, x in enumerate(setting.test[:FRAMES])]
    seconds = time.process_time() - begin
    worth = []
    for run in runs:
        series = [*(f(run.positions) for f in OBSERVABLES.values()), run.energy]
        worth.append(len(run.energy) / max(averaged(values).inefficiency for values in series))
    return Ensemble(np.array([run.positions for run in runs]), np.array(worth), seconds), round((TIME + BURN) * 1000)


def beads(setting: Setting) -> xr.Dataset:
    sites = setting.test[:FRAMES, list(KEPT)]
    return xr.Dataset({"positions": (("frame", "bead", "xyz"), sites)}, attrs={"temperature": 300.0})


def drawn(setting: Setting, method: str) -> tuple[xr.Dataset, float]:
    """Draws for the test frames, and CPU seconds after one frame that compiles."""
    conditional, given = setting.fit(LEARNED)[0], beads(setting)

    def run(chosen, number: int):
        key = jax.random.key(number)
        return sample(conditional, chosen, setting.target, method=method, key=key, **METHODS[method])

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*effective samples.*")
        run(given.isel(frame=[0]), 0)
        begin = time.process_time()
        return run(given, 1), time.process_time() - begin


def run(benchmark, job):
    return benchmark.pedantic(job, rounds=1, iterations=1)


def table(capsys, title: str, header: str, rows: list[str]) -> None:
    with capsys.disabled():
        print(f"\n{title}\n{header}", *rows, sep="\n")


def test_effective_samples_per_evaluation(benchmark, setting, dynamics, capsys):
    """What a frame costs by each method, and by dynamics."""
    found = run(benchmark, lambda: {method: drawn(setting, method) for method in METHODS})
    share = judged(setting.fit(LEARNED)[0], setting.target, setting.test[:FRAMES])["share"].mean()
    rows = []
    for method, (data, seconds) in found.items():
        worth, evaluations = float(data["ess_run"].mean()), float(data["evaluations"].mean())
        if method == "gp":
            worth, evaluations = 1000 * share, np.nan
        rows.append(_cost(method, METHODS[method]["draws"], worth, evaluations, seconds))
    trajectory, steps = dynamics
    rows.append(_cost("dynamics", trajectory.positions.shape[1], trajectory.worth.mean(), steps, trajectory.seconds))
    header = "method      draws  effective  evaluations  per 1000 evaluations  per CPU-second  frames per CPU-minute"
    notes = (
        "gp is approximate: its draws would be worth so many if weighted by exp(-beta U) / q, one evaluation each, "
        "which are not in its time. dynamics: worst of six observables and the energy, begun at the true configuration."
    )
    title = f"Effective samples of one CG frame, {LEARNED} frames learned from, {FRAMES} test frames"
    table(capsys, title, header, [*rows, notes])


def _cost(name: str, draws: int, worth: float, evaluations: float, seconds: float) -> str:
    alone = np.isnan(evaluations)
    ratio = 1000 * worth / (draws if alone else evaluations)
    asked, rate = ("none", "-") if alone else (f"{evaluations:.0f}", f"{FRAMES * worth / seconds:.1f}")
    return f"{name:<10} {draws:6d} {worth:10.0f} {asked:>12} {ratio:21.1f} {rate:>15} {60 * FRAMES / seconds:22.1f}"


def test_learning_curve(benchmark, setting, capsys):
    """How good a proposal the conditional is, against the number of frames that it was learned from."""
    kept = np.array(KEPT)

    @eqx.filter_jit
    def density(conditional, positions):
        return jax.vmap(lambda x: conditional.guide(x[kept]).log_density(x))(positions)

    def job():
        rows = []
        for size in SIZES:
            conditional, seconds = setting.fit(size)
            found = judged(conditional, setting.target, setting.test)
            with double_precision():
                value = np.asarray(density(conditional, jnp.asarray(setting.test)))
            value = value / len(conditional.coordinates.columns)
            error = np.std([found["share"], found["acceptance"], value], axis=1, ddof=1) / np.sqrt(len(value))
            rows.append(
                f"{size:6d} {seconds:9.1f}  {found['share'].mean():.3f} +- {error[0]:.3f}   "
                f"{found['acceptance'].mean():.3f} +- {error[1]:.3f}   {value.mean():.3f} +- {error[2]:.3f}"
            )
        return rows

    rows = run(benchmark, job)
    header = "frames fit CPU-s  effective share   acceptance        log density a coordinate (nm, held out)"
    table(capsys, f"Learning curve, {len(setting.test)} test frames of 500 draws", header, rows)


def compared(setting: Setting, name: str, ensemble: Ensemble, truth: np.ndarray) -> str:
    """A row of the table of peers."""
    x, energy = ensemble.positions, minimize_peer.energies(ensemble.positions)
    spread = energy.std(axis=1).mean()
    off = energy.mean(axis=1) - setting.mean[:FRAMES]
    error = np.sqrt(np.sum(energy.var(axis=1) / ensemble.worth + setting.error[:FRAMES] ** 2)) / FRAMES
    bend = np.degrees(angle(x, 6, 8, 10).std(axis=1).mean())
    turned = np.abs(np.mean(np.exp(3j * torsion(x, 6, 8, 10, 11)), axis=1))
    turn = np.degrees(np.sqrt(-2 * np.log(np.minimum(turned, 1.0))) / 3).mean()
    heavy = np.sqrt(np.mean(np.sum((x - truth[:, None])[:, :, PLACED] ** 2, axis=-1), axis=-1)).mean()
    missed = np.sqrt(np.mean(np.sum((x - truth[:, None])[:, :, KEPT] ** 2, axis=-1)))
    count, rate = x.shape[1], 60 * x.shape[0] * x.shape[1] / ensemble.seconds
    return (
        f"{name:<25} {count:6d} {ensemble.worth.mean():9.0f} {rate:9.0f} {off.mean():8.1f} +- {error:4.1f} "
        f"{spread:7.2f} {bend:8.2f} {turn:8.2f} {10 * heavy:8.2f} {10 * missed:8.3f}"
    )


def test_beside_place_and_minimize(benchmark, setting, dynamics, capsys, tmp_path):
    """Energies and their spread, angles and distance from the true configuration, by each tool."""
    truth = setting.test[:FRAMES]

    def timed(job) -> Ensemble:
        begin = time.process_time()
        positions = np.array([job(k, x[list(KEPT)]) for k, x in enumerate(truth)])
        return Ensemble(positions, np.full(FRAMES, positions.shape[1]), time.process_time() - begin)

    def nearest(sites: np.ndarray) -> np.ndarray:
        return minimize_peer.placed(sites, setting.known[:LEARNED], KEPT, STARTS)

    def ungrouped(steps: int):
        def one(k: int, sites: np.ndarray) -> np.ndarray:
            folders = [tmp_path / f"{steps}-{k}-{n}" for n in range(MSTOOL)]
            return np.array([mstool_peer.backmapped(sites, KEPT, folder, steps=steps) for folder in folders])

        return one

    def job() -> list[str]:
        found = {"dynamics, 10 ps": dynamics[0]}
        for method in ("gp", "imh"):
            data, seconds = drawn(setting, method)
            positions = data["positions"].transpose("frame", "draw", "atom", "xyz").values
            found[method] = Ensemble(positions, data["ess"].values, seconds)
        found["placed, minimized"] = timed(lambda k, s: minimize_peer.minimized(nearest(s), KEPT))
        found["placed, minimized, 1 ps"] = timed(lambda k, s: minimize_peer.minimized(nearest(s), KEPT, steps=HEATED))
        if importlib.util.find_spec("mstool"):
            mstool_peer.backmapped(truth[0, list(KEPT)], KEPT, tmp_path / "first", steps=0)
            found["mstool, minimized"] = timed(ungrouped(0))
            found["mstool, minimized, 2 ps"] = timed(ungrouped(MSTOOL_STEPS))
        return [compared(setting, name, ensemble, truth) for name, ensemble in found.items()]

    rows = run(benchmark, job)
    if not importlib.util.find_spec("mstool"):
        rows.append("mstool is not installed: pip install mstool")
    header = (
        f"{'':<25} {'each':>6} {'effective':>9} {'a minute':>9} {'energy off':>16} {'its sd':>7} {'N-CA-CB':>8} "
        f"{'methyl':>8} {'RMSD':>8} {'beads':>8}"
    )
    title = (
        f"Structures of {FRAMES} CG frames: number for each, what they are worth, number in a CPU minute; energy\n"
        "against dynamics, its spread [kJ/mol]; spread of an angle and of the methyl group's turn [degree]; distances\n"
        f"of placed heavy atoms and of beads from the true configuration [A]; kT is {KT:.2f} kJ/mol"
    )
    table(capsys, title, header, rows)
