"""What a batch of frames adds to the sums: design rows, their products with themselves and the forces, histograms.

With a pilot w~ also the products of bead scores s_i = J_i' (f_i - J_i w~). The noise of beads in contact is
anti-correlated by Newton's third law, so that scores of neighbors are multiplied with each other as well: the sum over
i of s_i s_i' plus, over neighbors i and j, s_i s_j' + s_j s_i' estimates the covariance of the total score whatever
the correlation within that distance (Conley, J. Econometrics 92, 1 (1999), doi:10.1016/S0304-4076(98)00084-0).

Two equations determine the coefficients, and each has scores of its own. That of forces is above. That of structure,
E[J_i' f_i] = -kT E[div_i J_i] (Mullinax & Noid, Phys. Rev. Lett. 103, 198104 (2009),
doi:10.1103/PhysRevLett.103.198104), needs no forces: s_i = -kT div_i J_i - J_i' J_i w~.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from bayescg._arrays import AnyArray
from bayescg.inference.statistics.sums.blocks import Sums, type_pairs
from bayescg.potentials import Configuration, Potential

EQUATIONS = ("forces", "structure")
"""What coefficients can be learned from, in the order of stacked scores."""

NOWHERE = 1 << 30
"""Slot of a frame that does not count: beyond any table."""


class Batch(NamedTuple):
    """Frames that go through the compiled program together.

    Attributes:
        positions: (frame, bead, 3) [nm].
        boxes: (frame, 3, 3) [nm].
        forces: (frame, bead, 3) [kJ/mol/nm].
        slots: (frame,) the row of the table of blocks to which each frame is added; `NOWHERE`: the frame is there only
            to fill up the batch.
        pairs: for each pair term, (frame, pair, 2) beads; a row that names a bead twice is padding.
        neighbors: (frame, pair, 2) beads whose noise may correlate, each pair once, padded with bead numbers beyond
            the last; None without a pilot.
        weights: (frame,) of frames; ones for those of the ensemble itself.
        shapes: (frame, bead, 3, 3) second moments of ellipsoidal beads [nm^2]; None where no term asks for them.
    """

    positions: Float[AnyArray, "frame bead 3"]
    boxes: Float[AnyArray, "frame 3 3"]
    forces: Float[AnyArray, "frame bead 3"]
    slots: Int[AnyArray, " frame"]
    pairs: Mapping[str, Int[AnyArray, "frame pair 2"]]
    neighbors: Int[AnyArray, "frame pair 2"] | None
    weights: Float[AnyArray, " frame"]
    shapes: Float[AnyArray, "frame bead 3 3"] | None = None


class Shared(NamedTuple):
    """What all frames of a pass have in common.

    Attributes:
        bonded: for each bonded term the beads of each interaction.
        rows: beads of each type; None: all beads are of the one type.
        pilot: (basis,) its coefficients; None: no scores are taken.
        kT: of the data [kJ/mol], which scores of structure contain.
    """

    bonded: Mapping[str, Int[AnyArray, "interaction body"]]
    rows: Sequence[Int[AnyArray, " chosen"]] | None
    pilot: Float[AnyArray, " basis"] | None
    kT: Float[AnyArray, ""] | None = None


class Running(NamedTuple):
    """Sums so far. They stay on the device until the pass ends: to look at them would wait for every batch.

    Attributes:
        sums: `Sums` with a leading axis, the table of blocks.
        scores: (type_pair, score, score) products of bead scores, for each equation one of every coefficient; of two
            types s_a s_b' alone, without its transpose; None without a pilot.
        counts: for each term, interactions by knot interval.
        lowest: for each term, the smallest descriptor met; infinite if none.
        highest: for each term, the largest.
    """

    sums: Sums
    scores: Float[Array, "type_pair score score"] | None
    counts: dict[str, Float[Array, " interval"]]
    lowest: dict[str, Float[Array, ""]]
    highest: dict[str, Float[Array, ""]]


@partial(jax.jit, static_argnums=(0, 1, 2, 3, 4))
def empty(
    potential: Potential, blocks: int, types: int, scored: bool, equations: tuple[str, ...] = EQUATIONS[:1]
) -> Running:
    """Sums of no frames, with a table of so many blocks."""
    basis = potential.n_basis * len(equations)
    columns = potential.n_basis + potential.n_baselines
    shapes = (types, columns, columns), (types, columns), (types,), (types,), (types, columns)
    return Running(
        Sums(*(jnp.zeros((blocks, *shape)) for shape in shapes)),
        jnp.zeros((len(type_pairs(types)), basis, basis)) if scored else None,
        {term.name: jnp.zeros(term.bins) for term in potential.terms},
        {term.name: jnp.asarray(jnp.inf) for term in potential.terms},
        {term.name: jnp.asarray(-jnp.inf) for term in potential.terms},
    )


def accumulate(
    potential: Potential, running: Running, batch: Batch, shared: Shared, equations: tuple[str, ...] = EQUATIONS[:1]
) -> tuple[Running, Array]:
    """Add a batch of frames, each to its own block.

    Two compiled programs, as the one that does the work shall not be compiled again for another number of blocks.

    Args:
        potential: the potential.
        running: sums so far.
        batch: the frames.
        shared: what all frames have in common.
        equations: what sums are wanted for; without "forces" those of the batch are not looked at.

    Returns:
        The sums, and an array that nothing else uses up, so that a caller can wait for it.
    """
    added = products(potential, batch, shared, equations)
    return _add(running, added, batch.slots), added.sums.square


class Added(NamedTuple):
    """What a batch adds.

    Attributes:
        sums: `Sums` with a leading axis, the frames.
        scores: as in `Running`, summed over frames.
        counts: likewise.
        lowest: likewise.
        highest: likewise.
    """

    sums: Sums
    scores: Float[Array, "type_pair score score"] | None
    counts: dict[str, Float[Array, " interval"]]
    lowest: dict[str, Float[Array, ""]]
    highest: dict[str, Float[Array, ""]]


@partial(jax.jit, static_argnums=(0, 3))
def products(potential: Potential, batch: Batch, shared: Shared, equations: tuple[str, ...] = EQUATIONS[:1]) -> Added:
    """Sums of every frame of a batch, and score products and histograms of all of them."""
    one = partial(_frame, potential, equations, shared)
    if len(batch.slots) == 1:
        # One frame alone is not batched: that would turn its gathers and scatters into slower batched ones.
        sums, scores, found = jax.tree.map(
            lambda leaf: leaf[None], one(*jax.tree.map(lambda leaf: leaf[0], batch._replace(slots=None)))
        )
    else:
        sums, scores, found = jax.vmap(one)(*batch._replace(slots=None))
    # What fills up the last batch is a frame once more: it must not count, but cannot change what is smallest.
    real = jnp.asarray(batch.slots < NOWHERE).astype(batch.forces.dtype)
    return Added(
        sums,
        None if scores is None else jnp.tensordot(real, scores, 1),
        {name: (real * batch.weights) @ counts for name, (counts, _, _) in found.items()},
        {name: jnp.min(lowest) for name, (_, lowest, _) in found.items()},
        {name: jnp.max(highest) for name, (_, _, highest) in found.items()},
    )


@partial(jax.jit, donate_argnums=0)
def _add(running: Running, added: Added, slots: Int[Array, " frame"]) -> Running:
    def total(table, new):
        return table.at[slots].add(new, mode="drop")

    return Running(
        jax.tree.map(total, running.sums, added.sums),
        jax.tree.map(jnp.add, running.scores, added.scores),
        jax.tree.map(jnp.add, running.counts, added.counts),
        jax.tree.map(jnp.minimum, running.lowest, added.lowest),
        jax.tree.map(jnp.maximum, running.highest, added.highest),
    )


def _frame(
    potential: Potential, equations, shared: Shared, positions, box, forces, _, pairs, neighbors, weight, shapes
):
    """Sums, score products and histograms of one frame; rows and forces carry the root of its weight."""
    configuration = Configuration(positions, box, {**shared.bonded, **pairs}, shapes)
    design = jnp.concatenate([potential.design_rows(configuration), potential.baseline_forces(configuration)], axis=1)
    diverging = None
    if "structure" in equations:
        parts = [potential.divergence_rows(configuration), potential.baseline_divergence(configuration)]
        diverging = weight * jnp.concatenate(parts, axis=1)
    design, forces = jnp.sqrt(weight) * design, jnp.sqrt(weight) * forces
    if "forces" not in equations:
        forces = jnp.zeros_like(forces)
    gram, cross, square, components, divergence = [], [], [], [], []
    for chosen in shared.rows if shared.rows is not None else [None]:
        j = design if chosen is None else design[chosen]
        f = forces if chosen is None else forces[chosen]
        gram.append(jnp.einsum("nkx,nlx->kl", j, j))
        cross.append(jnp.einsum("nkx,nx->k", j, f))
        square.append(jnp.sum(f**2))
        components.append(weight * float(f.size))
        if diverging is None:
            divergence.append(jnp.zeros(design.shape[1]))
        else:
            divergence.append(jnp.sum(diverging if chosen is None else diverging[chosen], axis=0))
    sums = Sums(*(jnp.stack(each) for each in (gram, cross, square, components, divergence)))
    found = {term.name: term.visits(configuration) for term in potential.terms}
    if shared.pilot is None:
        return sums, None, found
    scores = _scores(potential, equations, (shared.pilot, shared.kT), design, forces, diverging)
    return sums, _score_products(scores, shared.rows, neighbors), found


def _scores(potential: Potential, equations, about, design, forces, diverging):
    """(bead, score) scores of every bead about the pilot, of one equation after the other."""
    n_basis, (pilot, kT) = potential.n_basis, about
    known = jnp.concatenate([pilot, jnp.ones(design.shape[1] - n_basis)])
    pulled = jnp.einsum("nkx,k->nx", design, known)
    scores = []
    if "forces" in equations:
        scores.append(jnp.einsum("nkx,nx->nk", design[:, :n_basis], forces - pulled))
    if "structure" in equations:
        scores.append(-kT * diverging[:, :n_basis] - jnp.einsum("nkx,nx->nk", design[:, :n_basis], pulled))
    return scores[0] if len(scores) == 1 else jnp.concatenate(scores, axis=1)


def _score_products(scores, rows, neighbors):
    first, second = neighbors[:, 0], neighbors[:, 1]

    def around(s):
        """Sum of the neighbors' scores."""
        return jnp.zeros_like(s).at[first].add(s[second], mode="drop").at[second].add(s[first], mode="drop")

    if rows is None:
        cross = scores.T @ around(scores)
        return (scores.T @ scores + 0.5 * (cross + cross.T))[None]
    # Of two types, only the rows of one of them are not zero: those are multiplied.
    sums = [around(jnp.zeros_like(scores).at[chosen].set(scores[chosen])) for chosen in rows]
    products = []
    for a, b in type_pairs(len(rows)):
        own, near = scores[rows[a]], sums[b][rows[a]]
        products.append(own.T @ own + 0.5 * (own.T @ near + near.T @ own) if a == b else own.T @ near)
    return jnp.stack(products)
