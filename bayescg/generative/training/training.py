"""The training loop: stochastic gradients with progress, interruption and validation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

from bayescg._compiled import compiled
from bayescg._runtime import progress
from bayescg.generative.model.latent_model import LatentModel, trainable

_CHUNK = 10
"""Steps compiled into one program."""
SLOW = 0.1
"""Of the step, for what must change slowly."""


class Trained(NamedTuple):
    """What training gives.

    Attributes:
        model: with the weights of the best validation loss, or the last ones without validation.
        losses: of every step.
        validation: losses at each check, empty without validation data.
        interrupted: whether the user stopped it.
    """

    model: LatentModel
    losses: np.ndarray
    validation: np.ndarray
    interrupted: bool


def whole_chunks(steps: int) -> int:
    """The steps that are really made: whole programs of them."""
    return max(1, -(-steps // _CHUNK)) * _CHUNK


def train(
    model: LatentModel,
    loss: Callable,
    *,
    steps: int,
    learning_rate: float = 1e-3,
    frozen: Callable[[LatentModel], object] | None = None,
    slow: Callable[[Any], object] | None = None,
    check: Callable | None = None,
    description: str = "Training",
    key,
) -> Trained:
    """Minimize `loss(model, done, key=key)` with Adam, a warm-up and a cosine decay.

    Args:
        model: where to start.
        loss: of the model, the share of the steps that are done, and a key.
        steps: gradient steps.
        learning_rate: the largest.
        frozen: the part of the model that must not change, such as `lambda m: m.encoder`.
        slow: the part of the model that takes a tenth of each step.
        check: validation loss of a model, evaluated about forty times; the best model is kept.
        description: for the progress bar.
        key: random key.
    """
    spec = trainable(model)
    if frozen is not None:
        spec = eqx.tree_at(frozen, spec, jax.tree.map(lambda _: False, frozen(model)))
    weights, rest = eqx.partition(model, spec)
    schedule = optax.warmup_cosine_decay_schedule(0.1 * learning_rate, learning_rate, steps // 20 + 1, steps + 1)
    optimizer = optax.chain(optax.clip_by_global_norm(10.0), optax.adam(schedule))
    state = optimizer.init(weights)

    # What is frozen is an argument, not a constant: XLA would spend its time on folding it into the validation.
    @compiled
    def chunk(weights, rest, state, begin, key):
        def step(carry, argument):
            (weights, state), (number, key) = carry, argument
            done = number / steps
            value, slope = jax.value_and_grad(lambda w: loss(eqx.combine(w, rest), done, key=key))(weights)
            # One bad batch (an energy beyond float32) must not end the run: it is left out.
            slope = jax.tree.map(lambda g: jnp.where(jnp.isfinite(value) & jnp.all(jnp.isfinite(g)), g, 0.0), slope)
            updates, state = optimizer.update(slope, state, weights)
            if slow is not None:
                updates = eqx.tree_at(slow, updates, jax.tree.map(lambda u: SLOW * u, slow(updates)))
            return (optax.apply_updates(weights, updates), state), value

        numbers = begin + jnp.arange(_CHUNK)
        (weights, state), values = jax.lax.scan(step, (weights, state), (numbers, jax.random.split(key, _CHUNK)))
        return weights, state, values

    evaluate = None if check is None else compiled(lambda w, rest: check(eqx.combine(w, rest)))
    best, best_value, losses, checks, interrupted = weights, np.inf, [], [], False
    chunks = whole_chunks(steps) // _CHUNK
    every = max(1, chunks // 40)
    with progress(description, chunks * _CHUNK) as advance:
        try:
            for k, subkey in enumerate(jax.random.split(key, chunks)):
                weights, state, values = chunk(weights, rest, state, jnp.asarray(k * _CHUNK), subkey)
                losses.append(np.asarray(values))
                if evaluate is not None and (k % every == 0 or k == chunks - 1):
                    checks.append(float(evaluate(weights, rest)))
                    if checks[-1] < best_value:
                        best, best_value = weights, checks[-1]
                advance(_CHUNK)
        except KeyboardInterrupt:
            interrupted = True
    final = eqx.combine(weights if evaluate is None or not checks else best, rest)
    return Trained(final, np.concatenate(losses) if losses else np.zeros(0), np.asarray(checks), interrupted)
