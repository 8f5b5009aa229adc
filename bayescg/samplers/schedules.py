"""A path of densities: a pilot finds temperatures and moves, frozen runs give draws and an unbiased integral.

Temperatures, step sizes and mass matrices that are adapted to the particles which they then move make the estimate of
the integral biased; those of an earlier run do not.
"""

from __future__ import annotations

from abc import abstractmethod
from functools import partial
from typing import NamedTuple

import blackjax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from blackjax.smc.tempered import TemperedSMCState
from jaxtyping import Array, Float, Int

from bayescg.samplers.metric import adapted_step, metric_of
from bayescg.samplers.tempering import (
    BATCH,
    FLOOR,
    Account,
    LogDensity,
    bounded,
    build_kernel,
    log_gain,
    log_ratio,
    next_increment,
    reweighted,
)

STEPS = {"aim": 0.8, "gain": 1.5, "most": 1.3}
"""Of trajectories: how their step size follows the acceptance."""

_LONGEST = 16
_MOST_STAGES = 1000


class Path(eqx.Module):
    """Densities of one vector, the first normalized, with legs between them; an argument of compiled programs."""

    @abstractmethod
    def ends(self, leg: int) -> tuple[LogDensity, LogDensity]:
        """Log densities at both ends of a leg; -inf and NaN stand for zero."""

    @abstractmethod
    def complaint(self, leg: int) -> str:
        """What to say, and to advise, where all particles have zero density at the second end of a leg."""


class Stage(NamedTuple):
    """One temperature of a schedule.

    Attributes:
        leg: part of the path.
        temperature: lambda, of its second end.
        step: of the leapfrog steps, in units of the inverse mass matrix's square root.
        leapfrogs: steps of one trajectory.
        metric: inverse mass matrix.
    """

    leg: int
    temperature: float
    step: float
    leapfrogs: int
    metric: Float[np.ndarray, "y y"]


class Pilot(NamedTuple):
    """What a pilot found.

    Attributes:
        stages: the schedule.
        evaluations: of the density at the second end of each leg.
    """

    stages: list[Stage]
    evaluations: dict[int, int]


class Particles(NamedTuple):
    """What one frozen run gives.

    Attributes:
        y: (particle, y), equally weighted.
        ancestors: (particle,), which of the first particles each descends from.
        log_z: log of the last density's integral.
        acceptance: of the moves at the last density.
        evaluations: of the density at the second end of each leg.
    """

    y: Float[np.ndarray, "particle y"]
    ancestors: Int[np.ndarray, " particle"]
    log_z: float
    acceptance: float
    evaluations: dict[int, int]


@eqx.filter_jit
def slopes(path: Path, leg: int, y) -> tuple[Array, Array, Array]:
    """log(second / first) of particles, and the gradients of the first log density and of that ratio."""
    first, second = map(bounded, path.ends(leg))

    def one(y):
        gradient = jax.grad(first)(y)
        value, other = jax.value_and_grad(partial(log_ratio, first, second))(y)
        return value, gradient, other

    return jax.lax.map(one, y, batch_size=min(BATCH, len(y)))


def moved(path: Path, stage: Stage, y, weights, moves: int, *, following: float | None = None, key):
    """Resample, move at a stage's temperature, weigh for the following one (None: for the same).

    Args:
        path: the densities.
        stage: how particles move.
        y: (particle, y).
        weights: normalized, (particle,).
        moves: trajectories of each.
        following: temperature.
        key: JAX random key.

    Returns:
        Particles and their weights, blackjax's information on the step, and the mean acceptance.
    """
    state = TemperedSMCState(jnp.asarray(y), jnp.asarray(weights), jnp.asarray(stage.temperature))
    following = stage.temperature if following is None else following
    parameters = _parameters(stage, len(y), key)
    state, info, rate = _advance(path, stage.leg, moves, state, jnp.asarray(following), parameters, key)
    return np.asarray(state.particles), np.asarray(state.weights), info, float(rate)


@eqx.filter_jit
def _advance(path: Path, leg: int, moves: int, state, temperature, parameters, key):
    first, second = map(bounded, path.ends(leg))
    kernel = build_kernel(first, second, blackjax.hmc.build_kernel(), len(state.weights))
    state, info = kernel(key, state, moves, temperature, parameters)
    return state, info._replace(update_info=None), jnp.mean(info.update_info.acceptance_rate)


