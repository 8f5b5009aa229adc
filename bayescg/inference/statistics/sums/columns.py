"""Sums in the columns of each bead type: a bead has no force of terms that its type is no part of.

A molecule of six bead types and 900 coefficients has 135 columns a type; sums over all columns would be zeros mostly,
and take 40 times the memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from bayescg.inference.statistics.sums.blocks import MAX_BLOCKS, Sums, type_pairs
from bayescg.potentials import Potential

_BLOCK_BYTES, _FEWEST_BLOCKS = 128 << 20, 16
"""Memory that the blocks of one source may take, and how many are kept in any case: long-run covariances need them."""


class Packed(NamedTuple):
    """`Sums` without the columns that a bead type has no part in.

    Attributes:
        gram: (column, column) for one type after the other.
        cross: (column,) for one type after the other.
        square: (type,).
        components: (type,).
        divergence: (column,) for one type after the other.
    """

    gram: Float[np.ndarray, " entry"]
    cross: Float[np.ndarray, " own"]
    square: Float[np.ndarray, " type"]
    components: Float[np.ndarray, " type"]
    divergence: Float[np.ndarray, " own"]


@cache
def own_columns(potential: Potential) -> tuple[Int[np.ndarray, " own"], ...]:
    """For each bead type, the coefficients of its terms and then their baselines, as columns of `Sums`."""
    found, first = [], potential.n_basis
    baselines = {}
    for term in potential.terms:
        baselines[term.name] = np.arange(first, first + term.n_baselines)
        first += term.n_baselines
    every = np.arange(potential.n_basis)
    for bead in potential.bead_types:
        own = [term for term in potential.terms if bead in term.types]
        coefficients = [every[potential.slices[term.name]] for term in own]
        found.append(np.concatenate([*coefficients, *(baselines[term.name] for term in own)]).astype(np.int64))
    return tuple(found)


def most_blocks(potential: Potential) -> int:
    """Time blocks kept of one source: fewer, where there are so many coefficients that they would fill the memory."""
    size = 8 * sum(len(own) ** 2 for own in own_columns(potential))
    most = MAX_BLOCKS
    while most > _FEWEST_BLOCKS and most * size > _BLOCK_BYTES:
        most //= 2
    return most


def pack(potential: Potential, sums: Sums) -> Packed:
    """Leave out the columns that are not a type's own."""
    own = own_columns(potential)
    return Packed(
        np.concatenate([np.asarray(gram)[np.ix_(c, c)].ravel() for gram, c in zip(sums.gram, own, strict=True)]),
        np.concatenate([np.asarray(cross)[c] for cross, c in zip(sums.cross, own, strict=True)]),
        np.array(sums.square, float),
        np.array(sums.components, float),
        np.concatenate([np.asarray(row)[c] for row, c in zip(sums.divergence, own, strict=True)]),
    )


def unpack(potential: Potential, packed: Packed) -> Sums:
    """All columns, zeros where they are not a type's own."""
    own = own_columns(potential)
    types, columns = len(own), potential.n_basis + potential.n_baselines
    sums = Sums(
        np.zeros((types, columns, columns)),
        np.zeros((types, columns)),
        packed.square.copy(),
        packed.components.copy(),
        np.zeros((types, columns)),
    )
    entry = column = 0
    for k, c in enumerate(own):
        n = len(c)
        sums.gram[k][np.ix_(c, c)] = packed.gram[entry : entry + n * n].reshape(n, n)
        sums.cross[k, c] = packed.cross[column : column + n]
        sums.divergence[k, c] = packed.divergence[column : column + n]
        entry, column = entry + n * n, column + n
    return sums


def own_scores(potential: Potential, equations: int) -> list[Int[np.ndarray, " own"]]:
    """For each bead type its columns of products of scores: coefficients of its terms, for each equation."""
    n = potential.n_basis
    return [np.concatenate([c[c < n] + k * n for k in range(equations)]) for c in own_columns(potential)]


def pack_scores(
    potential: Potential, equations: int, products: Float[np.ndarray, "type_pair score score"]
) -> Float[np.ndarray, " entry"]:
    """Products of scores of each pair of types, s_a s_b', in a's and b's columns, for one pair after the other."""
    own = own_scores(potential, equations)
    parts = []
    for (a, b), product in zip(type_pairs(len(own)), products, strict=True):
        parts.append(np.asarray(product)[np.ix_(own[a], own[b])].ravel())
    return np.concatenate(parts)


def unpack_scores(
    potential: Potential, equations: int, packed: Float[np.ndarray, " entry"]
) -> Iterator[Float[np.ndarray, "score score"]]:
    """Products of scores of each pair of types in all columns, symmetric, one pair at a time."""
    own, n = own_scores(potential, equations), equations * potential.n_basis
    at = 0
    for a, b in type_pairs(len(own)):
        size = len(own[a]) * len(own[b])
        product = np.zeros((n, n))
        product[np.ix_(own[a], own[b])] = packed[at : at + size].reshape(len(own[a]), len(own[b]))
        at += size
        yield product if a == b else product + product.T


def scores_of(
    potential: Potential, equations: int, packed: Float[np.ndarray, " entry"], place: int
) -> Float[np.ndarray, " part"]:
    """The products of scores of one equation of several, packed."""
    own, at, parts = own_scores(potential, equations), 0, []
    for a, b in type_pairs(len(own)):
        (m, n), size = (len(own[k]) // equations for k in (a, b)), len(own[a]) * len(own[b])
        product = packed[at : at + size].reshape(equations, m, equations, n)
        parts.append(product[place, :, place].ravel())
        at += size
    return np.concatenate(parts)
