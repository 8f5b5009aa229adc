"""Forces and structure together: the linear combination of two estimates of one projection.

Both cross sums have one expectation, E[b_F] = E[b_S] = G w, so that their difference d = b_F - b_S has mean zero, and

    b_C = b_F - A d

has that expectation for any matrix A (control variates). Its variance is smallest for A = Cov[b_F, d] Cov[d]^-1. Given
the positions, forces scatter about their mean, so that what they add to b_F has nothing to do with b_S: A is F (F +
S)^-1 with the covariances F and S of both, in the coordinates of calibration, where the Gram matrix is the identity.

Both are estimates. What follows keeps short data from losing by them, and was chosen on liquids of ethane
(docs/decisions/0016-structure.md): F is drawn halfway to a multiple of the identity, S is taken to be half as large
again and nowhere smaller than F's mean, and coefficients that rest on fewer than a hundred interactions take nothing
from structure. There, at contact, S is largest and known least. The error bars of b_C hold for this A, whatever it is.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from bayescg.inference.linear import marginal
from bayescg.inference.linear.calibration import (
    Calibrated,
    Directions,
    directions,
    long_runs,
    memory_of,
    prior_factor,
    tempered,
)
from bayescg.inference.linear.marginal import Prior, Reduced
from bayescg.inference.statistics.force_statistics import ForceStatistics
from bayescg.potentials import SplineTerm, ThreeBody
from bayescg.potentials.many_body.local_density import LocalDensity

_POOLED = 0.5
"""Share of the forces' covariance that is their mean variance in all directions."""

_WIDENED = 1.5
"""Factor on the covariance of structure's scores."""

_FLOOR = 0.25
"""Smallest eigenvalue of the forces' covariance, of their mean."""

_FEWEST = 100
"""Interactions in reach of a coefficient below which structure says nothing of it."""

_INVOLVED = 1e-4
"""Of a coefficient in a direction, relative to the largest of any: below, the direction does not involve it."""


def combined_calibration(prior: Prior, statistics: ForceStatistics, reduced: Reduced, *, method: str) -> Calibrated:
    """Calibrated data of forces and structure together.

    Args:
        prior: with noises, of the forces.
        statistics: of both equations, made with a pilot.
        reduced: `marginal.reduce` of the forces' sums.
        method: "godambe" or "magnitude".

    Returns:
        The data; the report has `structure_share`, the mean weight of structure over directions.

    Raises:
        ValueError: if the statistics hold no scores.
    """
    both = Joint(prior, statistics, reduced)
    k = both.known.basis.shape[1]
    weight = weights(both.white[:k, :k], both.white[k:, k:], used(prior, statistics, both.known))
    mixed = np.concatenate([np.eye(k) - weight, weight], axis=1)
    # Outside of the known directions, the forces' cross sums stay as they are.
    moved = both.precision @ both.known.basis @ weight @ both.known.basis.T
    cross = both.forces - moved @ (both.forces - both.structure)
    plain = float(np.trace(mixed @ both.plain @ mixed.T))
    found = tempered(both.precision, cross, mixed @ both.white @ mixed.T, plain, both.known, method)
    return found._replace(report={**found.report, "structure_share": float(np.trace(weight)) / k})


class Joint:
    """Cross sums of both equations, and the covariance of both in the coordinates of calibration.

    Attributes:
        known: directions that the data know.
        precision: (free, free).
        forces: (free,) cross sum.
        structure: (free,) cross sum.
        white: (2 direction, 2 direction) covariance of the scores of forces, then of structure.
        plain: the same without memory.
    """

    def __init__(self, prior: Prior, statistics: ForceStatistics, reduced: Reduced):
        forces, structure = statistics.of("forces"), statistics.of("structure")
        weight, lift = np.asarray(prior.noise) ** -2.0, prior.lift
        other = marginal.reduce(prior, structure.total())
        self.precision = np.einsum("t,tfg->fg", weight, np.asarray(reduced.gram))
        self.forces, self.structure = weight @ np.asarray(reduced.cross), weight @ np.asarray(other.cross)
        mean, factor = prior_factor(prior, reduced)
        self.known: Directions = directions(self.precision, factor)
        once = lift @ self.known.basis
        twice = np.kron(np.eye(2), once)
        self.plain = twice.T @ statistics.score_covariance(weight) @ twice
        self.white, k = self.plain.copy(), once.shape[1]
        runs = [long_runs(prior, each, weight, mean) for each in (forces, structure)]
        for source in runs[0]:
            part = twice.T @ statistics.score_covariance(weight, source) @ twice
            own = part[:k, :k], part[k:, k:]
            memory = np.concatenate([memory_of(v, run[source], self.known) for v, run in zip(own, runs, strict=True)])
            self.white += (np.sqrt(np.outer(memory, memory)) - 1) * part


def weights(
    forces: Float[np.ndarray, "direction direction"],
    structure: Float[np.ndarray, "direction direction"],
    usable: Float[np.ndarray, "direction used"],
) -> Float[np.ndarray, "direction direction"]:
    """A: how much of the difference of both is taken off the forces' cross sums.

    Args:
        forces: covariance of the forces' scores.
        structure: that of structure's.
        usable: orthonormal directions in which structure may be used.
    """
    k = len(forces)
    level = np.trace(forces) / k
    f = _POOLED * level * np.eye(k) + (1 - _POOLED) * _raised(forces, _FLOOR * level)
    s = _raised(_WIDENED * structure, level)
    return f @ usable @ np.linalg.solve(usable.T @ (f + s) @ usable, usable.T)


def used(prior: Prior, statistics: ForceStatistics, known: Directions) -> Float[np.ndarray, "direction used"]:
    """Directions that involve no coefficient with few interactions."""
    potential = statistics.potential
    met = np.concatenate([_met(term, statistics.counts[term.name]) for term in potential.terms if term.n_basis])
    rows = prior.lift @ known.basis
    few = rows[met < _FEWEST]
    if not len(few):
        return np.eye(rows.shape[1])
    _, size, right = np.linalg.svd(few, full_matrices=True)
    rank = int(np.sum(size > _INVOLVED * np.abs(rows).max()))
    return right[rank:].T


def _met(term, counts: np.ndarray) -> np.ndarray:
    """Interactions in reach of each coefficient."""
    if isinstance(term, ThreeBody):
        return term.grid.count_triplets(counts)
    if not isinstance(term, SplineTerm | LocalDensity):
        return np.full(term.n_basis, np.inf)  # not known; its functions have no place
    if term.spline.periodic:
        # Function k lives on the four intervals around knot k.
        return sum((np.roll(counts, shift) for shift in (-1, 0, 1, 2)), start=np.zeros(len(counts)))
    return np.convolve(counts, np.ones(4))[: term.n_basis]


def _raised(covariance: np.ndarray, least: float) -> np.ndarray:
    """With eigenvalues not below this."""
    values, vectors = np.linalg.eigh(0.5 * (covariance + covariance.T))
    return (vectors * np.maximum(values, least)) @ vectors.T
