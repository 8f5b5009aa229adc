"""Draws of the coefficients of all systems, one for every draw of hyperparameters and distances of contact."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from bayescg._arrays import AnyArray
from bayescg._runtime import cpu_count, map_threads
from bayescg.kernels.state_points import States
from bayescg.transfer.gaussian import Noise, solve
from bayescg.transfer.model import Model, Sums, design_at, factors, lift_and_mean, problem_of


class Drawn(NamedTuple):
    """Draws of coefficients.

    Attributes:
        systems: (draw, system, basis) [kJ/mol]; zero where a system lacks a term.
        shared: (draw, feature, free) what columns of the kernel over states are multiplied with [kJ/mol].
    """

    systems: Float[np.ndarray, "draw system basis"]
    shared: Float[np.ndarray, "draw feature free"]


def draw_systems(
    model: Model,
    states: States,
    sums: Sums,
    values: Mapping[str, AnyArray],
    ratios: Float[AnyArray, "draw system aligned"],
    *,
    key: Array,
) -> Drawn:
    """One draw of the coefficients of all systems for every draw of hyperparameters and distances of contact."""
    count = len(ratios)
    keys = jax.random.split(key, count)
    pieces = np.array_split(np.arange(count), min(2 * cpu_count(), count))
    given = {name: jnp.asarray(v) for name, v in values.items()}
    arrays, ratios = as_arrays(sums), jnp.asarray(ratios)

    def some(piece):
        part = {name: v[piece] for name, v in given.items()}
        return jax.tree.map(np.asarray, _draw_each(model, states, arrays, part, ratios[piece], keys[piece]))

    done = map_threads(some, pieces, "Draws of coefficients")
    systems, shared = (np.concatenate(parts) for parts in zip(*done, strict=True))
    return Drawn(systems, shared)


@jax.jit
def _draw_each(model: Model, states: States, sums: Sums, values, ratios, keys):
    def one(item):
        value, ratio, key = item
        problem = problem_of(model, states, sums, ratio)
        design = design_at(problem, value)
        data_key, own_key, shared_key = jax.random.split(key, 3)
        scatter = jnp.einsum("skl,sl->sk", sums.scatter, jax.random.normal(data_key, sums.target.shape))
        noise = Noise(
            scatter, jax.random.normal(own_key, design.own.shape), jax.random.normal(shared_key, (design.sizes.size,))
        )
        solved = solve(design, noise)
        factor = jax.scipy.linalg.block_diag(*factors(model, value))

        def coefficients(v, own):
            lift, mean = lift_and_mean(model, own)
            return mean + lift @ (factor @ v)

        return jax.vmap(coefficients)(solved.systems, ratio), solved.shared @ factor.T

    return jax.lax.map(one, (values, ratios, keys))


def as_arrays(sums: Sums) -> Sums:
    return Sums(*(jnp.asarray(part) for part in sums))
