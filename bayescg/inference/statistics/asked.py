"""What a pass over frames is asked for, and what it finds."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from bayescg.inference.statistics.columns import Packed
from bayescg.inference.statistics.force_statistics import Pilot


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
