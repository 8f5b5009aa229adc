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
import numpyro.distributions as dist
from jaxtyping import Float, Int

from bayescg._arrays import AnyArray
from bayescg.kernels.hyperparameters import JITTER, lognormal_hyperpriors, parameters, with_parameters
from bayescg.kernels.pairs import contact_warp
from bayescg.kernels.priors import TermPrior, own_values, prior_of
from bayescg.potentials import ThreeBody

_EDGE = 3

_WARP = 3.0
"""Prior median of how much longer lengthscales are far from contact than at contact."""

_AMPLITUDE = 6.0
"""Prior median of the standard deviation of the energy, in units of kT: at contact it is large."""

_LENGTHSCALES = (0.25, 0.2)
"""Prior medians, of the sides of the center and of the opposite one, in units of their ranges."""


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
            and their warp (`CurvePrior.warp`) stand in the last two columns.
        opposite: the same of the opposite side.
        columns: (3, free) number along each axis of each free coefficient.
        lift: (basis, free) maps free coefficients to the term's.
        mean: (basis,) zero.
        lengthscale: (2,) prior medians at contact, of the sides of the center and of the opposite one [nm].
        amplitude: prior median of the energy's standard deviation [kJ/mol].
    """

    name: str
    symmetric: bool
    conditions: tuple[int, int]
    side: Float[AnyArray, "side_site side_site_and_two"]
    opposite: Float[AnyArray, "opposite_site opposite_site_and_two"]
    columns: Int[AnyArray, "3 free"]
    lift: Float[AnyArray, "basis free"]
    mean: Float[AnyArray, " basis"]
    lengthscale: Float[AnyArray, " 2"]
    amplitude: float

    def hyperpriors(self, kernel):
        for label, value in parameters(kernel).items():
            if jnp.ndim(value):
                raise ValueError(f"{self.name}: a kernel of each side is multiplied; {label} must be one number")
        sites = lognormal_hyperpriors(kernel, self.name, self.lengthscale, self.amplitude)
        return {**sites, f"warp_{self.name}": dist.LogNormal(jnp.log(_WARP), 0.7)}

    def factor(self, kernel, values):
        """From the covariance along each axis."""
        given = own_values(kernel, self.name, values)
        axes, scale, strength = [], 1.0, values[f"warp_{self.name}"]
        for number, axis in enumerate((self.side, self.opposite)):
            along = {k: value[number] if k.startswith("lengthscale") else value for k, value in given.items()}
            transform = jnp.asarray(axis[:, :-2])
            sites = (jnp.asarray(axis[:, -2:-1]) + strength * jnp.asarray(axis[:, -1:])) / (1 + strength)
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
    visited = np.reshape(counts, grid.cells) > 0
    for number, (spline, edges) in enumerate(((grid.side, 2), (grid.opposite, 1))):
        contact = float(spline.knots[np.argmax(visited.any(axis=(1, 2) if number == 0 else (0, 1)))])
        order = np.arange(spline.size)
        fixed = np.concatenate([order[:_EDGE], order[-_EDGE:]]) if edges == 2 else order[:_EDGE]
        kept = np.setdiff1d(order, fixed)
        inverse = np.linalg.inv(spline.matrix(spline.sites))
        warp = contact_warp(spline, contact)
        axes.append(np.column_stack([inverse[np.concatenate([fixed, kept])], spline.sites, warp]))
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
        np.array(_LENGTHSCALES) * spans,
        _AMPLITUDE * kT,
    )
