"""The reference method: the reverse divergence alone, from high temperature down."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

from bayescg._compiled import compiled
from bayescg._runtime import progress
from bayescg.atomistic.target import Target
from bayescg.generative.model.latent_model import LatentModel, trainable
from bayescg.generative.training.objectives import reverse_bound
from bayescg.samplers.tempering import next_increment

START = 1e-4
"""First inverse temperature, in units of the target's (arXiv:2002.10148, section 2.4)."""
_CHUNK = 20
_SHARE = 0.9
_LARGEST_STEP = 0.02


def reverse_training(model: LatentModel, target: Target, training, budget: int, *, key) -> tuple[LatentModel, dict]:
    """Minimize the reverse bound while beta grows from 1e-4 to 1.

    beta grows in steps that keep nine tenths of the draws effective when they are reweighted from one temperature to
    the next, and by at most 0.02; where that is too slow for the budget, half of which is for beta = 1, it grows in
    proportion to what is spent. The reference method adapts its steps to the growth of the divergence instead.

    Args:
        model: where to start.
        target: the density.
        training: batch, learning rate and, as a limit, steps: the budget decides otherwise.
        budget: evaluations of the target, each with its gradient.
        key: random key.

    Returns:
        The model and a report.
    """
    weights, rest = eqx.partition(model, trainable(model))
    batch = training.batch
    optimizer = optax.chain(optax.clip_by_global_norm(10.0), optax.adam(training.learning_rate))
    state = optimizer.init(weights)

    @compiled
    def chunk(weights, state, beta, key):
        def step(carry, key):
            weights, state = carry

            def loss(w):
                return reverse_bound(eqx.combine(w, rest), target, beta, batch, key=key)

            value, slope = jax.value_and_grad(loss)(weights)
            slope = jax.tree.map(lambda g: jnp.where(jnp.isfinite(value) & jnp.all(jnp.isfinite(g)), g, 0.0), slope)
            updates, state = optimizer.update(slope, state, weights)
            return (optax.apply_updates(weights, updates), state), value

        (weights, state), values = jax.lax.scan(step, (weights, state), jax.random.split(key, _CHUNK))
        return weights, state, values[-1]

    @compiled
    def energies(weights, key):
        drawn = eqx.combine(weights, rest)
        y = jax.vmap(lambda k: drawn.sample(key=k)[0])(jax.random.split(key, batch))
        return jax.vmap(lambda y: target.log_density(y, 1.0) - target.log_density(y, 0.0))(y)

    beta, spent, interrupted, reached = START, 0, False, None
    with progress("Reverse divergence", budget) as advance:
        try:
            while spent + (_CHUNK + 1) * batch <= budget:
                key, first, second = jax.random.split(key, 3)
                weights, state, _ = chunk(weights, state, jnp.asarray(beta, jnp.float32), first)
                spent += _CHUNK * batch
                if beta < 1:
                    minus = np.asarray(energies(weights, second), float)
                    spent += batch
                    beta = min(1.0, beta + _growth(minus))
                    # Half of the budget is for the target's own temperature: what is left of the way is then taken.
                    beta = max(beta, min(1.0, 2 * spent / budget))
                    reached = spent if beta >= 1 else None
                advance(_CHUNK * batch)
        except KeyboardInterrupt:
            interrupted = True
    report = {
        "method": "reverse_kl",
        "evaluations": spent,
        "interrupted": interrupted,
        "final_beta": beta,
        "evaluations_at_full_beta": reached,
        "steps": spent // batch,
    }
    return eqx.combine(weights, rest), report


def _growth(minus_energy: np.ndarray) -> float:
    """The largest growth of beta that keeps `_SHARE` of the draws effective."""
    if np.isfinite(minus_energy).sum() < 2:
        return _LARGEST_STEP
    return max(next_increment(minus_energy, _LARGEST_STEP, _SHARE), 1e-6)
