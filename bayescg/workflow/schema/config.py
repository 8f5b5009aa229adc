"""The configuration of `run`: frozen models of its sections, read from YAML."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Self, get_args

import xarray as xr
from pydantic import BeforeValidator, Field, model_validator

from bayescg._settings import Section, Text, validate
from bayescg._yaml import read_yaml
from bayescg.data.trajectories.vacuum import OPEN, in_vacuum
from bayescg.exports import check_format
from bayescg.potentials import Pair, Potential
from bayescg.workflow.schema.choices import Format
from bayescg.workflow.schema.observables import Observable, Observables, default_observable
from bayescg.workflow.schema.sections import (
    Exports,
    Inference,
    Input,
    MappingChoice,
    NamedPotential,
    RefinementChoice,
    Simulation,
)
from bayescg.workflow.schema.terms import PotentialChoice

_TAKEN = ("data", "figures", "unfinished", "con", "nul", "aux", "prn")


def _named(value: Any) -> Any:
    """Names become folders beside the files of a run."""
    if not isinstance(value, dict):
        return value
    names = [str(name) for name in value]
    folders = [name.casefold() for name in names]
    for name in names:
        if folders.count(name.casefold()) > 1:
            raise ValueError(f"{name!r} stands there twice, in the eyes of a disk that takes A and a for one")
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_+-]*", name) or name.casefold() in (*_TAKEN, *get_args(Format)):
            raise ValueError(
                f"{name!r} cannot be the name of a potential, which is also that of a folder: choose letters, digits, "
                "_, + and -, not data, figures or the name of a program"
            )
    return {str(name): potential for name, potential in value.items()}


class Settings(Section):
    """All settings of one run."""

    input: Input
    """Where the data come from."""
    mapping: MappingChoice = MappingChoice()
    """Which atoms make up which bead."""
    potential: PotentialChoice | None = None
    """The terms to learn."""
    potentials: Annotated[dict[str, NamedPotential], BeforeValidator(_named)] = Field(default_factory=dict)
    """Instead: several potentials by name, beside each other; each has a folder of its name."""
    inference: Inference = Inference()
    """How the posterior is made."""
    refinement: RefinementChoice = RefinementChoice()
    """How relative entropy simulates."""
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

    def single(self, name: str) -> Settings:
        """The settings of one of several potentials, in a folder of its name."""
        chosen = self.potentials[name]
        return self.model_copy(
            update={
                "potential": chosen,
                "potentials": {},
                "inference": chosen.inference or self.inference,
                "output": str(Path(self.output) / name),
            }
        )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.potential is None) == (not self.potentials):
            raise ValueError(
                "give `potential`, as in `potential: {terms: [{pair: [W, W], cutoff: 0.9}]}`, or `potentials`, several "
                "of them by name"
            )
        for name in self.potentials:
            try:
                _check_single(self.single(name))
            except ValueError as error:
                raise ValueError(f"potentials.{name}: {error}") from None
        if self.potential is not None:
            _check_single(self)
        return self


def _check_single(settings: Settings) -> None:
    """Check what sections say of each other."""
    assert settings.potential is not None
    potential, inference = settings.potential.build(), settings.inference
    names = [term.name for term in potential.terms]
    unknown = sorted(set(inference.kernels) - set(names))
    if unknown:
        raise ValueError(f"inference.kernels: no term is called {', '.join(unknown)}; terms: {', '.join(names)}")
    sampled = inference.sampling.chains * inference.draws
    for section, draws in (("simulation", settings.simulation.n_draws), ("exports", settings.exports.draws)):
        if draws > sampled:
            raise ValueError(f"{section}.draws={draws}, but inference makes chains * draws = {sampled} draws only")
    for format in settings.exports.formats:
        try:
            check_format(format, potential)
        except ValueError as error:
            raise ValueError(f"exports: {error}") from None


@dataclass(frozen=True)
class Config:
    """Settings and where they come from.

    Attributes:
        settings: what the file says.
        file: the YAML file; relative paths start at its folder.
        text: of the file.
        shared: observables of several potentials, where each is one of them.
    """

    settings: Settings
    file: Path
    text: str
    shared: tuple[Observable, ...] | None = None

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
    def each(self) -> dict[str, Config]:
        """The configurations of several potentials by name; empty if there is one."""
        return {
            name: replace(self, settings=self.settings.single(name), shared=self.observables)
            for name in self.settings.potentials
        }

    @cached_property
    def potential(self) -> Potential:
        """The terms to learn, of one potential."""
        assert self.settings.potential is not None
        return self.settings.potential.build()

    @cached_property
    def kernels(self) -> dict[str, str]:
        """Names of kernels by term, wherever they stand."""
        assert self.settings.potential is not None
        return {**self.settings.potential.kernels, **self.settings.inference.kernels}

    @cached_property
    def observables(self) -> tuple[Observable, ...]:
        """What is computed; by default one for each term."""
        given = self.settings.observables if self.shared is None else self.shared
        if given is not None:
            return given
        chosen = [*self.settings.potentials.values()] or [self.settings.potential]
        terms = [term for potential in chosen if potential is not None for term in potential.build().terms]
        # Only for pairs does it matter whether there is a box: no other input is opened for that.
        vacuum = any(isinstance(term, Pair) for term in terms) and self._in_vacuum()
        found = (default_observable(term, open_boundary=vacuum) for term in terms)
        return tuple(dict.fromkeys(each for each in found if each is not None))

    @property
    def compared(self) -> tuple[Observable, ...]:
        """Observables that atomistic data have, too."""
        return tuple(each for each in self.observables if each.atomistic)

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
