"""Walls of pair terms as all systems together show them.

A prior mean needs a wall: where it begins, its force and its power. Two noisy frames of one system see little of it.
Read from such a fit, walls begin outside of contact, where attraction makes a force fall faster than any r^-13: the
power met its upper bound of 24 in 11 of 12 Lennard-Jones fluids, and forces at the closest contacts of new fluids came
out up to 59 % too large (decision 19). All systems together, on one axis, show the wall further in,
where it is one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import block_diag
from jaxtyping import Array, Float

from bayescg.kernels.pairs import Wall, wall_of
from bayescg.potentials import Pair
from bayescg.transfer.gaussian import Noise, solve
from bayescg.transfer.model import Problem, design_at, factors
from bayescg.transfer.systems import System

_ENOUGH = 20
"""Contacts that make a range well sampled."""

_POWERS = (10, 24)
"""Least and largest power of a wall, those of `wall_of`."""


def common_walls(
    problem: Problem, systems: Sequence[System], ratios: Float[np.ndarray, "system aligned"], kT: float
) -> dict[str, Wall]:
    """Walls of the mean curve of all systems, at the prior medians of the hyperparameters.

    In double precision.

    Args:
        problem: of the systems, with walls of a first look.
        systems: the same.
        ratios: typical distance of contact over each system's.
        kT: thermal energy [kJ/mol].

    Returns:
        By name, on the common axis, for pair terms without a baseline. Terms whose mean curve shows no wall are left
        out.
    """
    model, found, place, column = problem.model, {}, 0, 0
    mean_curve = np.asarray(_mean_curve(jax.tree.map(jnp.asarray, problem), problem.medians(), jnp.asarray(ratios)))
    for term, reference in zip(model.terms, model.references, strict=True):
        own = model.potential.term(term.name)
        free = np.asarray(term.lift).shape[1]
        part, column = mean_curve[column : column + free], column + free
        axis, over = own, np.ones(len(systems))
        if reference is not None:
            axis, over, place = reference.term, ratios[:, place], place + 1
        if not isinstance(own, Pair) or own.baseline is not None:
            continue
        assert isinstance(axis, Pair)
        counts = pooled_counts(own, axis, [s.statistics.counts.get(term.name) for s in systems], over)
        wall = innermost_wall(axis, counts, np.asarray(term.mean) + np.asarray(term.lift) @ part, kT)
        if wall.seen:
            found[term.name] = wall
    return found


def innermost_wall(
    axis: Pair, counts: Float[np.ndarray, " interval"], coefficients: Float[np.ndarray, " basis"], kT: float
) -> Wall:
    """The wall of one curve, from the distance below which 20 pairs were met.

    As `bayescg.kernels.pairs.wall_of` has it, but between knots: over one knot, a twentieth of the distance of contact,
    the power of a Lennard-Jones wall changes by two.

    Args:
        axis: the pair term.
        counts: pairs met in each knot interval.
        coefficients: of the curve [kJ/mol].
        kT: thermal energy [kJ/mol].
    """
    outer = wall_of(axis, counts, coefficients, kT)
    running = np.concatenate([[0.0], np.cumsum(counts)])
    edge = float(np.interp(min(_ENOUGH, 0.25 * running[-1]), running, axis.spline.knots))
    forces = -axis.spline.matrix(np.array([edge, edge + 2 * axis.spline.spacing]), 1)[:, : axis.n_basis] @ coefficients
    if not outer.seen or edge >= outer.edge or forces[0] <= max(outer.force, forces[1]):
        return outer
    power = np.log(forces[0] / max(forces[1], 1e-3 * forces[0])) / np.log1p(2 * axis.spline.spacing / edge)
    return Wall(edge, float(forces[0]), float(np.clip(power, *_POWERS)))


def pooled_counts(
    own: Pair,
    axis: Pair,
    counts: Sequence[Float[np.ndarray, " interval"] | None],
    ratios: Float[np.ndarray, " system"],
) -> Float[np.ndarray, " common"]:
    """Pairs of all systems in the knot intervals of the common axis.

    Args:
        own: the systems' term.
        axis: the term on the common axis.
        counts: of each system, by knot interval; None where a system lacks the term.
        ratios: typical distance of contact over each system's.
    """
    edges = axis.spline.knots
    edges = np.concatenate([[min(edges[0], 0.0)], edges[1:-1], [np.inf]])
    total = np.zeros(axis.bins)
    for each, ratio in zip(counts, ratios, strict=True):
        if each is not None:
            running = np.concatenate([[0.0], np.cumsum(each)])
            total += np.diff(np.interp(edges, own.spline.knots * ratio, running))
    return total


@jax.jit
def _mean_curve(problem: Problem, values: Mapping[str, Array], ratios) -> Float[Array, " free"]:
    """Free coordinates of the curve at the mean of the systems' columns."""
    design = design_at(problem, values, ratios)
    quiet = Noise(jnp.zeros_like(design.y), jnp.zeros_like(design.own), jnp.zeros(design.sizes.size))
    shared = solve(design, quiet).shared
    return block_diag(*factors(problem.model, values)) @ (jnp.mean(design.columns, axis=0) @ shared)
