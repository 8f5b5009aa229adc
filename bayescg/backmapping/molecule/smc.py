"""Tempered sequential Monte Carlo along the path of one frame: a pilot adapts it, frozen runs are what counts.

Between neighbors of the path the particles go through first^(1-lambda) second^lambda (Del Moral, Doucet and Jasra,
J. R. Stat. Soc. B 68, 411 (2006), doi:10.1111/j.1467-9868.2006.00553.x). Temperatures, step sizes and mass matrices
that are adapted to the particles which they then move make the estimate of Z biased; those of an earlier run do not.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import blackjax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from blackjax.smc import resampling, tempered
from scipy.linalg import cholesky, solve_triangular
from scipy.special import logsumexp

from bayescg.backmapping.molecule.path import FLOOR, Frame, shrunk

BATCH = 128
"""Particles in one vectorized piece: more do not fit a processor's cache."""
_ACCEPTANCE = 0.8
_LONGEST = 16
_WIDEST = 1.3
_MOST_STEPS = 1000


class Stage(NamedTuple):
    """One temperature of a frozen path.

    Attributes:
        leg: part of the path, see `Frame.legs`.
        temperature: lambda, of the second end.
        step: of the leapfrog steps, in units of the inverse mass matrix's square root.
        leapfrogs: steps of one trajectory.
        metric: inverse mass matrix.
    """

    leg: int
    temperature: float
    step: float
    leapfrogs: int
    metric: np.ndarray


class Particles(NamedTuple):
    """What one run gives.

    Attributes:
        y: (particle, y), equally weighted.
        ancestors: (particle,), which of the first particles each descends from.
        log_z: log of the target's integral over y.
        acceptance: of the moves at the target.
        evaluations: of the target's density (and gradient).
    """

    y: np.ndarray
    ancestors: np.ndarray
    log_z: float
    acceptance: float
    evaluations: int


@eqx.filter_jit
def first_draws(frame: Frame, missed: bool, keys) -> jax.Array:
    """Draws of where the path begins, one for each key."""
    return jax.vmap(lambda key: frame.draw(key=key, missed=missed))(keys)


@eqx.filter_jit
def slopes(frame: Frame, leg: int, y) -> tuple[jax.Array, jax.Array, jax.Array]:
    """log(second / first) of particles, and the gradients of the first log density and of that ratio."""
    first, second = frame.ends(leg)

    def one(y):
        gradient = jax.grad(first)(y)
        value, other = jax.value_and_grad(lambda y: _ratio(first, second, y))(y)
        return value, gradient, other

    return jax.lax.map(one, y, batch_size=min(BATCH, len(y)))


def _ratio(first, second, y):
    # The floor stands for zero densities; the particle must lose its weight, not gain it, where the first one is zero.
    below = first(y)
    return jnp.where(below > FLOOR, second(y) - below, FLOOR)


@eqx.filter_jit
def _advance(frame: Frame, leg: int, moves: int, state, temperature, parameters, key):
    """Resample, move at the state's temperature, weigh for the next."""
    first, second = frame.ends(leg)
    kernel = tempered.build_kernel(
        first,
        partial(_ratio, first, second),
        blackjax.hmc.build_kernel(),
        blackjax.hmc.init,
        resampling.systematic,
        batch_size=min(BATCH, len(state.weights)),
    )
    state, info = kernel(key, state, moves, temperature, parameters)
    return state, info.log_likelihood_increment, info.ancestors, jnp.mean(info.update_info.acceptance_rate)


