"""Gaussian-process prior of three-body terms, functions of three sides.

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
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from bayescg._arrays import AnyArray
from bayescg.kernels.hyperparameters import JITTER, lognormal_hyperpriors, parameters, with_parameters
from bayescg.kernels.priors import TermPrior, own_values, prior_of
from bayescg.potentials import ThreeBody

_EDGE = 3


@partial(
    jax.tree_util.register_dataclass,
    data_fields=("side", "opposite", "columns", "lift", "mean", "lengthscale", "amplitude"),
    meta_fields=("name", "symmetric", "conditions"),
)
@dataclass(frozen=True, eq=False)
class GridPrior(TermPrior):
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
    side: Float[AnyArray, "side_site side_site_and_one"]
    opposite: Float[AnyArray, "opposite_site opposite_site_and_one"]
    columns: Int[AnyArray, "3 free"]
    lift: Float[AnyArray, "basis free"]
    mean: Float[AnyArray, " basis"]
    lengthscale: Float[AnyArray, " 2"]
    amplitude: float

    def hyperpriors(self, kernel):
        for label, value in parameters(kernel).items():
            if jnp.ndim(value):
                raise ValueError(f"{self.name}: a kernel of each side is multiplied; {label} must be one number")
        return lognormal_hyperpriors(kernel, self.name, self.lengthscale, self.amplitude)

    def factor(self, kernel, values):
        """From the covariance along each axis."""
        given = own_values(kernel, self.name, values)
        axes, scale = [], 1.0
        for number, axis in enumerate((self.side, self.opposite)):
            along = {k: value[number] if k.startswith("lengthscale") else value for k, value in given.items()}
            transform, sites = jnp.asarray(axis[:, :-1]), jnp.asarray(axis[:, -1:])
            gram = jnp.asarray(with_parameters(kernel, along).cross_covariance(sites, sites))
            # One variance for the product of all: along each axis it is one.
            scale = gram[0, 0]
            gram = gram / scale + JITTER * jnp.eye(len(sites))
            joint = jnp.linalg.cholesky(transform @ gram @ transform.T)[self.conditions[number] :]
            joint = joint[:, self.conditions[number] :]
            axes.append(joint @ joint.T)
        a, b, c = self.columns
        side, opposite = axes
        gram = side[a[:, None], a] * side[b[:, None], b]
        if self.symmetric:
            gram = 0.5 * (gram + side[a[:, None], b] * side[b[:, None], a])
        gram = scale * gram * opposite[c[:, None], c]
        return jnp.linalg.cholesky(gram + JITTER * jnp.trace(gram) / len(a) * jnp.eye(len(a)))


@prior_of.register
def _(term: ThreeBody, counts, sampled, *, kT, first=None):
    del sampled, first
    grid = term.grid
    free = np.flatnonzero(grid.count_triplets(counts) > 0.5)
    lift = np.zeros((term.n_basis, len(free)))
    lift[free, np.arange(len(free))] = 1.0
    axes = []
    for spline, edges in ((grid.side, 2), (grid.opposite, 1)):
        order = np.arange(spline.size)
        fixed = np.concatenate([order[:_EDGE], order[-_EDGE:]]) if edges == 2 else order[:_EDGE]
        kept = np.setdiff1d(order, fixed)
        inverse = np.linalg.inv(spline.matrix(spline.sites))
        axes.append(np.column_stack([inverse[np.concatenate([fixed, kept])], spline.sites]))
    side, opposite = axes
    spans = [spline.stop - spline.start for spline in (grid.side, grid.opposite)]
    return GridPrior(
        term.name,
        grid.symmetric,
        (2 * _EDGE, _EDGE),
        side,
        opposite,
        grid.columns[:, free],
        lift,
        np.zeros(term.n_basis),
        np.array([0.25, 0.2]) * spans,
        2.0 * kT,
    )
