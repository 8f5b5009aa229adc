"""The second stage of `discover`: a sharper decoder, from both divergences."""

from __future__ import annotations

import warnings
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from bayescg.atomistic.target import Target
from bayescg.generative.model.latent_model import LatentModel, add_defensive_density
from bayescg.generative.particles.smc import Particles, rejuvenate
from bayescg.generative.training.checkpoint import Checkpoint
from bayescg.generative.training.flattening import Flattening
from bayescg.generative.training.objectives import forward_bound, reverse_bound
from bayescg.generative.training.replay import replay_data, weighted_draws
from bayescg.generative.training.training import train, whole_chunks

REMEMBERED = 0.3
"""Share of the draws of the last round with z from the defensive density."""
LARGEST = 30.0
"""What a draw may count above the median [kT]. Slopes of overlapping atoms otherwise decide the step, and lead the
draws of a rare state, which is not yet learned well, to any other one."""


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
        weights: 1 / factor where each sample's particle began, mean one: with them the samples are the target's.
        evaluations: that they cost.
    """

    coordinates: np.ndarray
    weights: np.ndarray
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
    target: Target, particles: Particles, samples: np.ndarray, factor: np.ndarray, *, sweeps: int, key
) -> Spread:
    """Start many particles in rare states and let them move within: a state of few samples is learned from few.

    Args:
        target: the density.
        particles: whose step size and widths the moves take.
        samples: of the target.
        factor: how much more often particles start from each sample than it occurs.
        sweeps: moves of each particle, without turns of torsions, which would lead back to the common states.
        key: random key.
    """
    start = particles._replace(coordinates=samples, weights=factor / factor.sum(), evaluations=0)
    first, second = jax.random.split(key)
    count = len(particles.weights)
    index = np.asarray(jax.random.choice(first, len(samples), (count,), p=jnp.asarray(start.weights)))
    start = start._replace(coordinates=samples[index], weights=np.full(count, 1 / count))
    moved, swept = rejuvenate(target, start, sweeps=sweeps, turns=0, key=second)
    undone = np.tile(1 / factor[index], sweeps)
    return Spread(swept.reshape(-1, target.dimension), undone / undone.mean(), moved.evaluations)


def refine(
    model: LatentModel,
    target: Target,
    samples: np.ndarray,
    spread: Spread,
    allowance: Budget,
    training,
    store: Checkpoint,
    *,
    key,
) -> Refined:
    """Rounds of both divergences, each on particles and on the model's own draws by their weights.

    First the decoder learns from samples alone; then the encoder may follow, slowly: a sharper decoder needs z less,
    and an encoder that runs ahead forgets part of what it knew of states.

    Rare states are shown more often than they occur, and q(z) learns from what is shown alone: the divergence of the
    model's draws would make states rare again before the decoder is good there. That density of z stays in the model
    as the defensive one. In the last round weights undo for q(z), not for the decoder, what is shown too often, since
    its draws are to be the target's own; a share of the draws still takes z from the defensive density, so that nothing
    is forgotten.

    Args:
        model: where to start.
        target: the density.
        samples: of the target.
        spread: more of its rare states.
        allowance: evaluations that are left.
        training: rounds, steps, batch and learning rate.
        store: keeps each round.
        key: random key.
    """
    first, last, sharp, key = jax.random.split(key, 4)
    flattening = Flattening(model, samples)
    model, interrupted = _sharpen(model, samples, flattening.factor(samples), spread, training, store, sharp)
    if interrupted:
        return Refined(model, [], interrupted=True)
    shares = [_draw_weighted(model, target, allowance, 0.05, first)[0]]
    best, own, interrupted = model, samples, False
    for number, subkey in enumerate(jax.random.split(key, training.rounds)):
        left = allowance.left() // (training.rounds - number)
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
            last_round = number + 1 == training.rounds
            often = flattening.factor(own)
            data = [replay_data(spread.coordinates), replay_data(own, often)]
            if last_round:
                model = add_defensive_density(model)
                data = [
                    replay_data(spread.coordinates, weights=spread.weights),
                    replay_data(own, often, weights=often.mean() / often),
                ]
            done = train(
                model,
                partial(_both, target=target, data=data, batch=training.batch),
                steps=steps,
                learning_rate=training.learning_rate / (2 if number else 1),
                frozen=(lambda m: (m.encoder, m.defensive)) if last_round else None,
                slow=None if last_round else lambda m: m.encoder,
                description=f"Refinement {number + 1} of {training.rounds}",
                key=first,
            )
            if done.interrupted:
                allowance.spent += len(done.losses) * training.batch
                interrupted = True
                break
            kept = store.keep(f"round{number}", done.model)
        allowance.spent += whole_chunks(steps) * training.batch
        share, drawn = _draw_weighted(kept, target, allowance, 0.25 / (training.rounds - number), second)
        shares.append(share)
        # Stochastic training of the reverse divergence can run away; what was good is not given up for it.
        if share >= 0.5 * max(shares):
            model, own = kept, own if drawn is None else drawn
            best = model
        else:
            model = best
    settled = _refit_latent_density(
        best if best.defensive is not None else add_defensive_density(best), samples, own, last
    )
    share, _ = _draw_weighted(settled, target, allowance, 0.1, jax.random.fold_in(last, 1))
    return Refined(settled if share >= 0.5 * max(shares) else best, [*shares, share], interrupted)


def _sharpen(
    model: LatentModel, samples: np.ndarray, factor: np.ndarray, spread: Spread, training, store: Checkpoint, key
) -> tuple[LatentModel, bool]:
    """The decoder and q(z) learn from samples alone, the encoder as it is; and whether the user stopped it.

    It costs no evaluations. Without it the encoder would at first follow a decoder that has not yet learned to use it,
    and forget what it knew of states.
    """
    kept = store.model("sharpened")
    if kept is not None or training.sharpening_steps == 0:
        return kept or model, False
    held = max(len(samples) // 10, 1)
    data = [replay_data(spread.coordinates), replay_data(samples[:-held], factor[:-held])]
    test = replay_data(samples[-held:], factor[-held:]).batch(2048, key=jax.random.key(1))

    def loss(model, done, *, key):
        pick, draw = jax.random.split(key)
        keys = jax.random.split(pick)
        batch = [part.batch(training.batch, key=k) for part, k in zip(data, keys, strict=True)]
        return forward_bound(model, jnp.concatenate(batch), key=draw)

    done = train(
        model,
        loss,
        steps=training.sharpening_steps,
        learning_rate=training.learning_rate,
        frozen=lambda m: m.encoder,
        check=lambda m: forward_bound(m, test, key=jax.random.key(0)),
        description="Decoder",
        key=key,
    )
    return (done.model, True) if done.interrupted else (store.keep("sharpened", done.model), False)


def _refit_latent_density(model: LatentModel, samples: np.ndarray, own: np.ndarray, key) -> LatentModel:
    """The model with q(z) fitted once more, by itself: how often each state occurs is a matter of z alone.

    Half of its samples are the particles', which know states that the model's own draws may not reach.
    """
    data = [jnp.asarray(part, jnp.float32) for part in (samples, own)]

    def loss(model, done, *, key):
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
        frozen=lambda m: (m.encoder, m.decoder, m.defensive),
        description="Shares of states",
        key=key,
    )
    return done.model


def _draw_weighted(
    model: LatentModel, target: Target, allowance: Budget, part: float, key
) -> tuple[float, np.ndarray | None]:
    """Effective share of a model's draws, and the draws; zero and none if no draw has a finite weight."""
    draws = int(part * allowance.left())
    if draws < 1000:
        return 0.0, None
    try:
        drawn = weighted_draws(model, target, draws=draws, key=key)
    except ValueError:
        allowance.spent += draws
        return 0.0, None
    allowance.spent += drawn.evaluations
    return drawn.share, drawn.coordinates


def _both(model, done, *, target: Target, data: list, batch: int, key):
    """Both divergences; half of the samples of the forward one are the model's own, once there are some."""
    pick, draw, own = jax.random.split(key, 3)
    keys = jax.random.split(pick, len(data))
    batches = [part.weighted(batch // len(data), key=k) for part, k in zip(data, keys, strict=True)]
    samples, weights = (jnp.concatenate(parts) for parts in zip(*batches, strict=True))
    forward = forward_bound(model, samples, information=weights, key=draw)
    defensive = 0.0 if model.defensive is None else REMEMBERED
    reverse = reverse_bound(model, target, 1.0, batch, held=True, defensive=defensive, largest=LARGEST, key=own)
    return forward + reverse + _unit_scale(jax.vmap(model.latent_mean)(samples))


def _unit_scale(z):
    """Zero for mean zero and variance one of each latent: a flow for q(z) would let their scale drift."""
    mean, variance = jnp.mean(z, axis=0), jnp.var(z, axis=0) + 1e-2
    return 0.5 * jnp.sum(mean**2 + variance - 1 - jnp.log(variance))
