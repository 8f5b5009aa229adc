"""The configuration of `run`: frozen dataclasses, read from YAML."""

from __future__ import annotations

import dataclasses
import math
import os
from dataclasses import dataclass
from pathlib import Path

from bayescg.potentials import Potential
from bayescg.workflow.items import Observable, read_observables, read_terms
from bayescg.workflow.tables import (
    choice,
    dictionary,
    integer,
    number,
    read_yaml,
    section,
    setting,
    table,
    text,
    texts,
)


@dataclass(frozen=True)
class Input:
    """Where the data come from: an atomistic simulation, or a coarse-grained dataset made before.

    Attributes:
        topology: any topology that MDAnalysis reads.
        trajectory: trajectories with forces, one after the other.
        dataset: a coarse-grained dataset (netCDF) instead of the two.
        temperature: [K].
        start: first frame.
        stop: frame to stop before.
        step: every how many frames.
        units: of a LAMMPS dump, "real" or "metal".
        timestep: of a LAMMPS dump [ps].
        constraints: what the simulation held rigid.
    """

    topology: str | None = setting(text, None)
    trajectory: tuple[str, ...] = setting(texts, ())
    dataset: str | None = setting(text, None)
    temperature: float | None = setting(number, None)
    start: int | None = setting(integer, None)
    stop: int | None = setting(integer, None)
    step: int | None = setting(integer, None)
    units: str | None = setting(choice("real", "metal"), None)
    timestep: float | None = setting(number, None)
    constraints: str = setting(choice("h-bonds", "all-bonds", "none"), "h-bonds")

    def __post_init__(self):
        if self.dataset is None and not (self.topology and self.trajectory):
            raise ValueError("give `topology` and `trajectory`, or `dataset` (a coarse-grained netCDF file)")
        if self.dataset is not None and (self.topology or self.trajectory):
            raise ValueError("give either `dataset` or `topology` and `trajectory`, not both")
        if self.dataset is None and self.temperature is None:
            raise ValueError("`temperature` is missing: trajectories do not say it; give it in K")


@dataclass(frozen=True)
class MappingChoice:
    """Which atoms make up which bead.

    Attributes:
        by: one bead for each of these.
        names: bead types of the residue (or molecule, or atom) names.
        center: where beads sit, at the center of "mass" or of "geometry".
        select: MDAnalysis selection of the atoms to map.
        file: a YAML mapping with named beads instead.
        votca: VOTCA mapping files instead.
    """

    by: str = setting(choice("residues", "molecules", "fragments", "atoms"), "residues")
    names: dict[str, str] = setting(dictionary, dict)  # noqa: RUF009
    center: str = setting(choice("mass", "geometry"), "mass")
    select: str = setting(text, "all")
    file: str | None = setting(text, None)
    votca: tuple[str, ...] = setting(texts, ())

    def __post_init__(self):
        if self.file and self.votca:
            raise ValueError("give `file` or `votca`, not both")


@dataclass(frozen=True)
class Inference:
    """How the posterior is sampled; see `force_match`."""

    method: str = setting(choice("nuts", "vi", "laplace"), "nuts")
    calibration: str = setting(choice("godambe", "magnitude", "none"), "godambe")
    chains: int = setting(integer, 4)
    warmup: int = setting(integer, 500)
    draws: int = setting(integer, 500)
    kernels: dict[str, str] = setting(dictionary, dict)  # noqa: RUF009
    noise_ceiling: float | None = setting(number, None)


@dataclass(frozen=True)
class Simulation:
    """How the ensemble is simulated; see `simulate` and `Langevin`. Times in ps."""

    draws: int = setting(integer, 16)
    time: float = setting(number, 20.0)
    engine: str = setting(choice("auto", "jax", "lammps"), "auto")
    temperature: float | None = setting(number, None)
    timestep: float = setting(number, 0.002)
    friction: float = setting(number, 1.0)
    equilibration: float = setting(number, 5.0)
    interval: float = setting(number, 0.2)

    def __post_init__(self):
        for name in ("time", "timestep", "friction", "interval"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise ValueError(f"{name} must be positive; got {getattr(self, name)}")
        if self.draws < 1:
            raise ValueError(f"draws must be at least 1; got {self.draws}")


@dataclass(frozen=True)
class Exports:
    """Formats to write; `draws` posterior draws beside the mean."""

    formats: tuple[str, ...] = setting(
        lambda value: tuple(choice("lammps", "openmm", "gromacs")(item) for item in texts(value)), ()
    )
    draws: int = setting(integer, 0)


@dataclass(frozen=True)
class Config:
    """All settings of one run.

    Attributes:
        input: where the data come from.
        mapping: which atoms make up which bead.
        potential: the terms to learn.
        inference: how the posterior is sampled.
        simulation: how the ensemble is simulated.
        observables: what is computed from it, and from the atomistic data.
        exports: formats to write.
        seed: of all random numbers.
        file: the YAML file; relative paths start at its folder.
        output: folder of the results.
        text: the YAML.
    """

    input: Input
    mapping: MappingChoice
    potential: Potential
    inference: Inference
    simulation: Simulation
    observables: tuple[Observable, ...]
    exports: Exports
    seed: int
    file: Path
    output: Path
    text: str

    def path(self, name: str) -> Path:
        """A path of the configuration file, relative to its folder."""
        return self.file.parent / Path(name).expanduser()

    @property
    def inputs(self) -> list[Path]:
        """All files that are read."""
        names = [
            self.input.topology,
            *self.input.trajectory,
            self.input.dataset,
            self.mapping.file,
            *self.mapping.votca,
        ]
        return [self.path(name) for name in names if name]


def load(path: str | os.PathLike[str]) -> Config:
    """Read a configuration.

    Raises:
        FileNotFoundError: if it, or a file that it names, is missing.
        ValueError: for what is wrong in it, with its line and the nearest valid key.
    """
    path = Path(path)
    top = read_yaml(path)
    top.check(("input", "mapping", "potential", "inference", "simulation", "observables", "exports", "seed", "output"))
    potential = top.take("potential", table)
    terms, kernels = read_terms(potential)
    inference = section(Inference, top.get("inference"))
    config = Config(
        input=section(Input, top.take("input", table)),
        mapping=section(MappingChoice, top.get("mapping")),
        potential=terms,
        inference=_with_kernels(inference, kernels),
        simulation=section(Simulation, top.get("simulation")),
        observables=read_observables(top, terms),
        exports=section(Exports, top.get("exports")),
        seed=top.take("seed", integer, 0),
        file=path,
        output=path.parent / top.take("output", text, "results"),
        text=path.read_text(encoding="utf-8"),
    )
    for file in config.inputs:
        if not file.is_file():
            raise FileNotFoundError(f"{path.name} names {file}, which is not there (paths start at the file's folder)")
    return config


def _with_kernels(inference: Inference, kernels: dict[str, str]) -> Inference:
    return dataclasses.replace(inference, kernels={**kernels, **inference.kernels})
