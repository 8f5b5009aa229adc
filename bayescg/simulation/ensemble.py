"""`simulate`: from a posterior to ensembles of configurations, one for each draw."""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np
import xarray as xr
from jaxtyping import Array

from bayescg import posterior as posteriors
from bayescg._checkpoint import Parts, digest, parts_in
from bayescg._runtime import cpu_count, double_precision, progress
from bayescg.data.dataset import check_temperature
from bayescg.exports.lammps import can_run
from bayescg.potentials import Interactions, Potential
from bayescg.simulation import lammps, langevin
from bayescg.simulation.dynamics import Langevin, System, Trajectory
from bayescg.simulation.layout import Finished, assemble
from bayescg.simulation.measure import Measurement, Meter
from bayescg.simulation.start import start_of

ENGINES = ("auto", "jax", "lammps")
_DEFAULT = Langevin()
_BATCH_BYTES = 8e9
"""What the pair vectors of draws in one compiled program may take on a GPU."""

# Runs some draws: (their numbers, advanced, stopped) -> trajectories, or None if stopped.
_Runner = Callable[[list[int], Callable[[float], object], Callable[[], bool]], list[Trajectory] | None]


def simulate(
    posterior: xr.DataTree,
    initial: xr.Dataset,
    *,
    time: float,
    draws: int | None = None,
    runs: int = 1,
    dynamics: Langevin = _DEFAULT,
    temperature: float | None = None,
    engine: str = "auto",
    checkpoint: str | os.PathLike[str] | None = None,
    key: Array,
) -> xr.Dataset:
    """Simulate draws of a posterior at constant volume and temperature.

    Every draw starts from the same configuration with velocities and noise of its own, is equilibrated
    (`dynamics.equilibration`, thrown away) and sampled for `time`. Draws run in parallel: on a CPU in threads (jax) or
    processes (lammps), on a GPU in one compiled program.

    Ctrl-C returns the draws that are finished, with a warning; if none is, KeyboardInterrupt goes on. With `checkpoint`
    they are on disk as well, whatever ends the process, and the same call goes on from there.

    Args:
        posterior: from `force_match`, `relative_entropy` or `posterior.from_coefficients`.
        initial: one frame of a coarse-grained dataset, `cg.isel(frame=-1)`: positions, box, masses, bonds.
        time: sampled time of each draw [ps].
        draws: how many draws, at random; None: the posterior mean, the reference run of propagation.
        runs: independent runs of the posterior mean, each with velocities and noise of its own; draws are run once.
        dynamics: timestep, friction, equilibration and the time between frames.
        temperature: [K]; None: that of the data the posterior comes from.
        engine: "jax" (BAOAB), "lammps" (exported tables and splines, `fix gjf`), or "auto": jax on a GPU or with terms
            that LAMMPS has no pair style for, else LAMMPS if it can be imported and was built with the styles that
            three-body (uf3) and local-density terms need, else jax.
        checkpoint: folder for finished draws, each written when it is finished; the same call goes on from there, and
            returns to the last bit what an uninterrupted one would (on the same kind of machine). Failed draws are
            tried again. The folder stays until you delete it. None: no folder.
        key: JAX random key: chooses draws and seeds the dynamics.

    Returns:
        Dims (draw, frame, bead, xyz). `positions` [nm] are unwrapped, molecules whole. `basis_energy` (draw, frame,
        basis) = dU/dw for reweighting; `potential_energy` [kJ/mol], kinetic `temperature` [K] and `pressure` [bar]
        (draw, frame), `virial` [kJ/mol], `configurational_temperature` (draw) [K]; diagnostics `out_of_range`
        (draw, term, side), the share of interactions below and above the sampled range, `rebuilds`, `list_growth`
        and `failed` (draw). Frames of a draw that blew up, or that LAMMPS refused, are NaN from there on, and a warning
        names the draw. The
        attributes hold the potential, the engine and the dynamics; `interrupted` is 1 if draws are missing.

    Raises:
        ValueError: for a start that is no finite single frame or does not fit the potential, a time, timestep or
            temperature that is not positive, an unknown engine or LAMMPS where it is not installed, more draws than
            the posterior has, `runs` below 1 or several of draws, a checkpoint of another simulation, and if every
            draw failed.
    """
    planned = plan(
        posterior,
        initial,
        time=time,
        draws=draws,
        runs=runs,
        dynamics=dynamics,
        temperature=temperature,
        engine=engine,
        key=key,
    )
    return planned.run(checkpoint)


