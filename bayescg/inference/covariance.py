"""Covariance of basis energies, known from few frames: shrunk towards that of independent interactions.

Were pairs (bonds, angles) independent of each other, the covariance of A would follow from the histogram of their
descriptor alone, sum_k n_k B_k B_k', which a few frames give well. In liquids that is near the truth for most
directions. The sample covariance of a few hundred frames in a hundred directions is not: its inverse, which Newton
steps need, is ruined by its smallest eigenvalues.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float
from scipy.linalg import cholesky, solve_triangular

from bayescg.potentials import Potential

_CONTACT = 0.5
"""Interactions in all frames that an interval may hold although none was met."""


def independent_covariance(
    potential: Potential, counts: Mapping[str, Float[np.ndarray, " interval"]], frames: int
) -> Float[np.ndarray, "basis basis"]:
    """Covariance of A in a frame if interactions were independent.

    Args:
        potential: the potential.
        counts: mean number of interactions per frame by knot interval of each term.
        frames: how many frames the means come from.
    """
    result = np.zeros((potential.n_basis, potential.n_basis))
    nodes, weights = np.polynomial.legendre.leggauss(4)
    for term in potential.terms:
        if not term.n_basis:
            continue
        spline = term.spline
        number = counts[term.name] + _CONTACT / frames
        x = spline.knots[:-1, None] + 0.5 * spline.spacing * (1 + nodes)
        matrix = spline.matrix(x.ravel())[:, : term.n_basis]
        mass = (number[:, None] * 0.5 * weights).ravel()
        own = matrix.T @ (mass[:, None] * matrix)
        if term.kind != "pair":
            # As many bonds in every frame: a multinomial, not Poisson.
            mean = matrix.T @ mass
            own -= np.outer(mean, mean) / mass.sum()
        part = potential.slices[term.name]
        result[part, part] = own
    return result


def shrunk(
    sample: Float[np.ndarray, "k k"], error: Float[np.ndarray, "k k"], towards: Float[np.ndarray, "k k"]
) -> Float[np.ndarray, "k k"]:
    """Sample covariance, shrunk towards a multiple of another by as much as its own noise asks for.

    Ledoit and Wolf's intensity for Gaussian samples in coordinates where the other is the identity
    (doi:10.1016/S0047-259X(03)00096-4), with correlated frames counted as fewer independent ones.

    Args:
        sample: covariance of a frame.
        error: covariance of the mean, which says how many independent frames there were.
        towards: positive definite.
    """
    size = len(sample)
    lower = cholesky(towards + 1e-10 * np.trace(towards) / size * np.eye(size), lower=True)

    def whiten(matrix):
        half = solve_triangular(lower, matrix, lower=True)
        return solve_triangular(lower, half.T, lower=True)

    white = whiten(sample)
    independent = np.trace(white) / max(float(np.trace(whiten(error))), 1e-300)
    level = np.trace(white) / size
    noise = (np.trace(white) ** 2 + np.sum(white**2)) / max(independent, 1.0)
    amount = float(np.clip(noise / max(np.sum((white - level * np.eye(size)) ** 2), 1e-300), 0.0, 1.0))
    return lower @ ((1 - amount) * white + amount * level * np.eye(size)) @ lower.T
