"""Covariance of basis energies, known from few frames: shrunk towards that of independent interactions.

Were pairs (bonds, angles) independent of each other, the covariance of A would follow from the histogram of their
descriptor alone, sum_k n_k B_k B_k', which a few frames give well. In liquids that is near the truth for most
directions. The sample covariance of a few hundred frames in a hundred directions is not: its inverse, which Newton
steps need, is ruined by its smallest eigenvalues.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from scipy.linalg import cholesky, solve_triangular

from bayescg.potentials import LocalDensity, Potential, SplineTerm, Term, ThreeBody

_CONTACT = 0.5
"""Interactions in all frames that an interval may hold although none was met."""

_UNSEEN = 0.5
"""Share of such interactions in the variance of a direction from which on no frame counts as having visited it."""

_LEAST = 1e-6
"""Smallest eigenvalue relative to the covariance of independent interactions: below it there is rounding only."""

_FAR = 100.0


def independent_covariance(
    potential: Potential, counts: Mapping[str, Float[np.ndarray, " interval"]], frames: int
) -> Float[np.ndarray, "basis basis"]:
    """Covariance of A in a frame if interactions were independent, with those that might have been met.

    Args:
        potential: the potential.
        counts: mean number of interactions per frame by knot interval of each term.
        frames: how many frames the means come from.
    """
    return _independent(potential, {name: number + _CONTACT / frames for name, number in counts.items()})


def unseen_covariance(
    potential: Potential, counts: Mapping[str, Float[np.ndarray, " interval"]], frames: int
) -> Float[np.ndarray, "basis basis"]:
    """The part of `independent_covariance` that interactions make which no frame has met."""
    return independent_covariance(potential, counts, frames) - _independent(potential, counts)


def _independent(potential: Potential, counts: Mapping[str, Float[np.ndarray, " interval"]]):
    result = np.zeros((potential.n_basis, potential.n_basis))
    for term in potential.terms:
        if not term.n_basis:
            continue
        matrix, share = _functions(term)
        mass = np.repeat(counts[term.name], len(share)) * np.tile(share, term.bins)
        own = matrix.T @ (mass[:, None] * matrix)
        if not term.cutoff or isinstance(term, LocalDensity):
            # As many bonds, and as many beads that have a density, in every frame: a multinomial, not Poisson.
            mean = matrix.T @ mass
            own -= np.outer(mean, mean) / max(mass.sum(), 1e-300)
        part = potential.slices[term.name]
        result[part, part] = own
    return result


@lru_cache(maxsize=8)
def _functions(term: Term) -> tuple[Float[np.ndarray, "node basis"], Float[np.ndarray, " inner"]]:
    """Basis functions at a few nodes of every bin of a term's histogram, and the nodes' shares of a bin."""
    if isinstance(term, ThreeBody):
        grid = term.grid
        at, weights = np.polynomial.legendre.leggauss(3)
        axes = [s.knots[:-1, None] + 0.5 * s.spacing * (1 + at) for s in (grid.side, grid.side, grid.opposite)]
        bins = np.stack(np.meshgrid(*(np.arange(len(axis)) for axis in axes), indexing="ij"), -1).reshape(-1, 1, 3)
        nodes = np.stack(np.meshgrid(*[np.arange(len(at))] * 3, indexing="ij"), -1).reshape(1, -1, 3)
        sides = np.stack([axis[bins[..., k], nodes[..., k]] for k, axis in enumerate(axes)], -1).reshape(-1, 3)
        # Energies are linear in the coefficients: their derivatives are the functions, whatever the coefficients.
        rows = jax.jit(jax.jacfwd(lambda w: term.surface(w, jnp.asarray(sides))[0]))(jnp.zeros(term.n_basis))
        return np.asarray(rows), np.prod(0.5 * weights[nodes[0]], axis=-1)
    assert isinstance(term, SplineTerm | LocalDensity)
    spline = term.spline
    at, weights = np.polynomial.legendre.leggauss(4)
    x = spline.knots[:-1, None] + 0.5 * spline.spacing * (1 + at)
    return spline.matrix(x.ravel())[:, : term.n_basis], 0.5 * weights


def shrunk(
    sample: Float[np.ndarray, "k k"],
    error: Float[np.ndarray, "k k"],
    towards: Float[np.ndarray, "k k"],
    unseen: Float[np.ndarray, "k k"],
) -> Float[np.ndarray, "k k"]:
    """Sample covariance, its eigenvalues relative to another covariance corrected for their noise.

    A liquid resists changes of its density: a few collective directions vary a hundred times less than independent
    interactions would. Shrinking all eigenvalues to a mean would lose them. Nonlinear shrinkage (Ledoit & Wolf, Ann.
    Statist. 48, 3043 (2020), doi:10.1214/19-AOS1921) narrows the bulk, whose spread is noise, and keeps what stands
    apart. With fewer than twice as many independent frames as directions, linear shrinkage.

    Args:
        sample: covariance of a frame.
        error: covariance of the mean, which says how many independent frames there were.
        towards: that of independent interactions, positive definite; holds `unseen`.
        unseen: covariance of the contacts that might have been met although none was: the sample lacks it.
    """
    white = whitened(sample, towards)
    independent = np.trace(white) / max(float(np.trace(whitened(error, towards))), 1e-300)
    missing = whitened(unseen, towards)
    values, vectors = np.linalg.eigh(white + missing)
    # Directions of what no frame has visited keep the little that the other covariance has for them.
    alive = np.einsum("ki,kl,li->i", vectors, missing, vectors) < _UNSEEN
    size = int(alive.sum())
    values = np.maximum(values, _LEAST)
    result = np.ones(len(values))
    if independent > 2 * size and size > 4:
        result[alive] = _nonlinear(values[alive], independent)
    elif size:
        level = np.mean(values[alive])
        amount = size / (size + max(independent, 1.0))
        result[alive] = (1 - amount) * values[alive] + amount * level
    return colored((vectors * result) @ vectors.T, towards)


def _nonlinear(values: Float[np.ndarray, " k"], frames: float) -> Float[np.ndarray, " k"]:
    """Analytical nonlinear shrinkage of ascending eigenvalues (equations 4.2 to 4.8 of the paper)."""
    share, width = len(values) / frames, frames ** (-1 / 3)
    scale = width * values[None, :]
    x = (values[:, None] - values[None, :]) / scale
    density = np.mean(0.75 / np.sqrt(5) * np.maximum(1 - x**2 / 5, 0) / scale, axis=1)
    transform = np.mean(_hilbert(x) / scale, axis=1)
    return values / ((np.pi * share * values * density) ** 2 + (1 - share - np.pi * share * values * transform) ** 2)


def _hilbert(x: Float[np.ndarray, "*point"]) -> Float[np.ndarray, "*point"]:
    """Hilbert transform of Epanechnikov's kernel 3/(4 sqrt 5) (1 - x^2/5).

    Far out the closed form is a difference of large numbers, and its moments are used: 1, 1 and 15/7.
    """
    far, edge = np.abs(x) > _FAR, np.abs(np.abs(x) - np.sqrt(5)) < 1e-12
    near = np.where(far | edge, 0.0, x)
    logs = np.where(edge, 0.0, np.log(np.abs((np.sqrt(5) - near) / (np.sqrt(5) + near))))
    close = -0.3 * np.where(edge, x, near) + 0.75 / np.sqrt(5) * (1 - near**2 / 5) * logs
    away = np.where(far, x, 1.0)
    return np.where(far, -(1 / away + 1 / away**3 + 15 / 7 / away**5), close) / np.pi


def whitened(matrix: Float[np.ndarray, "k k"], towards: Float[np.ndarray, "k k"]) -> Float[np.ndarray, "k k"]:
    """A covariance in coordinates where another one is the identity."""
    lower = _lower(towards)
    return solve_triangular(lower, solve_triangular(lower, matrix, lower=True).T, lower=True)


def colored(matrix: Float[np.ndarray, "k k"], towards: Float[np.ndarray, "k k"]) -> Float[np.ndarray, "k k"]:
    """Back from those coordinates."""
    lower = _lower(towards)
    return lower @ matrix @ lower.T


def _lower(towards: Float[np.ndarray, "k k"]) -> Float[np.ndarray, "k k"]:
    return cholesky(towards + 1e-10 * np.trace(towards) / len(towards) * np.eye(len(towards)), lower=True)