def adapt(
    frame: Frame, y: np.ndarray, *, legs: tuple[int, ...], share: float, moves: int, key
) -> tuple[list[Stage], int]:
    """The pilot: temperatures, step sizes and mass matrices, and how many evaluations of the target they cost.

    Args:
        frame: what is sampled.
        y: draws of the path's start, (particle, y).
        legs: parts of the path, in order.
        share: effective share of the particles that a step of the temperature leaves.
        moves: trajectories at each temperature.
        key: random key.

    Raises:
        ValueError: if no particle has a finite density at the next part of the path.
    """
    stages, step, evaluations = [], 0.3, 0
    for leg in legs:
        value, below, ratio = map(np.asarray, slopes(frame, leg, jnp.asarray(y)))
        temperature = 0.0
        while temperature < 1:
            if len(stages) > _MOST_STEPS or not np.any(value > FLOOR / 2):
                raise ValueError(
                    f"the path does not get beyond lambda = {temperature:.3g} of its leg "
                    f"{'to the guide' if leg == 0 else 'to exp(-beta U)'}: no configuration near the guide's draws has "
                    "a finite energy; check the target, units, and that guide and target are of the same molecule"
                )
            if not np.any(np.all(np.isfinite(below + ratio), axis=1)):
                raise ValueError(
                    "no draw has a finite gradient of the log densities: differentiate the guide's log_density and the "
                    "target there, NaN comes from square roots of zero and from branches of jnp.where not taken"
                )
            increase = _next(value, 1 - temperature, share)
            temperature = 1.0 if temperature + increase > 1 - 1e-9 else temperature + increase
            weights = np.exp(increase * value - logsumexp(increase * value))
            metric = metric_of(y, weights, below + temperature * ratio)
            for _ in range(4 if temperature < 1 else 6):
                key, subkey = jax.random.split(key)
                stage = Stage(leg, temperature, step, _leapfrogs(step), metric)
                state = tempered.TemperedSMCState(jnp.asarray(y), jnp.asarray(weights), jnp.asarray(temperature))
                state, _, _, rate = _advance(
                    frame, leg, moves, state, jnp.asarray(temperature), _parameters(stage, len(y), subkey), subkey
                )
                y, weights = np.asarray(state.particles), np.full(len(y), 1 / len(y))
                evaluations += _cost(stage, moves, len(y))
                step = adapted_step(step, float(rate))
                if abs(float(rate) - _ACCEPTANCE) < 0.1 or (float(rate) > _ACCEPTANCE and step == _WIDEST):
                    break
            stages.append(stage._replace(step=step, leapfrogs=_leapfrogs(step)))
            value, below, ratio = map(np.asarray, slopes(frame, leg, jnp.asarray(y)))
            evaluations += len(y) if leg == 1 else 0
    return stages, evaluations


def run(frame: Frame, stages: list[Stage], y: np.ndarray, *, moves: int, key) -> Particles:
    """One run with all parameters frozen: exp(log_z) has the expectation Z.

    Args:
        frame: what is sampled.
        stages: from a pilot, whose particles had other keys.
        y: draws of the path's start, (particle, y).
        moves: trajectories at each temperature.
        key: random key.
    """
    count = len(y)
    ancestors, log_z, evaluations, rate = np.arange(count), 0.0, 0, 1.0
    for leg in sorted({stage.leg for stage in stages}):
        part = [stage for stage in stages if stage.leg == leg]
        value = np.asarray(slopes(frame, leg, jnp.asarray(y))[0])
        first = part[0].temperature * value
        log_z += float(logsumexp(first) - np.log(count))
        state = tempered.TemperedSMCState(
            jnp.asarray(y), jnp.asarray(np.exp(first - logsumexp(first))), jnp.asarray(part[0].temperature)
        )
        for stage, following in zip(part, [*part[1:], part[-1]], strict=True):
            key, subkey = jax.random.split(key)
            state, increment, parents, rate = _advance(
                frame,
                leg,
                moves,
                state,
                jnp.asarray(following.temperature),
                _parameters(stage, count, subkey),
                subkey,
            )
            log_z += float(increment)
            ancestors = ancestors[np.asarray(parents)]
            evaluations += _cost(stage, moves, count)
        y = np.asarray(state.particles)
    return Particles(y, ancestors, log_z, float(rate), evaluations)


