"""Rare states seen more often: sample weights that flatten the density of the collective variables."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from scipy.stats import gaussian_kde

from bayescg.generative.latent_model import LatentModel

POWER = 0.5
"""Of the density that is divided out: a state of 0.4 % is seen ten times as often."""
_LARGEST = 30.0
"""Times the median weight: single outliers are not states."""


def flattening(
    model: LatentModel, coordinates: Float[np.ndarray, "sample coordinate"], power: float = POWER
) -> Float[np.ndarray, " sample"]:
    """Probabilities with which samples are shown to the model, proportional to p(z)^-power.

    What is learnt given z stays what it is; only q(z) is drawn towards rare states, so that the model's draws reach
    them. Importance weights take that back exactly.

    Args:
        model: whose encoder gives z.
        coordinates: samples of the target.
        power: 0 leaves all equal, 1 makes all z equally likely.
    """

    @eqx.filter_jit
    def latent(model, y):
        return jax.lax.map(model.latent_mean, y, batch_size=min(512, len(y)))

    z = np.asarray(latent(model, jnp.asarray(coordinates, jnp.float32)), float)
    used = z[:, z.std(axis=0) > 1e-3]
    if not power or used.shape[1] == 0:
        return np.full(len(z), 1 / len(z))
    centers = used[np.linspace(0, len(used) - 1, min(len(used), 1000)).astype(int)]
    try:
        density = gaussian_kde(centers.T)(used.T)
    except np.linalg.LinAlgError:  # latents on a line: nothing to flatten
        return np.full(len(z), 1 / len(z))
    weights = np.maximum(density, 1e-300) ** -power
    weights = np.minimum(weights, _LARGEST * np.median(weights))
    return weights / weights.sum()
