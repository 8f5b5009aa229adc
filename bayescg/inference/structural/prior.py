"""Prior and start of a fit to structure: walls, ranges and counts come from the distributions of the data."""

from __future__ import annotations

from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Float

from bayescg import kernels as kernel_room
from bayescg import posterior as posterior_room
from bayescg.inference.linear.marginal import Prior
from bayescg.inference.statistics.boltzmann_inversion import invert
from bayescg.inference.structural.structure import Frames
from bayescg.potentials import Potential, SplineTerm
from bayescg.potentials.baselines import value_and_slope


def inverted(potential: Potential, data: Frames, kT: float) -> Float[np.ndarray, " basis"]:
    """Coefficients of the Boltzmann inversion of every term that learns, what its baseline gives taken off [kJ/mol].

    Many-body terms begin at zero: the logarithm of their histogram is mostly what pairs do.
    """
    parts = []
    for term in potential.terms:
        if not term.n_basis:
            continue
        if not isinstance(term, SplineTerm):
            parts.append(np.zeros(term.n_basis))
            continue
        curve = np.asarray(invert(term, data.histogram(term.name), kT).coefficients)
        if term.baseline is not None:
            # Only as far as was sampled: a repulsive baseline has no end further in.
            x = np.clip(term.spline.sites, *data.ranges[term.name])
            curve = curve - term.spline.interpolate(np.asarray(value_and_slope(term.baseline, jnp.asarray(x))[0]))
        parts.append(curve[: term.n_basis])
    return np.concatenate(parts)


def build_prior(
    potential: Potential,
    data: Frames,
    start: Float[np.ndarray, " basis"],
    *,
    kT: float,
    kernels: Mapping[str, object],
) -> Prior:
    """Prior of all terms, the walls of pairs continued from the start at the edge of the well-sampled range."""
    learning = [term for term in potential.terms if term.n_basis]
    chosen = {term.name: kernels.get(term.name, kernel_room.default_kernel()) for term in learning}
    terms = []
    for term in learning:
        counts = data.histogram(term.name)
        own = start[potential.slices[term.name]]
        terms.append(kernel_room.prior_of(term, counts, data.ranges[term.name], kT=kT, first=own))
    return Prior(potential, tuple(terms), chosen, (), ())


def into_free(prior: Prior, data: Frames, coefficients: Float[np.ndarray, " basis"]) -> Float[np.ndarray, " free"]:
    """Free coordinates of the curve nearest to given coefficients where the data are.

    Nearest in the basis energies that the data weight: below the sampled range the prior mean stays.
    """
    potential = prior.potential
    rows, goal = [], []
    row = 0
    lift = prior.lift
    for term in potential.terms:
        if not term.n_basis:
            continue
        own = potential.slices[term.name]
        matrix = _values(term, data) if isinstance(term, SplineTerm) else _visited(data.basis[..., own])
        rows.append(matrix @ lift[row : row + term.n_basis])
        goal.append(matrix @ (coefficients[own] - prior.mean[row : row + term.n_basis]))
        row += term.n_basis
    a, b = np.concatenate(rows), np.concatenate(goal)
    return np.linalg.lstsq(a, b, rcond=1e-8)[0]


def _values(term: SplineTerm, data: Frames) -> Float[np.ndarray, "point basis"]:
    """Maps coefficients to values of the curve where the data are."""
    edges, used = term.spline.knots, data.histogram(term.name) > 0
    inside = np.unique(np.concatenate([edges[:-1][used], edges[1:][used], 0.5 * (edges[:-1] + edges[1:])[used]]))
    matrix = term.spline.matrix(inside)[:, : term.n_basis]
    return matrix if term.vanishes else matrix - matrix.mean(axis=0)  # the gauge


def _visited(energies: Float[np.ndarray, "run frame basis"]) -> Float[np.ndarray, "point basis"]:
    """Picks the coefficients whose functions the data visit: near to values, of functions of several variables too."""
    return np.eye(energies.shape[-1])[np.any(energies != 0, axis=(0, 1))]


def given_start(potential: Potential, posterior: xr.DataTree) -> Float[np.ndarray, " basis"]:
    """Mean coefficients of a posterior of the same potential."""
    own = posterior_room.potential_of(posterior)
    if own != potential:
        raise ValueError(
            f"start is a posterior of another potential: {own!r}, not {potential!r}; fit the same terms on the same "
            "knots (call bayescg.fill_ranges(potential, cg) once)"
        )
    return posterior_room.mean_coefficients(posterior)
