"""One CG configuration: the path is set up, adapted and run, and draws are taken from its particles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import logsumexp

from bayescg.backmapping.guides.guide import Conditional
from bayescg.backmapping.molecule.chains import independent, nuts
from bayescg.backmapping.molecule.path import Frame, Gaussian
from bayescg.backmapping.molecule.start import first_draws, spread_at_guide
from bayescg.samplers.importance import log_mean, systematic
from bayescg.samplers.lineages import ess_of_lineages, ess_of_relatives
from bayescg.samplers.schedules import adapt, run
from bayescg.samplers.tempering import BATCH

_WIDEN = 1.2
_POOL = 1000
"""Independence chains make at least so many steps together: their weights tell whether they can be believed."""


@dataclass(frozen=True)
class Tempering:
    """How much work tempered sequential Monte Carlo does for each CG configuration.

    Attributes:
        particles: of each run; more if the draws asked of "smc" need more.
        replicates: independent runs with the frozen parameters; their scatter gives the error of ln Z.
        moves: Hamiltonian trajectories of each particle at each temperature.
        share: effective share of the particles that each step of the temperature leaves.

    Raises:
        ValueError: for fewer than 20 particles, 2 replicates or 1 move, or a share outside (0, 1).
    """

    particles: int = 256
    replicates: int = 4
    moves: int = 2
    share: float = 0.6

    def __post_init__(self):
        """Refuse what cannot work."""
        if self.particles < 20 or self.replicates < 2 or self.moves < 1 or not 0 < self.share < 1:
            raise ValueError(f"{self}: particles of 20 or more, replicates of 2 or more, moves, and a share below one")


class Result(NamedTuple):
    """Draws for one CG configuration; see `sample` for what is what."""

    positions: np.ndarray
    log_weight: np.ndarray
    energy: np.ndarray
    log_z: float
    log_z_se: float
    ess: float
    ess_run: float
    acceptance: float
    evaluations: int


class _Pool(NamedTuple):
    """Everything that was sampled for one CG configuration."""

    y: np.ndarray
    weights: np.ndarray
    lineage: np.ndarray
    log_z: float
    log_z_se: float
    acceptance: float
    evaluations: int


def sample_frame(
    conditional: Conditional,
    beads: np.ndarray,
    energy: Callable,
    *,
    draws: int,
    method: str,
    tempering: Tempering,
    key,
) -> Result:
    """Draws, ln Z and their quality for one CG configuration.

    Args:
        conditional: gives the guide.
        beads: (bead, 3) [nm].
        energy: beta U of positions.
        draws: number of them.
        method: see `sample`.
        tempering: how much work.
        key: random key.
    """
    setup, work, choose = jax.random.split(key, 3)
    shape = eqx.filter_eval_shape(lambda c, x: c.guide(x), conditional, jnp.asarray(beads))
    missed, normalized = shape.space == "atoms", shape.normalized
    if method == "imh" and not normalized:
        raise ValueError("method='imh' needs exact draws of the guide, and this one is not normalized: use 'smc'")
    particles = tempering.particles
    if method != "nuts":
        particles = max(particles, -(-draws // tempering.replicates))
    frame, y = _set_up(conditional, beads, energy, missed, normalized, particles, tempering, setup)
    if method == "imh":
        pool = _independent(frame, max(draws, _POOL), missed, work)
    elif method == "gp" and normalized:
        pool = _alone(frame, draws, missed, work)
    else:
        pool = _tempered(frame, y, draws, method, missed, tempering, work)
    return _result(frame, pool, draws, choose)


def _set_up(conditional, beads, energy, missed, normalized, particles, tempering, key) -> tuple[Frame, np.ndarray]:
    """The frame with the Gaussians of its path, and draws of the path's start for the pilot."""
    first, second, third = jax.random.split(key, 3)
    frame = Frame(conditional, jnp.asarray(beads), None, None, energy)
    y = np.asarray(first_draws(frame, missed, jax.random.split(first, particles)))
    if not np.all(np.isfinite(y)):
        raise ValueError("draws of the guide are not finite: check the conditional's parameters")
    free = conditional.fibre.n_free
    if missed:
        frame = eqx.tree_at(lambda f: f.rest, frame, _arrays(Gaussian.fit(y[:, free:])), is_leaf=lambda x: x is None)
    if not normalized:
        settled = spread_at_guide(frame, y, moves=tempering.moves, key=second)
        start = _arrays(Gaussian.fit(settled, widen=_WIDEN))
        frame = eqx.tree_at(lambda f: f.start, frame, start, is_leaf=lambda x: x is None)
        y = np.asarray(first_draws(frame, missed, jax.random.split(third, particles)))
    return frame, y


