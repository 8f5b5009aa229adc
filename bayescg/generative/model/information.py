"""How much the latent variables know: about the coordinates, and about states."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from bayescg._compiled import compiled
from bayescg.generative.model.latent_model import LatentModel

RELEVANT = 0.05
"""Latents with less information [nats] are switched off."""


def latent_information(
    model: LatentModel, coordinates: Float[np.ndarray, "sample coordinate"], *, key
) -> Float[np.ndarray, " latent"]:
    """Mutual information I(x; z_j) of the coordinates with each latent, z_j drawn from the encoder for each sample.

    The marginal of z_j is the mean of the encoder's densities over all other samples.

    Args:
        model: from `discover`.
        coordinates: (sample, coordinate) equally weighted samples of the target; more than 2000 are thinned.
        key: JAX random key.

    Returns:
        (latent,) [nats], at least 0.

    Raises:
        ValueError: if there are fewer than two samples.
    """
    mean, width, z = _encoded(model, coordinates, key)
    log_density = _log_normal(z[:, None, :], mean[None], width[None])
    own = np.diagonal(log_density, axis1=0, axis2=1).T
    gain = own - _left_out(log_density, np.zeros(len(z), int))[0]
    # n samples cannot tell more than log n apart: beyond, a gap between neighbors is not information.
    return np.maximum(np.mean(np.minimum(gain, np.log(len(z))), axis=0), 0.0)


def state_information(
    model: LatentModel,
    coordinates: Float[np.ndarray, "sample coordinate"],
    states: Int[np.ndarray, " sample"],
    *,
    key,
) -> float:
    """Mutual information of all latents together with states of the samples, such as metastable basins.

    Args:
        model: from `discover`.
        coordinates: (sample, coordinate) equally weighted samples of the target; more than 2000 are thinned.
        states: (sample,) number of the state of each sample.
        key: JAX random key.

    Returns:
        A number [nats], at least 0.

    Raises:
        ValueError: if there are not as many states as samples, or fewer than two samples.
    """
    states = np.asarray(states)
    if states.shape != (len(coordinates),):
        raise ValueError(f"states has shape {states.shape} for {len(coordinates)} samples")
    chosen = _thinned(len(coordinates))
    mean, width, z = _encoded(model, coordinates, key)
    log_density = _log_normal(z[:, None, :], mean[None], width[None]).sum(axis=2)[:, :, None]
    everything, same = _left_out(log_density, states[chosen])
    # A state that has one sample only has no neighbors to be told by. No neighbor nearby is no more than 1/n of them.
    gain = np.maximum(same - everything, -np.log(len(z)))[np.isfinite(same)]
    return float(max(np.mean(gain), 0.0)) if len(gain) else 0.0


def _thinned(count: int) -> np.ndarray:
    return np.unique(np.linspace(0, count - 1, min(count, 2000)).astype(int))


def _encoded(model: LatentModel, coordinates, key):
    chosen = np.asarray(coordinates, np.float32)[_thinned(len(coordinates))]

    @compiled
    def moments(model, coordinates):
        return jax.vmap(lambda y: model.encoder.moments(model.whitening.whiten(y)))(coordinates)

    if len(chosen) < 2:
        raise ValueError(f"there are {len(chosen)} samples; information needs at least two")
    mean, width = (np.asarray(a, float) for a in moments(model, jnp.asarray(chosen)))
    return mean, width, mean + width * np.asarray(jax.random.normal(key, mean.shape), float)


def _log_normal(z, mean, width):
    return -0.5 * ((z - mean) / width) ** 2 - np.log(width) - 0.5 * np.log(2 * np.pi)


def _left_out(log_density, states):
    """Log mean density over all other samples, and over the others of the same state, without a sample's own."""
    n = len(log_density)
    other = ~np.eye(n, dtype=bool)[:, :, None]
    alike = (states[:, None] == states[None, :])[:, :, None] & other
    number = alike.sum(axis=1)
    same = _log_sum(np.where(alike, log_density, -np.inf)) - np.log(np.maximum(number, 1))
    return _log_sum(np.where(other, log_density, -np.inf)) - np.log(n - 1), np.where(number > 0, same, -np.inf)


def _log_sum(values):
    """Log of the sum of exponentials over the second axis, each row with its own scale: none underflows."""
    top = values.max(axis=1, keepdims=True)
    top = np.where(np.isfinite(top), top, 0.0)
    with np.errstate(divide="ignore"):
        return np.log(np.exp(values - top).sum(axis=1)) + top[:, 0]
