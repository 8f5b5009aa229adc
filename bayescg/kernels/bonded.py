"""Prior of bonded terms: the harmonic potential of the sampled mean and variance, from whose walls no draw departs."""

from __future__ import annotations

import math
from functools import singledispatch

import numpy as np
from jaxtyping import Float

from bayescg.kernels.priors import prior_of
from bayescg.kernels.splines import Edges, damping, midpoints, spline_prior
from bayescg.potentials import Angle, Bond, Dihedral, SplineTerm

_ORDER_ONE = 0.3
"""Prior standard deviation of the coefficients of an expansion about the mean, in units of kT."""


@prior_of.register(Bond)
@prior_of.register(Angle)
@prior_of.register(Dihedral)
def _(term, counts, sampled, *, kT, first=None):
    del first
    # Bonded interactions are stiffer than pairs: their curves vary by several kT.
    return spline_prior(
        term,
        _edges_of(term),
        _mean_slope(term, counts, kT),
        _force_spread(term, sampled),
        _integrate,
        lengthscale=_lengthscale(term, sampled),
        amplitude=4.0 * kT,
        drift=_drift(term, counts, sampled, kT),
    )


def _integrate(differences: Float[np.ndarray, "difference k"]) -> Float[np.ndarray, "basis k"]:
    """Coefficients from their differences, with mean zero (the gauge)."""
    raw = np.concatenate([np.zeros((1, differences.shape[1])), np.cumsum(differences, axis=0)])
    return raw - raw.mean(axis=0)


@singledispatch
def _edges_of(term: SplineTerm) -> Edges:
    size = term.spline.size
    return Edges(np.zeros((0, size)), np.eye(size), np.arange(size))


@_edges_of.register
def _(term: Angle):
    # u' = 0 at 0 and pi, where u' is the difference of the first and third coefficient.
    size = term.spline.size
    identity, free = np.eye(size), np.arange(1, size - 1)
    embedding = identity[:, free]
    embedding[0], embedding[-1] = embedding[2], embedding[-3]
    return Edges(np.stack([identity[2] - identity[0], identity[-1] - identity[-3]]), embedding, free)


def _mean_slope(
    term: SplineTerm, counts: Float[np.ndarray, " interval"], kT: float
) -> Float[np.ndarray, " difference"]:
    """du/dx of the prior mean at the midpoints, of angles in cos(theta): its slope vanishes at 0 and pi.

    With a baseline of the user's own, or for dihedrals, zero.
    """
    x, spline = midpoints(term), term.spline
    if term.baseline is not None or isinstance(term, Dihedral):
        return np.zeros_like(x)
    centers, bent = spline.knots[:-1] + 0.5 * spline.spacing, isinstance(term, Angle)
    values = np.cos(centers) if bent else centers
    mean = np.average(values, weights=counts)
    variance = np.average((values - mean) ** 2, weights=counts)
    stiffness = kT / max(variance, spline.spacing**2 / 12)
    return -stiffness * (np.cos(x) - mean) * np.sin(x) if bent else stiffness * (x - mean)


def _drift(
    term: SplineTerm, counts: Float[np.ndarray, " interval"], sampled: tuple[float, float], kT: float
) -> Float[np.ndarray, "raw shape"]:
    """The first terms of an expansion of the curve about its sampled mean: powers, of dihedrals a Fourier series.

    In units of the sampled standard deviation and of kT their weights are of order one, whatever the stiffness. Beyond
    what was sampled they stay constant.
    """
    spline = term.spline
    x = spline.start + (np.arange(spline.size) - 1) * spline.spacing
    if isinstance(term, Dihedral):
        return kT * np.stack([f(k * x) for k in (1, 2, 3) for f in (np.cos, np.sin)], axis=1)
    centers = spline.knots[:-1] + 0.5 * spline.spacing
    mean = np.average(centers, weights=counts)
    sd = np.sqrt(np.average((centers - mean) ** 2, weights=counts) + spline.spacing**2 / 12)
    t = (np.clip(x, *sampled) - mean) / sd
    return _ORDER_ONE * kT * np.stack([t**k / math.factorial(k) for k in (1, 2, 3)], axis=1)


def _force_spread(term: SplineTerm, sampled: tuple[float, float]) -> Float[np.ndarray, "difference difference"]:
    x = midpoints(term)
    if isinstance(term, Dihedral):
        return np.eye(len(x))
    fade = damping(term, x, sampled)
    if isinstance(term, Angle):
        fade[0], fade[-1] = fade[1], fade[-2]  # mirrored about 0 and pi: the slope there stays zero
    fade[fade < 1e-3] = 0
    return np.diag(fade)


def _lengthscale(term: SplineTerm, sampled: tuple[float, float]) -> float:
    if isinstance(term, Dihedral):
        return 0.7
    return max(0.5 * (sampled[1] - sampled[0]), 2 * term.spline.spacing)
