"""What a pass over frames is asked for, and what it finds."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from bayescg.inference.statistics.program.frames import EQUATIONS
from bayescg.inference.statistics.sums.blocks import add
from bayescg.inference.statistics.sums.columns import Packed
from bayescg.potentials import Potential


class Fold(NamedTuple):
    """About what some of the pilot's own frames are scored: the mean of the pilot and a fit without them.

    Attributes:
        source: of the frames.
        first: the first of these [absolute frame number].
        last: the last of these.
        coefficients: (basis,) [kJ/mol].
    """

    source: str
    first: int
    last: int
    coefficients: tuple[float, ...]


@dataclass(frozen=True)
class Pilot:
    """A first fit, frozen. Scores of beads are taken about it, so that their products add up over any split of the
    data.

    The score of bead i is s_i = J_i'(f_i - J_i w~), with the pilot's coefficients w~ and J_i = df_i/dw. The sum of
    products of scores is the middle part of the sandwich covariance (White, doi:10.2307/1912526).

    The frames that w~ was fitted to have residuals about it that are too small, most of all where contacts are few, and
    about a fit to other frames too large ones. They are scored about the mean of both, which is right to first order in
    their leverage (as is HC2 of MacKinnon & White, doi:10.1016/0304-4076(85)90158-7).

    Attributes:
        potential: the potential, all ranges filled in.
        coefficients: w~, (basis,) [kJ/mol].
        radius: beads closer than this have correlated scores [nm]; about the first shell.
        folds: fits for the frames that the pilot was fitted to; none where these are too few to be divided.
    """

    potential: Potential
    coefficients: tuple[float, ...]
    radius: float
    folds: tuple[Fold, ...] = ()

    def about(self, source: str, numbers: Int[np.ndarray, " frame"]) -> list[tuple[Int[np.ndarray, " some"], Pilot]]:
        """Which frames are scored about which coefficients.

        Args:
            source: of the frames.
            numbers: (frame,) their absolute numbers.

        Returns:
            Places in `numbers`, and a pilot with the coefficients for them; together every frame once.
        """
        own = np.zeros(len(numbers), int)
        for k, fold in enumerate(self.folds, start=1):
            if fold.source == source:
                own[(numbers >= fold.first) & (numbers <= fold.last)] = k
        fits = [self.coefficients, *(fold.coefficients for fold in self.folds)]
        return [(np.flatnonzero(own == k), replace(self, coefficients=fits[k])) for k in np.unique(own)]

    def __repr__(self) -> str:
        return f"Pilot({len(self.coefficients)} coefficients, radius={self.radius:.3g} nm)"


Structure = Literal[False, True, "only"]
"""Whether sums for structure equations are wanted: not, beside those of forces, or alone."""


class Asked(NamedTuple):
    """What sums are wanted for.

    Attributes:
        pilot: about which scores are taken; None: none are.
        equations: forces, structure, or both.
        kT: of the data [kJ/mol], which scores of structure contain.
    """

    pilot: Pilot | None
    equations: tuple[str, ...]
    kT: float


@dataclass(frozen=True)
class Found:
    """Sums of some frames.

    Attributes:
        sums: of each block.
        scores: products of bead scores as `pack_scores` puts them; None without a pilot.
        counts: for each term, interactions by knot interval, times weights of frames.
        ranges: for each term, the smallest and largest descriptor met; infinite if none.
    """

    sums: list[Packed]
    scores: Float[np.ndarray, " entry"] | None
    counts: dict[str, Float[np.ndarray, " interval"]]
    ranges: dict[str, tuple[float, float]]

    def __add__(self, other: Found) -> Found:
        """Of both sets of frames."""
        both = {name: (self.ranges[name], other.ranges[name]) for name in self.ranges}
        return Found(
            [add(a, b) for a, b in zip(self.sums, other.sums, strict=True)],
            None if self.scores is None or other.scores is None else self.scores + other.scores,
            {name: self.counts[name] + other.counts[name] for name in self.counts},
            {name: (min(a[0], b[0]), max(a[1], b[1])) for name, (a, b) in both.items()},
        )


def equations_of(structure: Structure) -> tuple[str, ...]:
    """What a pass sums up.

    Raises:
        ValueError: for any other value of `structure=`.
    """
    known = {False: EQUATIONS[:1], True: EQUATIONS, "only": EQUATIONS[1:]}
    if not isinstance(structure, bool | str) or structure not in known:
        raise ValueError(f'structure={structure!r}: choose False, True or "only"')
    return known[structure]
