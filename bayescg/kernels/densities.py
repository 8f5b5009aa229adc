"""Gaussian-process prior of local-density terms."""

from __future__ import annotations

import numpy as np

from bayescg.kernels.priors import CurvePrior, prior_of
from bayescg.potentials import LocalDensity


@prior_of.register
def _(term: LocalDensity, counts, sampled, *, kT, first=None):
    """Prior of F, without the constant and the linear part that best fit it where densities were sampled."""
    del first
    spline = term.spline
    matrix = spline.matrix(spline.sites)
    centers = spline.knots[:-1] + 0.5 * spline.spacing
    moments = np.stack([counts, counts * centers]) / np.sum(counts)
    # Weighted means of F and of F rho at the samples, as functions of the coefficients: both shall vanish.
    gauge = moments @ spline.matrix(centers)
    free = np.linalg.svd(gauge)[2][2:].T
    joint = np.vstack([gauge, free.T])
    # w = [lift, dual] (free, gauge): with gauge = 0, w = lift free.
    lift = np.linalg.inv(joint)[:, 2:]
    transform = joint @ np.linalg.inv(matrix)
    mean = np.zeros(spline.size)
    return CurvePrior(
        term.name, spline.sites[:, None], None, transform, lift, mean, 0.5 * (sampled[1] - sampled[0]), 2.0 * kT
    )
