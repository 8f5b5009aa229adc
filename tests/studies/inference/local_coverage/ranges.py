"""Ranges of a term's variable in which its error bars are judged, from the distribution that its data sampled.

Fixed before any coverage was looked at, and the same for all systems. With the pair distribution g of all frames, its
first peak and the first minimum behind it:

- core: from the shortest distance of a replicate to where g reaches a tenth of its peak, but at least a twentieth of
  the way to the peak (soft beads overlap: their g starts higher than that);
- foot of the wall: from there to the peak;
- well: to the minimum;
- shoulder: to 1.25 times the minimum's distance, where molecular liquids have a second sharp feature;
- tail: to two knots before the cutoff, where the force is zero by construction.

Bonds and angles: lower flank, middle and upper flank end at the 10th and the 90th percentile; flanks reach to what the
replicate has sampled. Dihedrals, by density over the highest one: barrier below 0.1, slope to 0.5, well above.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import jax
import numpy as np
import xarray as xr
from scipy.ndimage import gaussian_filter1d

from bayescg import Dihedral, Pair, Potential
from bayescg._runtime import double_precision
from bayescg.potentials import Interactions, SplineTerm

BINS, BLUR = 2000, 10
"""Bins of distributions, and the standard deviation over which they are smoothed, in bins."""
POINTS = 25
"""Of a range in each replicate."""
_SHARE, _LEAST, _FLANK, _RARE, _SHOULDER = 0.1, 0.05, 0.1, 1e-4, 1.25


@dataclass(frozen=True)
class Sampled:
    """What frames have sampled of a term's variable.

    Attributes:
        edges: of fine bins [nm or rad].
        counts: (bin,) interactions in all frames.
        low: (frame,) smallest value.
        high: (frame,) largest value.
    """

    edges: np.ndarray
    counts: np.ndarray
    low: np.ndarray
    high: np.ndarray


@dataclass(frozen=True)
class Cell:
    """A range of a term.

    Attributes:
        name: of the range.
        spans: its intervals [nm or rad].
        contacts: interactions in it, the mean over replicates.
    """

    name: str
    spans: tuple[tuple[float, float], ...]
    contacts: float

    @property
    def ends(self) -> tuple[float, float]:
        """Smallest and largest value."""
        return self.spans[0][0], self.spans[-1][1]

    def holds(self, x: np.ndarray) -> np.ndarray:
        """Which values are in it."""
        return np.any([(x >= a) & (x < b) for a, b in self.spans], axis=0)

    def points(self, low: float, high: float) -> np.ndarray:
        """Where a replicate that has sampled `low` to `high` is judged: evenly spaced, none if it was never here."""
        inside = [(max(a, low), min(b, high)) for a, b in self.spans]
        inside = [(a, b) for a, b in inside if b > a]
        total = sum(b - a for a, b in inside)
        counts = [max(2, round(POINTS * (b - a) / total)) for a, b in inside]
        return np.concatenate([np.linspace(a, b, n) for (a, b), n in zip(inside, counts, strict=True)] or [[]])


def sampled(potential: Potential, data: xr.Dataset) -> dict[str, Sampled]:
    """One pass over frames, by term that is a function of one variable.

    Args:
        potential: with all ranges filled in.
        data: the frames.
    """
    terms = [term for term in potential.terms if isinstance(term, SplineTerm)]
    # Knots as fine as the bins wanted: `visits` counts by knot interval.
    fine = [dataclasses.replace(t, knot_spacing=(t.span[1] - t.span[0]) / BINS) for t in terms]  # pyright: ignore[reportCallIssue]
    interactions = Interactions.of(Potential(*fine, exclude_bonds=potential.exclude_bonds), data)
    sizes: dict[str, int] = {}
    with double_precision():
        visits = jax.jit(lambda at: [term.visits(at) for term in fine])
        rows = [
            jax.tree.map(np.asarray, visits(interactions.configuration(x.astype(float), box, sizes=sizes)))
            for x, box in zip(data["positions"].values, data["box"].values, strict=True)
        ]
    found = {}
    for k, term in enumerate(fine):
        counts, low, high = (np.array([row[k][part] for row in rows]) for part in range(3))
        found[term.name] = Sampled(term.spline.knots, counts.sum(axis=0), low, high)
    return found


def cells_of(term: SplineTerm, found: Sampled, replicates: int) -> list[Cell]:
    """The ranges of a term.

    Args:
        term: the term.
        found: what all replicates together have sampled.
        replicates: how many there are.
    """
    named = _of_pair(term, found) if isinstance(term, Pair) else _of_bonded(term, found)
    cumulative = np.concatenate([[0.0], np.cumsum(found.counts)])
    cells = []
    for name, spans in named.items():
        reached = [(np.interp(a, found.edges, cumulative), np.interp(b, found.edges, cumulative)) for a, b in spans]
        cells.append(Cell(name, tuple(spans), float(sum(b - a for a, b in reached)) / replicates))
    return cells


def _of_pair(term: Pair, found: Sampled) -> dict[str, list[tuple[float, float]]]:
    middle = 0.5 * (found.edges[1:] + found.edges[:-1])
    density = gaussian_filter1d(found.counts.astype(float), BLUR) / gaussian_filter1d(term.volumes(found.edges), BLUR)
    # Where beads overlap freely, a few contacts in almost no volume are no peak.
    density[np.cumsum(found.counts) < _RARE * found.counts.sum()] = 0.0
    rise = int(np.argmax(density > 0.5 * density.max()))
    peak, before = rise, -1
    # Uphill in steps of 1.3, within which the first shell of liquids with walls ends.
    while peak != before:
        before = peak
        peak += int(np.argmax(density[peak : np.searchsorted(middle, 1.3 * middle[peak]) + 1]))
    last = max(np.searchsorted(middle, 1.7 * middle[peak]), peak + 1)
    lowest, summit = float(found.low.min()), middle[peak]
    start, stop = term.span
    end = stop - 2 * (stop - start) / term.bins
    core = max(middle[np.argmax(density > _SHARE * density[peak])], lowest + _LEAST * (summit - lowest))
    minimum = min(middle[peak + int(np.argmin(density[peak:last]))], end)
    shoulder = min(_SHOULDER * minimum, end)
    edges = {"core": (lowest, core), "foot": (core, summit), "well": (summit, minimum), "shoulder": (minimum, shoulder)}
    edges["tail"] = shoulder, end
    return {name: [(float(a), float(b))] for name, (a, b) in edges.items() if b > a}


def _of_bonded(term: SplineTerm, found: Sampled) -> dict[str, list[tuple[float, float]]]:
    lowest, highest = float(found.low.min()), float(found.high.max())
    if isinstance(term, Dihedral):
        density = gaussian_filter1d(found.counts.astype(float), 4 * BLUR, mode="wrap")
        density /= density.max()
        kinds = {"barrier": density < 0.1, "slope": (density >= 0.1) & (density < 0.5), "well": density >= 0.5}
        return {name: _runs(inside, found.edges) for name, inside in kinds.items() if inside.any()}
    share = np.concatenate([[0.0], np.cumsum(found.counts)]) / found.counts.sum()
    low, high = (float(np.interp(p, share, found.edges)) for p in (_FLANK, 1 - _FLANK))
    return {"lower flank": [(lowest, low)], "middle": [(low, high)], "upper flank": [(high, highest)]}


def _runs(inside: np.ndarray, edges: np.ndarray) -> list[tuple[float, float]]:
    """Intervals of neighboring bins."""
    steps = np.diff(np.concatenate([[0], inside.astype(int), [0]]))
    starts, ends = np.flatnonzero(steps == 1), np.flatnonzero(steps == -1)
    return [(float(edges[a]), float(edges[b])) for a, b in zip(starts, ends, strict=True)]
