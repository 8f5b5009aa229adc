"""Prior of pair terms: zero at the cutoff, a repulsive power law below what was sampled."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from bayescg.kernels.priors import CurvePrior, prior_of
from bayescg.kernels.splines import Edges, damping, midpoints, spline_prior
from bayescg.potentials import Pair
from bayescg.potentials.splines import UniformSpline

_WARP_DECAY = 4
"""Power of distance with which the warp of a pair's kernel fades outside contact."""

_CONTACT = 0.25
"""Prior median of the lengthscale at contact, as a share of the distance of contact; and the least distance of contact
as a share of the cutoff, for soft beads, which pass through each other."""

_POWERS = (3, 6, 12)
"""Powers of distance that the data alone decide on: a dipole's average, dispersion, repulsion."""

_SHAPE = 4.0
"""Prior standard deviation at contact of each of these powers, in units of kT."""

_SOFT = 0.8
"""Beads that came nearer than this share of the distance where they seem held apart are not held apart there."""

_WALL_DOUBT = 1.0
"""Prior standard deviation of the contact force relative to the power law."""


@dataclass(frozen=True)
class Wall:
    """Repulsive power law, force (edge / r)^power.

    Attributes:
        edge: inner edge of the well-sampled range [nm].
        force: there [kJ/mol/nm].
        power: exponent; 13 for Lennard-Jones without its attraction, more with it.
        seen: whether the first fit repels where contacts become many, or holds beads apart further in; if not, too
            few contacts were met to say where repulsion begins.
    """

    edge: float
    force: float
    power: float
    seen: bool = True


@prior_of.register
def _(term: Pair, counts, sampled, *, kT, first=None):
    return pair_prior(term, counts, sampled, kT, None if first is None else wall_of(term, counts, first, kT))


def pair_prior(
    term: Pair, counts: Float[np.ndarray, " interval"], sampled: tuple[float, float], kT: float, wall: Wall | None
) -> CurvePrior:
    """Prior of a pair term.

    Args:
        term: the term.
        counts: pairs met in each knot interval.
        sampled: smallest and largest distance met [nm].
        kT: thermal energy [kJ/mol].
        wall: below what was sampled; None for a first look at the data.
    """
    del counts
    size = term.spline.size
    identity, free = np.eye(size), np.arange(size - 3)
    # u = u' = u'' = 0 at the cutoff, carried by the last three coefficients alone.
    edges = Edges(identity[-3:], identity[:, free], free)
    slope = _mean_slope(term, wall)
    lengthscale = 0.12 * (term.spline.stop - sampled[0])
    spread = _force_spread(term, sampled, slope, 3 * kT / lengthscale)

    def integrate(differences):
        # Summed from the cutoff inward, where numbers are small: the wall's are not.
        inward = -np.cumsum(differences[::-1], axis=0)[::-1]
        return np.concatenate([inward, np.zeros((1, differences.shape[1]))])[: term.n_basis]

    # Effective pair potentials of liquids vary by about kT around the wall.
    amplitude, warp, drift = 1.5 * kT, None, None
    if wall is not None and term.baseline is None:
        contact = max(wall.edge, _CONTACT * term.spline.stop)
        warp, lengthscale = contact_warp(term.spline, contact)[:, None], _CONTACT * contact
        drift = _SHAPE * kT * _power_laws(term.spline, contact)
    prior = spline_prior(
        term, edges, slope, spread, integrate, lengthscale=lengthscale, amplitude=amplitude, warp=warp, drift=drift
    )
    return (
        prior
        if wall is None or not wall.seen or term.baseline is not None
        else replace(prior, repulsive=force_below(term, sampled[0]))
    )


def force_below(term: Pair, smallest: float) -> Float[np.ndarray, "row basis"]:
    """Rows whose products with coefficients bound the force just below what was sampled from below.

    They are the Bezier points of the pieces of the force, a quadratic between two knots: where all are
    positive, the force is. From three knots below the smallest distance on, where draws begin to differ from the prior
    mean.

    Args:
        term: the term.
        smallest: distance met [nm].

    Returns:
        (row, basis) [1/nm]; as many rows for any distance, so that fits share compiled code.
    """
    spline = term.spline
    inside = int(np.clip((smallest - spline.start) / spline.spacing, 0, spline.intervals - 1))
    ends = np.append(spline.knots[np.maximum(np.arange(inside - 3, inside + 1), 0)], max(smallest, spline.start))
    # Quarters of knot intervals: the shorter the piece, the closer to its points the quadratic.
    ends = np.interp(np.arange(4 * len(ends) - 3) / 4, np.arange(len(ends)), ends)
    force = -spline.matrix(ends, 1)[:, : term.n_basis]
    middle = -spline.matrix(0.5 * (ends[1:] + ends[:-1]), 1)[:, : term.n_basis]
    return np.concatenate([force, 2 * middle - 0.5 * (force[1:] + force[:-1])])


