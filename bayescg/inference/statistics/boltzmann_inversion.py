"""Boltzmann inversion: the potential of mean force of each descriptor, as a baseline or a first guess."""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Float

from bayescg.inference.statistics.force_statistics import ForceStatistics
from bayescg.potentials import Potential, Spline, SplineTerm
from bayescg.units import BOLTZMANN

_FEWEST = 5


def boltzmann_inversion(statistics: ForceStatistics) -> Potential:
    """The same potential with the inverted distributions as baselines.

    u(x) = -kT ln [p(x) / J(x)], with the Jacobian J = r^2 for distances of pairs and bonds, sin(theta) for angles and 1
    for dihedrals (Reith, Pütz & Müller-Plathe, doi:10.1002/jcc.10307). The logarithm is smoothed by a spline whose
    stiffness is chosen by generalized cross-validation, and goes on with constant force outside the sampled range.

    A fit on top of it learns what Boltzmann inversion misses (Δ-learning). For pairs that is a lot: -kT ln g(r)
    contains the structure of the whole liquid.

    Args:
        statistics: of any potential; only its histograms are used.

    Returns:
        The statistics' potential, each term with a `Spline` baseline [kJ/mol]; pairs vanish at the cutoff, bonded
        terms have their minimum at zero.

    Raises:
        ValueError: if a term was sampled in too few knot intervals, already has a baseline, or is no curve.
    """
    kT = BOLTZMANN * statistics.temperature
    terms = []
    for term in statistics.potential.terms:
        if not isinstance(term, SplineTerm):
            raise ValueError(f"{term.name} is no curve of one distance or angle: leave it out")
        if term.baseline is not None:
            raise ValueError(f"{term.name} already has a baseline: invert a potential without one")
        terms.append(dataclasses.replace(term, baseline=invert(term, statistics.counts[term.name], kT)))
    return Potential(*terms, exclude_bonds=statistics.potential.exclude_bonds)


def invert(term: SplineTerm, counts: Float[np.ndarray, " interval"], kT: float) -> Spline:
    """Potential of mean force of one term, on the term's own knots.

    Args:
        term: the term; its baseline, if any, is not looked at.
        counts: interactions by knot interval.
        kT: thermal energy [kJ/mol].

    Raises:
        ValueError: if too few knot intervals were sampled.
    """
    from scipy.interpolate import make_smoothing_spline

    spline = term.spline
    edges = spline.knots
    x = 0.5 * (edges[1:] + edges[:-1])
    volume = term.volumes(edges)
    used = counts > 0
    if used.sum() < _FEWEST:
        raise ValueError(
            f"{term.name} was sampled in {used.sum()} knot intervals only: too few to invert; use a finer knot_spacing "
            "or more frames"
        )
    energy = -kT * np.log(counts[used] / volume[used])
    # Square roots of the inverse variances: full ones would sacrifice the steep, rarely visited core to the rest.
    at, weight = x[used], np.sqrt(counts[used] / counts.max())
    if spline.periodic:
        # Three turns side by side make the middle one periodic.
        turn = 2 * np.pi
        at = np.concatenate([at - turn, at, at + turn])
        energy, weight = np.tile(energy, 3), np.tile(weight, 3)
    # In units of the knot spacing, since the search for the stiffness expects abscissae of order one apart.
    fitted = make_smoothing_spline(at / spline.spacing, energy, w=weight)
    values = fitted(spline.sites / spline.spacing)
    if not term.vanishes:
        return Spline(
            spline.start, spline.stop, tuple(spline.interpolate(values - values.min()).tolist()), spline.periodic
        )
    # Level at the cutoff, then the nearest spline whose last three coefficients, value and slopes there, are zero.
    level = float(np.average(fitted(x[-5:] / spline.spacing)))
    design = spline.matrix(spline.sites)[:, : spline.size - 3]
    free = np.linalg.lstsq(design, values - level, rcond=None)[0]
    return Spline(spline.start, spline.stop, (*free.tolist(), 0.0, 0.0, 0.0))
