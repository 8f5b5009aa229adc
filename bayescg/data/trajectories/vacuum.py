"""Systems without boundaries: the box of empty space around them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

OPEN = "open"
"""`boundary` of a dataset whose box is only empty space around a molecule."""

_AROUND, _LEAST = 4.0, 100.0


def vacuum_box(positions: NDArray) -> NDArray[np.float64]:
    """(3, 3) a cube in which no atom sees an image of another, whatever the molecule does.

    Four times as wide as the system, and 100 units of length more: an unfolded chain still fits.

    Args:
        positions: (atom, 3) of the first frame.
    """
    return np.eye(3) * (_AROUND * float(np.ptp(positions, axis=0).max()) + _LEAST)