def metric_of(y: np.ndarray, weights: np.ndarray, gradients: np.ndarray) -> np.ndarray:
    """Inverse mass matrix: the geometric mean of the covariance and of the inverse covariance of the gradients.

    For a Gaussian both are its covariance. Elsewhere the first knows the wide directions and the second the stiff ones;
    in their mean as metric the density is as near as it can be, in the Fisher divergence, to a unit Gaussian.

    Args:
        y: (particle, y).
        weights: normalized, (particle,).
        gradients: of the log density, (particle, y).
    """
    effective = 1 / np.sum(weights**2)
    # Where a density is zero, its gradient need not be a number.
    gradients = np.where(np.isfinite(gradients), gradients, 0.0)
    centered = y - weights @ y
    spread = (centered * weights[:, None]).T @ centered
    # Heavy tails of the forces (overlapping atoms) would make single particles decide.
    limit = 5 * np.sqrt(weights @ np.minimum(gradients**2, 25 * np.median(gradients**2, axis=0) + 1e-300)) + 1e-300
    bounded = np.clip(gradients, -limit, limit)
    stiffness = shrunk((bounded * weights[:, None]).T @ bounded, effective)
    scale = np.trace(spread) / len(spread)
    factor = cholesky(stiffness + 1e-10 / max(scale, 1e-300) * np.eye(len(spread)), lower=True)
    # Where the stiffness is one, the covariance is nearest to a diagonal matrix: there it is regularized.
    values, vectors = np.linalg.eigh(shrunk(factor.T @ spread @ factor, effective))
    root = solve_triangular(factor, vectors, lower=True, trans=1) * np.maximum(values, 1e-12) ** 0.25
    metric = root @ root.T
    return (metric + metric.T) / 2


def adapted_step(step: float, acceptance: float, gain: float = 1.5) -> float:
    """A step size that brings the acceptance nearer to its aim."""
    return float(np.clip(step * np.exp(gain * (acceptance - _ACCEPTANCE)), 1e-4, _WIDEST))


def _cost(stage: Stage, moves: int, count: int) -> int:
    """Evaluations of the target: one to begin with, one a leapfrog step, one to weigh; none on the way to the guide."""
    return count * (moves * stage.leapfrogs + 2) if stage.leg == 1 else 0


def _leapfrogs(step: float) -> int:
    """A quarter of a period of a unit Gaussian, if that is not too long."""
    return int(np.clip(np.ceil(0.5 * np.pi / step), 2, _LONGEST))


def _parameters(stage: Stage, count: int, key) -> dict:
    # Trajectories of one length can return to where they began; lengths that vary do not.
    jitter = jax.random.uniform(jax.random.fold_in(key, 1), (count,), minval=0.7, maxval=1.1)
    return {
        "step_size": stage.step * jitter,
        "inverse_mass_matrix": jnp.asarray(stage.metric)[None],
        "num_integration_steps": jnp.asarray([stage.leapfrogs]),
    }


def _next(value: np.ndarray, most: float, share: float) -> float:
    """Largest step of the temperature that leaves this effective share, by bisection."""

    def effective(increase):
        return 2 * logsumexp(increase * value) - logsumexp(2 * increase * value) - np.log(len(value))

    if effective(most) >= np.log(share):
        return most
    low, high = 0.0, most
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if effective(middle) >= np.log(share) else (low, middle)
    return max(low, 1e-12)


def spread_at_guide(frame: Frame, y: np.ndarray, *, sweeps: int = 12, moves: int, key) -> np.ndarray:
    """Let configurations settle at the guide alone, for a guide that is not normalized.

    Args:
        frame: without a start of its own.
        y: typical configurations of the guide, (particle, y).
        sweeps: of all of them.
        moves: trajectories in each.
        key: random key.
    """
    # The leg to the guide of a path that begins with the guide: the target is not asked.
    step, zero = 0.1, jnp.asarray(0.0)
    for _ in range(sweeps):
        key, subkey = jax.random.split(key)
        uniform = np.full(len(y), 1 / len(y))
        metric = metric_of(y, uniform, np.asarray(slopes(frame, 0, jnp.asarray(y))[1]))
        stage = Stage(0, 0.0, step, _leapfrogs(step), metric)
        state = tempered.TemperedSMCState(jnp.asarray(y), jnp.asarray(uniform), zero)
        state, _, _, rate = _advance(frame, 0, moves, state, zero, _parameters(stage, len(y), subkey), subkey)
        y, step = np.asarray(state.particles), adapted_step(step, float(rate))
    return y
