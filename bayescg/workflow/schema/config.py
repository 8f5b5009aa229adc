"""The configuration of `run`: frozen models of its sections, read from YAML."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Self

import xarray as xr
from pydantic import BeforeValidator, Field, model_validator

from bayescg._settings import Count, Number, Positive, Section, Text, Texts, as_tuple, validate
from bayescg._yaml import read_yaml
from bayescg.data.dumps import LennardJonesUnits
from bayescg.data.trajectories.universe import open_universe
from bayescg.data.trajectories.vacuum import OPEN, in_vacuum
from bayescg.exports import check_format
from bayescg.potentials import Pair, Potential
from bayescg.simulation import Langevin
from bayescg.workflow.schema.choices import By, Calibration, Center, Constraints, Engine, Format, Method, Units
from bayescg.workflow.schema.observables import Observable, Observables, default_observable
from bayescg.workflow.schema.terms import KernelName, PotentialChoice


class LennardJones(Section):
    """What one is in a LAMMPS simulation with `units lj`."""

    energy: Positive
    """Of a unit energy [kJ/mol]."""
    length: Positive
    """Of a unit length [nm]."""
    mass: Positive
    """Of a unit mass [Da]."""


class Input(Section):
    """Where the data come from: an atomistic simulation, or a coarse-grained dataset made before."""

    topology: Text | None = None
    """Any topology that MDAnalysis reads."""
    trajectory: Texts = ()
    """Trajectories with forces, one after the other."""
    dataset: Text | None = None
    """A coarse-grained dataset (netCDF) instead of the two."""
    temperature: Positive | None = None
    """Of the simulation [K]."""
    start: int | None = None
    """First frame."""
    stop: int | None = None
    """Frame to stop before."""
    step: int | None = None
    """Every how many frames."""
    units: Units | LennardJones | None = None
    """Of a LAMMPS dump: real, metal, or what one is in units lj, as {energy: 1.0, length: 0.34, mass: 40.0}."""
    timestep: Positive | None = None
    """Of the simulation that wrote a LAMMPS dump [ps; in units lj in theirs]."""
    format: Text | None = None
    """Of the trajectory, in MDAnalysis's words, where its name does not tell."""
    masses: dict[Text, Annotated[Number, Field(ge=0)]] = Field(default_factory=dict)
    """Of atoms by name [Da], where the topology has none."""
    continuous: bool | None = None
    """Of several trajectories: true: parts of one simulation, whose overlaps count once; false: several simulations."""
    constraints: Constraints = "h-bonds"
    """What the simulation held rigid."""

    def universe(self, folder: Path):
        """The MDAnalysis Universe of topology and trajectory.

        Args:
            folder: where relative paths start.

        Raises:
            FileNotFoundError: if a file is missing.
            ValueError: if one cannot be read.
        """
        units = self.units
        return open_universe(
            folder / Path(str(self.topology)).expanduser(),
            [folder / Path(name).expanduser() for name in self.trajectory],
            units=LennardJonesUnits(**dict(units)) if isinstance(units, LennardJones) else units,
            timestep=self.timestep,
            format=self.format,
            masses=self.masses,
        )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.dataset is None and not (self.topology and self.trajectory):
            raise ValueError("give `topology` and `trajectory`, or `dataset` (a coarse-grained netCDF file)")
        if self.dataset is not None and (self.topology or self.trajectory):
            raise ValueError("give either `dataset` or `topology` and `trajectory`, not both")
        if self.dataset is None and self.temperature is None:
            raise ValueError("`temperature` is missing: trajectories do not say it; give it in K")
        return self


