"""The steps of `run`: map, fit, simulate, observe, export, report. Each is skipped when its files are up to date."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bayescg import _runtime, report
from bayescg.exports import check_format
from bayescg.report import results as names
from bayescg.workflow import actions
from bayescg.workflow.build import kernels_of
from bayescg.workflow.config import Config
from bayescg.workflow.store import Record, file_fingerprint, fingerprint, recording, stamp_of

STEPS = ("map", "fit", "simulate", "observe", "export", "report")

_Say = Callable[[str], None]


@dataclass(frozen=True)
class Step:
    """One step.

    Attributes:
        name: of the step.
        files: what it writes; the step is done when all carry `stamp`.
        stamp: fingerprint of all settings and inputs that it depends on.
        action: does it.
    """

    name: str
    files: tuple[Path, ...]
    stamp: str
    action: Callable[[Record], None]

    def stale(self) -> list[Path]:
        """Files that are missing or were made by other settings."""
        return [path for path in self.files if stamp_of(path) != self.stamp]


def run(
    config: Config,
    *,
    force: bool = False,
    last: str = "report",
    scheduler: str | None = None,
    say: _Say = lambda text: None,
) -> names.Results:
    """Carry out the steps of a configuration that are not up to date.

    Args:
        config: from `workflow.load`.
        force: redo all steps.
        last: stop after this one.
        scheduler: of a Dask cluster whose workers make the sums of forces; None: this process makes them.
        say: receives one line for every step that is skipped or done, and every warning.

    Returns:
        What the output folder holds.

    Raises:
        ValueError: for settings that do not fit the data; finished steps remain.
        KeyboardInterrupt: if interrupted; finished steps remain, and draws that were simulated.
    """
    if last not in STEPS:
        raise ValueError(f"last={last!r}: the steps are {', '.join(STEPS)}")
    check(config)
    config.output.mkdir(parents=True, exist_ok=True)
    _keep_config(config)
    for step in steps(config, scheduler)[: STEPS.index(last) + 1]:
        stale = list(step.files) if force else step.stale()
        listed = ", ".join(path.name for path in step.files) or "nothing to write"
        if not stale:
            say(f"{step.name}: up to date ({listed})")
            continue
        fresh = [path.name for path in stale if not path.exists()]
        why = "asked for" if force else "settings or inputs have changed"
        say(f"{step.name}: begins" if len(fresh) == len(stale) else f"{step.name}: again ({why})")
        if force and step.name == "simulate":
            # What an interrupted run has left would be gone on from.
            step.files[0].unlink(missing_ok=True)
        with recording(step.stamp, say) as record:
            step.action(record)
        say(f"{step.name}: done in {record.attrs[names.SECONDS]:.0f} s ({listed})")
    if not (config.output / names.POSTERIOR).is_file():
        return names.Results(config=config.text)
    return report.load_results(config.output)


def check(config: Config) -> None:
    """What can be found out before the first minute of work.

    Raises:
        ValueError: for an unknown kernel, kernels of unknown terms, too many draws, or times that do not fit.
    """
    kernels_of(config.inference.kernels)
    terms = [term.name for term in config.potential.terms]
    unknown = sorted(set(config.inference.kernels) - set(terms))
    if unknown:
        raise ValueError(f"inference.kernels: no term is called {', '.join(unknown)}; terms: {', '.join(terms)}")
    sampled = config.inference.chains * config.inference.draws
    for section, draws in (("simulation", config.simulation.draws), ("exports", config.exports.draws)):
        if draws > sampled:
            raise ValueError(f"{section}.draws={draws}, but inference makes chains * draws = {sampled} draws only")
    for format in config.exports.formats:
        try:
            check_format(format, config.potential)
        except ValueError as error:
            raise ValueError(f"exports: {error}") from None
    actions.dynamics_of(config).frames(config.simulation.time)


def steps(config: Config, scheduler: str | None = None) -> list[Step]:
    """All steps with their fingerprints, in order."""
    out, seed = config.output, config.seed
    files = [file_fingerprint(path) for path in config.inputs]
    data = fingerprint(files, _settings(config.input), _settings(config.mapping))
    sums = fingerprint(data, config.potential.to_json())
    seen = fingerprint(data, config.potential.exclude_bonds, [_settings(each) for each in config.observables])
    fitted = fingerprint(sums, _settings(config.inference), seed)
    simulated = fingerprint(fitted, _settings(config.simulation), seed)
    compared = fingerprint(simulated, seen)
    exported = fingerprint(fitted, _settings(config.exports), seed)
    kinds = sorted({each.kind for each in config.observables})

    def mapped(record: Record) -> None:
        stamps = {names.STATISTICS: sums, names.LAST_FRAME: sums, names.REFERENCE: seen}
        actions.map_trajectory(config, stamps, record, scheduler)

    mapping = _MapStep(
        "map", tuple(out / name for name in (names.STATISTICS, names.LAST_FRAME, names.REFERENCE)), sums, mapped, seen
    )
    tables = (out / names.EXPORTS,) if config.exports.formats else ()
    observed = tuple(out / f"{kind}.nc" for kind in kinds)

    def step(name: str, files: tuple[Path, ...], stamp: str, action: Callable[[Config, Record], None]) -> Step:
        return Step(name, files, stamp, lambda record: action(config, record))

    return [
        mapping,
        step("fit", (out / names.POSTERIOR,), fitted, actions.fit),
        step("simulate", (out / names.ENSEMBLE,), simulated, actions.simulate_draws),
        step("observe", observed, compared, actions.observe),
        step("export", tables, exported, actions.export),
        step("report", (out / names.REPORT,), fingerprint(compared, exported), actions.write_report),
    ]


@dataclass(frozen=True)
class _MapStep(Step):
    """The pass over the trajectory; observables of the reference have a fingerprint of their own."""

    seen: str

    def stale(self) -> list[Path]:
        return [p for p in self.files if stamp_of(p) != (self.seen if p.name == names.REFERENCE else self.stamp)]


def _settings(section) -> dict:
    return {field.name: getattr(section, field.name) for field in dataclasses.fields(section)}


def _keep_config(config: Config) -> None:
    """A copy of the settings beside the results, with paths as they were given."""
    path = config.output / names.CONFIG
    if config.file.resolve() == path.resolve():
        return
    text = f"# A copy: relative paths start at {config.file.parent.resolve()}\n{config.text}"
    with _runtime.atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
