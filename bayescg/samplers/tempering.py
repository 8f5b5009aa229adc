"""Steps of tempered sequential Monte Carlo: from one density to another through first^(1-lambda) second^lambda.

Del Moral, Doucet and Jasra, J. R. Stat. Soc. B 68, 411 (2006), doi:10.1111/j.1467-9868.2006.00553.x. What moves the
particles, and where they come from, is the callers' business.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import blackjax
import jax
import jax.numpy as jnp
import numpy as np
from blackjax.smc import adaptive_tempered, resampling, solver, tempered
from blackjax.smc.ess import ess_solver
from jaxtyping import Array, Float, Int
from scipy.special import logsumexp

FLOOR = -1e30
"""Stands for a log density of zero: differences of it stay numbers."""

BATCH = 128
"""Particles in one vectorized piece: more do not fit a processor's cache."""

_SOLVER = partial(solver.dichotomy, eps=1e-10)
_LEAST = 1e-12
"""Smallest step of the temperature: enough to tell zero densities from others."""

LogDensity = Callable[[Float[Array, " y"]], Float[Array, ""]]


class Account(NamedTuple):
    """What is known of particles beside their places.

    Attributes:
        ancestors: (particle,) which of the first particles each descends from.
        log_z: log of the ratio of the integrals of the density that they have come to and of the first one.
    """

    ancestors: Int[np.ndarray, " particle"]
    log_z: float

    @classmethod
    def begin(cls, count: int) -> Account:
        """Of particles at the first density."""
        return cls(np.arange(count), 0.0)

    def after(self, info) -> Account:
        """After a step of a blackjax kernel, which said `info`."""
        return Account(self.ancestors[np.asarray(info.ancestors)], self.log_z + float(info.log_likelihood_increment))


def bounded(log_density: LogDensity) -> LogDensity:
    """The same log density with a number everywhere: a floor in the place of -inf and NaN."""

    def finite(y):
        value = log_density(y)
        return jnp.where(jnp.isfinite(value), jnp.maximum(value, FLOOR), FLOOR)

    return finite


def log_ratio(first: LogDensity, second: LogDensity, y: Float[Array, " y"]) -> Float[Array, ""]:
    """log(second / first), of log densities that are bounded.

    Where the first density is zero, a particle must lose its weight, not gain it.
    """
    below = first(y)
    return jnp.where(below > FLOOR, second(y) - below, FLOOR)


def build_kernel(first: LogDensity, second: LogDensity, move: Callable, count: int, *, share: float | None = None):
    """Blackjax's step: resample (systematically), move at the present temperature, weigh for the next.

    Args:
        first: bounded log density of temperature zero.
        second: bounded log density of temperature one.
        move: blackjax kernel on states of `blackjax.hmc.init`.
        count: of particles.
        share: effective share of the particles that a step of the temperature leaves; None for temperatures that are
            given.

    Returns:
        `kernel(key, state, moves, parameters)`, with the next temperature before the parameters if it is given.
    """
    parts = (first, partial(log_ratio, first, second), move, blackjax.hmc.init, resampling.systematic)
    batch = min(BATCH, count)
    if share is None:
        return tempered.build_kernel(*parts, batch_size=batch)
    return adaptive_tempered.build_kernel(*parts, share, batch_size=batch)


def next_increment(log_ratios: Float[np.ndarray, " particle"], most: float, share: float) -> float:
    """Largest step of the temperature that leaves this effective share of equally weighted particles (blackjax).

    Args:
        log_ratios: log(second / first) of each; those that are no numbers do not count.
        most: what is left of the way.
        share: below one.
    """
    finite = np.isfinite(log_ratios)
    ratios = np.where(finite, log_ratios, FLOOR)
    numbers = (ratios - ratios.max(), most, share * finite.mean())
    with jax.enable_x64(True):  # shares are found to ten digits
        return max(float(_increment(*(jnp.asarray(x, float) for x in numbers))), _LEAST)


@jax.jit
def _increment(log_ratios, most, share):
    return ess_solver(lambda ratios: ratios, log_ratios, share, most, _SOLVER)


def reweighted(log_ratios: Float[np.ndarray, " particle"], increment: float) -> Float[np.ndarray, " particle"]:
    """Normalized weights of equally weighted particles after a step of the temperature."""
    return np.exp(increment * log_ratios - np.asarray(logsumexp(increment * log_ratios)))


def log_gain(log_ratios: Float[np.ndarray, " particle"], increment: float) -> float:
    """By what that step changes the log of the integral."""
    return float(logsumexp(increment * log_ratios) - np.log(len(log_ratios)))
