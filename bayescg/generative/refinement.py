"""The second stage of `discover`: a sharper decoder, from both divergences."""

from __future__ import annotations

import warnings
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from bayescg.atomistic.target import Target
from bayescg.generative.checkpoint import Checkpoint
from bayescg.generative.flattening import Flattening
from bayescg.generative.latent_model import LatentModel
from bayescg.generative.objectives import forward_bound, reverse_bound
from bayescg.generative.replay import weighted_draws
from bayescg.generative.tempering import Particles, rejuvenate
from bayescg.generative.training import train, whole_chunks


class Budget:
    """Counts evaluations of the target."""

    def __init__(self, total: int):
        """Nothing spent yet.

        Args:
            total: how many there may be.
        """
        self.total, self.spent = total, 0

    def left(self) -> int:
        """What remains."""
        return self.total - self.spent


class Spread(NamedTuple):
    """Samples in which rare states are frequent.

    Attributes:
        coordinates: shape (sample, coordinate).
        weights: 1 / h where each sample's particle began, mean one: with them the samples are the target's.
        flattening: h.
        evaluations: that they cost.
    """

    coordinates: np.ndarray
    weights: np.ndarray
    flattening: Flattening
    evaluations: int


class Refined(NamedTuple):
    """What refinement gives.

    Attributes:
        model: the best one.
        shares: effective share of the draws before the first round, after each, and at the end.
        interrupted: whether the user stopped it.
    """

    model: LatentModel
    shares: list[float]
    interrupted: bool


def spread_out(
    model: LatentModel, target: Target, particles: Particles, samples: np.ndarray, *, sweeps: int, key
) -> Spread:
    """Start many particles in rare states and let them move within: a state of few samples is learnt from few.

    Args:
        model: whose latents tell states apart.
        target: the density.
        particles: whose step size and widths the moves take.
        samples: of the target.
        sweeps: moves of each particle, without turns of torsions, which would lead back to the common states.
        key: random key.
    """
    flattening = Flattening(model, samples)
    factor = flattening.factor(samples)
    start = particles._replace(coordinates=samples, weights=factor / factor.sum(), evaluations=0)
    first, second = jax.random.split(key)
    count = len(particles.weights)
    index = np.asarray(jax.random.choice(first, len(samples), (count,), p=jnp.asarray(start.weights)))
    start = start._replace(coordinates=samples[index], weights=np.full(count, 1 / count))
    moved, swept = rejuvenate(target, start, sweeps=sweeps, turns=0, key=second)
    undone = np.tile(1 / factor[index], sweeps)
    return Spread(swept.reshape(-1, target.dimension), undone / undone.mean(), flattening, moved.evaluations)


def refine(
    model: LatentModel,
    target: Target,
    samples: np.ndarray,
    spread: Spread,
    purse: Budget,
    training,
    store: Checkpoint,
    *,
    key,
) -> Refined:
    """Rounds of both divergences, each on particles and on the model's own draws by their weights.

    Rare states are shown more often than they occur, in the last round with weights that undo it: its draws are to be
    the target's own.

    Args:
        model: where to start.
        target: the density.
        samples: of the target.
        spread: more of its rare states.
        purse: evaluations that are left.
        training: rounds, steps, batch and learning rate.
        store: keeps each round.
        key: random key.
    """
    first, last, key = jax.random.split(key, 3)
    shares = [_drawn(model, target, purse, 0.05, first)[0]]
    best, own = model, samples
    for number, subkey in enumerate(jax.random.split(key, training.rounds)):
        left = purse.left() // (training.rounds - number)
        steps = min(training.refinement_steps, int(0.7 * left / training.batch))
        if steps < 10:
            warnings.warn(
                f"the budget ends before round {number + 1} of {training.rounds} of the refinement: use a larger one",
                stacklevel=5,
            )
            break
        first, second = jax.random.split(subkey)
        kept = store.model(f"round{number}")
        if kept is None:
            data = _data(spread, own, last=number + 1 == training.rounds)
            done = train(
                model,
                partial(_both, target=target, data=data, batch=training.batch),
                steps=steps,
                learning_rate=training.learning_rate / (2 if number else 1),
                description=f"Refinement {number + 1} of {training.rounds}",
                key=first,
            )
            if done.interrupted:
                purse.spent += len(done.losses) * training.batch
                return Refined(best, shares, True)
            kept = store.keep(f"round{number}", done.model)
        purse.spent += whole_chunks(steps) * training.batch
        share, drawn = _drawn(kept, target, purse, 0.25 / (training.rounds - number), second)
        shares.append(share)
        # Stochastic training of the reverse divergence can run away; what was good is not given up for it.
        if share >= 0.5 * max(shares):
            model, own = kept, own if drawn is None else drawn
            best = model
        else:
            model = best
    settled = _settled(best, samples, own, last)
    share, _ = _drawn(settled, target, purse, 0.1, jax.random.fold_in(last, 1))
    shares.append(share)
    return Refined(settled if share >= 0.5 * max(shares) else best, shares, False)


