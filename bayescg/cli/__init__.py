"""The `bayescg` command: parses, calls, prints. What it calls is imported when it is needed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bayescg.cli.backmap import backmap
from bayescg.cli.console import errors, run_config, state, table
from bayescg.cli.single import Scheduler, export, fit, observe, simulate
from bayescg.workflow import example
from bayescg.workflow.schema.choices import StepName, Units

app = typer.Typer(
    name="bayescg",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="Coarse-grained molecular models as Bayesian posteriors: from an atomistic trajectory with forces to a "
    "potential, an ensemble and observables, all with error bars.\n\n"
    "Start with `bayescg demo`. For your own system: `bayescg init -s TOPOLOGY -f TRAJECTORY -T KELVIN > config.yaml`, "
    "`bayescg check config.yaml`, `bayescg run config.yaml`.",
)


def _version(asked: bool) -> None:
    if asked:
        from bayescg._version import __version__

        typer.echo(f"bayescg {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show Python's traceback for errors.")] = False,
) -> None:
    """Set what holds for all commands."""
    state["debug"] = debug


@app.command()
def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the results.")] = Path("demo"),
    fast: Annotated[bool, typer.Option("--fast", help="Few frames and short simulations: half a minute.")] = False,
) -> None:
    """Run the main job on bundled SPC/E water: fit, simulate, g(r) with error bars, exports, report.

    Compares pairs alone with pairs and three-body forces. Takes three to four minutes on two cores. The configuration
    and the trajectory are put into the folder: change config.yaml there and run it with `bayescg run`.
    """
    with errors():
        from bayescg import datasets, workflow
        from bayescg._runtime import atomic_path

        bundled = {name: workflow.example(name) for name in ("demo", "demo_fast")}
        config = output / "config.yaml"
        if config.is_file() and config.read_text(encoding="utf-8") not in bundled.values():
            raise ValueError(f"{config} has been changed: run it by `bayescg run {config}`, or choose another --output")
        with atomic_path(config) as temporary:
            temporary.write_text(bundled["demo_fast" if fast else "demo"], encoding="utf-8")
        datasets.water(output / "data")
        run_config(config, force=False, last="report")


@app.command()
def run(
    config: Annotated[Path, typer.Argument(help="YAML file; `bayescg init` prints one with every setting explained.")],
    force: Annotated[bool, typer.Option("--force", help="Redo all steps, also those that are up to date.")] = False,
    last: Annotated[StepName, typer.Option("--last", help="Stop after this step.")] = "report",
    scheduler: Scheduler = None,
) -> None:
    """Carry out a configuration: map, fit, simulate, observe, export, report.

    A step whose files are there and were made by the same settings and inputs is skipped. Interrupt it at any time:
    finished steps remain, and the same command goes on from there.

    With --scheduler, the sums of forces are made by the workers of a Dask cluster, which must see the same files.
    """
    with errors():
        run_config(config, force=force, last=last, scheduler=scheduler)


@app.command()
def check(
    config: Annotated[Path, typer.Argument(help="YAML file, as for `bayescg run`.")],
) -> None:
    """Look at the input of a configuration before the work: beads, frames, forces, time and memory.

    Takes seconds. What a run would refuse is refused here.
    """
    with errors():
        from bayescg import workflow

        rows: dict[str, str] = {}
        try:
            for row in workflow.check(workflow.load(config)):
                rows.update([row])
        finally:
            if rows:
                table(rows, [])


@app.command()
def init(
    topology: Annotated[
        Path | None, typer.Option("--topology", "-s", help="Write a configuration for this file ...")
    ] = None,
    trajectory: Annotated[
        list[Path] | None, typer.Option("--trajectory", "-f", help="... and this one, or several.")
    ] = None,
    temperature: Annotated[float | None, typer.Option("--temperature", "-T", help="Of the simulation [K].")] = None,
    units: Annotated[Units | None, typer.Option("--units", help="Of a LAMMPS dump.")] = None,
    timestep: Annotated[float | None, typer.Option("--timestep", help="Of a LAMMPS dump [ps].")] = None,
) -> None:
    """Print a configuration: for your files, or with every setting explained.

    `bayescg init --topology topol.tpr --trajectory traj.trr --temperature 300 > config.yaml`
    """
    with errors():
        if topology is None and trajectory is None:
            typer.echo(example(), nl=False)
            return
        if topology is None or not trajectory or temperature is None:
            raise ValueError("give --topology, --trajectory and --temperature, or none of them for an example")
        from bayescg.workflow import initial

        text = initial(topology, trajectory, temperature=temperature, units=units, timestep=timestep)
        typer.echo(text, nl=False)


def report(
    directory: Annotated[Path, typer.Argument(help="Output folder of `bayescg run`.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Page to write; report.html there.")] = None,
) -> None:
    """Write one self-contained HTML page about a run."""
    with errors():
        from bayescg.report import headline, write
        from bayescg.workflow import load_results

        results = load_results(directory)
        table(headline(results), write(results, output or directory / "report.html"))


for command in (fit, simulate, observe, export, backmap, report):
    app.command()(command)
