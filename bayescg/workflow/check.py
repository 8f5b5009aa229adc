"""`check`: what a configuration means for its files, and what it will cost, from a few frames."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from bayescg._programs import FOLDER
from bayescg._runtime import cpu_count, double_precision, hidden_progress
from bayescg.data.dataset import joined
from bayescg.data.plausibility import configurational_temperature, errors_apart
from bayescg.data.trajectories.vacuum import refuse_open
from bayescg.exports.lammps import can_run
from bayescg.geometry.images import shortest_height
from bayescg.inference import ForceStatistics, fit_pilot, force_statistics
from bayescg.inference.linear.consistency import consistency
from bayescg.inference.linear.fit import kernels_by_name
from bayescg.inference.linear.marginal import hyperparameter_density, reduce
from bayescg.inference.linear.priors import build_prior
from bayescg.inference.statistics.weights import doubts, effective, refuse_weights
from bayescg.potentials import Potential, fill_ranges
from bayescg.workflow.frames import Frames
from bayescg.workflow.reference import Reference
from bayescg.workflow.schema.config import Config

_FEWEST, _MOST, _BEADS = 16, 100, 20_000
"""Frames read to look at, as many as hold so many beads; half of them are passed twice to see what a frame costs."""

_GRADIENTS = 8.0
"""Of the density in one step of NUTS, as typical fits take."""

_PROGRAMS = 5.0
"""What a fit compiles, relative to the gradient of its density."""

_DENSITY, _DRAW = 0.5, 1.0
"""Cost of a value of the density and of a draw of the coefficients, relative to the gradient."""


def check(config: Config) -> Iterator[tuple[str, str]]:
    """Look at the input of a configuration without carrying it out.

    Args:
        config: from `workflow.load`.

    Yields:
        Rows of a table, name and value: frames, beads, box, forces, and the time and memory that mapping and fit take.

    Raises:
        ValueError: for what a run would refuse, after the rows before it.
    """
    began = time.perf_counter()
    parts = config.each or {"": config}
    fits = {name: part.settings.inference.fit for name, part in parts.items()}
    structural = [name for name, fit in fits.items() if fit != "force_matching"]
    needed = len(structural) < len(parts)
    with hidden_progress():
        frames = Frames(config.settings.input, config.settings.mapping, config.file.parent, forces=needed)
        opened = time.perf_counter()
        first = joined(list(frames.first(min(_MOST, max(_FEWEST, _BEADS // frames.n_beads)))))
        reading = (time.perf_counter() - opened) / first.sizes["frame"]
        yield from _frames(first, frames.count)
        yield from _weights(frames.weights)
        yield from _beads(first, frames.guessed)
        yield from _box(first, [part.potential for part in parts.values()])
        if needed:
            yield from _forces(first)
        for name, part in parts.items():
            mark = f"{name}: " if name else ""
            _refuse(part, first)
            if name in structural:
                refuse_weights(first, "relative_entropy", "fit forces, which do")
                Reference(part.compared, first.sizes["frame"], part.potential.exclude_bonds).add(first)
                simulates = fits[name] == "relative_entropy"
                cost = (
                    "simulations, whose number is not foreseen"
                    if simulates
                    else "one pass, and a fit as that of forces"
                )
                yield f"{mark}fit by {fits[name]}", f"takes {cost}"
                continue
            yield f"{mark}forces and structure", _agreement(part, first)
            for row, value in _cost(part, first, frames.count, reading):
                yield f"{mark}{row}", value
    yield "checked in", f"{time.perf_counter() - began:.0f} s"


def _refuse(config: Config, first: xr.Dataset) -> None:
    """What a run would find out only when it simulates and observes.

    Raises:
        ValueError: for terms or an engine that do not fit, or a pressure where there is no volume.
    """
    potential = fill_ranges(config.potential, first)
    if any(each.kind == "virial_pressure" for each in config.observables):
        refuse_open(first, "there is no volume that could have a pressure", "leave virial_pressure out")
    if config.settings.simulation.engine == "lammps" and not (answer := can_run(potential)):
        raise ValueError(f"simulation.engine: lammps, but {answer.reason}; or take jax")


def _frames(first: xr.Dataset, count: int) -> Iterator[tuple[str, str]]:
    times = first["time"].values
    spacing = float(np.median(np.diff(times))) if len(times) > 1 else float("nan")
    text = f"{count}"
    if np.isfinite(spacing) and spacing > 0:
        text += f", {spacing:.4g} ps apart, {spacing * (count - 1):.4g} ps in all"
    yield "frames", text


def _weights(weights: np.ndarray | None) -> Iterator[tuple[str, str]]:
    if weights is not None:
        worth = effective(weights)
        yield "frames are worth", f"{worth:.4g} of equal weight"
        for doubt in doubts(int(np.count_nonzero(weights)), worth):
            yield "doubt", doubt


def _beads(first: xr.Dataset, guessed: bool) -> Iterator[tuple[str, str]]:
    types, mass = first["bead_type"].values, first["mass"].values
    charge = first["charge"].values
    for name in np.unique(types):
        own = types == name
        masses = np.unique(np.round(mass[own], 3))
        said = f"{masses[0]:g} Da" if len(masses) == 1 else f"{masses.min():g} to {masses.max():g} Da"
        charges = np.unique(np.round(charge[own], 3))
        said += "" if np.all(charges == 0) else f", charge {', '.join(f'{q:+g}' for q in charges[:4])} e"
        yield f"beads {name}", f"{int(own.sum())}, {said}"
    yield "molecules", f"{len(np.unique(first['molecule'].values))}"
    if guessed:
        yield "masses", "guessed from the names of atoms: the topology has none"


def _box(first: xr.Dataset, potentials: list[Potential]) -> Iterator[tuple[str, str]]:
    boxes = first["box"].values
    if first.attrs.get("boundary") == "open":
        yield "box", "none: in vacuum"
        return
    edges = np.diagonal(boxes[0])
    height = shortest_height(boxes)
    yield "box", f"{edges[0]:.4g} x {edges[1]:.4g} x {edges[2]:.4g} nm; cutoffs up to {height / 2:.4g} nm"
    terms = [term for potential in potentials for term in potential.terms]
    reach = max((getattr(term, "cutoff", 0.0) for term in terms), default=0.0)
    if reach > height / 2:
        raise ValueError(
            f"the largest cutoff is {reach:g} nm, above half the shortest height of the box, {height / 2:.4g} nm: "
            "choose a shorter one"
        )


def _forces(first: xr.Dataset) -> Iterator[tuple[str, str]]:
    forces = first["forces"].values
    yield "forces", f"{np.sqrt(np.mean(forces.astype(float) ** 2)):.4g} kJ/mol/nm (rms)"
    temperature, error = configurational_temperature(first)
    wanted = float(first.attrs["temperature"])
    if not np.isfinite(error):
        yield "configurational temperature", "unknown: too few beads are near each other"
        return
    off = errors_apart(temperature, error, wanted)
    doubt = "" if off is None else f"; {off:.0f} errors off: positions and forces do not belong together"
    yield "configurational temperature", f"{temperature:.0f} ± {error:.0f} K of {wanted:g} K{doubt}"


def _agreement(config: Config, first: xr.Dataset) -> str:
    """Whether forces and structure are of one ensemble, as far as a few frames tell."""
    try:
        found = consistency(force_statistics(fill_ranges(config.potential, first), first, pilot=None, structure=True))
    except ValueError as error:
        return f"not compared: {error}"
    if np.isnan(found.p):
        return f"not compared: {found.blocks} blocks of frames are too few"
    return found.doubt or (
        f"agree (p = {found.p:.2g}): forces are {found.ratio:.3g} ± {found.ratio_se:.1g} of what positions imply"
    )


def _cost(config: Config, first: xr.Dataset, count: int, reading: float) -> Iterator[tuple[str, str]]:
    """Seconds of the pass and of the fit, and memory: measured on a few frames, and multiplied."""
    first = first.drop_vars("weight", errors="ignore")  # which may all be zero here, and take no time
    potential = fill_ranges(config.potential, first)
    some = first.isel(frame=slice(0, max(1, first.sizes["frame"] // 2)))
    reference = Reference(config.compared, 2 * some.sizes["frame"], potential.exclude_bonds)
    pilot = fit_pilot(potential, some)

    def passing() -> tuple[ForceStatistics, float]:
        begin = time.perf_counter()
        found = force_statistics(potential, some, pilot=pilot)
        reference.add(some)
        return found, time.perf_counter() - begin

    (statistics, with_compiling), (_, without) = passing(), passing()
    compiling = max(with_compiling - without, 0.0)
    yield "coefficients", f"{statistics.potential.n_basis} of {len(statistics.potential.terms)} terms"
    one = without / some.sizes["frame"] + reading
    # A run finds half of what it compiles where this process has kept it.
    programs = 1.5 if os.environ.get(FOLDER) else 3.0
    yield "mapping will take", _duration(programs * compiling + one * count)
    yield f"fit by {config.settings.inference.sampler} will take", _duration(_fit_seconds(config, statistics))
    if sys.platform != "win32":  # which does not tell what a process has taken
        yield "memory will peak at", f"{_memory(config, statistics, count) / 2**30:.1f} GiB"


def _fit_seconds(config: Config, statistics: ForceStatistics) -> float:
    chosen = config.settings.inference
    with double_precision():
        prior = build_prior(statistics, kernels_by_name(config.kernels))
        target = hyperparameter_density(prior, reduce(prior, statistics.total()))
        times = []
        for _ in range(2):
            begin = time.perf_counter()
            jax.block_until_ready(target.value_and_gradient(jnp.asarray(target.center)))
            times.append(time.perf_counter() - begin)
        begin = time.perf_counter()
        for _ in range(20):
            jax.block_until_ready(target.value_and_gradient(jnp.asarray(target.center)))
        gradient = (time.perf_counter() - begin) / 20
        unknowns = len(target.center)
    compiling = _PROGRAMS * max(times[0] - times[1], 0.0)
    draws = chosen.chains * chosen.draws
    searching = 20 * 2 * unknowns * gradient
    drawing = _DRAW * draws * gradient
    if chosen.sampler == "nuts":
        steps = -(-chosen.chains // cpu_count()) * (chosen.warmup + chosen.draws)
        return compiling + searching + drawing + _GRADIENTS * steps * gradient
    return compiling + searching + drawing + 2 * _DENSITY * draws * gradient / cpu_count()


def _memory(config: Config, statistics: ForceStatistics, count: int) -> float:
    """Bytes: what this process has taken by now, the sums of all blocks, and the draws with their curves."""
    import resource

    chosen = config.settings.inference
    taken = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    columns = statistics.potential.n_basis + statistics.potential.n_baselines
    blocks = min(count, 2 * len(statistics.sums)) if count < 128 else 128
    sums = 3 * 8 * blocks * len(statistics.bead_types) * columns**2
    draws = 6 * 8 * chosen.chains * chosen.draws * columns
    return taken + sums + draws


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"about {seconds:.0f} s"
    return f"about {seconds / 60:.0f} min" if seconds < 5400 else f"about {seconds / 3600:.1f} h"
