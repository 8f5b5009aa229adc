"""A fit of relative entropy: what does not change from one iteration to the next, and its simulations."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import numpy as np
import xarray as xr
from jaxtyping import Array, Float

from bayescg import posterior as posterior_room
from bayescg.inference.linear.marginal import Prior
from bayescg.inference.structural.newton import Target
from bayescg.inference.structural.refinement import Refinement
from bayescg.inference.structural.reweighting import Reference
from bayescg.inference.structural.structure import Frames, structure
from bayescg.potentials import Potential
from bayescg.simulation import simulate
from bayescg.units import BOLTZMANN


@dataclass(frozen=True, eq=False)
class Problem:
    """A fit: everything that does not change from one iteration to the next.

    Attributes:
        potential: with all ranges filled in.
        prior: of its coefficients, walls placed.
        data: structure of the data.
        target: its averages in free coordinates.
        initial: the frame that simulations start from.
        temperature: [K].
        settings: how to go about it.
        method: how hyperparameters are sampled.
        calibration: what the width of the posterior follows.
        key: JAX random key.
    """

    potential: Potential
    prior: Prior
    data: Frames
    target: Target
    initial: xr.Dataset
    temperature: float
    settings: Refinement
    method: str
    calibration: str
    key: Array

    @property
    def farthest(self) -> float:
        """Largest step from a new reference, the standard deviation of beta dU: an energy is a sum over beads."""
        return 1.5 * float(np.sqrt(self.initial.sizes["bead"]))

    @property
    def kT(self) -> float:
        """Thermal energy [kJ/mol]."""
        return BOLTZMANN * self.temperature

    @property
    def volume(self) -> float:
        """Of the box [nm^3]."""
        return float(abs(np.linalg.det(np.asarray(self.initial["box"].values, float))))

    def coefficients(self, position: Float[np.ndarray, " free"]) -> Float[np.ndarray, " basis"]:
        """Coefficients at free coordinates."""
        return self.prior.mean + self.prior.lift @ position

    def simulated(self, coefficients: Float[np.ndarray, " basis"], time: float, number: int) -> Reference:
        """A new reference.

        Args:
            coefficients: (basis,) [kJ/mol].
            time: of each run [ps].
            number: makes the random key.

        Raises:
            ValueError: if every run fails.
        """
        settings = self.settings
        same = posterior_room.from_coefficients(
            self.potential,
            np.repeat(coefficients[None], settings.runs, axis=0),
            temperature=self.temperature,
            ranges=self.data.ranges,
        )
        interval = settings.dynamics.interval
        ensemble = simulate(
            same,
            self.initial,
            time=interval * max(round(time / interval), 10),
            draws=settings.runs,
            dynamics=settings.dynamics,
            engine=settings.engine,
            key=jax.random.fold_in(self.key, number),
        )
        ensemble = ensemble.isel(draw=np.flatnonzero(~ensemble["failed"].values))
        frames = structure(self.potential, ensemble, "Structure of the model")
        return Reference(frames, frames.basis @ coefficients, self.kT)

    def adopt(self, ensemble: xr.Dataset) -> tuple[Reference, Float[np.ndarray, " free"]]:
        """An ensemble that was simulated before, as a reference, and the free coordinates that it belongs to.

        Raises:
            ValueError: if it belongs to another potential, temperature or box, or holds several draws.
        """
        missing = [name for name in ("positions", "box", "potential_energy") if name not in ensemble]
        if missing or "potential" not in ensemble.attrs:
            raise ValueError(f"start is no ensemble of `simulate`: it lacks {', '.join(missing) or 'its potential'}")
        if Potential.from_json(ensemble.attrs["potential"]) != self.potential:
            raise ValueError("start was simulated with another potential: use the same terms on the same knots")
        if abs(float(ensemble.attrs["temperature"]) - self.temperature) > 1e-6 * self.temperature:
            raise ValueError(
                f"start was simulated at {ensemble.attrs['temperature']} K, the data are at {self.temperature} K"
            )
        if ensemble.sizes["bead"] != self.initial.sizes["bead"] or not np.allclose(
            ensemble["box"].values, self.initial["box"].values, rtol=1e-4
        ):
            raise ValueError("start was simulated with other beads or in another box than the data's")
        if "draw" in ensemble.dims and ensemble.sizes["draw"] > 1:
            raise ValueError(
                f"start holds {ensemble.sizes['draw']} draws: a reference is one, simulate(..., draws=None), or "
                "ensemble.isel(draw=[0])"
            )
        frames = structure(self.potential, ensemble, "Structure of the model")
        energy = ensemble["potential_energy"].values.reshape(1, -1) - frames.baseline[..., 0]
        # Energies are exactly linear in the free coordinates; directions never visited stay at the prior mean.
        rows = (frames.basis @ self.prior.lift).reshape(frames.size, -1)
        goal = (energy - frames.basis @ self.prior.mean).ravel()
        scale = max(float(np.abs(rows).max()), 1e-300)
        position = scale**-1 * np.linalg.lstsq(rows / scale, goal, rcond=1e-9)[0]
        return Reference(frames, energy, self.kT), position