def _arrays(gaussian: Gaussian) -> Gaussian:
    return Gaussian(jnp.asarray(gaussian.mean), jnp.asarray(gaussian.factor))


def _tempered(frame: Frame, y, draws: int, method: str, missed: bool, tempering: Tempering, key) -> _Pool:
    pilot, *keys, last = jax.random.split(key, tempering.replicates + 2)
    legs = (0,) if method == "gp" else frame.legs
    stages, spent = adapt(frame, y, legs=legs, share=tempering.share, moves=tempering.moves, key=pilot)
    # Of the target: the way to the guide does not ask it.
    evaluations = spent.get(1, 0)
    runs = []
    for subkey in keys:
        begin, go = jax.random.split(subkey)
        start = np.asarray(first_draws(frame, missed, jax.random.split(begin, len(y))))
        runs.append(run(frame, stages, start, moves=tempering.moves, key=go))
        evaluations += runs[-1].evaluations.get(1, 0)
    each = np.array([r.log_z for r in runs])
    weights = np.repeat(np.exp(each - logsumexp(each)) / len(y), len(y))
    states = np.concatenate([r.y for r in runs])
    lineage = np.concatenate([k * len(y) + r.ancestors for k, r in enumerate(runs)])
    # Between ancestors, and between runs: the larger of the two estimates of one variance.
    inside = max(1 / ess_of_lineages(weights, lineage) - 1 / len(states), 0.0)
    log_z, between = log_mean(each, freedom=1)
    acceptance = float(np.mean([r.acceptance for r in runs]))
    if method == "nuts":
        chains = nuts(frame, states, stages[-1], steps=-(-draws // len(states)), key=last)
        steps = len(chains.y)
        states = chains.y.reshape(-1, states.shape[1])
        weights, lineage = np.tile(weights, steps) / steps, np.tile(lineage, steps)
        evaluations, acceptance = evaluations + chains.evaluations, chains.acceptance
    log_z, error = log_z + frame.conditional.fibre.log_volume, max(float(np.sqrt(inside)), between)
    if method == "gp":
        log_z = error = np.nan
    return _Pool(states, weights, lineage, log_z, error, acceptance, evaluations)


def _independent(frame: Frame, samples: int, missed: bool, key) -> _Pool:
    found = independent(frame, samples=samples, missed=missed, key=key)
    weights = np.full(samples, 1 / samples)
    log_z = found.log_z + frame.conditional.fibre.log_volume
    return _Pool(found.y, weights, found.lineage, log_z, found.log_z_se, found.acceptance, 2 * samples)


def _alone(frame: Frame, draws: int, missed: bool, key) -> _Pool:
    y = np.asarray(first_draws(frame, missed, jax.random.split(key, draws)))
    return _Pool(y, np.full(draws, 1 / draws), np.arange(draws), np.nan, np.nan, 1.0, 0)


@eqx.filter_jit
def _atoms(frame: Frame, y):
    def one(y):
        positions = frame.positions(y)
        return positions, frame.energy(positions)

    return jax.lax.map(one, y, batch_size=min(BATCH, len(y)))


def _result(frame: Frame, pool: _Pool, draws: int, key) -> Result:
    positions, energy = map(np.asarray, _atoms(frame, jnp.asarray(pool.y)))
    free = frame.conditional.fibre.n_free
    values = np.concatenate([pool.y[:, :free], energy[:, None]], axis=1)
    whole = ess_of_relatives(values, pool.weights, pool.lineage)
    count, index, weights, ess = len(pool.y), np.arange(len(pool.y)), pool.weights, whole
    if draws != count:
        # Systematic resampling over particles in random order: neighbors are relatives.
        first, second = jax.random.split(key)
        order = np.asarray(jax.random.permutation(first, count))
        index = order[systematic(pool.weights[order], draws, key=second)]
        weights = np.full(draws, 1 / draws)
        ess = 1 / max(1 / whole + 1 / draws - np.sum(pool.weights**2), 1 / draws)
    return Result(
        positions[index],
        np.log(np.maximum(weights, 1e-300)),
        energy[index],
        pool.log_z,
        pool.log_z_se,
        float(ess),
        float(whole),
        pool.acceptance,
        pool.evaluations,
    )