def _parameters(stage: Stage, count: int, key) -> dict:
    # Trajectories of one length can return to where they began; lengths that vary do not.
    jitter = jax.random.uniform(jax.random.fold_in(key, 1), (count,), minval=0.7, maxval=1.1)
    return {
        "step_size": stage.step * jitter,
        "inverse_mass_matrix": jnp.asarray(stage.metric)[None],
        "num_integration_steps": jnp.asarray([stage.leapfrogs]),
    }


def adapt(
    path: Path, y: Float[np.ndarray, "particle y"], *, legs: tuple[int, ...], share: float, moves: int, key
) -> Pilot:
    """The pilot: temperatures, step sizes and mass matrices, and how many evaluations they cost.

    Args:
        path: the densities.
        y: draws of the first one.
        legs: parts of the path, in order.
        share: effective share of the particles that a step of the temperature leaves.
        moves: trajectories at each temperature.
        key: JAX random key.

    Raises:
        ValueError: if no particle has a finite density at the next part of the path.
    """
    stages, step, evaluations = [], 0.3, dict.fromkeys(legs, 0)
    for leg in legs:
        value, below, ratio = map(np.asarray, slopes(path, leg, jnp.asarray(y)))
        temperature = 0.0
        while temperature < 1:
            if len(stages) > _MOST_STAGES or not np.any(value > FLOOR / 2):
                raise ValueError(f"the path does not get beyond lambda = {temperature:.3g} of {path.complaint(leg)}")
            if not np.any(np.all(np.isfinite(below + ratio), axis=1)):
                raise ValueError(
                    "no draw has a finite gradient of the log densities: differentiate those at both ends of the path "
                    "there, NaN comes from square roots of zero and from branches of jnp.where not taken"
                )
            increment = next_increment(value, 1 - temperature, share)
            temperature = 1.0 if temperature + increment > 1 - 1e-9 else temperature + increment
            weights = reweighted(value, increment)
            metric = metric_of(y, weights, below + temperature * ratio)
            stage = Stage(leg, temperature, step, leapfrogs(step), metric)
            for _ in range(4 if temperature < 1 else 6):
                key, subkey = jax.random.split(key)
                y, _, _, rate = moved(path, stage, y, weights, moves, key=subkey)
                weights = np.full(len(y), 1 / len(y))
                evaluations[leg] += _cost(stage, moves, len(y))
                step = adapted_step(step, rate, **STEPS)
                stage = stage._replace(step=step, leapfrogs=leapfrogs(step))
                if abs(rate - STEPS["aim"]) < 0.1 or (rate > STEPS["aim"] and step == STEPS["most"]):
                    break
            stages.append(stage)
            value, below, ratio = map(np.asarray, slopes(path, leg, jnp.asarray(y)))
            evaluations[leg] += len(y)
    return Pilot(stages, evaluations)


def run(path: Path, stages: list[Stage], y: Float[np.ndarray, "particle y"], *, moves: int, key) -> Particles:
    """One run with all parameters frozen: exp(log_z) has the expectation Z.

    Args:
        path: the densities.
        stages: from a pilot, whose particles had other keys.
        y: draws of the first density.
        moves: trajectories at each temperature.
        key: JAX random key.
    """
    account, rate, evaluations = Account.begin(len(y)), 1.0, {stage.leg: 0 for stage in stages}
    for leg in sorted(evaluations):
        part = [stage for stage in stages if stage.leg == leg]
        value = np.asarray(slopes(path, leg, jnp.asarray(y))[0])
        first = part[0].temperature
        account = account._replace(log_z=account.log_z + log_gain(value, first))
        weights = reweighted(value, first)
        for stage, following in zip(part, [*part[1:], part[-1]], strict=True):
            key, subkey = jax.random.split(key)
            y, weights, info, rate = moved(path, stage, y, weights, moves, following=following.temperature, key=subkey)
            account = account.after(info)
            evaluations[leg] += _cost(stage, moves, len(y))
    return Particles(y, account.ancestors, account.log_z, rate, evaluations)


def _cost(stage: Stage, moves: int, count: int) -> int:
    """Evaluations: one to begin with, one a leapfrog step, one to weigh."""
    return count * (moves * stage.leapfrogs + 2)


def leapfrogs(step: float) -> int:
    """Steps of a quarter of a period of a unit Gaussian, if that is not too long."""
    return int(np.clip(np.ceil(0.5 * np.pi / step), 2, _LONGEST))
