"""The atoms around one molecule, gathered once for all moves of a visit: beads do not move, nor do the others."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from bayescg._arrays import AnyArray
from bayescg.atomistic.displacements import minimum_image, squared_distances
from bayescg.atomistic.nonbonded import AtomPairs
from bayescg.backmapping.liquid.neighbors import Extent
from bayescg.backmapping.liquid.pairs import Parameters, pair_energy, parameters
from bayescg.geometry.images import minimum_image as nearest_image
from bayescg.geometry.images import shortest_height


class Near(NamedTuple):
    """Atoms of others near one bead of a molecule.

    Attributes:
        positions: (3, near) [nm], at the images nearest to the bead.
        terms: parameters of the pairs of the bead's own atoms with these, zero where there is no atom, by term.
    """

    positions: Float[Array, "3 near"]
    terms: tuple[Parameters, ...]


class Surroundings(NamedTuple):
    """What a molecule sees.

    Attributes:
        parts: of the beads that own atoms.
        overflow: whether there were more atoms than room, so that some are missing.
    """

    parts: tuple[Near, ...]
    overflow: Bool[Array, ""]


def owned(extent: Extent) -> list[tuple[int, Int[np.ndarray, " own"]]]:
    """Beads that own atoms, and these."""
    atoms = [(bead, np.flatnonzero(np.array(extent.owner) == bead)) for bead in range(len(extent.radius))]
    return [(bead, own) for bead, own in atoms if len(own)]


def surroundings(
    pairs: tuple[AtomPairs, ...],
    extent: Extent,
    beads: Float[AnyArray, "bead 3"],
    others: Float[Array, "other atom 3"],
    mask: Bool[AnyArray, " other"],
    room: int,
) -> Surroundings:
    """Gather the atoms that atoms of a molecule can interact with, wherever these are within their extent.

    Args:
        pairs: what acts between molecules.
        extent: how far atoms may be from their beads.
        beads: of the molecule [nm].
        others: of the molecules around it [nm], any image.
        mask: which of these count.
        room: most atoms near a bead.
    """
    size = others.shape[1]
    flat, there = others.reshape(-1, 3).T, jnp.repeat(jnp.asarray(mask), size)
    parts, overflow = [], jnp.asarray(False)
    for bead, own in owned(extent):
        center = jnp.asarray(beads)[bead][:, None]
        vectors = flat - center
        box = next((term.box for term in pairs if term.box is not None), None)
        vectors = vectors if box is None else minimum_image(vectors, box)
        near = there & (squared_distances(vectors) <= reach(pairs, extent, bead) ** 2)
        index = jnp.nonzero(near, size=room, fill_value=flat.shape[1])[0]
        found, index = index < flat.shape[1], jnp.minimum(index, flat.shape[1] - 1)
        terms = tuple(parameters(term, size, own, index % size, found) for term in pairs)
        parts.append(Near((vectors + center)[:, index], terms))
        overflow |= jnp.sum(near) > room
    return Surroundings(tuple(parts), overflow)


def reach(pairs: tuple[AtomPairs, ...], extent: Extent, bead: int) -> float:
    """Distance from a bead [nm] beyond which no atom interacts with one of the bead's own."""
    return max((term.cutoff for term in pairs), default=0.0) + float(extent.radius[bead])


def most_near(pairs: tuple[AtomPairs, ...], extent: Extent, beads, positions, box) -> int:
    """Largest number of atoms within reach of a bead, those of its own molecule included.

    Args:
        pairs: what acts between molecules.
        extent: how far atoms may be from their beads.
        beads: (molecule, bead, 3) [nm].
        positions: (chain, molecule, atom, 3) [nm].
        box: (3, 3), or None.
    """
    most = 1
    for bead, _ in owned(extent):
        for center in beads[:, bead]:
            vectors = positions.reshape(len(positions), -1, 3) - center
            vectors = vectors if box is None else nearest_image(vectors, box)
            near = np.sum(vectors**2, axis=-1) <= reach(pairs, extent, bead) ** 2
            most = max(most, int(near.sum(axis=1).max()))
    return most


def environment(
    pairs: tuple[AtomPairs, ...],
    extent: Extent,
    positions: Float[Array, "atom 3"],
    around: Surroundings,
    scale: Float[Array, ""],
) -> Float[Array, ""]:
    """Energy of a molecule with its surroundings [kJ/mol]; only its own positions have a gradient.

    Args:
        pairs: what acts between molecules.
        extent: that of the surroundings.
        positions: of the molecule [nm].
        around: its surroundings.
        scale: between 0 and 1, see `pair_energy`.
    """
    total, scale = jnp.zeros((), positions.dtype), jnp.asarray(scale, positions.dtype)
    for (bead, own), near in zip(owned(extent), around.parts, strict=True):
        for term, table in zip(pairs, near.terms, strict=True):
            far = 2 * reach((term,), extent, bead)
            # An atom whose image nearest to the bead is within reach has no other within the cutoff of the own ones.
            wrap = term.box is not None and not far <= shortest_height(term.box)
            total += _between(term, wrap, positions[own].T, near.positions, table, scale)
    return total


@partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _between(term: AtomPairs, wrap: bool, positions, around, table: Parameters, scale):
    squared = squared_distances(_vectors(term, wrap, positions, around))
    return jnp.sum(jnp.where(squared <= term.cutoff**2, pair_energy(term, table, scale, squared), 0))


@_between.defjvp
def _between_jvp(term: AtomPairs, wrap: bool, primals: tuple, tangents: tuple):
    """Energy and forces in one sweep."""
    positions, around, table, scale = primals
    vectors = _vectors(term, wrap, positions, around)
    squared = squared_distances(vectors)
    energy, slope = jax.jvp(partial(pair_energy, term, table, scale), (squared,), (jnp.ones_like(squared),))
    inside = squared <= term.cutoff**2
    gradient = jnp.einsum("ij,cij->ci", jnp.where(inside, 2 * slope, 0), vectors)
    return jnp.sum(jnp.where(inside, energy, 0)), jnp.sum(gradient * tangents[0])


def _vectors(term: AtomPairs, wrap: bool, positions, around):
    vectors = positions[:, :, None] - around[:, None]
    return minimum_image(vectors, term.box) if wrap and term.box is not None else vectors
