"""Observables of the ensemble, beside those of the atomistic data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import xarray as xr

from bayescg.storage.expected import load_posterior
from bayescg.workflow import folder
from bayescg.workflow.comparisons import comparison_tree
from bayescg.workflow.schema.choices import StepName
from bayescg.workflow.schema.observables import Observable
from bayescg.workflow.stamps import Product, Record, fingerprint
from bayescg.workflow.steps.map import Map
from bayescg.workflow.steps.simulate import Simulate
from bayescg.workflow.steps.step import Step


@dataclass(frozen=True)
class Observe(Step):
    """From an ensemble to observables of the draws that did not blow up; one file for each kind.

    Attributes:
        map: the step that observes the atomistic data.
        simulate: the step that makes the ensemble.
    """

    map: Map
    simulate: Simulate

    name: ClassVar[StepName] = "observe"

    @property
    def stamp(self) -> str:
        """Of all files."""
        asked = [(each.kind, each.label, each.blocks) for each in self.config.observables]
        return fingerprint(self.simulate.ensemble.stamp, self.map.reference.stamp, asked)

    @property
    def reads(self) -> tuple[Product, ...]:
        return self.simulate.fit.posterior, self.simulate.ensemble, self.map.reference

    @property
    def writes(self) -> tuple[Product, ...]:
        kinds = sorted({each.kind for each in self.config.observables})
        return tuple(self.product(folder.OBSERVABLES[kind], self.stamp) for kind in kinds)

    def act(self, wanted: tuple[Product, ...], record: Record) -> None:
        ensemble = folder.whole_draws(folder.load_ensemble(self.simulate.ensemble.path))
        reference = xr.load_datatree(self.map.reference.path, engine="h5netcdf")
        numbers = {each: str(number) for number, each in enumerate(self.config.compared)}
        for product in wanted:
            measured = []
            for each in self.config.observables:
                if folder.OBSERVABLES[each.kind] != product.path.name:
                    continue
                atomistic = reference[numbers[each]].to_dataset()["value"] if each in numbers else None
                if atomistic is not None and atomistic.sizes["block"] < 2:
                    atomistic = None
                measured.append((each, self._measure(each, ensemble), atomistic))
            product.write(comparison_tree(measured[0][0].kind, measured), record)

    def _measure(self, observable: Observable, ensemble: xr.Dataset) -> xr.DataArray:
        simulation = self.config.settings.simulation
        if not simulation.propagate:
            return observable.measure(ensemble)
        tree = load_posterior(self.simulate.fit.posterior.path)
        return observable.propagate(tree, ensemble, simulation.n_draws, self.simulate.propagation_key)
