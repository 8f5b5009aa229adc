"""Has the model lost a mode? A comparison with particles that do not know it."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from bayescg._compiled import compiled
from bayescg.atomistic.target import Target
from bayescg.generative.model.latent_model import LatentModel
from bayescg.generative.particles.smc import Particles, tempered_smc

LOG_RATIO = 3.0
SHARE = 0.002
"""Flagged if more than this share of the particles' weight has a log p / q above LOG_RATIO."""


class ModeCheck(NamedTuple):
    """What the comparison of a model with particles found.

    Attributes:
        missed: share of the particles' weight where the model has less than 1/20 of the target's density.
        flagged: whether that is more than 0.2 %.
        log_ratio: (particle,) log p / q.
        weights: (particle,).
        coordinates: (particle, dimension).
        evaluations: of the target: what the particles cost, and one for each.
    """

    missed: float
    flagged: bool
    log_ratio: np.ndarray
    weights: np.ndarray
    coordinates: np.ndarray
    evaluations: int


def log_ratios(
    model: LatentModel, target: Target, coordinates: Float[np.ndarray, "sample coordinate"], *, draws: int, key
) -> Float[np.ndarray, " sample"]:
    """Log p / q of each configuration up to -log Z; infinite where the model gives no number.

    Args:
        model: q.
        target: p; one evaluation for each configuration.
        coordinates: of the configurations.
        draws: of the encoder for each, for log q(y).
        key: random key.
    """

    @compiled
    def ratios(model, coordinates, keys):
        def one(argument):
            y, key = argument
            return target.log_density(y) - model.log_density(y, draws=draws, key=key)

        return jax.lax.map(one, (coordinates, keys), batch_size=64)

    keys = jax.random.split(key, len(coordinates))
    ratio = np.asarray(ratios(model, jnp.asarray(coordinates, jnp.float32), keys), float)
    return np.where(np.isnan(ratio), np.inf, ratio)


def check_modes(
    model: LatentModel, target: Target, *, particles: Particles | int = 5000, draws: int = 64, key
) -> ModeCheck:
    """Compare a model with a tempered SMC of the target, which does not know the model.

    Importance weights of the model's own draws cannot show a lost well, because no draw falls there. Particles that
    come another way can.

    Args:
        model: from `discover`.
        target: what it was made for.
        particles: from `tempered_smc`, or how many to make.
        draws: of the encoder for each particle, for log q(y).
        key: JAX random key.

    Returns:
        The share of weight that the model misses; a warning names it if it is more than 0.2 %.

    Raises:
        ValueError: if the model belongs to another target.
    """
    if model.whitening.dimension != target.dimension:
        raise ValueError(
            f"the model has {model.whitening.dimension} coordinates and the target {target.dimension}: they do not "
            "belong together"
        )
    first, second = jax.random.split(key)
    found = particles if isinstance(particles, Particles) else tempered_smc(target, particles=particles, key=first)
    ratio = log_ratios(model, target, found.coordinates, draws=draws, key=second) - found.log_z
    evaluations = found.evaluations + len(ratio)
    missed = float(np.sum(found.weights[ratio > LOG_RATIO]))
    if missed > SHARE:
        warnings.warn(
            f"the model misses {100 * missed:.2g} % of the target: there its density is less than a twentieth of what "
            "it should be; averages over its draws leave that out, whatever their error bars say",
            stacklevel=2,
        )
    return ModeCheck(missed, missed > SHARE, ratio, found.weights, found.coordinates, evaluations)
