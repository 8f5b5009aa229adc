"""The ensemble: draws of the posterior, each simulated."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import xarray as xr
from jaxtyping import Array

from bayescg.observables import add_references
from bayescg.simulation.ensemble import plan
from bayescg.storage.expected import load_posterior, load_trajectory
from bayescg.workflow import folder
from bayescg.workflow.schema.choices import StepName
from bayescg.workflow.stamps import Product, Record, fingerprint
from bayescg.workflow.steps.fit import Fit
from bayescg.workflow.steps.map import Map
from bayescg.workflow.steps.step import Step


@dataclass(frozen=True)
class Simulate(Step):
    """From a posterior to an ensemble. Finished draws are kept; an ensemble of some of them says that it is partial.

    With `propagate`, the ensemble holds runs of the posterior mean, and further runs where draws need them.

    Attributes:
        map: the step that leaves the last frame.
        fit: the step that makes the posterior.
    """

    map: Map
    fit: Fit

    name: ClassVar[StepName] = "simulate"

    @property
    def ensemble(self) -> Product:
        """Trajectories of the draws."""
        settings = self.config.settings
        stamp = fingerprint(self.fit.posterior.stamp, settings.simulation.model_dump(), settings.seed)
        return self.product(folder.ENSEMBLE, stamp)

    @property
    def reads(self) -> tuple[Product, ...]:
        return self.fit.posterior, self.map.last_frame

    @property
    def writes(self) -> tuple[Product, ...]:
        return (self.ensemble,)

    def act(self, wanted: tuple[Product, ...], record: Record) -> None:
        chosen, product = self.config.settings.simulation, self.ensemble
        tree = load_posterior(self.fit.posterior.path)
        planned = plan(
            tree,
            load_trajectory(self.map.last_frame.path).isel(frame=-1),
            time=chosen.time,
            draws=None if chosen.propagate else chosen.n_draws,
            runs=chosen.runs,
            dynamics=chosen.dynamics,
            temperature=chosen.temperature,
            engine=chosen.engine,
            key=self.key(1),
        )
        parts = self.unfinished / planned.identity
        for other in self.unfinished.glob("*"):
            # Draws of other settings, or of a posterior that has been made anew.
            if other != parts and other.is_dir():
                shutil.rmtree(other, ignore_errors=True)
        ensemble = planned.run(parts)
        interrupted = bool(ensemble.attrs["interrupted"])
        if chosen.propagate and not interrupted:
            runs = add_references(tree, folder.whole_draws(ensemble), draws=chosen.n_draws, key=self.propagation_key)
            # Runs of the mean that blew up are kept, so that the report can count them.
            blown = [ensemble.isel(draw=k) for k in np.flatnonzero(ensemble["failed"].values)]
            ensemble = _as_draws([*runs, *blown], ensemble)
        (product.unfinished if interrupted else product).write(ensemble, record)
        if interrupted:
            raise KeyboardInterrupt

    @property
    def propagation_key(self) -> Array:
        """Chooses the draws to which runs are reweighted: the same here and where observables are computed."""
        return self.key(3)


def _as_draws(runs: list[xr.Dataset], first: xr.Dataset) -> xr.Dataset:
    """Runs as an ensemble, in the layout of the first of them."""
    own = [name for name, variable in first.variables.items() if "draw" in variable.dims and name != "draw"]
    parts = [
        run.drop_vars("draw", errors="ignore").assign(
            {name: run[name].drop_vars("draw", errors="ignore").expand_dims("draw") for name in own}
        )
        for run in runs
    ]
    joined = xr.concat(
        parts,
        "draw",
        data_vars="minimal",
        coords="minimal",
        compat="override",
        join="override",
        combine_attrs="override",
    )
    return joined.assign_coords(draw=np.arange(len(runs)))
