"""The distance of contact of a pair of bead types, from the histogram of the pass, with its error."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.interpolate import PchipInterpolator

from bayescg.potentials import Pair

_OUTER = 0.6
"""The density of pairs beyond this share of the cutoff is that of the bulk."""

_REPLICATES = 64
"""Histograms drawn to find the error."""

_BETWEEN = 0.1
"""Error of interpolation between knots, as a share of their spacing: of liquids whose pairs rise within two intervals,
distances from 20 frames scatter so much about a smooth function."""

_POINTS = 20
"""Per knot interval, where the crossing is looked for."""


class Contact(NamedTuple):
    """A distance of contact.

    Attributes:
        distance: [nm].
        error: its standard deviation [nm].
    """

    distance: float
    error: float


def contact_distance(term: Pair, counts: Float[np.ndarray, " interval"]) -> Contact:
    """Where the density of pairs first reaches half of its value in the bulk.

    The running number of pairs is known exactly at every knot. A monotone cubic through it (Fritsch & Carlson,
    doi:10.1137/0717021) has the density as its slope. The error is that of Poisson counts, and of interpolation.

    Args:
        term: the pair term.
        counts: pairs met in each knot interval, in so many frames of equal weight.

    Returns:
        The distance and its error.

    Raises:
        ValueError: if beads meet at all distances, or so few were met that no bulk is seen.
    """
    counts = np.asarray(counts, float)
    found = _crossing(term, counts)
    if not np.isfinite(found):
        raise ValueError(
            f"{term.name}: no distance of contact: the density of pairs in the histogram does not rise through half of "
            f"its value beyond {_OUTER * term.cutoff:.2g} nm ({counts.sum():.0f} pairs met). Soft beads that meet at "
            "all distances cannot be aligned, nor can a gas of a few contacts: use more frames, start the knots "
            "further in, or leave the term out of `StateKernel(aligned=...)`"
        )
    rng = np.random.default_rng(0)
    drawn = np.array([_crossing(term, rng.poisson(counts).astype(float)) for _ in range(_REPLICATES)])
    drawn = drawn[np.isfinite(drawn)]
    scatter = float(drawn.std()) if len(drawn) > 1 else term.spline.spacing
    return Contact(found, float(np.hypot(scatter, _BETWEEN * term.spline.spacing)))


def _crossing(term: Pair, counts: Float[np.ndarray, " interval"]) -> float:
    """The distance [nm]; nan where there is none."""
    knots = term.spline.knots
    outer = knots[:-1] >= _OUTER * knots[-1]
    volume = np.diff(knots**3)
    bulk = counts[outer].sum() / volume[outer].sum()
    if not bulk > 0:
        return float("nan")
    running = PchipInterpolator(knots, np.concatenate([[0.0], np.cumsum(counts)]))
    r = np.linspace(knots[0], knots[-1], _POINTS * len(counts) + 1)[1:]
    density = running.derivative()(r) / (3 * r**2) / bulk
    above = density >= 0.5
    first = int(np.argmax(above))
    if not above.any() or first == 0:
        return float("nan")
    low, high = density[first - 1], density[first]
    return float(r[first - 1] + (0.5 - low) / (high - low) * (r[first] - r[first - 1]))
