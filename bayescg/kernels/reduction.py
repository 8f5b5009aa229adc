"""Priors of curves with many narrow knots, in few coordinates: those directions that a kernel and the data leave open.

A curve of 900 coefficients under a smooth kernel has no 900 degrees of freedom. It is followed from its values at a
few sites by kriging at a reference value of the hyperparameters, and of these values the combinations are kept that
vary measurably. What is dropped is measured by the trace of (metric times residual covariance), with the data's
precision in the metric: the force that is missing, in units of its posterior variance.

Why one basis serves all hyperparameters that are smoother than the reference: a Matern kernel's spectral density
obeys s_l(w) <= (l / l_ref) (a / a_ref)^2 s_ref(w) for every l >= l_ref, as do RBF's and RationalQuadratic's, so that
K_l <= (l / l_ref) (a / a_ref)^2 K_ref as matrices, conditions at edges included (Schur complements keep the order).
The variance that is dropped is then at most this factor times that at the reference. See docs/decisions/0015.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int
from scipy.linalg import cholesky, solve_triangular

from bayescg.kernels.priors import CurvePrior

_NUGGET = 1e-9
"""Added to the covariance of coordinates, whose unit is the posterior's variance: far below what anyone can see."""

_ROUND = 16
"""Sites and directions come in multiples: fits of similar data then share compiled code."""

_FELT = 1e-4
"""Slopes whose prior variance is below this share of the median are those that edges hold: nobody asks for them."""

_SMALLEST_PIVOT = 1e-15
"""Relative to the kernel's variance: below it a site tells nothing that rounding errors leave."""


@partial(
    jax.tree_util.register_dataclass,
    data_fields=("inputs", "warp", "transform", "lift", "mean", "lengthscale", "amplitude", "repulsive", "drift"),
    meta_fields=("name",),
)
@dataclass(frozen=True, eq=False)
class ReducedCurve(CurvePrior):
    """A `CurvePrior` in fewer coordinates; its sites are those that the coordinates and the edges' conditions need.

    Coordinates are in units of the metric that chose them. `transform` maps curve values at the sites to (condition,
    coordinate); conditions have unit variance at the reference.
    """

    def factor(self, kernel, values):
        transform = jnp.asarray(self.transform)
        joint = transform @ self.gram(kernel, values) @ transform.T
        joint = jnp.linalg.cholesky(joint + _NUGGET * jnp.eye(len(joint)))
        free = self.lift.shape[1]
        return joint[-free:, -free:]


class Reduction(NamedTuple):
    """A prior in fewer coordinates.

    Attributes:
        prior: of the coordinates q.
        spread: v = spread @ q, v the free coefficients of the full prior.
        dropped: trace of (metric times residual covariance) at the reference.
    """

    prior: ReducedCurve
    spread: Float[np.ndarray, "free coordinate"]
    dropped: float


