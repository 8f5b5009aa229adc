"""What compiled loops know of a potential and a system: numbers in arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from bayescg.inference.statistics.sums.columns import own_columns
from bayescg.potentials import Angle, Bond, Dihedral, Interactions, Pair, Potential
from bayescg.potentials.spline_term import SplineTerm
from bayescg.potentials.term import Term

_BODIES = 4
"""Beads of the largest bonded interaction."""
NO_COLUMN = -(1 << 40)
"""Of a term without columns in a type."""
_MARGIN, _FEWEST = 0.2, 4
"""Room on either side of what some frames have visited: a share of it, and at least so many knot intervals. Normally
distributed lengths whose 1300 values span 6.4 standard deviations reach a tenth of that farther in 10,000 values."""
_BONDED = (Bond, Angle, Dihedral)


class Tables(NamedTuple):
    """Terms that compiled loops know, splines of distances and angles, and the beads of one system.

    Columns of a bead type are its own: of the terms that it is part of, then the columns of all that other loops make
    (`extra`), then one for the force. A term has columns there for the functions of the knot intervals that are open;
    those that the term leaves out are dropped at the end.

    Attributes:
        types: (bead,) number of each bead's type; -1: in no term.
        widths: (type,) columns of each type, the force's included.
        columns: (type, term) where a term's first function would stand in the columns of a type; `NO_COLUMN`: it has
            none there.
        open: (term, 2) first and last knot interval that has columns; an interaction elsewhere closes the loop.
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
    open: Int[np.ndarray, "term 2"]
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
        local: for each type, where `columns.own_columns` stand among the columns of the loops; -1: they are left out.
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


def make_layout(
    interactions: Interactions,
    radius: float | None,
    ranges: Float[np.ndarray, "term 2"] | None = None,
    *,
    learn: bool = True,
) -> Layout:
    """Put a potential and a system into arrays.

    Args:
        interactions: who interacts.
        radius: beads closer than this have correlated noise [nm]; None: no scores.
        ranges: (term, 2) smallest and largest value of each term that loops know, beyond which it needs no columns;
            None: all columns.
        learn: without it terms have no columns at all: for histograms.
    """
    potential = interactions.potential
    terms = tuple(term for term in potential.terms if isinstance(term, SplineTerm) and known(term))
    types = potential.bead_types
    extra = extra_columns(potential) if learn else np.zeros(0, np.int64)
    opened = np.array([_open(term, None if ranges is None else ranges[k]) for k, term in enumerate(terms)], np.int64)
    opened = opened.reshape(-1, 2)
    columns = np.full((len(types), len(terms)), NO_COLUMN)
    widths, local = [], []
    for k, (bead, own) in enumerate(zip(types, own_columns(potential), strict=True)):
        width, place = 0, np.full(potential.n_basis + potential.n_baselines, -1)
        for number, term in enumerate(terms):
            if learn and term.n_basis and bead in term.types:
                low, high = opened[number]
                columns[k, number] = width - low
                # An interval has four functions; all of a periodic spline's, whose windows wrap, are there.
                stop = term.spline.size if term.spline.periodic else high + 4
                kept = np.arange(low, min(stop, term.n_basis))
                place[potential.slices[term.name].start + kept] = width + kept - low
                width += stop - low
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
        opened,
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


def _open(term: SplineTerm, reached: Float[np.ndarray, " 2"] | None) -> tuple[int, int]:
    """First and last knot interval that may be visited: around what was, with a margin on either side."""
    spline = term.spline
    last = spline.intervals - 1
    if reached is None or spline.periodic or not np.all(np.isfinite(reached)):
        return 0, last
    # Pairs begin abruptly, at contact, and end at the cutoff.
    share = 0.0 if isinstance(term, Pair) else _MARGIN
    margin = max(share * (reached[1] - reached[0]), _FEWEST * spline.spacing)
    low, high = (int((x - spline.start) // spline.spacing) for x in (reached[0] - margin, reached[1] + margin))
    return min(max(low, 0), last), min(max(high, 0), last)


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
