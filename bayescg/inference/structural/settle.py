"""Posterior of coefficients and hyperparameters where the log likelihood is quadratic: -1/2 v'G v + h'v.

Coefficients are integrated out, as in force matching: log Z = -1/2 log|I + L'GL| + 1/2 h'L (I + L'GL)^-1 L'h.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from bayescg.inference.linear import marginal
from bayescg.inference.linear.calibration import Calibrated, calibrate
from bayescg.inference.linear.marginal import Prior, Reduced
from bayescg.inference.structural.newton import Model, Quadratic, distance
from bayescg.inference.structural.refinement import Refinement
from bayescg.samplers.mode import find_mode

_TURNS = 15
_SETTLED = 1e-3
"""Squared length of a step relative to that of a typical posterior draw from the mean, below which it is none."""


class Settled(NamedTuple):
    """Optimum of the posterior within reach of a reference.

    Attributes:
        position: free coordinates.
        values: hyperparameters at their mode.
        likelihood: the quadratic log likelihood there, calibrated.
        reached: whether the optimum is within trust of the reference; if not, position is the border on the way.
    """

    position: Float[np.ndarray, " free"]
    values: dict[str, np.ndarray]
    likelihood: Calibrated
    reached: bool


def typical(prior: Prior) -> dict[str, Array]:
    """Hyperparameters at their prior medians."""
    return {name: jnp.exp(value) for name, value in prior.medians().items()}


def settle(
    prior: Prior, model: Model, position: Float[np.ndarray, " free"], settings: Refinement, calibration: str
) -> Settled:
    """Optimum of coefficients and hyperparameters in turn, reweighting a reference.

    Args:
        prior: of the coefficients.
        model: relative entropy about the reference.
        position: where to begin, the reference's own.
        settings: trust in reweighting.
        calibration: what the width of the posterior follows, as in `relative_entropy`.
    """
    factor = marginal.factor_at(prior, typical(prior))
    turn = 0
    while True:
        turn += 1
        local = model.quadratic(position)
        likelihood = quadratic_likelihood(local, factor, calibration)
        data = likelihood.data
        target = marginal.hyperparameter_density(prior, data)
        values = target.constrain(find_mode(target).position)
        goal = marginal.coefficient_mean(data, marginal.factor_at(prior, values))
        share = 1.0
        while share > 0.02 and model.overlap(position + share * (goal - position)) < settings.overlap:
            share *= 0.5
        if share <= 0.02:
            return Settled(position, values, likelihood, reached=False)
        squared = share**2 * distance(model, goal, position) ** 2 * model.target.frames
        position = position + share * (goal - position)
        reached = share == 1 and turn > 2 and bool(squared < _SETTLED * len(position))
        if reached or turn == _TURNS:
            return Settled(position, values, likelihood, reached=reached)


def quadratic_likelihood(local: Quadratic, factor: Float[np.ndarray, "free free"], calibration: str) -> Calibrated:
    """The quadratic log likelihood, calibrated or as it is.

    Args:
        local: at the optimum.
        factor: of a typical prior covariance.
        calibration: "godambe", "magnitude" or "none".

    Returns:
        Data of one noise class of unit noise, and how their cross products scatter.
    """
    if calibration == "none":
        zero = jnp.zeros(1)
        data = Reduced(jnp.asarray(local.precision)[None], jnp.asarray(local.cross)[None], zero, zero)
        return Calibrated(data, None, {})
    return calibrate(local.precision, local.cross, local.spread, factor, method=calibration)