def plan(
    posterior: xr.DataTree,
    initial: xr.Dataset,
    *,
    time: float,
    draws: int | None = None,
    runs: int = 1,
    dynamics: Langevin = _DEFAULT,
    temperature: float | None = None,
    engine: str = "auto",
    key: Array,
) -> Plan:
    """Check and prepare simulations; arguments and errors as of `simulate`."""
    potential = posteriors.potential_of(posterior)
    if temperature is None:
        temperature = posterior["posterior"].attrs.get("temperature")
    kelvin = check_temperature(temperature)
    if runs != int(runs) or runs < 1 or (draws is not None and runs > 1):
        raise ValueError(
            f"runs={runs} with draws={draws}: one run or more of the posterior mean (draws=None); of draws, one each"
        )
    frames = dynamics.frames(time)
    chosen_engine = _engine(engine, potential)
    start = start_of(initial, potential)
    with double_precision():
        system = System(
            Interactions.of(potential, start),
            start["positions"].values,
            np.asarray(start["box"].values, float),
            np.asarray(start["mass"].values, float),
            kelvin,
            dynamics,
            frames,
        )
        pick, run = jax.random.split(key)
        chosen = posteriors.draw_coefficients(posterior, draws, key=pick)
        if runs > 1:
            chosen = posteriors.Draws(*(np.repeat(each, int(runs), axis=0) for each in chosen))
        keys = jax.random.split(run, len(chosen.coefficients))
    known = posteriors.ranges_of(posterior)
    ranges = tuple(known.get(term.name, (-np.inf, np.inf)) for term in potential.terms)
    return Plan(system, start, chosen, keys, chosen_engine, ranges)


@dataclass(frozen=True, eq=False)
class Plan:
    """Simulations of draws that are chosen already, each with a random key of its own.

    Attributes:
        system: what is simulated.
        start: the initial configuration.
        chosen: the coefficients and where in the posterior they stand.
        keys: (draw,) random keys.
        engine: "jax" or "lammps".
        ranges: (term,) the sampled range of each term.
    """

    system: System
    start: xr.Dataset
    chosen: posteriors.Draws
    keys: Array
    engine: str
    ranges: tuple[tuple[float, float], ...]

    def run(self, checkpoint: str | os.PathLike[str] | None = None) -> xr.Dataset:
        """Simulate the draws that are not there yet.

        Args:
            checkpoint: folder for finished draws; None: no folder.

        Returns:
            The ensemble, see `simulate`.

        Raises:
            KeyboardInterrupt: if interrupted before any draw is finished.
            ValueError: if the folder holds another simulation, or every draw failed.
        """
        with parts_in(checkpoint, "simulation", self.identity, (Finished, Trajectory, Measurement)) as parts:
            finished = self._simulate(parts)
        ensemble = assemble(self.system, self.start, self.chosen, finished, self.engine)
        ensemble.attrs["interrupted"] = int(len(finished) < len(self.chosen.coefficients))
        _report_failures(ensemble)
        return ensemble

    @property
    def identity(self) -> str:
        """What a simulation must share with another one for their draws to be the same."""
        system = self.system
        who = system.interactions
        bonded = [part for name, rows in sorted(who.bonded.items()) for part in (name, np.asarray(rows))]
        return digest(
            *(who.potential.to_json(), *bonded, who.type_index, who.excluded),
            *(system.positions, system.box, system.mass, system.temperature, system.dynamics, system.frames),
            *(self.chosen.coefficients, self.chosen.chain, self.chosen.draw),
            *(np.asarray(jax.random.key_data(self.keys)), self.engine, self.ranges),
        )

    def _simulate(self, parts: Parts) -> dict[int, Finished]:
        """All draws by their number; fewer if interrupted."""
        system, coefficients = self.system, self.chosen.coefficients
        groups, workers = _groups(system, len(coefficients), self.engine)
        kept = ((k, parts.read(_name(k))) for k in range(len(coefficients)))
        finished = {k: part for k, part in kept if part is not None}
        # Draws that run together are simulated together again: in other company their last digits would differ.
        missing = [group for group in groups if not finished.keys() >= set(group)]
        if not missing:
            return finished
        count = sum(map(len, missing))
        steps = system.dynamics.equilibration_steps + system.frames * system.dynamics.stride
        of_mean = bool(np.all(self.chosen.draw < 0))
        many = f", {count} runs" if count > 1 else ""
        label = f"simulating the mean{many}" if of_mean else f"simulating {count} draws"
        runner = _jax_runner if self.engine == "jax" else _lammps_runner
        with (
            double_precision(),
            runner(system, self.start, coefficients, self.keys) as go,
            progress(f"{label} ({self.engine})", count * steps) as advanced,
        ):

            def finish(group: list[int], stopped: Callable[[], bool]) -> dict[int, Finished] | None:
                with jax.enable_x64(True):  # scopes do not reach into threads
                    trajectories = go(group, advanced, stopped)
                    if trajectories is None:
                        return None
                    return {
                        k: Finished(each, self._measured(k, each)) for k, each in zip(group, trajectories, strict=True)
                    }

            return _in_parallel(finish, missing, workers, finished, parts)

    def _measured(self, k: int, trajectory: Trajectory) -> Measurement:
        """By a meter of its own: the last digits depend on its padding, and that must not depend on other draws."""
        meter = Meter(self.system.interactions, self.system.box, self.ranges)
        return meter.measure(self.chosen.coefficients[k], trajectory.positions)


