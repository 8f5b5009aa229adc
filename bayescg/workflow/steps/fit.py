"""The posterior from the sums of forces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import xarray as xr

from bayescg.inference import force_match, relative_entropy, structure_match
from bayescg.storage.expected import load_statistics, load_trajectory
from bayescg.workflow import folder
from bayescg.workflow.schema.choices import StepName
from bayescg.workflow.schema.terms import kernels_of
from bayescg.workflow.stamps import Product, Record, fingerprint
from bayescg.workflow.steps.map import Map
from bayescg.workflow.steps.step import Step


@dataclass(frozen=True)
class Fit(Step):
    """From sums of forces, or from mapped frames, to a posterior.

    Attributes:
        map: the step that makes them.
    """

    map: Map

    name: ClassVar[StepName] = "fit"

    @property
    def posterior(self) -> Product:
        """Of the coefficients."""
        settings = self.config.settings
        inference = {**settings.inference.model_dump(), "kernels": self.config.kernels}
        parts = [self.map.fitted.stamp, inference, settings.seed]
        if self.simulates:
            simulation = settings.simulation.model_dump(
                include={"timestep", "friction", "equilibration", "interval", "engine"}
            )
            parts += [self.config.potential.to_json(), settings.refinement.model_dump(), simulation]
        return self.product(folder.POSTERIOR, fingerprint(*parts))

    @property
    def reads(self) -> tuple[Product, ...]:
        return (self.map.fitted,)

    @property
    def writes(self) -> tuple[Product, ...]:
        return (self.posterior,)

    @property
    def simulates(self) -> bool:
        """Whether the fit takes simulations."""
        return self.config.settings.inference.fit == "relative_entropy"

    def act(self, wanted: tuple[Product, ...], record: Record) -> None:
        chosen = self.config.settings.inference
        potential, kernels = self.config.potential, kernels_of(self.config.kernels)
        how = {"method": chosen.sampler, "calibration": chosen.calibration, "settings": chosen.sampling}
        if self.simulates:
            tree = self._by_simulations()
        elif self.map.structural:
            cg = load_trajectory(self.map.trajectory.path)
            tree = structure_match(potential, cg, kernels=kernels, **how, key=self.key(0))
        else:
            sums, ceiling = load_statistics(self.map.statistics.path), chosen.noise_ceiling
            tree = force_match(potential, sums, kernels=kernels, **how, noise_ceiling=ceiling, key=self.key(0))
        self.posterior.write(tree, record)

    def _by_simulations(self) -> xr.DataTree:
        settings = self.config.settings
        chosen, simulation = settings.inference, settings.simulation
        # Of another fit, by its name, a checkpoint is not gone on from.
        checkpoint = self.unfinished / f"{self.posterior.stamp}.nc"
        tree = relative_entropy(
            self.config.potential,
            load_trajectory(self.map.trajectory.path),
            kernels=kernels_of(self.config.kernels),
            method=chosen.sampler,
            calibration=chosen.calibration,
            settings=settings.refinement.build(simulation.dynamics, simulation.engine, chosen.sampling, checkpoint),
            key=self.key(0),
        )
        if tree["posterior"].attrs["interrupted"]:
            raise KeyboardInterrupt
        return tree
