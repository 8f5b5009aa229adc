"""A NumPyro model as a density of one unconstrained vector: where modes are searched and chains run."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions
import numpyro.distributions.distribution
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float
from numpyro.infer.util import constrain_fn, potential_energy, unconstrain_fn

from bayescg._arrays import AnyArray

# ArviZ loads NumPyro lazily. Where it comes first, Python 3.12 and newer run the package's first lines twice, and the
# second time leaves out this name, which `numpyro.factor` needs.
if not hasattr(numpyro.distributions, "distribution"):
    numpyro.distributions.distribution = sys.modules["numpyro.distributions.distribution"]

TRACING = threading.RLock()
"""Held while a model is traced: NumPyro's stack of handlers is one for all threads, and would mix two models' sites."""


class Sampled(NamedTuple):
    """Draws of a model's sites, (chain, draw, ...), sampler statistics (chain, draw), and numbers of the method."""

    values: dict[str, np.ndarray]
    stats: dict[str, np.ndarray]
    attrs: dict[str, float]


class Problem(NamedTuple):
    """What a model's density depends on; an argument of compiled programs.

    Attributes:
        args: arguments of the model, a pytree.
        start: a point, unconstrained, by site.
        origin: unconstrained sites (in the order of their names) where the position is zero.
        unit: by how much they change where the position changes by one.
    """

    args: tuple
    start: dict[str, Float[Array, "..."]]
    origin: Float[Array, " site"]
    unit: Float[Array, " site"]


@dataclass(frozen=True, eq=False)
class Density:
    """A NumPyro model as a density of one unconstrained vector; compiled code is shared by models of equal shapes.

    Attributes:
        model: the model, a module-level function.
        problem: its arguments and coordinates.
    """

    model: Callable
    problem: Problem

    @property
    def args(self) -> tuple:
        """Arguments of the model."""
        return self.problem.args

    @property
    def center(self) -> Float[np.ndarray, " site"]:
        """The start as one vector."""
        raw = np.asarray(ravel_pytree(self.problem.start)[0])
        return (raw - np.asarray(self.problem.origin)) / np.asarray(self.problem.unit)

    def value_and_gradient(self, position: Float[Array, " site"]) -> tuple[Float[Array, ""], Float[Array, " site"]]:
        """Minus log density and its gradient."""
        return _value_and_gradient(self.model, self.problem, position)

    def minus_log(self, position: Float[Array, " site"]) -> Float[Array, ""]:
        """Minus log density, to be traced."""
        return minus_log(self.model, self.problem, position)

    def minus_log_all(self, positions: Float[Array, "draw site"]) -> Float[Array, " draw"]:
        """Minus log density at each position, one after the other."""
        return _minus_log_all(self.model, self.problem, positions)

    def constrain(self, positions: Float[AnyArray, "*draw site"]) -> dict[str, np.ndarray]:
        """Values of the sites at each position."""
        flat = jnp.asarray(positions).reshape(-1, positions.shape[-1])
        values = _constrain(self.model, self.problem, flat)
        return {name: np.asarray(v).reshape(positions.shape[:-1] + v.shape[1:]) for name, v in values.items()}

    def unconstrain(self, values: Mapping[str, Float[AnyArray, "draw ..."]]) -> Float[Array, "draw site"]:
        """The inverse of `constrain`, for values (draw, ...) of all sites."""
        return _unconstrain(self.model, self.problem, {name: jnp.asarray(v) for name, v in values.items()})


def density(model: Callable, args: tuple, start: dict[str, Array]) -> Density:
    """A model with a point to start from, unconstrained, by site."""
    size = ravel_pytree(start)[0]
    return Density(model, Problem(args, start, jnp.zeros_like(size), jnp.ones_like(size)))


def standardized(target: Density, draws: Mapping[str, Float[AnyArray, "draw ..."]]) -> Density:
    """The same density of positions in units of the prior's spread, from the prior's median: zero, and the start.

    A site known to a per mille and one known to a factor have positions of the same size then.

    Args:
        target: in whatever coordinates.
        draws: of every site from its prior, (draw, ...).
    """
    plain = replace(target, problem=density(target.model, target.args, target.problem.start).problem)
    low, middle, high = jnp.quantile(plain.unconstrain(draws), jnp.asarray([0.16, 0.5, 0.84]), axis=0)
    unit = jnp.maximum(0.5 * (high - low), 1e-12)
    start = ravel_pytree(plain.problem.start)[1](middle)
    return replace(plain, problem=Problem(plain.args, start, middle, unit))


def minus_log(model: Callable, problem: Problem, position: Float[Array, " site"]) -> Float[Array, ""]:
    """Minus log density of a model's unconstrained sites, to be traced."""
    with TRACING:
        value = potential_energy(model, problem.args, {}, _sites(problem, position))
    return jnp.asarray(value) - jnp.sum(jnp.log(problem.unit))


def _sites(problem: Problem, position: Float[Array, " site"]) -> dict[str, Array]:
    return ravel_pytree(problem.start)[1](problem.origin + problem.unit * position)


@partial(jax.jit, static_argnums=0)
def _value_and_gradient(model, problem, position):
    return jax.value_and_grad(partial(minus_log, model, problem))(position)


@partial(jax.jit, static_argnums=0)
def _minus_log_all(model, problem, positions):
    return jax.lax.map(partial(minus_log, model, problem), positions)


@partial(jax.jit, static_argnums=0)
def _constrain(model, problem, positions):
    with TRACING:
        return jax.vmap(lambda z: constrain_fn(model, problem.args, {}, _sites(problem, z)))(positions)


@partial(jax.jit, static_argnums=0)
def _unconstrain(model, problem, values):
    def one(value):
        return (ravel_pytree(unconstrain_fn(model, problem.args, {}, value))[0] - problem.origin) / problem.unit

    with TRACING:
        return jax.vmap(one)(values)
