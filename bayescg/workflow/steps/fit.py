"""The posterior from the sums of forces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bayescg.inference import Sampling, force_match
from bayescg.storage.expected import load_statistics
from bayescg.workflow import folder
from bayescg.workflow.schema.choices import StepName
from bayescg.workflow.schema.terms import kernels_of
from bayescg.workflow.stamps import Product, Record, fingerprint
from bayescg.workflow.steps.map import Map
from bayescg.workflow.steps.step import Step


@dataclass(frozen=True)
class Fit(Step):
    """From sums of forces to a posterior.

    Attributes:
        map: the step that makes the sums.
    """

    map: Map

    name: ClassVar[StepName] = "fit"

    @property
    def posterior(self) -> Product:
        """Of the coefficients."""
        settings = self.config.settings
        inference = {**settings.inference.model_dump(), "kernels": self.config.kernels}
        return self.product(folder.POSTERIOR, fingerprint(self.map.statistics.stamp, inference, settings.seed))

    @property
    def reads(self) -> tuple[Product, ...]:
        return (self.map.statistics,)

    @property
    def writes(self) -> tuple[Product, ...]:
        return (self.posterior,)

    def act(self, wanted: tuple[Product, ...], record: Record) -> None:
        chosen = self.config.settings.inference
        tree = force_match(
            self.config.potential,
            load_statistics(self.map.statistics.path),
            kernels=kernels_of(self.config.kernels),
            method=chosen.method,
            calibration=chosen.calibration,
            settings=Sampling(chosen.chains, chosen.warmup, chosen.draws),
            noise_ceiling=chosen.noise_ceiling,
            key=self.key(0),
        )
        self.posterior.write(tree, record)
