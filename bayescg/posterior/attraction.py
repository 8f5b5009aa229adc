"""How many draws of a pair potential attract where no two beads were met so close."""

from __future__ import annotations

import numpy as np
import xarray as xr

from bayescg.posterior.grids import curves
from bayescg.posterior.reading import potential_of, ranges_of
from bayescg.potentials import Pair

_POINTS = 400


def attractive_shares(posterior: xr.DataTree) -> dict[str, float]:
    """Share of the draws of each pair term that attract somewhere below the smallest sampled distance.

    Args:
        posterior: of any fit.

    Returns:
        Name of a pair term -> share, between 0 and 1; terms without a known sampled range, or sampled from the first
        knot on, are left out.
    """
    potential, ranges = potential_of(posterior), ranges_of(posterior)
    coefficients = np.reshape(posterior["posterior"].dataset["coefficients"].values, (-1, potential.n_basis))
    found = {}
    for term in potential.terms:
        smallest = ranges.get(term.name, (float("nan"), 0.0))[0]
        if isinstance(term, Pair) and smallest > term.start:
            below = np.linspace(term.start, smallest, _POINTS)
            force = curves(potential, term.name, coefficients, below)[1]
            found[term.name] = float(np.mean(np.any(force < 0, axis=1)))
    return found