def reduced(
    prior: CurvePrior,
    gram: Float[np.ndarray, "site site"],
    precision: Float[np.ndarray, "free free"],
    *,
    tolerance: float,
    most: int | None = None,
) -> Reduction | None:
    """The prior in coordinates that follow it to a tolerance at a reference, and wherever it is smoother.

    Args:
        prior: the full prior.
        gram: `prior.gram` at the reference: the roughest hyperparameters that matter [(kJ/mol)^2].
        precision: of the data, for the free coefficients.
        tolerance: what may be dropped of the trace of (metric times covariance). In the metric forces have the unit of
            their posterior standard deviation, and what the data see that of their noise.
        most: coordinates at most, whatever the tolerance.

    Returns:
        The reduction; None if it would hardly be smaller than the prior.
    """
    count, sites = prior.lift.shape[1], len(gram)
    transform = np.asarray(prior.transform)
    onto = transform[-count:]
    conditions = _unit_conditions(gram, transform[:-count])
    fixed = gram @ conditions.T
    given = gram - fixed @ fixed.T
    metric = _metric(prior, onto @ given @ onto.T, precision)
    at_sites = onto.T @ metric @ onto
    # Where a curve is felt most and known least from the sites before: a pivoted Cholesky factor.
    chosen, columns = _pivoted(given, np.diagonal(at_sites))
    left = np.sum(at_sites * given) - np.cumsum(np.einsum("ks,ks->k", columns @ at_sites, columns))
    enough = _rounded(int(np.argmax(left < 0.5 * tolerance)) + 1 if np.any(left < 0.5 * tolerance) else len(left))
    chosen = np.sort(chosen[: min(enough, len(chosen), sites if most is None else 2 * most)])
    # Kriging from there, and directions by how much they vary in the metric.
    root = cholesky(given[np.ix_(chosen, chosen)], lower=True)
    follow = onto @ solve_triangular(root, given[chosen], lower=True).T
    size, turn = np.linalg.eigh(follow.T @ metric @ follow)
    size, turn = np.maximum(size[::-1], 0), turn[:, ::-1]
    tail = np.cumsum(size[::-1])[::-1] - size
    kept = _rounded(int(np.argmax(tail < 0.5 * tolerance)) + 1)
    kept = min(kept, len(chosen), len(chosen) if most is None else most, int(np.sum(size > 1e-14 * size[0])))
    if kept > 0.85 * count:
        return None
    scale = np.sqrt(size[:kept])
    support = np.flatnonzero(np.any(np.abs(conditions) > 1e-10 * _largest(conditions), axis=0))
    needed = _padded(np.union1d(chosen, support), sites)
    small = np.zeros((len(conditions) + kept, sites))
    small[: len(conditions), support] = conditions[:, support]
    small[len(conditions) :, chosen] = scale[:, None] * solve_triangular(root, turn[:, :kept], lower=True, trans=1).T
    spread = follow @ (turn[:, :kept] / scale)
    term = ReducedCurve(
        prior.name,
        np.asarray(prior.inputs)[needed],
        None if prior.warp is None else np.asarray(prior.warp)[needed],
        small[:, needed],
        np.asarray(prior.lift) @ spread,
        prior.mean,
        prior.lengthscale,
        prior.amplitude,
        prior.repulsive,
        None if prior.drift is None else np.asarray(prior.drift)[needed],
    )
    seen = np.sum(at_sites * given) - np.sum(size[:kept])
    return Reduction(term, spread, float(seen))


def _largest(rows: np.ndarray) -> np.ndarray:
    return np.max(np.abs(rows), axis=1, keepdims=True, initial=0.0)


def _unit_conditions(gram, conditions) -> Float[np.ndarray, "condition site"]:
    """Conditions combined to unit covariance. Neighboring coefficients are nearly equal: differences are not."""
    count = len(conditions)
    if not count:
        return conditions
    steps = [conditions]
    while len(steps[-1]) > 1:
        steps.append(np.diff(steps[-1], axis=0))
    apart = np.stack([rows[-1] for rows in steps])
    apart = apart / np.sqrt(np.einsum("cs,st,ct->c", apart, gram, apart))[:, None]
    return solve_triangular(cholesky(apart @ gram @ apart.T, lower=True), apart, lower=True)


def _metric(prior: CurvePrior, covariance, precision) -> Float[np.ndarray, "free free"]:
    """The data's precision, and slopes in units of their posterior standard deviation at the reference."""
    slopes = np.diff(np.asarray(prior.lift), axis=0)
    before = np.einsum("if,fg,ig->i", slopes, covariance, slopes, optimize=True)
    slopes = slopes[before > _FELT * np.median(before[before > 0])]
    posterior = np.linalg.solve(np.eye(len(covariance)) + covariance @ precision, covariance)
    after = np.einsum("if,fg,ig->i", slopes, posterior, slopes, optimize=True)
    return precision + (slopes.T / after) @ slopes


def _pivoted(
    covariance, weight, most: int | None = None
) -> tuple[Int[np.ndarray, " chosen"], Float[np.ndarray, "chosen site"]]:
    """Sites in the order of the largest weighted residual variance, and the rows of the factor."""
    count = len(covariance) if most is None else most
    left, rows = np.diagonal(covariance).copy(), np.zeros((count, len(covariance)))
    floor, free, chosen = _SMALLEST_PIVOT * left.max(), np.ones(len(left), bool), []
    for k in range(count):
        pivot = int(np.argmax(np.where(free & (left > floor), left * weight, -1.0)))
        if not (free[pivot] and left[pivot] > floor):
            return np.array(chosen), rows[:k]
        rows[k] = (covariance[pivot] - rows[:k, pivot] @ rows[:k]) / np.sqrt(left[pivot])
        left = np.maximum(left - rows[k] ** 2, 0)
        free[pivot] = False
        chosen.append(pivot)
    return np.array(chosen), rows


def _rounded(count: int) -> int:
    return -(-count // _ROUND) * _ROUND


def _padded(needed: np.ndarray, sites: int) -> np.ndarray:
    """More sites, which carry nothing, to a round number."""
    others = np.setdiff1d(np.arange(sites), needed)
    return np.sort(np.concatenate([needed, others[: _rounded(len(needed)) - len(needed)]]))
