"""Markov chains at the target of one frame: NUTS from particles, and independence proposals from the guide."""

from __future__ import annotations

from typing import NamedTuple

import blackjax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import logsumexp

from bayescg.backmapping.molecule.path import Frame
from bayescg.samplers.importance import log_mean
from bayescg.samplers.schedules import Stage
from bayescg.samplers.tempering import BATCH, bounded

_CHAINS = 64


class Chains(NamedTuple):
    """States of chains.

    Attributes:
        y: (step, chain, y).
        acceptance: mean over chains and steps.
        evaluations: of the target.
    """

    y: np.ndarray
    acceptance: float
    evaluations: int


class Independent(NamedTuple):
    """What independence proposals give.

    Attributes:
        y: (sample, y).
        lineage: (sample,), chains that began at the same proposal are one.
        acceptance: share of accepted proposals.
        log_z: log of the target's integral over y, from the proposals' weights.
        log_z_se: its standard error.
    """

    y: np.ndarray
    lineage: np.ndarray
    acceptance: float
    log_z: float
    log_z_se: float


@eqx.filter_jit
def _nuts(frame: Frame, y, metric, step, steps: int, keys):
    log_target = bounded(frame.log_target)
    kernel = blackjax.nuts.build_kernel()

    def one(argument):
        y, key = argument

        def move(state, key):
            state, info = kernel(key, state, log_target, step, metric, max_num_doublings=7)
            return state, (state.position, info.acceptance_rate, info.num_integration_steps)

        return jax.lax.scan(move, blackjax.nuts.init(y, log_target), jax.random.split(key, steps))[1]

    return jax.lax.map(one, (y, keys), batch_size=min(BATCH, len(y)))


def nuts(frame: Frame, y: np.ndarray, stage: Stage, *, steps: int, key) -> Chains:
    """Go on from particles by the no-U-turn sampler, with the step size and metric that the pilot found.

    Args:
        frame: what is sampled.
        y: particles, (chain, y).
        stage: the last one of the path.
        steps: of each chain.
        key: random key.
    """
    keys = jax.random.split(key, len(y))
    metric, step = jnp.asarray(stage.metric), jnp.asarray(stage.step)
    path, rate, count = _nuts(frame, jnp.asarray(y), metric, step, steps, keys)
    return Chains(np.swapaxes(np.asarray(path), 0, 1), float(np.mean(rate)), int(np.sum(count)))


@eqx.filter_jit
def _propose(frame: Frame, missed: bool, keys):
    def one(key):
        y = frame.draw(key=key, missed=missed)
        return y, frame.log_target(y), frame.log_guide(y)

    return jax.lax.map(one, keys, batch_size=min(BATCH, len(keys)))


def independent(frame: Frame, *, samples: int, missed: bool, key) -> Independent:
    """Metropolis-Hastings with the guide as proposal, in chains that begin at proposals chosen by their weights.

    Args:
        frame: what is sampled, with a normalized guide.
        samples: number of them, all chains and steps together.
        missed: whether y holds xi.
        key: random key.

    Raises:
        ValueError: if no proposal has a finite energy.
    """
    chains = min(_CHAINS, samples)
    steps = -(-samples // chains)
    begin, later, choose, accept = jax.random.split(key, 4)
    pool, pool_weight = _weighed(frame, chains * steps, missed, begin)
    y, log_weight = _weighed(frame, chains * steps, missed, later)
    y, log_weight = y.reshape(steps, chains, -1), log_weight.reshape(steps, chains)
    probability = np.exp(pool_weight - logsumexp(pool_weight))
    lineage = np.asarray(jax.random.choice(choose, len(pool), (chains,), p=jnp.asarray(probability)))
    level = np.log(np.asarray(jax.random.uniform(accept, (steps, chains))))
    state, weight = pool[lineage], pool_weight[lineage]
    accepted, path = 0, []
    for proposal, proposed, limit in zip(y, log_weight, level, strict=True):
        taken = limit < proposed - weight
        state, weight = np.where(taken[:, None], proposal, state), np.where(taken, proposed, weight)
        accepted += int(taken.sum())
        path.append(state)
    return Independent(
        np.concatenate(path)[:samples],
        np.tile(lineage, steps)[:samples],
        accepted / (steps * chains),
        *log_mean(np.concatenate([pool_weight, log_weight.ravel()])),
    )


def _weighed(frame: Frame, count: int, missed: bool, key) -> tuple[np.ndarray, np.ndarray]:
    y, target, guide = map(np.asarray, _propose(frame, missed, jax.random.split(key, count)))
    log_weight = np.where(np.isfinite(target) & np.isfinite(guide), target - guide, -np.inf)
    if not np.any(np.isfinite(log_weight)):
        raise ValueError(
            f"none of {count} draws of the guide has a finite energy: check the target and units, or use method='smc'"
        )
    return y, log_weight
