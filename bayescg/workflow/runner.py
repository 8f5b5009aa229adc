"""The runner: knows the order of the steps, and does those that are not up to date."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import get_args

from filelock import FileLock, Timeout

from bayescg import _runtime
from bayescg.report.results import Results
from bayescg.workflow import folder
from bayescg.workflow.schema.choices import Format, StepName
from bayescg.workflow.schema.config import Config
from bayescg.workflow.stamps import recording
from bayescg.workflow.steps.export import Export
from bayescg.workflow.steps.fit import Fit
from bayescg.workflow.steps.map import Map
from bayescg.workflow.steps.observe import Observe
from bayescg.workflow.steps.report import Report
from bayescg.workflow.steps.side_by_side import SideBySide
from bayescg.workflow.steps.simulate import Simulate
from bayescg.workflow.steps.step import Step

STEPS: tuple[str, ...] = get_args(StepName)
_LOCK, _COPY = ".lock", "# A copy:"


def run(
    config: Config,
    *,
    force: bool = False,
    last: str = "report",
    scheduler: str | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> Results:
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
        ValueError: for settings that do not fit the data, or results that another run has replaced meanwhile; finished
            steps remain.
        KeyboardInterrupt: if interrupted; finished steps remain, and finished parts of the step that was under way.
    """
    if last not in STEPS:
        raise ValueError(f"last={last!r}: the steps are {', '.join(STEPS)}")
    config.output.mkdir(parents=True, exist_ok=True)
    with _alone(config.output):
        _clear(config.output)
        _keep_config(config)
        if not config.each:
            for step in steps_of(config, scheduler)[: STEPS.index(last) + 1]:
                _carry_out(step, force, say)
        else:
            _carry_out_each(config, force, last, scheduler, say)
    if not folder.has_results(config.output):
        return Results(config=config.text)
    return folder.load_results(config.output)


def _carry_out_each(config: Config, force: bool, last: str, scheduler: str | None, say: Callable[[str], None]) -> None:
    """All steps of each of several potentials, and the page with all of them."""
    reports = []
    for name, part in config.each.items():
        part.output.mkdir(exist_ok=True)
        _clear(part.output)
        steps = steps_of(part, scheduler)
        for step in steps[: STEPS.index(last) + 1]:
            _carry_out(step, force, lambda text, name=name: say(f"{name}: {text}"))
        reports.append(steps[-1])
    if last == "report":
        _carry_out(SideBySide(config, tuple(reports)), force, say)


@contextlib.contextmanager
def _alone(output: Path) -> Iterator[None]:
    """Keep other runs out of a folder. The system drops the lock when this process ends, however it ends.

    Raises:
        ValueError: if another run is at work there.
    """
    try:
        with FileLock(output / _LOCK, timeout=0):
            yield
    except Timeout:
        raise ValueError(
            f"another run is at work in {output}: wait until it has ended, or choose another `output`"
        ) from None


def _clear(output: Path) -> None:
    """Delete what processes that were killed have not written to its end."""
    for place in (output, output / folder.FIGURES, *(output / form for form in get_args(Format))):
        for path in place.glob(".*.????????.part"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def steps_of(config: Config, scheduler: str | None = None) -> tuple[Map, Fit, Simulate, Observe, Export, Report]:
    """All steps of a configuration with one potential, in order."""
    mapped = Map(config, scheduler)
    fitted = Fit(config, mapped)
    simulated = Simulate(config, mapped, fitted)
    observed = Observe(config, mapped, simulated)
    exported = Export(config, mapped, fitted)
    return mapped, fitted, simulated, observed, exported, Report(config, observed, exported)


def _carry_out(step: Step, force: bool, say: Callable[[str], None]) -> None:
    listed = ", ".join(product.path.name for product in step.writes) or "nothing to write"
    wanted = step.writes if force else tuple(product for product in step.writes if not product.is_current)
    if not wanted:
        say(f"{step.name}: up to date ({listed})")
        step.forget()
        return
    why = "asked for" if force else "settings, inputs or files have changed"
    again = any(product.path.exists() for product in wanted)
    say(f"{step.name}: again ({why})" if again else f"{step.name}: begins")
    for product in step.reads:
        if not product.is_made:
            raise ValueError(
                f"{product.path} is not what an earlier step of this run has left: another run has replaced it; give "
                "each configuration an output folder of its own"
            )
    if force:
        step.forget()
    with recording(say) as record:
        step.act(wanted, record)
    step.forget()
    say(f"{step.name}: done in {record.seconds:.0f} s ({listed})")


def _keep_config(config: Config) -> None:
    """A copy of the settings beside the results, with paths as they were given."""
    path = config.output / folder.CONFIG
    if config.file.resolve() == path.resolve():
        return
    if path.is_file() and not path.read_text(encoding="utf-8", errors="replace").startswith(_COPY):
        raise ValueError(
            f"{path} is not a copy that a run has left, and would be overwritten: choose another `output` than the "
            "folder of a configuration"
        )
    text = f"{_COPY} relative paths start at {config.file.parent.resolve()}\n{config.text}"
    with _runtime.atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
