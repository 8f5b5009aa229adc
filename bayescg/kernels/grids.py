"""Gaussian-process priors of many-body terms: of a function of three sides, and of a local density.

The kernel of a three-body term is a product over the sides, k(r, r') = s^2 k1(r_ij, r_ij') k1(r_ik, r_ik') k2(r_jk,
r_jk'), one GPJax kernel with one lengthscale for the sides of the center and another for the side opposite, made
symmetric under exchange where both neighbors are alike. Its covariance on the tensor grid is a Kronecker product, and
stays one under conditions at the edges of an axis: entries are products of three small matrices. Coefficients of basis
functions that no triplet has reached are left out of the fit, which is their marginal, and stay zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import jax
import numpy as np
from jaxtyping import Float, Int

from bayescg.kernels.shapes import TermPrior
from bayescg.potentials import LocalDensity, ThreeBody

_EDGE = 3


@partial(
    jax.tree_util.register_dataclass,
    data_fields=("side", "opposite", "columns", "lift", "mean", "lengthscale", "amplitude"),
    meta_fields=("name", "symmetric", "conditions"),
)
@dataclass(frozen=True, eq=False)
class GridPrior:
    """Constants of a three-body term's prior.

    Attributes:
        name: the term.
        symmetric: exchange of the neighbors leaves the energy as it is.
        conditions: number of conditioned coefficients along a side, and along the opposite side.
        side: (site, site) maps values at the sites of a side to (conditioned, free) coefficients; the sites themselves
            stand in a last column.
        opposite: the same of the opposite side.
        columns: (3, free) number along each axis of each free coefficient.
        lift: (basis, free) maps free coefficients to the term's.
        mean: (basis,) zero.
        lengthscale: (2,) prior medians, of the sides of the center and of the opposite one [nm].
        amplitude: prior median of the energy's standard deviation [kJ/mol].
    """

    name: str
    symmetric: bool
    conditions: tuple[int, int]
    side: Float[np.ndarray, "site site_and_one"]
    opposite: Float[np.ndarray, "site site_and_one"]
    columns: Int[np.ndarray, "3 free"]
    lift: Float[np.ndarray, "basis free"]
    mean: Float[np.ndarray, " basis"]
    lengthscale: Float[np.ndarray, " 2"]
    amplitude: float


def triangle_prior(term: ThreeBody, counts: Float[np.ndarray, " cell"], kT: float) -> GridPrior:
    """Prior of a three-body term.

    Args:
        term: the term.
        counts: triplets met in each cell between knots.
        kT: thermal energy [kJ/mol].
    """
    grid = term.grid
    free = np.flatnonzero(grid.touched(counts) > 0.5)
    lift = np.zeros((term.n_basis, len(free)))
    lift[free, np.arange(len(free))] = 1.0
    axes = []
    for spline, edges in ((grid.side, 2), (grid.opposite, 1)):
        order = np.arange(spline.size)
        fixed = np.concatenate([order[:_EDGE], order[-_EDGE:]]) if edges == 2 else order[:_EDGE]
        kept = np.setdiff1d(order, fixed)
        inverse = np.linalg.inv(spline.matrix(spline.sites))
        axes.append(np.column_stack([inverse[np.concatenate([fixed, kept])], spline.sites]))
    spans = [spline.stop - spline.start for spline in (grid.side, grid.opposite)]
    return GridPrior(
        term.name,
        grid.symmetric,
        (2 * _EDGE, _EDGE),
        *axes,
        grid.columns[:, free],
        lift,
        np.zeros(term.n_basis),
        np.array([0.25, 0.2]) * spans,
        2.0 * kT,
    )


def density_prior(
    term: LocalDensity, counts: Float[np.ndarray, " interval"], sampled: tuple[float, float], kT: float
) -> TermPrior:
    """Prior of F, without the constant and the linear part that best fit it where densities were sampled.

    Args:
        term: the term.
        counts: beads met on the knot intervals of F.
        sampled: smallest and largest density.
        kT: thermal energy [kJ/mol].
    """
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
    return TermPrior(
        term.name, spline.sites[:, None], None, transform, lift, mean, 0.5 * (sampled[1] - sampled[0]), 2.0 * kT
    )