def _name(k: int) -> str:
    return f"draw_{k:05d}"


def _engine(engine: str, potential: Potential) -> str:
    if engine not in ENGINES:
        raise ValueError(f"engine={engine!r}: choose one of {', '.join(map(repr, ENGINES))}")
    if engine == "jax" or (engine == "auto" and jax.default_backend() != "cpu"):
        return "jax"
    answer = can_run(potential)
    if engine == "lammps" and not answer:
        raise ValueError(f"engine='lammps', but {answer.reason}; or take engine='jax'")
    return "lammps" if answer else "jax"


def _groups(system: System, count: int, engine: str) -> tuple[list[list[int]], int]:
    """Which draws run together, and how many groups at a time."""
    numbers = list(range(count))
    if engine == "lammps" or jax.default_backend() == "cpu":
        # One draw a thread: batches on a CPU are no faster, and one draw's lists need not wait for another's.
        return [[k] for k in numbers], min(cpu_count(), count)
    volume = abs(np.linalg.det(system.box))
    reach = system.interactions.potential.cutoff + langevin.SKIN
    neighbors = 2 * len(system.mass) * (4 / 3 * np.pi * reach**3 / volume) + 16
    size = int(np.clip(_BATCH_BYTES / (100 * len(system.mass) * neighbors), 1, count))
    return [numbers[k : k + size] for k in range(0, count, size)], 1


@contextlib.contextmanager
def _jax_runner(system: System, start: xr.Dataset, coefficients, keys) -> Iterator[_Runner]:
    def go(group, advanced, stopped):
        return langevin.Batch(system, coefficients[np.array(group)], keys[np.array(group)]).run(advanced, stopped)

    yield go


@contextlib.contextmanager
def _lammps_runner(system: System, start: xr.Dataset, coefficients, keys) -> Iterator[_Runner]:
    with tempfile.TemporaryDirectory(prefix="bayescg-lammps-") as folder:
        jobs = lammps.write_jobs(system, start, coefficients, keys, Path(folder))

        def go(group, advanced, stopped):
            trajectory = lammps.run(jobs[group[0]], advanced, stopped)
            return None if trajectory is None else [trajectory]

        yield go


def _in_parallel(
    finish, groups: list[list[int]], workers: int, finished: dict[int, Finished], parts: Parts
) -> dict[int, Finished]:
    """Run groups in threads (compiled code and other processes leave Python's lock alone); keep what is finished.

    Returns:
        `finished`, with what these groups add.
    """
    count = len(finished.keys() | {k for group in groups for k in group})
    stop = threading.Event()
    with ThreadPoolExecutor(min(workers, len(groups))) as pool:
        futures = [pool.submit(finish, group, stop.is_set) for group in groups]
        try:
            for future in as_completed(futures):
                for k, draw in (future.result() or {}).items():
                    # What failed may have failed for a reason outside, such as memory: it is tried again.
                    if draw.trajectory.failure is None:
                        parts.keep(_name(k), draw)
                    finished[k] = draw
        except KeyboardInterrupt:
            if not finished:
                raise
            more = "" if parts.folder is None else f"; the same call goes on from {parts.folder}"
            warnings.warn(
                f"interrupted: {len(finished)} of {count} draws are finished and returned{more}",
                UserWarning,
                stacklevel=5,
            )
        finally:
            stop.set()
            for future in futures:
                future.cancel()
    return finished


def _origin(ensemble: xr.Dataset, k: int) -> str:
    """Where the coefficients of a draw come from."""
    chain, draw = (int(ensemble[name][k]) for name in ("posterior_chain", "posterior_draw"))
    return "the posterior mean" if draw < 0 else f"chain {chain}, draw {draw} of the posterior"


def _report_failures(ensemble: xr.Dataset) -> None:
    failed = np.flatnonzero(ensemble["failed"].values)
    if not len(failed):
        return
    named = [f"draw {k} ({_origin(ensemble, k)}) {ensemble['failure'].values[k]}" for k in failed[:5]]
    text = "; ".join(named) + ("" if len(failed) <= 5 else f"; and {len(failed) - 5} more")
    if len(failed) == ensemble.sizes["draw"]:
        raise ValueError(
            f"every simulation failed: {text}. The start may have overlapping beads, the timestep may be too long, or "
            "the potential attracts beads without end"
        )
    warnings.warn(
        f"simulations failed: {text}. Their frames are NaN from there on; leave them out by "
        "ensemble.sel(draw=~ensemble.failed)",
        UserWarning,
        stacklevel=4,
    )
