"""Rare states seen more often: the density of the collective variables, flattened."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from scipy.stats import gaussian_kde

from bayescg._compiled import compiled
from bayescg.generative.model.latent_model import LatentModel

_POWER = 0.5
"""Of the density that is divided out: a state of 0.2 % is seen twenty times as often."""
_LARGEST = 30.0
"""Times the median factor: single outliers are not states."""


_MISSED = 100.0
"""Largest factor of what a model misses."""


def oversampling_factor(log_ratio: Float[np.ndarray, " sample"]) -> Float[np.ndarray, " sample"]:
    """(p / q)^(1/2), bounded: samples that a model misses are shown to it more often than others.

    A state of a thousandth of the samples hardly counts in a divergence, and a model that has no place for it in its
    latent space can be the best there is; but p / q is beyond measure there.

    Args:
        log_ratio: log p / q of each sample.
    """
    finite = log_ratio[np.isfinite(log_ratio)]
    typical = np.median(finite) if len(finite) else 0.0
    return np.exp(np.clip(0.5 * (log_ratio - typical), -np.log(_MISSED), np.log(_MISSED)))


class Flattening:
    """How much more often configurations are shown than they occur: h(z) = p(z)^(-1/2), bounded.

    What is learned given z stays what it is; only q(z) is drawn towards rare states, so that the model's draws reach
    them and learn them well. Importance weights take that back exactly.
    """

    def __init__(self, model: LatentModel, samples: Float[np.ndarray, "sample coordinate"]):
        """Estimate the density of z.

        Args:
            model: whose encoder gives z.
            samples: of the target.
        """
        self._model = model
        z = self._latent(samples)
        self._used = np.flatnonzero(z.std(axis=0) > 1e-2)
        self._density: gaussian_kde | None = None
        self._largest = 1.0
        if len(self._used):
            try:
                centers = z[np.linspace(0, len(z) - 1, min(len(z), 1000)).astype(int)][:, self._used]
                self._density = gaussian_kde(centers.T)
            except np.linalg.LinAlgError:  # latents on a line: nothing to flatten
                return
            self._largest = _LARGEST * float(np.median(self._factor(z)))

    def factor(self, coordinates: Float[np.ndarray, "sample coordinate"]) -> Float[np.ndarray, " sample"]:
        """h(z) of each configuration."""
        return np.minimum(self._factor(self._latent(coordinates)), self._largest)

    def _factor(self, z):
        density = np.ones(len(z)) if self._density is None else self._density(z[:, self._used].T)
        return np.maximum(density, 1e-300) ** -_POWER

    def _latent(self, coordinates):
        @compiled
        def latent(model, y):
            return jax.lax.map(model.latent_mean, y, batch_size=min(512, len(y)))

        return np.asarray(latent(self._model, jnp.asarray(coordinates, jnp.float32)), float)
