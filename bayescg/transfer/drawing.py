"""Draws of the coefficients of all systems, one for every draw of hyperparameters and distances of contact."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import block_diag
from jaxtyping import Array, Float

from bayescg._arrays import AnyArray
from bayescg._runtime import cpu_count, map_threads
from bayescg.transfer.gaussian import Noise, solve
from bayescg.transfer.model import Problem, design_at, factors, lift_and_mean, ratios_at

Tree = TypeVar("Tree")


class Drawn(NamedTuple):
    """Draws of coefficients.

    Attributes:
        systems: (draw, system, basis) [kJ/mol]; those of terms that a system lacks are what the others say.
        shared: (draw, feature, free) what columns of the kernel over states are multiplied with [kJ/mol].
        ratios: (draw, system, aligned) typical distance of contact over each system's.
    """

    systems: Float[np.ndarray, "draw system basis"]
    shared: Float[np.ndarray, "draw feature free"]
    ratios: Float[np.ndarray, "draw system aligned"]


def draw_systems(
    problem: Problem,
    values: Mapping[str, AnyArray],
    *,
    ratios: Float[AnyArray, "draw system aligned"] | None = None,
    key: Array,
) -> Drawn:
    """One draw of the coefficients of all systems for every draw of the hyperparameters.

    Args:
        problem: of the systems.
        values: of all sites, each (draw, ...).
        ratios: typical distance of contact over each system's; None: as the sites say.
        key: JAX random key.
    """
    count = len(next(iter(values.values())))
    keys = jax.random.split(key, count)
    pieces = np.array_split(np.arange(count), min(2 * cpu_count(), count))
    given = {name: jnp.asarray(v) for name, v in values.items()}

    over = _each_ratios(problem, given) if ratios is None else jnp.asarray(ratios)

    def some(piece):
        part = {name: v[piece] for name, v in given.items()}
        return jax.tree.map(np.asarray, _draw_each(problem, part, over[piece], keys[piece]))

    done = map_threads(some, pieces, "Draws of coefficients")
    systems, shared = (np.concatenate(parts) for parts in zip(*done, strict=True))
    return Drawn(systems, shared, np.asarray(over))


@jax.jit
def _each_ratios(problem: Problem, values) -> Float[Array, "draw system aligned"]:
    return jax.lax.map(lambda value: ratios_at(problem, value), values)


@jax.jit
def _draw_each(problem: Problem, values, ratios, keys):
    def one(item):
        value, over, key = item
        design = design_at(problem, value, over)
        data_key, own_key, shared_key = jax.random.split(key, 3)
        white = jax.random.normal(data_key, problem.sums.target.shape)
        noise = Noise(
            jnp.einsum("skl,sl->sk", problem.sums.scatter, white),
            jax.random.normal(own_key, design.own.shape),
            jax.random.normal(shared_key, (design.sizes.size,)),
        )
        solved = solve(design, noise)
        factor = block_diag(*factors(problem.model, value))

        def coefficients(v, ratio):
            lift, mean = lift_and_mean(problem.model, ratio)
            return mean + lift @ (factor @ v)

        return jax.vmap(coefficients)(solved.systems, over), solved.shared @ factor.T

    return jax.lax.map(one, (values, ratios, keys))


def as_arrays(tree: Tree) -> Tree:
    """All leaves as arrays of JAX, so that programs are compiled once."""
    return jax.tree.map(jnp.asarray, tree)