def wall_of(
    term: Pair, counts: Float[np.ndarray, " interval"], coefficients: Float[np.ndarray, " basis"], kT: float
) -> Wall:
    """Power law through the force of a first fit, or of a start, at the inner edge of the well-sampled range.

    In a dilute system the well-sampled range begins at the minimum or beyond, where nothing is repulsive: the wall then
    begins further in, where the force of the fit holds beads apart, or two knots below where sampling ends.
    """
    # However soft the data make it look, the wall must hold beads apart: kT within a twentieth of a nanometer.
    least = kT / 0.05
    knots, spacing = term.spline.knots, term.spline.spacing
    last = int(np.searchsorted(knots, well_sampled_edge(term, counts) - 0.5 * spacing))
    inside = knots[int(np.argmax(counts > 0)) : last + 1][::-1]
    forces = -term.spline.matrix(inside, 1)[:, : term.n_basis] @ coefficients
    holding = forces >= least
    first = int(np.argmax(holding)) if holding.any() else len(inside) - 1
    edge = float(inside[first])
    if not holding.any() or inside[-1] < _SOFT * edge:
        # A wall that no data show begins out of their sight: it would push on the innermost of them.
        first, edge = len(inside) - 1, float(inside[-1]) - 2 * spacing
    if edge <= 0:
        return Wall(0.0, 0.0, 10.0, seen=False)  # soft beads meet at all distances: nothing is below what was sampled
    outer = edge + 2 * spacing
    outer_force = float((-term.spline.matrix(np.array([outer]), 1)[:, : term.n_basis] @ coefficients)[0])
    force = max(float(forces[first]), least)
    power = np.log(force / max(outer_force, 1e-3 * force)) / np.log(outer / edge)
    return Wall(edge, force, float(np.clip(power, 10, 24)), bool(forces[0] > 0 or holding.any()))


def well_sampled_edge(term: Pair, counts: Float[np.ndarray, " interval"], enough: int = 20) -> float:
    """Where the sampling of a pair term becomes dense: below the end of that knot interval are `enough` contacts.

    Counted from contact on, so that narrow knot intervals with few contacts each do not move the wall into the data; of
    very few contacts, a quarter.
    """
    reached = np.cumsum(counts) >= min(enough, max(0.25 * counts.sum(), 1.0))
    return float(term.spline.knots[int(np.argmax(reached)) + 1])


def contact_warp(spline: UniformSpline, contact: float) -> Float[np.ndarray, " site"]:
    """Integral of (contact / r)^4: grows by one per nm at contact and stays flat in the tail, for beads of any size.

    With the lengthscale of a Matern-5/2 process, third derivatives then fall with distance as those of 1/r^7 do.
    """
    x = np.linspace(spline.start, spline.stop, 2001)
    share = (contact / np.maximum(x, contact)) ** _WARP_DECAY
    integral = np.concatenate([[0.0], np.cumsum(0.5 * (share[1:] + share[:-1]) * np.diff(x))])
    return np.interp(spline.sites, x, integral)


def _power_laws(spline: UniformSpline, contact: float) -> Float[np.ndarray, "raw power"]:
    """Raw coefficients of (contact / r)^n, straight within contact, less a parabola that ends them at the cutoff.

    A kernel that learns its amplitude from few data shrinks a curve to its prior mean: wells, which most liquids have,
    came out too shallow by two standard deviations. These shapes it does not shrink.
    """
    x = spline.start + (np.arange(spline.size) - 1) * spline.spacing
    inside, step = np.maximum(1 - x / contact, 0.0), x / spline.stop - 1
    shapes = np.zeros((spline.size, len(_POWERS)))
    for k, n in enumerate(_POWERS):
        end = (contact / spline.stop) ** n * (1 - n * step + 0.5 * n * (n + 1) * step**2)
        shapes[:, k] = (contact / np.maximum(x, contact)) ** n + n * inside - end
    shapes[-3:] = 0.0
    return shapes


def _mean_slope(term: Pair, wall: Wall | None) -> Float[np.ndarray, " difference"]:
    """du/dr of the prior mean: a power law that continues the force at the inner edge; zero above a baseline."""
    x, spline = midpoints(term), term.spline
    if term.baseline is not None or wall is None or not wall.force:
        return np.zeros_like(x)
    # Capped deep inside, where nothing ever is: numbers stay printable and steps of an integrator finite.
    ratio = wall.edge / np.maximum(x, 0.6 * wall.edge)
    return -wall.force * ratio**wall.power * (x < spline.stop - 3 * spline.spacing)


def _force_spread(
    term: Pair, sampled: tuple[float, float], slope: Float[np.ndarray, " difference"], typical: float
) -> Float[np.ndarray, "difference difference"]:
    """Where forces vary how much, in units of the stationary process, whose force scale is `typical`."""
    x = midpoints(term)
    if not np.any(slope):
        fade = damping(term, x, (sampled[0], np.inf))
        fade[fade < 1e-3] = 0
        return np.diag(fade)
    spread = np.diag(1 + _WALL_DOUBT * np.abs(slope) / typical)
    reach = 1.5 * term.spline.spacing
    edge = min(int(np.searchsorted(x, sampled[0] - reach)), len(x) - 4)
    spread[:edge] = 0
    return spread
