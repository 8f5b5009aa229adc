"""What a pass over frames is asked for, and what it finds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float

from bayescg.inference.statistics.program.frames import EQUATIONS
from bayescg.inference.statistics.sums.columns import Packed
from bayescg.potentials import Potential


@dataclass(frozen=True)
class Pilot:
    """A first fit, frozen. Scores of beads are taken about it, so that their products add up over any split of the
    data.

    The score of bead i is s_i = J_i'(f_i - J_i w~), with the pilot's coefficients w~ and J_i = df_i/dw. The sum of
    products of scores is the middle part of the sandwich covariance (White, doi:10.2307/1912526).

    Attributes:
        potential: the potential, all ranges filled in.
        coefficients: w~, (basis,) [kJ/mol].
        radius: beads closer than this have correlated scores [nm]; about the first shell.
    """

    potential: Potential
    coefficients: tuple[float, ...]
    radius: float

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


class Found(NamedTuple):
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


def equations_of(structure: Structure) -> tuple[str, ...]:
    """What a pass sums up.

    Raises:
        ValueError: for any other value of `structure=`.
    """
    known = {False: EQUATIONS[:1], True: EQUATIONS, "only": EQUATIONS[1:]}
    if not isinstance(structure, bool | str) or structure not in known:
        raise ValueError(f'structure={structure!r}: choose False, True or "only"')
    return known[structure]
