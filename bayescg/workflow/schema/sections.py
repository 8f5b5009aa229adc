"""Sections of a configuration: frozen models of what stands under `input`, `mapping`, `inference` and the like."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Self

from pydantic import BeforeValidator, Field, model_validator

from bayescg._settings import Count, Number, Positive, Section, Text, Texts, as_tuple
from bayescg.data.dumps import LennardJonesUnits
from bayescg.data.trajectories.universe import open_universe
from bayescg.inference import Refinement, Sampling
from bayescg.simulation import Langevin
from bayescg.workflow.schema.choices import (
    By,
    Calibration,
    Center,
    Constraints,
    Engine,
    Fit,
    Format,
    Method,
    Units,
)
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
    """How the posterior is made; see `force_match`, `structure_match` and `relative_entropy`."""

    fit: Fit = "force_matching"
    """To the forces of the data, or to their structure, which needs no forces: by equations, or by simulations."""
    method: Method | None = None
    """NUTS is exact; vi and laplace are approximations; rvm and horseshoe leave out what the data do not support."""
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

    @property
    def sampler(self) -> str:
        """The method, by default that of the fit's function."""
        return self.method or ("laplace" if self.fit == "relative_entropy" else "nuts")

    @property
    def sampling(self) -> Sampling:
        """Numbers of chains and draws."""
        return Sampling(self.chains, self.warmup, self.draws)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.fit != "force_matching" and self.method in ("rvm", "horseshoe"):
            raise ValueError(f"method {self.method} is for force matching; {self.fit} takes laplace, nuts or vi")
        if self.fit != "force_matching" and self.noise_ceiling is not None:
            raise ValueError(f"noise_ceiling is one of forces: {self.fit} has none")
        if self.fit == "structure_matching" and self.calibration == "none":
            raise ValueError("calibration none needs a noise model, which structure has not: take godambe or magnitude")
        return self


class RefinementChoice(Section):
    """How relative entropy simulates and when it ends; see `Refinement`."""

    iterations: Count = 10
    """Most reference simulations."""
    time: Positive = 50.0
    """Sampled time of each run of a reference [ps]."""
    runs: Count = 2
    """Independent runs of each reference."""
    noise: Positive = 0.3
    """Variance that the length of the last reference may add, as a share of that from the length of the data."""
    longest: Positive = 2000.0
    """Largest time of each run of the last reference [ps]."""
    overlap: Annotated[Number, Field(gt=0, lt=1)] = 0.2
    """Effective share of frames down to which reweighting is trusted."""
    target_pressure: Number | None = None
    """Virial pressure to which a ramp on the pairs corrects the result [bar]."""

    def build(
        self, dynamics: Langevin, engine: str, sampling: Sampling, checkpoint: str | os.PathLike[str]
    ) -> Refinement:
        """The settings of the fit."""
        options = self.model_dump()
        return Refinement(**options, dynamics=dynamics, engine=engine, sampling=sampling, checkpoint=checkpoint)


class NamedPotential(PotentialChoice):
    """One of several potentials."""

    inference: Inference | None = None
    """How its posterior is made, instead of the section `inference`."""


class Simulation(Section):
    """How the ensemble is simulated; see `simulate` and `Langevin`."""

    propagate: bool = False
    """Simulate the posterior mean only, and reweight its frames to the draws."""
    draws: Count | None = None
    """Posterior draws: 16, each simulated; or 200 to which one run is reweighted."""
    runs: Count = 1
    """Of the posterior mean, at the same time; with `propagate`."""
    time: Positive = 20.0
    """Sampled time of each run [ps]."""
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
    def n_draws(self) -> int:
        """Posterior draws."""
        return self.draws or (200 if self.propagate else 16)

    @property
    def dynamics(self) -> Langevin:
        """The integrator."""
        return Langevin(self.timestep, self.friction, self.equilibration, self.interval)

    @model_validator(mode="after")
    def _check(self) -> Self:
        self.dynamics.frames(self.time)
        if self.runs > 1 and not self.propagate:
            raise ValueError(f"runs: {self.runs} are of the posterior mean: add `propagate: true`, or leave runs out")
        return self


class Exports(Section):
    """What is written for other programs."""

    formats: Annotated[tuple[Format, ...], BeforeValidator(as_tuple)] = ()
    """Whose files are written."""
    draws: Annotated[int, Field(ge=0)] = 0
    """This many posterior draws beside the mean."""
