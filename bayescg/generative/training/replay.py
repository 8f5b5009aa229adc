"""A model's own draws, resampled by their weights: the target's samples as the model sees them."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from bayescg._compiled import compiled
from bayescg.atomistic.target import Target
from bayescg.generative.model.latent_model import LatentModel
from bayescg.samplers.importance import kish

_BATCH = 512
DEFENSIVE = 0.1
"""Share of draws with z from the defensive density."""


class ReplayData(NamedTuple):
    """Samples from which batches are drawn.

    Attributes:
        coordinates: shape (sample, coordinate).
        cumulative: probability of each, added up.
        weights: of their terms.
    """

    coordinates: jax.Array
    cumulative: jax.Array
    weights: jax.Array

    def batch(self, size: int, *, key) -> jax.Array:
        """So many of them, with repetitions."""
        return self.weighted(size, key=key)[0]

    def weighted(self, size: int, *, key) -> tuple[jax.Array, jax.Array]:
        """So many of them, with repetitions, and their weights."""
        index = jnp.searchsorted(self.cumulative, jax.random.uniform(key, (size,)))
        index = jnp.minimum(index, len(self.coordinates) - 1)
        return self.coordinates[index], self.weights[index]


def replay_data(coordinates: Float[np.ndarray, "sample coordinate"], factor=None, *, weights=None) -> ReplayData:
    """Samples that are drawn in proportion to a factor, or equally, with weights, or all alike."""
    factor = np.ones(len(coordinates)) if factor is None else factor
    weights = np.ones(len(coordinates)) if weights is None else weights
    parts = coordinates, np.cumsum(factor / factor.sum()), weights
    return ReplayData(*(jnp.asarray(part, jnp.float32) for part in parts))


class Draws(NamedTuple):
    """Resampled draws.

    Attributes:
        coordinates: with repetitions, shape (draw, coordinate).
        share: effective samples over draws.
        evaluations: of the target.
    """

    coordinates: np.ndarray
    share: float
    evaluations: int


def weighted_draws(model: LatentModel, target: Target, *, draws: int, key) -> Draws:
    """Draw, weigh and resample.

    The largest weights are cut at sqrt(n) times the mean (Ionides, J. Comput. Graph. Stat. 17, 295 (2008),
    doi:10.1198/106186008X320456): training needs no exactness, and one draw must not become the whole batch.

    Args:
        model: to draw from.
        target: to weigh by.
        draws: number of evaluations.
        key: random key.

    Raises:
        ValueError: if no draw has a finite weight.
    """
    draws = max(draws // _BATCH, 1) * _BATCH

    @compiled
    def weighed(model, keys):
        def one(key):
            y, z, log_q = model.sample(defensive=DEFENSIVE, key=key)
            return y, target.log_density(y) + model.log_encoder(z, y) - log_q

        return jax.lax.map(one, keys, batch_size=_BATCH)

    first, second = jax.random.split(key)
    y, log_weight = (np.asarray(a, float) for a in weighed(model, jax.random.split(first, draws)))
    log_weight = np.where(np.isfinite(log_weight), log_weight, -np.inf)
    if not np.any(np.isfinite(log_weight)):
        raise ValueError(f"none of {draws} draws of the model has a finite density under the target: train it longer")
    weights = np.exp(log_weight - log_weight.max())
    share = float(kish(weights) / draws)
    weights = np.minimum(weights, np.sqrt(draws) * weights.mean())
    index = np.asarray(
        jax.random.choice(second, draws, (max(draws // 4, 256),), p=jnp.asarray(weights / weights.sum()))
    )
    return Draws(y[index], share, draws)
