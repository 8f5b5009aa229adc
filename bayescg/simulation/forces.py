"""Forces of a potential over padded neighbor lists, for use inside a compiled step.

The curves are the potential's own: the slope of a cubic spline is a quadratic in each knot interval, tabulated as its
three coefficients, so that a lookup is exact; baselines are evaluated as they are.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from bayescg.potentials import Configuration, Interactions, Pair, Potential, Spline, SplineTerm, UniformSpline
from bayescg.potentials.baselines import value_and_slope
from bayescg.simulation.lists import block_terms, blocks_of, found_tuples, other_terms


class Layout(NamedTuple):
    """Arrays that say which bead gets which force; the same for all draws.

    Attributes:
        box: (3, 3) [nm].
        inverse: (3, 3) inverse of the box [1/nm].
        centers: for each block of neighbor rows its beads.
        bonded: tuples that follow from the topology, by term name.
        slots: (bead, slot) rows of the concatenated forces that act on each bead; the last row is zero.
    """

    box: Float[Array, "3 3"]
    inverse: Float[Array, "3 3"]
    centers: tuple[Int[Array, " row"], ...]
    bonded: dict[str, Int[Array, "interaction body"]]
    slots: Int[Array, "bead slot"]


class Curves(NamedTuple):
    """Coefficients of one draw in the form that lookups use.

    Attributes:
        pair: for each pair term (three arrays of interval coefficients) or None.
        bonded: for each other term its coefficients.
    """

    pair: dict[str, tuple[Float[Array, " interval"], ...] | None]
    bonded: dict[str, Float[Array, " basis"]]


def layout(interactions: Interactions, box: Float[np.ndarray, "3 3"]) -> Layout:
    """Arrange the forces of a system."""
    blocks = blocks_of(interactions)
    tuples = [interactions.bonded[term.name].ravel() for term in _bonded_terms(interactions.potential)]
    owners = [block.centers for block in blocks] + tuples
    owner = np.concatenate([*owners, np.zeros(0, np.int32)]).astype(np.int64)
    counts = np.bincount(owner, minlength=interactions.n_beads)
    order = np.argsort(owner, kind="stable")
    slots = np.full((interactions.n_beads, max(1, counts.max(initial=0))), len(owner), np.int32)
    starts = np.cumsum(counts) - counts
    slots[owner[order], np.arange(len(owner)) - np.repeat(starts, counts)] = order
    return Layout(
        jnp.asarray(box, float),
        jnp.asarray(np.linalg.inv(box)),
        tuple(jnp.asarray(block.centers) for block in blocks),
        {name: jnp.asarray(tuples) for name, tuples in interactions.bonded.items()},
        jnp.asarray(slots),
    )


def _bonded_terms(potential: Potential) -> list[SplineTerm]:
    return [term for term in potential.terms if isinstance(term, SplineTerm) and not term.cutoff]


def curves(potential: Potential, coefficients: Float[np.ndarray, " basis"]) -> Curves:
    """Turn a coefficient vector into lookup tables."""
    pair: dict = {}
    bonded = {}
    for term in potential.terms:
        w = np.asarray(coefficients, float)[potential.slices[term.name]]
        if not isinstance(term, Pair):
            bonded[term.name] = jnp.asarray(w)
        elif term.n_basis:
            pair[term.name] = _quadratics(term.spline, np.concatenate([w, np.zeros(term.spline.size - len(w))]))
        else:
            pair[term.name] = None
    return Curves(pair, bonded)


def _quadratics(spline: UniformSpline, w: Float[np.ndarray, " raw"]) -> tuple[Array, ...]:
    """Slope c0 + c1 s + c2 s^2 of a spline in each knot interval, 0 <= s <= 1."""
    a, b, c, d = w[:-3], w[1:-2], w[2:-1], w[3:]
    h = spline.spacing
    rows = ((c - a) / (2 * h), (a - 2 * b + c) / h, (d - a + 3 * (b - c)) / (2 * h))
    return tuple(jnp.asarray(row) for row in rows)


def _spline_slope(spline: UniformSpline, rows, r):
    """Slope of a spline at r, constant outside the knots as in `UniformSpline.windows`."""
    t = jnp.clip((r - spline.start) * (1 / spline.spacing), 0, spline.intervals)
    k = jnp.minimum(t.astype(jnp.int32), spline.intervals - 1)
    s = t - k
    c0, c1, c2 = (row[k] for row in rows)
    return c0 + s * (c1 + s * c2)


def _pair_slope(term: Pair, rows, r):
    slope = jnp.zeros_like(r) if rows is None else _spline_slope(term.spline, rows, r)
    base = term.baseline
    if isinstance(base, Spline):
        slope = slope + _spline_slope(base.spline, _quadratics(base.spline, np.asarray(base.coefficients)), r)
    elif base is not None:
        slope = slope + value_and_slope(base, r)[1]
    return slope


def _block_forces(term: Pair, rows, centers, box, orthorhombic: bool, fraction, neighbors):
    """(row, 3) forces on the centers of one block."""
    # Nearest image by floor(x + 1/2), on a CPU a fifth faster than rounding; a bead's distance from itself (padding) is
    # exactly zero. Float64: float32 would save a tenth of a step's time and cost half of the digits.
    apart = fraction[neighbors] - fraction[centers][:, None, :]
    apart = apart - jnp.floor(apart + 0.5)
    # A product with a diagonal matrix is three multiplications; XLA would call a matrix product for it.
    vector = apart * jnp.diagonal(box) if orthorhombic else apart @ box
    squared = jnp.sum(vector**2, -1)
    near = (squared > 0) & (squared < term.cutoff**2)
    r = jnp.sqrt(jnp.where(near, squared, term.cutoff**2))
    scale = jnp.where(near, _pair_slope(term, rows, r) / r, 0.0)
    return jnp.sum(scale[..., None] * vector, axis=1)


def forces(
    potential: Potential,
    orthorhombic: bool,
    arrays: Layout,
    draw: Curves,
    lists: tuple[Int[Array, "_ _"], ...],
    positions: Float[Array, "bead 3"],
) -> Float[Array, "bead 3"]:
    """Bead forces [kJ/mol/nm]; `Potential.forces` for the same pairs, to rounding.

    Args:
        potential: the potential (static).
        orthorhombic: whether the box is diagonal (static).
        arrays: from `layout`.
        draw: from `curves`.
        lists: neighbors, one array for each block, then the tuples that other terms make of them (`found_tuples`).
        positions: (bead, 3) [nm].
    """
    others = other_terms(potential)
    if not others:
        return _one_dimensional(potential, orthorhombic, arrays, draw, lists, positions)
    names = found_tuples(potential, arrays.bonded)
    blocks, tuples = lists[: len(lists) - len(names)], lists[len(lists) - len(names) :]
    near = Configuration(positions, arrays.box, {**arrays.bonded, **dict(zip(names, tuples, strict=True))})
    total = sum((term.forces(near, draw.bonded[term.name]) for term in others), start=jnp.zeros_like(positions))
    return total + _one_dimensional(potential, orthorhombic, arrays, draw, blocks, positions)


def _one_dimensional(potential, orthorhombic, arrays: Layout, draw: Curves, lists, positions):
    rows = []
    fraction = positions @ arrays.inverse
    for term, centers, neighbors in zip(block_terms(potential), arrays.centers, lists, strict=True):
        rows.append(_block_forces(term, draw.pair[term.name], centers, arrays.box, orthorhombic, fraction, neighbors))
    if len(rows) == 1 and not arrays.bonded and rows[0].shape == positions.shape:
        return rows[0]
    configuration = Configuration(positions, arrays.box, arrays.bonded)
    # In the order of terms, as in `layout`: a dictionary comes out of a compiled function sorted by its keys.
    for term in _bonded_terms(potential):
        x, gradient = term.descriptor(configuration)
        slope = term.curve(draw.bonded[term.name], x)[1]
        rows.append((-slope[:, None, None] * gradient).reshape(-1, 3))
    rows.append(jnp.zeros((1, 3), positions.dtype))
    return jnp.sum(jnp.concatenate(rows)[arrays.slots], axis=1)


def is_orthorhombic(box: Float[np.ndarray, "3 3"]) -> bool:
    """Whether only the diagonal of the box differs from zero."""
    return bool(np.all(np.asarray(box)[~np.eye(3, dtype=bool)] == 0))
