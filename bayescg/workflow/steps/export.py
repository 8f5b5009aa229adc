"""The potential for other programs."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import bayescg as bcg
from bayescg.storage.expected import load_posterior, load_trajectory
from bayescg.workflow import folder
from bayescg.workflow.schema.choices import StepName
from bayescg.workflow.stamps import Listing, Product, Record, fingerprint
from bayescg.workflow.steps.fit import Fit
from bayescg.workflow.steps.map import Map
from bayescg.workflow.steps.step import Step


@dataclass(frozen=True)
class Export(Step):
    """The mean, and draws if asked for; a program that is not installed is left out.

    Attributes:
        map: the step that leaves the last frame.
        fit: the step that makes the posterior.
    """

    map: Map
    fit: Fit

    name: ClassVar[StepName] = "export"

    @property
    def index(self) -> Listing:
        """A list of all files, which lie in a folder for each format."""
        settings = self.config.settings
        script = settings.simulation.model_dump(include={"temperature", "timestep", "friction"})
        stamp = fingerprint(self.fit.posterior.stamp, settings.exports.model_dump(), script, settings.seed)
        return Listing(self.config.output / folder.EXPORTS, stamp, settings.exports.formats)

    @property
    def reads(self) -> tuple[Product, ...]:
        return self.fit.posterior, self.map.last_frame

    @property
    def writes(self) -> tuple[Product, ...]:
        return (self.index,) if self.config.settings.exports.formats else ()

    def act(self, wanted: tuple[Product, ...], record: Record) -> None:
        chosen, output = self.config.settings.exports, self.config.output
        tree, initial = load_posterior(self.fit.posterior.path), load_trajectory(self.map.last_frame.path)
        given = self.config.settings.simulation
        run = {"temperature": given.temperature, "timestep": given.timestep, "friction": given.friction}
        written: dict[str, list[Path]] = {}
        for form in chosen.formats:
            try:
                paths = bcg.export(tree, output / form, format=form, initial=initial, **run)
                if chosen.draws:
                    draws = {"draws": chosen.draws, "key": self.key(2)}
                    paths += bcg.export(tree, output / form / "draws", format=form, initial=initial, **run, **draws)
            except ImportError as error:
                warnings.warn(f"not exported for {form}: {error}", stacklevel=2)
                continue
            written[form] = paths
        self.index.write_listing(written, record)
