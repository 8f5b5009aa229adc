"""One iteration of relative entropy: simulate a reference, compare it with the data, step."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import numpy as np
import xarray as xr
from jaxtyping import Array, Float

from bayescg import posterior as posterior_room
from bayescg.inference.linear.marginal import Prior, factor_at
from bayescg.inference.structural import newton
from bayescg.inference.structural.newton import Model, Quadratic, Target
from bayescg.inference.structural.pressure import pressure_at
from bayescg.inference.structural.refinement import Iteration, Refinement, State
from bayescg.inference.structural.reweighting import Reference, long_run_covariance, structure_z
from bayescg.inference.structural.settle import settle, typical
from bayescg.inference.structural.structure import Frames, structure
from bayescg.potentials import Potential
from bayescg.simulation import simulate
from bayescg.units import BOLTZMANN

_FRAMES_PER_DIRECTION = 10


_SHORT = 3.0
"""Length of a step [standard deviations of beta U] up to which its overlap can be told beforehand."""

_EXPECTED = 0.25
"""Share of the overlap expected of a short step below which it is halved."""


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


def advance(problem: Problem, state: State, given: tuple[Reference, Float[np.ndarray, " free"]] | None = None) -> State:
    """The state after one more reference.

    Args:
        problem: the fit.
        state: where it stands.
        given: a reference and its position, in place of a simulation.

    Raises:
        ValueError: if the first simulation fails.
    """
    settings, number = problem.settings, len(state.records)
    position, time = state.position, settings.runs * state.time
    if given is not None:
        reference, position = given
        time = 0.0
    else:
        try:
            reference = problem.simulated(problem.coefficients(position), state.time, number)
        except ValueError as error:
            if not number or "simulation failed" not in str(error):
                raise
            # Too far: a quarter of the way back from what could be simulated.
            blank = np.full(problem.potential.n_basis, np.nan)
            nothing = Iteration(
                problem.coefficients(position), blank, blank, np.nan, np.nan, np.nan, np.nan, np.nan, 0.0
            )
            return _back(state, 0.25, nothing)
    model = Model(problem.prior, problem.target, reference)
    local = model.quadratic(position)
    factor = factor_at(problem.prior, typical(problem.prior))
    landing, length, share = newton.leap(model, local, factor, state.radius)
    record = _record(problem, reference, local, position, length, time)
    worse = number > 0 and not state.last and length > 2 * np.nan_to_num(state.records[-1].length, nan=np.inf)
    if worse:
        return _back(state, 0.5, record)
    if state.last:
        settled = settle(problem.prior, model, position, settings, problem.calibration)
        overlap = model.overlap(settled.position)
        record = record._replace(step=newton.distance(model, settled.position, position), overlap=overlap)
        return state.then(
            position=settled.position,
            before=position,
            done=settled.reached,
            records=(*state.records, record),
            reference=reference,
        )
    overlap = model.overlap(landing)
    # Where a step is short, exp(-length^2) of the frames stay effective. If far fewer do, the step goes along
    # directions whose fluctuations a short reference has hardly seen, and the quadratic model does not hold.
    while share * length < _SHORT and overlap < _EXPECTED * np.exp(-((share * length) ** 2)) and share > 1 / 64:
        share *= 0.5
        landing = 0.5 * (position + landing)
        overlap = model.overlap(landing)
    record = record._replace(step=share * length, overlap=overlap)
    near = share == 1 and overlap >= settings.overlap
    return state.then(
        position=landing,
        before=position,
        time=_last_time(problem, local, factor, state.time) if near else state.time,
        last=near,
        records=(*state.records, record),
        reference=reference,
    )


def _back(state: State, share: float, record: Iteration) -> State:
    """A step that made matters worse is taken for its first part only, and the next ones are shorter.

    The reference before it stays: it is the better one.
    """
    return state.then(
        position=state.before + share * (state.position - state.before),
        radius=share * state.radius,
        records=(*state.records, record._replace(step=0.0)),
    )


def _record(problem: Problem, reference: Reference, local: Quadratic, position, length: float, time: float):
    coefficients, data = problem.coefficients(position), problem.data
    basis = data.basis.mean(axis=(0, 1))
    moments = reference.moments(coefficients, reference.frames.basis)
    own = np.diag(long_run_covariance(data.basis - basis)) / data.size
    error = np.sqrt(own + np.diag(moments.error))
    difference = basis - moments.mean
    z = np.divide(difference, error, out=np.full(len(basis), np.nan), where=error > 0)
    parts = structure_z(data, reference, coefficients).values()
    structure_score = float(np.nanmean(np.abs(np.concatenate(list(parts)))))
    pressure = pressure_at(reference, coefficients, problem.initial.sizes["bead"], problem.volume)
    return Iteration(
        coefficients,
        difference / problem.kT,
        z,
        length,
        0.0,
        local.overlap,
        structure_score,
        pressure.value,
        time,
    )


def _last_time(problem: Problem, local: Quadratic, factor: Float[np.ndarray, "free free"], time: float) -> float:
    """Length of each run of the last reference [ps].

    Its noise is to be the wanted share of the data's, and its independent frames ten times as many as directions:
    the covariance that error bars rest on needs them.
    """
    settings, target = problem.settings, problem.target
    strength, rotation = np.linalg.eigh(factor.T @ local.precision @ factor)
    kept = strength > 1.0
    if not np.any(kept):
        return time
    basis = factor @ rotation[:, kept] / np.sqrt(strength[kept])
    data = target.frames**2 / problem.kT**2 * np.einsum("fk,fg,gk->", basis, target.error, basis, optimize=True)
    both = np.einsum("fk,fg,gk->", basis, local.spread, basis, optimize=True)
    strengths = np.trace(basis.T @ local.precision @ basis)
    independent = target.frames * strengths / (both - data)
    wanted = max((both - data) / (settings.noise * data), _FRAMES_PER_DIRECTION * kept.sum() / independent)
    return float(np.clip(time * wanted, time, max(settings.longest, time)))
