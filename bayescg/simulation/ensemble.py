"""`simulate`: from a posterior to ensembles of configurations, one for each draw."""

from __future__ import annotations

import contextlib
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
from bayescg._runtime import cpu_count, double_precision, progress
from bayescg.data.dataset import check_temperature
from bayescg.exports.lammps import can_run
from bayescg.potentials import Interactions, Potential
from bayescg.simulation import lammps, langevin
from bayescg.simulation.dynamics import Langevin, System, Trajectory
from bayescg.simulation.layout import Finished, assemble
from bayescg.simulation.measure import Meter
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
    dynamics: Langevin = _DEFAULT,
    temperature: float | None = None,
    engine: str = "auto",
    key: Array,
) -> xr.Dataset:
    """Simulate draws of a posterior at constant volume and temperature.

    Every draw starts from the same configuration with velocities and noise of its own, is equilibrated
    (`dynamics.equilibration`, thrown away) and sampled for `time`. Draws run in parallel: on a CPU in threads (jax) or
    processes (lammps), on a GPU in one compiled program.

    Ctrl-C returns the draws that are finished, with a warning; if none is, KeyboardInterrupt goes on.

    Args:
        posterior: from `force_match`, `relative_entropy` or `posterior.from_coefficients`.
        initial: one frame of a coarse-grained dataset, `cg.isel(frame=-1)`: positions, box, masses, bonds.
        time: sampled time of each draw [ps].
        draws: how many draws, at random; None: the posterior mean, the reference run of propagation.
        dynamics: timestep, friction, equilibration and the time between frames.
        temperature: [K]; None: that of the data the posterior comes from.
        engine: "jax" (BAOAB), "lammps" (exported tables and splines, `fix gjf`), or "auto": jax on a GPU or with terms
            that LAMMPS has no pair style for, else LAMMPS if it can be imported and was built with the styles that
            three-body (uf3) and local-density terms need, else jax.
        key: JAX random key: chooses draws and seeds the dynamics.

    Returns:
        Dims (draw, frame, bead, xyz). `positions` [nm] are unwrapped, molecules whole. `basis_energy` (draw, frame,
        basis) = dU/dw for reweighting; `potential_energy` [kJ/mol], kinetic `temperature` [K] and `pressure` [bar]
        (draw, frame), `virial` [kJ/mol], `configurational_temperature` (draw) [K]; diagnostics `out_of_range`
        (draw, term, side), the share of interactions below and above the sampled range, `rebuilds`, `list_growth`
        and `failed` (draw). Frames of a draw that blew up, or that LAMMPS refused, are NaN from there on, and a warning
        names the draw. The
        attributes hold the potential, the engine and the dynamics.

    Raises:
        ValueError: for a start that is no finite single frame or does not fit the potential, a time, timestep or
            temperature that is not positive, an unknown engine or LAMMPS where it is not installed, more draws than
            the posterior has, and if every draw failed.
    """
    planned = plan(
        posterior,
        initial,
        time=time,
        draws=draws,
        dynamics=dynamics,
        temperature=temperature,
        engine=engine,
        key=key,
    )
    return planned.run()


