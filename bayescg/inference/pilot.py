"""`fit_pilot`: the first fit, frozen, about which the scores of a pass are taken."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import xarray as xr

from bayescg._runtime import double_precision
from bayescg.inference.linear import marginal
from bayescg.inference.linear.priors import build_prior
from bayescg.inference.statistics.force_statistics import ForceStatistics, Pilot
from bayescg.inference.statistics.streaming import force_statistics
from bayescg.potentials import Bond, Pair, Potential, fill_ranges

_FRAMES = 50
"""Enough: a pilot that is off by its own standard error changes the covariance of scores in second order only."""


def fit_pilot(potential: Potential, cg: xr.Dataset, *, frames: int = _FRAMES) -> Pilot:
    """A first fit to the first frames, to be frozen and given to every `force_statistics` of the same study.

    Products of bead scores s_i = J_i'(f_i - J_i w~) add up over chunks, files and machines only if all of them are
    taken about the same coefficients w~. These are the posterior mean at the prior medians of all hyperparameters.
    Beads count as neighbors, with correlated noise, within the largest first minimum of the pair distributions.

    Args:
        potential: what is to be fitted. Ranges that bonds leave open are filled in from all of `cg`.
        cg: a CG dataset with forces.
        frames: how many of its first frames to use at most.

    Returns:
        The pilot.

    Raises:
        ValueError: if the data do not fit the potential, hold no forces, or `frames` is not positive.
    """
    if frames < 1:
        raise ValueError(f"frames={frames}: a pilot needs at least one frame")
    if "frame" in cg.dims:
        potential = fill_ranges(potential, cg) if cg.sizes["frame"] else potential
        cg = cg.isel(frame=slice(0, frames))
    return pilot_of(force_statistics(potential, cg))


def pilot_of(statistics: ForceStatistics) -> Pilot:
    """The pilot that statistics give which were made without one."""
    with double_precision():
        prior = build_prior(statistics, {})
        values = {name: jnp.exp(d.loc) for name, d in prior.distributions().items()}
        reduced = marginal.reduce(prior, statistics.total())
        mean, _ = marginal.mean_at(prior, reduced, values)
        coefficients = prior.mean + prior.lift @ np.asarray(mean)
    return Pilot(statistics.potential, tuple(coefficients.tolist()), _radius(statistics))


def _radius(statistics: ForceStatistics) -> float:
    """Largest first-shell radius of any pair term; without pair terms, 1.2 times the longest bond."""
    terms = statistics.potential.terms
    shells = [_first_minimum(t.spline.knots, statistics.counts[t.name]) for t in terms if isinstance(t, Pair)]
    bonds = [1.2 * statistics.ranges[t.name][1] for t in terms if isinstance(t, Bond)]
    return float(max(shells or bonds or [0.5]))


def _first_minimum(knots: np.ndarray, counts: np.ndarray) -> float:
    """Where the pair distribution is smallest between its first peak and 1.7 times its distance [nm].

    Liquids of spheres have their first minimum at 1.4 to 1.5 times the peak, water at 1.2, both their second beyond.
    """
    middle = 0.5 * (knots[1:] + knots[:-1])
    density = counts / np.diff(knots**3)
    rise = int(np.argmax(density > 0.5 * density.max()))
    peak = rise + int(np.argmax(density[rise : np.searchsorted(middle, 1.3 * middle[rise]) + 1]))
    last = np.searchsorted(middle, 1.7 * middle[peak])
    return float(middle[peak + int(np.argmin(density[peak : max(last, peak + 1)]))])
