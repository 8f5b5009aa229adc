"""What each step of `run` does: from the files of the steps before it to its own."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator

import jax
import xarray as xr

import bayescg as bcg
from bayescg import _runtime, report
from bayescg import posterior as posteriors
from bayescg.data import load as load_dataset
from bayescg.data import save
from bayescg.inference import (
    ForceStatistics,
    Sampling,
    distributed_statistics,
    fit_pilot,
    force_match,
    force_statistics,
)
from bayescg.inference.statistics.files import to_dataset
from bayescg.observables import summarize
from bayescg.report import results as names
from bayescg.simulation import Langevin
from bayescg.simulation.ensemble import plan
from bayescg.storage import load as load_result
from bayescg.workflow.build import Frames, kernels_of, measure
from bayescg.workflow.config import Config
from bayescg.workflow.reference import Reference
from bayescg.workflow.store import Record, stamp_of, write_stamped


def map_trajectory(config: Config, stamps: dict[str, str], record: Record, scheduler: str | None = None) -> None:
    """One pass over the trajectory: sums of forces, observables, last frame; only what is not up to date.

    With a Dask scheduler its workers make the sums, and a pass here is left only for the observables.
    """
    out = config.output
    stale = {name for name, stamp in stamps.items() if stamp_of(out / name) != stamp}
    if not stale:  # asked for by force
        stale = set(stamps)
    frames = Frames(config)
    observables = config.observables if names.REFERENCE in stale else ()
    reference = Reference(observables, frames.count, config.potential.exclude_bonds)
    last: xr.Dataset | None = None
    sums: ForceStatistics | None = None

    def passing(advance) -> Iterator[xr.Dataset]:
        nonlocal last
        for chunk in frames:
            reference.add(chunk)
            last = chunk.isel(frame=[-1])
            yield chunk
            advance(chunk.sizes["frame"])

    # Scores are summed whatever the calibration, so that another one needs no new pass.
    pilot = fit_pilot(config.potential, next(iter(frames))) if names.STATISTICS in stale else None
    if scheduler is not None and names.STATISTICS in stale:
        sums = distributed_statistics(config.potential, frames.chunks(), client=scheduler, pilot=pilot)
        frames = frames if observables else frames.last()
    with _runtime.progress("One pass over the trajectory", frames.count) as advance:
        if names.STATISTICS in stale and sums is None:
            sums = force_statistics(config.potential, passing(advance), pilot=pilot)
        else:
            for _ in passing(advance):
                pass
    if names.REFERENCE in stale:
        groups = {
            str(number): array.to_dataset(name="value").assign_attrs(kind=each.kind, label=each.label)
            for number, (each, array) in enumerate(zip(config.observables, reference.results(), strict=True))
        }
        tree = xr.DataTree.from_dict({"/": xr.Dataset(), **groups})
        write_stamped(tree, out / names.REFERENCE, dataclasses.replace(record, stamp=stamps[names.REFERENCE]))
    if last is not None and names.LAST_FRAME in stale:
        save(last.assign_attrs(record.attrs), out / names.LAST_FRAME)
    if sums is not None:
        write_stamped(to_dataset(sums), out / names.STATISTICS, record)


def fit(config: Config, record: Record) -> None:
    """The posterior from the sums of forces."""
    chosen = config.inference
    tree = force_match(
        config.potential,
        load_result(config.output / names.STATISTICS),
        kernels=kernels_of(chosen.kernels),
        method=chosen.method,
        calibration=chosen.calibration,
        settings=Sampling(chosen.chains, chosen.warmup, chosen.draws),
        noise_ceiling=chosen.noise_ceiling,
        key=_key(config, 0),
    )
    write_stamped(tree, config.output / names.POSTERIOR, record)


def simulate_draws(config: Config, record: Record) -> None:
    """The ensemble; if interrupted, with the draws that are finished, for the next run to go on from."""
    chosen, path = config.simulation, config.output / names.ENSEMBLE
    unfinished = f"interrupted {record.stamp}"
    earlier = names.load_ensemble(path) if stamp_of(path) == unfinished else None
    planned = plan(
        posteriors.load(config.output / names.POSTERIOR),
        load_dataset(config.output / names.LAST_FRAME).isel(frame=-1),
        time=chosen.time,
        draws=chosen.draws,
        dynamics=dynamics_of(config),
        temperature=chosen.temperature,
        engine=chosen.engine,
        key=_key(config, 1),
    )
    ensemble = planned.run(earlier)
    interrupted = ensemble.sizes["draw"] < chosen.draws
    stamp = unfinished if interrupted else record.stamp
    write_stamped(ensemble, path, dataclasses.replace(record, stamp=stamp))
    if interrupted:
        raise KeyboardInterrupt


def observe(config: Config, record: Record) -> None:
    """Observables of the draws that did not blow up, beside those of the atomistic data: one file for each kind."""
    ensemble = names.load_ensemble(config.output / names.ENSEMBLE)
    ensemble = ensemble.isel(draw=~ensemble["failed"].values)
    reference = xr.load_datatree(config.output / names.REFERENCE, engine="h5netcdf")
    for kind in sorted({each.kind for each in config.observables}):
        groups: dict[str, xr.Dataset] = {}
        for number, each in enumerate(config.observables):
            if each.kind != kind:
                continue
            array = measure(each, ensemble)
            atomistic = reference[str(number)].to_dataset()["value"].rename(array.name)
            name = each.label.replace("/", "_")
            groups[name] = xr.Dataset(attrs={"label": each.label})
            groups[f"{name}/blocks"] = array.to_dataset(name=array.name)
            groups[f"{name}/predicted"] = summarize(array)
            if atomistic.sizes["block"] > 1:
                groups[f"{name}/atomistic_blocks"] = atomistic.to_dataset(name=array.name)
                groups[f"{name}/atomistic"] = summarize(atomistic)
        tree = xr.DataTree.from_dict({"/": xr.Dataset(attrs={"kind": kind}), **groups})
        write_stamped(tree, config.output / f"{kind}.nc", record)


def export(config: Config, record: Record) -> None:
    """The mean, and draws if asked for, for other programs; a program that is not installed is left out."""
    tree = posteriors.load(config.output / names.POSTERIOR)
    initial = load_dataset(config.output / names.LAST_FRAME)
    written: dict[str, list[str]] = {}
    for form in config.exports.formats:
        try:
            paths = bcg.export(tree, config.output / form, format=form, initial=initial)
            if config.exports.draws:
                paths += bcg.export(
                    *(tree, config.output / form / "draws"),
                    **{"format": form, "draws": config.exports.draws, "initial": initial, "key": _key(config, 2)},
                )
        except ImportError as error:
            record.said.append(f"not exported for {form}: {error}")
            continue
        written[form] = [str(path.relative_to(config.output)) for path in paths]
    with _runtime.atomic_path(config.output / names.EXPORTS) as temporary:
        temporary.write_text(json.dumps({**record.attrs, "files": written}, indent=1) + "\n")


def write_report(config: Config, record: Record) -> None:
    """The page and the figures."""
    found = report.load_results(config.output)
    report.write(found, config.output / names.REPORT, figures=config.output / names.FIGURES, meta=record.attrs)


def _key(config: Config, step: int):
    return jax.random.fold_in(jax.random.key(config.seed), step)


def dynamics_of(config: Config) -> Langevin:
    """The integrator's settings."""
    chosen = config.simulation
    return Langevin(chosen.timestep, chosen.friction, chosen.equilibration, chosen.interval)