def plan(
    posterior: xr.DataTree,
    initial: xr.Dataset,
    *,
    time: float,
    draws: int | None = None,
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

    def run(self, earlier: xr.Dataset | None = None) -> xr.Dataset:
        """Simulate the draws that are not there yet.

        Args:
            earlier: what a run of the same plan left that was interrupted.

        Returns:
            The ensemble, see `simulate`, with the draws of `earlier` in their places.
        """
        count = len(self.chosen.coefficients)
        there = {} if earlier is None else self._numbers(earlier)
        missing = [k for k in range(count) if k not in there]
        if not missing and earlier is not None:
            return earlier
        finished = self._simulate(missing, len(there))
        ensemble = assemble(self.system, self.start, self.chosen, finished, self.engine)
        if earlier is not None and there:
            joined = xr.concat(
                [earlier.isel(draw=list(there.values())), ensemble],
                dim="draw",
                data_vars="minimal",
                coords="minimal",
                compat="override",
                join="override",
                combine_attrs="override",
            )
            order = np.argsort([*there, *sorted(finished)])
            ensemble = joined.isel(draw=order).assign_coords(draw=np.arange(len(order))).assign_attrs(ensemble.attrs)
        _report_failures(ensemble)
        return ensemble

    def _numbers(self, earlier: xr.Dataset) -> dict[int, int]:
        """Where the draws stand that an earlier run has finished: number of the draw -> place in its ensemble."""
        if earlier.attrs.get("engine") != self.engine:
            return {}
        names = zip(self.chosen.chain.tolist(), self.chosen.draw.tolist(), strict=True)
        number = {name: k for k, name in enumerate(names)}
        places = zip(earlier["posterior_chain"].values.tolist(), earlier["posterior_draw"].values.tolist(), strict=True)
        return {number[name]: place for place, name in enumerate(places) if name in number}

    def _simulate(self, numbers: list[int], before: int) -> dict[int, Finished]:
        system, coefficients = self.system, self.chosen.coefficients
        meter = Meter(system.interactions, system.box, self.ranges)
        groups, workers = _groups(system, numbers, self.engine)
        steps = system.dynamics.equilibration_steps + system.frames * system.dynamics.stride
        mean = bool(np.all(self.chosen.draw < 0))
        label = "simulating the mean" if mean else f"simulating {len(numbers)} draws"
        runner = _jax_runner if self.engine == "jax" else _lammps_runner
        with (
            double_precision(),
            runner(system, self.start, coefficients, self.keys) as go,
            progress(f"{label} ({self.engine})", len(numbers) * steps) as advanced,
        ):

            def finish(group: list[int], stopped: Callable[[], bool]) -> dict[int, Finished] | None:
                with jax.enable_x64(True):  # scopes do not reach into threads
                    trajectories = go(group, advanced, stopped)
                    if trajectories is None:
                        return None
                    return {
                        k: Finished(each, meter.measure(coefficients[k], each.positions))
                        for k, each in zip(group, trajectories, strict=True)
                    }

            return _in_parallel(finish, groups, workers, before)


def _engine(engine: str, potential: Potential) -> str:
    if engine not in ENGINES:
        raise ValueError(f"engine={engine!r}: choose one of {', '.join(map(repr, ENGINES))}")
    if engine == "jax" or (engine == "auto" and jax.default_backend() != "cpu"):
        return "jax"
    answer = can_run(potential)
    if engine == "lammps" and not answer:
        raise ValueError(f"engine='lammps', but {answer.reason}; or take engine='jax'")
    return "lammps" if answer else "jax"


def _groups(system: System, numbers: list[int], engine: str) -> tuple[list[list[int]], int]:
    """Which draws run together, and how many groups at a time."""
    if engine == "lammps" or jax.default_backend() == "cpu":
        # One draw a thread: batches on a CPU are no faster, and one draw's lists need not wait for another's.
        return [[k] for k in numbers], min(cpu_count(), len(numbers))
    volume = abs(np.linalg.det(system.box))
    reach = system.interactions.potential.cutoff + langevin.SKIN
    neighbors = 2 * len(system.mass) * (4 / 3 * np.pi * reach**3 / volume) + 16
    size = int(np.clip(_BATCH_BYTES / (100 * len(system.mass) * neighbors), 1, len(numbers)))
    return [numbers[k : k + size] for k in range(0, len(numbers), size)], 1


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


def _in_parallel(finish, groups: list[list[int]], workers: int, before: int) -> dict[int, Finished]:
    """Run all groups in threads (compiled code and other processes leave Python's lock alone)."""
    count = before + sum(map(len, groups))
    stop = threading.Event()
    finished: dict[int, Finished] = {}
    with ThreadPoolExecutor(workers) as pool:
        futures = [pool.submit(finish, group, stop.is_set) for group in groups]
        try:
            for future in as_completed(futures):
                finished.update(future.result() or {})
        except KeyboardInterrupt:
            if not finished:
                raise
            warnings.warn(
                f"interrupted: {before + len(finished)} of {count} draws are finished and returned",
                UserWarning,
                stacklevel=5,
            )
        finally:
            stop.set()
            for future in futures:
                future.cancel()
    return finished


def _report_failures(ensemble: xr.Dataset) -> None:
    failed = np.flatnonzero(ensemble["failed"].values)
    if not len(failed):
        return
    named = [
        f"draw {k} (chain {int(ensemble['posterior_chain'][k])}, draw {int(ensemble['posterior_draw'][k])} of the "
        f"posterior) {ensemble['failure'].values[k]}"
        for k in failed[:5]
    ]
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
