"""Commands for single steps, from file to file."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from bayescg.cli.console import errors, run_config, table
from bayescg.workflow.schema.choices import Calibration, Engine, Format, Method, ObservableKind

_sampling = partial(typer.Option, rich_help_panel="How hyperparameters are sampled")
_dynamics = partial(typer.Option, rich_help_panel="Dynamics")


Seed = Annotated[int, typer.Option(help="Seed of all random numbers.")]
Scheduler = Annotated[
    str | None, typer.Option(help="Dask scheduler whose workers read the trajectory: its address, or its *.json file.")
]


def fit(
    source: Annotated[
        Path, typer.Argument(help="Configuration (YAML: maps and fits), or force statistics of a run (statistics.nc).")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Posterior to write (from statistics).")] = Path(
        "posterior.nc"
    ),
    method: Annotated[Method, _sampling(help="How hyperparameters are sampled.")] = "nuts",
    calibration: Annotated[
        Calibration,
        typer.Option(help="Error bars: all of the scores' covariance, its size only, or independent noise."),
    ] = "godambe",
    chains: Annotated[int, _sampling(help="NUTS chains.")] = 4,
    warmup: Annotated[int, _sampling(help="Discarded steps of each chain.")] = 500,
    draws: Annotated[int, _sampling(help="Kept draws of each chain.")] = 500,
    kernel: Annotated[list[str] | None, typer.Option(help="GPJax kernel of a term, as TERM=RBF; repeatable.")] = None,
    scheduler: Scheduler = None,
    seed: Seed = 0,
) -> None:
    """Compute the posterior of a potential from forces.

    From a configuration: the steps map and fit of `bayescg run`, with all settings from the file. From statistics.nc: a
    new fit with the options given here; the trajectory is not read again.
    """
    with errors():
        _require(source)
        if source.suffix in (".yaml", ".yml"):
            run_config(source, force=False, last="fit", scheduler=scheduler)
            return
        if scheduler is not None:
            raise ValueError(f"--scheduler: {source} holds the sums already; no trajectory is read")
        import jax

        import bayescg as bcg
        from bayescg.report import Results, headline
        from bayescg.workflow.schema.terms import kernels_of

        statistics = _statistics(source)
        posterior = bcg.force_match(
            statistics.potential,
            statistics,
            kernels=kernels_of(dict(_pair(word) for word in kernel or [])),
            method=method,
            calibration=calibration,
            settings=bcg.Sampling(chains, warmup, draws),
            key=jax.random.key(seed),
        )
        bcg.save(posterior, output)
        table(headline(Results(posterior=posterior)), [output])


def simulate(
    posterior: Annotated[Path, typer.Argument(help="Posterior (posterior.nc).")],
    initial: Annotated[Path, typer.Option(help="Coarse-grained start (netCDF; its last frame), such as cg_last.nc.")],
    time: Annotated[float, typer.Option(help="Sampled time of each draw, in ps.")] = 20.0,
    draws: Annotated[int, typer.Option(help="Posterior draws, each simulated; 0: only the posterior mean.")] = 16,
    output: Annotated[Path, typer.Option("--output", "-o", help="Ensemble to write.")] = Path("ensemble.nc"),
    engine: Annotated[Engine, typer.Option(help="auto: jax on a GPU, else LAMMPS or jax.")] = "auto",
    temperature: Annotated[float | None, _dynamics(help="In K; that of the data if left out.")] = None,
    timestep: Annotated[float, _dynamics(help="In ps.")] = 0.002,
    friction: Annotated[float, _dynamics(help="In 1/ps.")] = 1.0,
    equilibration: Annotated[float, _dynamics(help="Simulated before and thrown away, in ps.")] = 5.0,
    interval: Annotated[float, _dynamics(help="Between frames, in ps.")] = 0.2,
    seed: Seed = 0,
) -> None:
    """Simulate draws of a posterior by Langevin dynamics at constant volume and temperature.

    Finished draws are kept in OUTPUT.unfinished until all are there: the same command goes on from them.

    Example: bayescg simulate posterior.nc --initial cg_last.nc --draws 16 --time 20 -o ensemble.nc
    """
    with errors():
        import jax

        import bayescg as bcg
        from bayescg import _checkpoint
        from bayescg.report import Results, headline
        from bayescg.storage.expected import load_posterior

        parts = output.with_name(f"{output.name}.unfinished")
        ensemble = bcg.simulate(
            load_posterior(posterior),
            _configuration(initial).isel(frame=-1),
            time=time,
            draws=draws or None,
            dynamics=bcg.Langevin(timestep, friction, equilibration, interval),
            temperature=temperature,
            engine=engine,
            checkpoint=parts,
            key=jax.random.key(seed),
        )
        bcg.save(ensemble, output)
        if ensemble.attrs["interrupted"]:
            raise KeyboardInterrupt
        _checkpoint.remove(parts)
        table(headline(Results(ensemble=ensemble)), [output])


def observe(
    trajectory: Annotated[Path, typer.Argument(help="Ensemble (ensemble.nc), or a coarse-grained dataset.")],
    observable: Annotated[ObservableKind, typer.Argument(help="Which observable.")],
    beads: Annotated[list[str] | None, typer.Argument(help="Bead types, as in: W W; none for a pressure.")] = None,
    cutoff: Annotated[float | None, typer.Option(help="Largest distance, in nm.")] = None,
    group: Annotated[str | None, typer.Option(help="Only bonds, angles or dihedrals of this group.")] = None,
    blocks: Annotated[int | None, typer.Option(help="Blocks of frames, for sampling errors.")] = None,
    reference: Annotated[Path | None, typer.Option(help="Mapped atomistic dataset (netCDF) to compare with.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File; OBSERVABLE.nc if left out.")] = None,
    figure: Annotated[Path | None, typer.Option(help="Figure to write (png, pdf, svg).")] = None,
) -> None:
    """Compute an observable with its error bars: mean, sd_posterior, sd_sampling, and an interval.

    Example: bayescg observe ensemble.nc rdf W W --cutoff 0.9 --figure rdf.png
    """
    with errors():
        from bayescg.workflow.single import observe as compute

        target = output or Path(f"{observable}.nc")
        options = {"cutoff": cutoff, "group": group, "blocks": blocks}
        compared = compute(
            *(trajectory, observable, tuple(beads or ())),
            **{"options": options, "reference": reference, "output": target},
        )
        written = [target]
        if figure is not None:
            from bayescg import plots

            figure.parent.mkdir(parents=True, exist_ok=True)
            plots.observable(compared.predicted, compared.atomistic).savefig(figure)
            written.append(figure)
        summary = compared.predicted
        rows = {"observable": compared.title}
        if not summary["mean"].dims:
            rows["mean"] = f"{float(summary['mean']):.4g}"
        rows["largest sd over the posterior"] = f"{float(summary['sd_posterior'].max()):.3g}"
        rows["largest sd from sampling"] = f"{float(summary['sd_sampling'].max()):.3g}"
        if compared.atomistic is not None:
            rows["mean |z|"] = f"{compared.mean_abs_z:.2f}"
        table(rows, written)


def export(
    posterior: Annotated[Path, typer.Argument(help="Posterior (posterior.nc).")],
    directory: Annotated[Path, typer.Argument(help="Folder to write to.")],
    format: Annotated[Format, typer.Option("--format", "-f", help="Whose files to write.")] = "lammps",
    draws: Annotated[int, typer.Option(help="This many posterior draws instead of the mean.")] = 0,
    initial: Annotated[
        Path | None, typer.Option(help="Configuration (netCDF; its last frame), such as cg_last.nc; OpenMM needs it.")
    ] = None,
    seed: Seed = 0,
) -> None:
    """Write the potential for LAMMPS, OpenMM or GROMACS (bonded tables), read back and compared with the fit."""
    with errors():
        import jax

        import bayescg as bcg
        from bayescg.storage.expected import load_posterior

        files = bcg.export(
            load_posterior(posterior),
            directory,
            format=format,
            draws=draws or None,
            initial=None if initial is None else _configuration(initial),
            key=jax.random.key(seed),
        )
        table({"format": format, "files": str(len(files))}, files[:8])


def _statistics(path: Path):
    from bayescg.storage.expected import load_statistics

    return load_statistics(path)


def _configuration(path: Path):
    from bayescg.storage.expected import load_trajectory

    return load_trajectory(path)


def _require(path: Path) -> None:
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")


def _pair(word: str) -> tuple[str, str]:
    name, sign, value = word.partition("=")
    if not (name and sign and value):
        raise ValueError(f"--kernel {word}: give TERM=KERNEL, as in --kernel W-W=RBF")
    return name, value