class MappingChoice(Section):
    """Which atoms make up which bead."""

    by: By = "residues"
    """One bead for each of these."""
    names: dict[Text, Text] = Field(default_factory=dict)
    """Bead types of the residue (or molecule, or atom) names."""
    center: Center = "mass"
    """Where beads sit."""
    select: Text = "all"
    """MDAnalysis selection of the atoms to map."""
    file: Text | None = None
    """A YAML mapping with named beads instead."""
    votca: Texts = ()
    """VOTCA mapping files instead."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.file and self.votca:
            raise ValueError("give `file` or `votca`, not both")
        return self


class Inference(Section):
    """How the posterior is sampled; see `force_match`."""

    method: Method = "nuts"
    """NUTS is exact; vi and laplace are approximations."""
    calibration: Calibration = "godambe"
    """What the width of the posterior follows."""
    chains: Count = 4
    """Of NUTS."""
    warmup: Annotated[int, Field(ge=0)] = 500
    """Discarded steps of each chain."""
    draws: Count = 500
    """Kept draws of each chain."""
    kernels: dict[Text, KernelName] = Field(default_factory=dict)
    """Kernels by term, instead of beside it."""
    noise_ceiling: Number | None = None
    """Largest R² that any function of the beads can reach, if known."""


class Simulation(Section):
    """How the ensemble is simulated; see `simulate` and `Langevin`."""

    draws: Count = 16
    """Posterior draws, each simulated."""
    time: Positive = 20.0
    """Sampled time of each [ps]."""
    engine: Engine = "auto"
    """What simulates."""
    temperature: Positive | None = None
    """Of the thermostat [K]; that of the data if left out."""
    timestep: Positive = 0.002
    """Of the integrator [ps]."""
    friction: Positive = 1.0
    """Rate at which momenta are forgotten [1/ps]."""
    equilibration: Annotated[Number, Field(ge=0)] = 5.0
    """Simulated before the first frame and thrown away [ps]."""
    interval: Positive = 0.2
    """Between two frames [ps]."""

    @property
    def dynamics(self) -> Langevin:
        """The integrator."""
        return Langevin(self.timestep, self.friction, self.equilibration, self.interval)

    @model_validator(mode="after")
    def _check(self) -> Self:
        self.dynamics.frames(self.time)
        return self


class Exports(Section):
    """What is written for other programs."""

    formats: Annotated[tuple[Format, ...], BeforeValidator(as_tuple)] = ()
    """Whose files are written."""
    draws: Annotated[int, Field(ge=0)] = 0
    """This many posterior draws beside the mean."""


class Settings(Section):
    """All settings of one run."""

    input: Input
    """Where the data come from."""
    mapping: MappingChoice = MappingChoice()
    """Which atoms make up which bead."""
    potential: PotentialChoice
    """The terms to learn."""
    inference: Inference = Inference()
    """How the posterior is sampled."""
    simulation: Simulation = Simulation()
    """How the ensemble is simulated."""
    observables: Observables | None = None
    """What is computed from it, and from the atomistic data; one for each term if left out."""
    exports: Exports = Exports()
    """What is written for other programs."""
    seed: int = 0
    """Of all random numbers."""
    output: Text = "results"
    """Folder of the results."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        terms = self.potential.build().terms
        names = [term.name for term in terms]
        unknown = sorted(set(self.inference.kernels) - set(names))
        if unknown:
            raise ValueError(f"inference.kernels: no term is called {', '.join(unknown)}; terms: {', '.join(names)}")
        sampled = self.inference.chains * self.inference.draws
        for section, draws in (("simulation", self.simulation.draws), ("exports", self.exports.draws)):
            if draws > sampled:
                raise ValueError(f"{section}.draws={draws}, but inference makes chains * draws = {sampled} draws only")
        for format in self.exports.formats:
            try:
                check_format(format, self.potential.build())
            except ValueError as error:
                raise ValueError(f"exports: {error}") from None
        return self


@dataclass(frozen=True)
class Config:
    """Settings and where they come from.

    Attributes:
        settings: what the file says.
        file: the YAML file; relative paths start at its folder.
        text: of the file.
    """

    settings: Settings
    file: Path
    text: str

    def path(self, name: str) -> Path:
        """A path of the configuration file.

        Args:
            name: as it stands in the file.

        Returns:
            The path; a relative one starts at the file's folder.
        """
        return self.file.parent / Path(name).expanduser()

    @property
    def inputs(self) -> list[Path]:
        """All files that are read."""
        given, mapping = self.settings.input, self.settings.mapping
        names = (given.topology, *given.trajectory, given.dataset, mapping.file, *mapping.votca)
        return [self.path(name) for name in names if name]

    @property
    def output(self) -> Path:
        """Folder of the results."""
        return self.path(self.settings.output)

    @cached_property
    def potential(self) -> Potential:
        """The terms to learn."""
        return self.settings.potential.build()

    @cached_property
    def kernels(self) -> dict[str, str]:
        """Names of kernels by term, wherever they stand."""
        return {**self.settings.potential.kernels, **self.settings.inference.kernels}

    @cached_property
    def observables(self) -> tuple[Observable, ...]:
        """What is computed; by default one for each term."""
        given, terms = self.settings.observables, self.potential.terms
        if given is not None:
            return given
        # Only for pairs does it matter whether there is a box: no other input is opened for that.
        vacuum = any(isinstance(term, Pair) for term in terms) and self._in_vacuum()
        return tuple(default_observable(term, open_boundary=vacuum) for term in terms)

    def _in_vacuum(self) -> bool:
        given = self.settings.input
        if given.dataset is not None:
            # A file that is no dataset is refused, with the reason, where its frames are read.
            try:
                with xr.open_dataset(self.path(given.dataset), engine="h5netcdf") as dataset:
                    return dataset.attrs.get("boundary") == OPEN
            except (OSError, ValueError):
                return False
        return in_vacuum(given.universe(self.file.parent))


def load(path: str | os.PathLike[str]) -> Config:
    """Read a configuration.

    Args:
        path: YAML file.

    Returns:
        The configuration, checked.

    Raises:
        FileNotFoundError: if it, or a file that it names, is missing.
        ValueError: for what is wrong in it, with its line and the nearest valid key.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no configuration at {path}; `bayescg init` prints one to start from")
    document = read_yaml(path)
    config = Config(validate(Settings, document), path, document.text)
    for file in config.inputs:
        if not file.is_file():
            raise FileNotFoundError(f"{path.name} names {file}, which is not there (paths start at the file's folder)")
    if config.output.is_file():
        raise ValueError(f"{path.name}: output: {config.output} is a file, and must be a folder")
    return config