def _settled(model: LatentModel, samples: np.ndarray, own: np.ndarray, key) -> LatentModel:
    """The model with q(z) fitted once more, by itself: how often each state occurs is a matter of z alone.

    Half of its samples are the particles', which know states that the model's own draws may not reach.
    """
    data = [jnp.asarray(part, jnp.float32) for part in (samples, own)]

    def loss(model, *, key):
        pick, draw = jax.random.split(key)
        keys = jax.random.split(pick, 2)
        y = jnp.concatenate([d[jax.random.randint(k, (512,), 0, len(d))] for d, k in zip(data, keys, strict=True)])
        u = jax.vmap(model.whitening.whiten)(y)
        z, _ = jax.vmap(lambda u, k: model.encoder.sample(u, key=k))(u, jax.random.split(draw, len(u)))
        return -jnp.mean(jax.vmap(model.log_prior)(z))

    done = train(
        model,
        loss,
        steps=1000,
        learning_rate=1e-3,
        frozen=lambda m: (m.encoder, m.decoder),
        description="Shares of states",
        key=key,
    )
    return done.model


def _drawn(model: LatentModel, target: Target, purse: Budget, part: float, key) -> tuple[float, np.ndarray | None]:
    """Effective share of a model's draws, and the draws; zero and none if no draw has a finite weight."""
    draws = int(part * purse.left())
    if draws < 1000:
        return 0.0, None
    try:
        drawn = weighted_draws(model, target, draws=draws, key=key)
    except ValueError:
        purse.spent += draws
        return 0.0, None
    purse.spent += drawn.evaluations
    return drawn.share, drawn.coordinates


def _data(spread: Spread, own: np.ndarray, last: bool) -> list[tuple[jax.Array, jax.Array, jax.Array]]:
    """Samples, cumulative probabilities with which they are shown, and weights of their terms."""
    parts = []
    for samples, weight in ((spread.coordinates, spread.weights), (own, None)):
        flat = weight is not None
        shown = np.ones(len(samples)) if flat or last else spread.flattening.factor(samples)
        weight = weight if flat and last else np.ones(len(samples))
        parts.append(tuple(jnp.asarray(a, jnp.float32) for a in (samples, np.cumsum(shown / shown.sum()), weight)))
    return parts


def _both(model, *, target: Target, data: list, batch: int, key):
    """Both divergences; half of the samples of the forward one are the model's own, once there are some."""
    pick, draw, own = jax.random.split(key, 3)
    shown, weights = [], []
    for (samples, cumulative, weight), subkey in zip(data, jax.random.split(pick, len(data)), strict=True):
        index = jnp.searchsorted(cumulative, jax.random.uniform(subkey, (batch // len(data),)))
        index = jnp.minimum(index, len(samples) - 1)
        shown.append(samples[index])
        weights.append(weight[index])
    forward = forward_bound(model, jnp.concatenate(shown), jnp.concatenate(weights), key=draw)
    return forward + reverse_bound(model, target, 1.0, batch, key=own)
