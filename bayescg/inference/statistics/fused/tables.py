"""What compiled loops know of a potential and a system: numbers in arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from bayescg.inference.statistics.columns import own_columns
from bayescg.potentials import Angle, Bond, Dihedral, Interactions, Pair, Potential
from bayescg.potentials.spline_term import SplineTerm
from bayescg.potentials.term import Term

_BODIES = 4
"""Beads of the largest bonded interaction."""
_BONDED = (Bond, Angle, Dihedral)


class Tables(NamedTuple):
    """Terms that compiled loops know, splines of distances and angles, and the beads of one system.

    Columns of a bead type are its own: of the terms that it is part of, then the columns of all that other loops make
    (`extra`), then one for the force. A term has as many columns there as its spline has functions; those that the term
    leaves out are dropped at the end.

    Attributes:
        types: (bead,) number of each bead's type; -1: in no term.
        widths: (type,) columns of each type, the force's included.
        columns: (type, term) where a term begins in the columns of a type; -1: it has none there.
        pair: (type, type) term of two types; -1: none.
        start: (term,) first knot.
        inverse: (term,) intervals per unit.
        intervals: (term,) knot intervals.
        size: (term,) functions.
        squares: (term,) squared cutoff of pair terms; 0 for others.
        bins: (term + 1,) where each term's histogram begins.
        bodies: (term,) beads of an interaction.
        excluded_of: (bead + 1,) where each bead's list of excluded partners begins.
        excluded: partners.
        tuples: (interaction, 4) beads of bonded interactions.
        term_of: (interaction,) their terms.
        bonded_of: (bead + 1,) where each bead's list of bonded interactions begins.
        bonded: (entry, 2) interaction, and place of the bead in it.
        reach: largest cutoff [nm].
        radius: beads closer than this have correlated noise [nm]; 0: no scores.
    """

    types: Int[np.ndarray, " bead"]
    widths: Int[np.ndarray, " type"]
    columns: Int[np.ndarray, "type term"]
    pair: Int[np.ndarray, "type type"]
    start: Float[np.ndarray, " term"]
    inverse: Float[np.ndarray, " term"]
    intervals: Int[np.ndarray, " term"]
    size: Int[np.ndarray, " term"]
    squares: Float[np.ndarray, " term"]
    bins: Int[np.ndarray, " bin"]
    bodies: Int[np.ndarray, " term"]
    excluded_of: Int[np.ndarray, " edge"]
    excluded: Int[np.ndarray, " partner"]
    tuples: Int[np.ndarray, "interaction 4"]
    term_of: Int[np.ndarray, " interaction"]
    bonded_of: Int[np.ndarray, " edge"]
    bonded: Int[np.ndarray, "entry 2"]
    reach: float
    radius: float


@dataclass(frozen=True, eq=False)
class Layout:
    """`Tables`, and how their columns are put back among those of the potential.

    Attributes:
        tables: for the compiled loops.
        terms: the terms that they know, in the order of the term axis.
        local: for each type, where `columns.own_columns` stand among the columns of the loops.
        coefficients: for each type, how many of them, the first, are coefficients.
    """

    tables: Tables
    terms: tuple[SplineTerm, ...]
    local: tuple[Int[np.ndarray, " own"], ...]
    coefficients: tuple[int, ...]


def known(term: Term) -> bool:
    """Whether the compiled loops make the rows of a term: it is of a class of the library, not of a user's own."""
    return type(term) in (Pair, *_BONDED)


def extra_columns(potential: Potential) -> Int[np.ndarray, " column"]:
    """Columns of a potential that compiled loops do not make: of terms unknown to them, and of all baselines."""
    spans = [np.arange(potential.n_basis)[potential.slices[term.name]] for term in potential.terms if not known(term)]
    baselines = np.arange(potential.n_basis, potential.n_basis + potential.n_baselines)
    return np.concatenate([*spans, baselines]).astype(np.int64)


def make_layout(interactions: Interactions, radius: float | None) -> Layout:
    """Put a potential and a system into arrays.

    Args:
        interactions: who interacts.
        radius: beads closer than this have correlated noise [nm]; None: no scores.
    """
    potential = interactions.potential
    terms = tuple(term for term in potential.terms if isinstance(term, SplineTerm) and known(term))
    types = potential.bead_types
    extra = extra_columns(potential)
    columns = np.full((len(types), len(terms)), -1)
    widths, local = [], []
    for k, (bead, own) in enumerate(zip(types, own_columns(potential), strict=True)):
        width, place = 0, np.full(potential.n_basis + potential.n_baselines, -1)
        for number, term in enumerate(terms):
            if term.n_basis and bead in term.types:
                columns[k, number] = width
                place[potential.slices[term.name]] = width + np.arange(term.n_basis)
                width += term.spline.size
        place[extra] = width + np.arange(len(extra))
        widths.append(width + len(extra) + 1)
        local.append(place[own])
    pair = np.full((len(types), len(types)), -1)
    for number, term in enumerate(terms):
        if isinstance(term, Pair):
            a, b = (types.index(bead) for bead in term.types)
            pair[a, b] = pair[b, a] = number
    splines = [term.spline for term in terms]
    beads = interactions.n_beads
    tuples, term_of = _interactions(terms, interactions)
    entries = [(row[place], e, place) for e, row in enumerate(tuples) for place in range(terms[term_of[e]].body)]
    entries = np.array(entries, np.int64).reshape(-1, 3)
    entries = entries[np.argsort(entries[:, 0], kind="stable")]
    one, other = np.divmod(interactions.excluded, beads)
    both = np.concatenate([np.stack([one, other], 1), np.stack([other, one], 1)])
    both = both[np.argsort(both[:, 0], kind="stable")]
    tables = Tables(
        interactions.type_index.astype(np.int64),
        np.array(widths, np.int64),
        columns.astype(np.int64),
        pair.astype(np.int64),
        np.array([s.start for s in splines], float),
        np.array([1 / s.spacing for s in splines], float),
        np.array([s.intervals for s in splines], np.int64),
        np.array([s.size for s in splines], np.int64),
        np.array([term.cutoff**2 for term in terms], float),
        np.concatenate([[0], np.cumsum([s.intervals for s in splines])]).astype(np.int64),
        np.array([term.body for term in terms], np.int64),
        np.searchsorted(both[:, 0], np.arange(beads + 1)).astype(np.int64),
        np.ascontiguousarray(both[:, 1], np.int64),
        tuples,
        term_of,
        np.searchsorted(entries[:, 0], np.arange(beads + 1)).astype(np.int64),
        np.ascontiguousarray(entries[:, 1:]),
        float(max((term.cutoff for term in terms), default=0.0)),
        float(radius or 0.0),
    )
    learned = tuple(int(np.sum(own < potential.n_basis)) for own in own_columns(potential))
    return Layout(tables, terms, tuple(local), learned)


def _interactions(
    terms: Sequence[Term], interactions: Interactions
) -> tuple[Int[np.ndarray, "interaction 4"], Int[np.ndarray, " interaction"]]:
    """Beads of all bonded interactions, padding left out, and the term of each."""
    rows, term_of = [np.zeros((0, _BODIES), np.int64)], [np.zeros(0, np.int64)]
    for number, term in enumerate(terms):
        if isinstance(term, _BONDED):
            found = interactions.bonded[term.name]
            found = found[found[:, 0] != found[:, 1]]
            rows.append(np.pad(found, ((0, 0), (0, _BODIES - term.body))).astype(np.int64))
            term_of.append(np.full(len(found), number, np.int64))
    return np.concatenate(rows), np.concatenate(term_of)
