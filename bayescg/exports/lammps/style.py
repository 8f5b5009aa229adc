"""Which of LAMMPS' styles evaluates a term: a table of its kind, or a pair style of its own beside the tables."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from functools import singledispatch
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np
from jaxtyping import Float

from bayescg.exports.tables.curves import Comparison
from bayescg.exports.terms import require_terms
from bayescg.potentials import Angle, Bond, Dihedral, Pair, Potential, Term

KINDS = ("pair", "bond", "angle", "dihedral")


class Table(NamedTuple):
    """The table file of a kind, `pair`, `bond`, `angle` or `dihedral`, holds a curve."""

    kind: str


class Overlay(abc.ABC):
    """A pair style that evaluates all terms of a type, for all atom types at once, on top of the tables.

    Attributes:
        file: name of its file in `Tables.paths`.
        pair_style: words of the command `pair_style`; the first is the name of the style, which not every LAMMPS has.
    """

    file: ClassVar[str]
    pair_style: ClassVar[str]

    @abc.abstractmethod
    def pair_coeff(self, file: str, elements: str) -> str | None:
        """Words of the command `pair_coeff * *`, given a file and the element names of the atom types.

        None: the command stands among the `settings`.
        """

    def settings(self, file: str) -> list[str]:
        """Commands that follow those of all pair styles, given a file."""
        del file
        return []

    @abc.abstractmethod
    def write(
        self,
        potential: Potential,
        coefficients: Float[np.ndarray, " basis"],
        bead_types: Sequence[str],
        folder: Path,
    ) -> Path:
        """Write all terms of its type; bead types are the names of the atom types 1, 2, ..."""

    @abc.abstractmethod
    def compare(
        self,
        potential: Potential,
        coefficients: Float[np.ndarray, " basis"],
        bead_types: Sequence[str],
        path: Path,
    ) -> list[Comparison]:
        """Read the file back and compare it with the fit."""

    def claims(self, potential: Potential, coefficients: Float[np.ndarray, " basis"]) -> tuple[str, ...]:
        """Names of the pair terms whose learned splines it evaluates too: tables keep their baselines only."""
        del potential, coefficients
        return ()

    def as_lookup(self, points: int) -> Overlay:
        """The style that looks up a table of so many entries along each side instead, if there is one."""
        del points
        return self


@singledispatch
def style_of(term: Term) -> Table | Overlay | None:
    """The style for a term; None where LAMMPS has none. A type of term has one by `@style_of.register`."""
    del term


@style_of.register(Pair)
@style_of.register(Bond)
@style_of.register(Angle)
@style_of.register(Dihedral)
def _(term):
    return Table(term.kind)


def require_styles(potential: Potential) -> None:
    """Refuse a potential with terms that LAMMPS has no style for.

    Raises:
        ValueError: naming them.
    """
    remedy = "simulate(..., engine='jax') evaluates such terms"
    require_terms(potential, lambda term: style_of(term) is not None, "LAMMPS", remedy)


def overlays_of(potential: Potential, three_body_table: int | None = None) -> tuple[Overlay, ...]:
    """The styles beside the tables, each once.

    Args:
        potential: the potential.
        three_body_table: entries along each side of lookup tables, where a style has them; None: no lookup tables.
    """
    found = [style for term in potential.terms if isinstance(style := style_of(term), Overlay)]
    if three_body_table is not None:
        found = [style.as_lookup(three_body_table) for style in found]
    return tuple(dict.fromkeys(found))
