"""One iteration of relative entropy: simulate a reference, compare it with the data, step.

The minus log posterior is convex, but each reference knows it with noise, and only where its frames are. Three guards
make the path not matter: a step whose end says that it went too far is taken back in part; steps after it are short
until some succeed; and a step that chance alone would explain asks for a longer reference.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from bayescg.inference.linear.marginal import factor_at
from bayescg.inference.structural import newton
from bayescg.inference.structural.newton import Model, Quadratic
from bayescg.inference.structural.pressure import pressure_at
from bayescg.inference.structural.problem import Problem
from bayescg.inference.structural.refinement import Iteration, State
from bayescg.inference.structural.reweighting import Reference, long_run_covariance, structure_z
from bayescg.inference.structural.settle import settle, typical

_FRAMES_PER_DIRECTION = 30

_SHORT = 3.0
"""Length of a step [standard deviations of beta U] up to which its overlap can be told beforehand."""

_EXPECTED = 0.25
"""Share of the overlap expected of a short step below which it is halved."""

_CHANCE = 2.0
"""Length of a step relative to that which chance alone would give, from which on it is taken for more than chance."""

_UPHILL = 0.5
"""Slope at the end of a step, relative to the one downhill at its start, from which on the step went too far."""

_BACK = (0.1, 0.5)
"""Least and largest share of a step that is kept where it went too far."""


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
            blank, nan = np.full(problem.potential.n_basis, np.nan), np.nan
            nothing = Iteration(problem.coefficients(position), blank, blank, nan, nan, nan, nan, nan, nan, 0.0)
            return _back(state, 0.25, nothing)
    model = Model(problem.prior, problem.target, reference)
    local = model.quadratic(position)
    factor = factor_at(problem.prior, typical(problem.prior))
    step = newton.leap(model, local, factor, state.radius)
    record = _record(problem, reference, local, position, step, time)
    kept = _kept(state, local, factor, position)
    if kept < 1:
        return _back(state, kept, record)
    if state.last:
        settled = settle(problem.prior, model, position, settings, problem.calibration)
        if settled.reached:
            moved, overlap = newton.distance(model, settled.position, position), model.overlap(settled.position)
            return state.then(
                position=settled.position,
                before=position,
                done=True,
                records=(*state.records, record._replace(step=moved, overlap=overlap)),
                reference=reference,
            )
    landing, share, overlap = _shortened(model, position, step)
    near = share == 1 and overlap >= settings.overlap
    by_chance = step.length < _CHANCE * step.noise
    longer = _last_time(problem, local, factor, state.time) if near or by_chance else state.time
    if by_chance and not near and state.time < settings.longest:
        landing, longer = position, min(max(longer, 2 * state.time), settings.longest)
    return state.then(
        position=landing,
        before=position,
        slope=newton.slope(local, factor, landing - position).value,
        time=longer,
        last=near or by_chance,
        radius=min(problem.farthest, max(state.radius, 2 * share * step.length)),
        records=(*state.records, record._replace(step=share * step.length, overlap=overlap)),
        reference=reference,
    )


def _kept(state: State, local: Quadratic, factor: Float[np.ndarray, "free free"], position) -> float:
    """Share of the last step that is kept: less than 1 where its end says uphill, beyond what chance explains."""
    if not state.slope < 0:
        return 1.0
    end = newton.slope(local, factor, position - state.before)
    if end.value <= _UPHILL * abs(state.slope) + 2 * end.sd:
        return 1.0
    return float(np.clip(abs(state.slope) / (abs(state.slope) + end.value), *_BACK))


def _back(state: State, share: float, record: Iteration) -> State:
    """Only the first part of a step that went too far, and shorter ones after it.

    The reference before it stays: it is the better one.
    """
    taken = next((each.step for each in reversed(state.records) if each.step > 0), state.radius)
    return state.then(
        position=state.before + share * (state.position - state.before),
        slope=share * state.slope,
        radius=share * min(state.radius, taken),
        records=(*state.records, record._replace(step=0.0)),
    )


def _shortened(model: Model, position: Float[np.ndarray, " free"], step: newton.Step):
    """Where a step is to end, the share of it taken, and the overlap there.

    Where a step is short, exp(-length^2) of the frames stay effective. If far fewer do, the step goes along directions
    whose fluctuations a short reference has hardly seen, and the quadratic model does not hold.
    """
    landing, share = step.landing, step.share
    overlap = model.overlap(landing)
    while (
        share * step.length < _SHORT and overlap < _EXPECTED * np.exp(-((share * step.length) ** 2)) and share > 1 / 64
    ):
        share *= 0.5
        landing = 0.5 * (position + landing)
        overlap = model.overlap(landing)
    return landing, share, overlap


def _record(problem: Problem, reference: Reference, local: Quadratic, position, step: newton.Step, time: float):
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
        step.length,
        step.noise,
        0.0,
        local.overlap,
        structure_score,
        pressure.value,
        time,
    )


def _last_time(problem: Problem, local: Quadratic, factor: Float[np.ndarray, "free free"], time: float) -> float:
    """Length of each run of the last reference [ps].

    Its noise is to be the wanted share of the data's, and its independent frames thirty times as many as directions:
    its covariance answers to the data, and chance in that of a few frames moves the pressure by as much as the data do.
    """
    settings, target = problem.settings, problem.target
    strength, rotation = np.linalg.eigh(factor.T @ local.precision @ factor)
    kept = strength > 1.0
    if not np.any(kept):
        return time
    basis = factor @ rotation[:, kept] / np.sqrt(strength[kept])
    data, noise = (np.sum((basis.T @ part @ basis).diagonal()) for part in (local.sampled, local.simulated))
    strengths = np.trace(basis.T @ local.precision @ basis)
    independent = target.frames * strengths / noise
    wanted = max(noise / (settings.noise * data), _FRAMES_PER_DIRECTION * kept.sum() / independent)
    return float(np.clip(time * wanted, time, max(settings.longest, time)))
