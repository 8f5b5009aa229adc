"""Calibration: a posterior whose width follows the scatter that the scores really have.

Under independent Gaussian noise the total score b = J'(f - J m) has the covariance H = J'J / sigma^2, which the usual
posterior takes for granted. In a liquid it has another one, V: noise of beads in contact is anti-correlated by
Newton's third law and grows with crowding, scores remember, and the misfit of the potential adds to it.

The mean of the coefficients' deviation v from the prior mean stays that of a Gaussian likelihood, tempered by the mean
whitened score variance eta, v^ = A b / eta with A = (K^-1 + H / eta)^-1. With E[b | v] = H v and Cov[b | v] = V its
error is known whatever the noise, by averaging over the prior and the data:

    Cov[v^ - v] = A K^-1 A + A (V / eta^2) A,

which is A again where V = eta H, and the sandwich H^-1 V H^-1 (Huber 1967; White, Econometrica 50, 1 (1982),
doi:10.2307/1912526) where data are many. V itself is never inverted, and never weighs the data: neither its noise nor
its correlation with b moves the curves (docs/decisions/0008).

V is estimated from the same frames by pooling over neighboring beads, and over time blocks for its memory. It is
expressed in coordinates where H is the identity. There negative or vanishing eigenvalues show, and are clipped.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from bayescg.inference.linear import marginal
from bayescg.inference.linear.long_run import LongRun
from bayescg.inference.linear.marginal import Prior, Reduced
from bayescg.inference.statistics.force_statistics import ForceStatistics

CALIBRATIONS = ("godambe", "magnitude", "none")

_LEARNABLE = 1e-3
"""Directions whose data precision is below this share of a typical prior's are left to the prior."""

_FLOOR = 0.25
"""Smallest eigenvalue of the whitened covariance relative to their mean: a smaller one is noise or over-correction."""


class Calibrated(NamedTuple):
    """The data as calibration sees them.

    Attributes:
        data: tempered sums of one noise class of unit noise, gram H / eta and cross b / eta, for the marginal
            likelihood of the hyperparameters and for the mean of the coefficients.
        root: R with R R' = V / eta^2; None: H / eta, as the tempered likelihood has it.
        report: numbers for the attributes of a posterior.
    """

    data: Reduced
    root: Float[Array, "free direction"] | None
    report: dict[str, float]


def calibrate(
    precision: Float[np.ndarray, "free free"],
    cross: Float[np.ndarray, " free"],
    variance: Float[np.ndarray, "free free"],
    factor: Float[np.ndarray, "free free"],
    *,
    method: str = "godambe",
    memories: Sequence[tuple[Float[np.ndarray, "free free"], LongRun]] = (),
) -> Calibrated:
    """Temper the working likelihood by the scores' mean variance, and keep all of their covariance for the error bars.

    Args:
        precision: H, minus the Hessian of the working log likelihood, in the free coordinates of a prior.
        cross: b, its gradient at the prior mean.
        variance: V, covariance of that gradient; need not be positive.
        factor: Cholesky factor of a typical prior covariance.
        method: "godambe": all of V; "magnitude": only its mean eigenvalue, which widens or narrows the posterior as a
            whole (Pauli, Racugno & Ventura, Statist. Sinica 21, 149 (2011)).
        memories: shares of V, one for each trajectory, and the scores of its blocks, for what correlation in time adds.

    Returns:
        The calibrated data.

    Raises:
        ValueError: if the data say nothing about any direction.
    """
    known = directions(precision, factor)
    white, plain = whitened(variance, known, memories)
    return tempered(precision, cross, white, plain, known, method)


class Directions(NamedTuple):
    """Directions that the data know, in which the precision is the identity, from weak to strong.

    Attributes:
        basis: (free, direction).
        firm: (direction,) whether the data know more than the prior; others rest on few contacts, whose scores are too
            rare to average.
    """

    basis: Float[np.ndarray, "free direction"]
    firm: np.ndarray


def directions(precision: Float[np.ndarray, "free free"], factor: Float[np.ndarray, "free free"]) -> Directions:
    """Directions of a precision in which data count.

    Args:
        precision: H.
        factor: of a typical prior covariance.

    Raises:
        ValueError: if the data say nothing about any direction.
    """
    strength, rotation = np.linalg.eigh(factor.T @ precision @ factor)
    kept = strength > _LEARNABLE
    if not np.any(kept):
        raise ValueError(
            "the data say nothing about the potential: no interaction was sampled, or what a baseline and fixed terms "
            f"leave of the forces is noise (the best known direction has {strength[-1]:.0e} of the precision of the "
            "prior); use more frames, and check that the baseline repels nowhere that beads went"
        )
    return Directions(factor @ rotation[:, kept] / np.sqrt(strength[kept]), strength[kept] > 1.0)


def memory_of(white: Float[np.ndarray, "direction direction"], run: LongRun, known: Directions):
    """(direction,) what correlation in time makes of the variances of one trajectory's scores, as a factor.

    Args:
        white: their covariance without it.
        run: scores of the trajectory's blocks.
        known: the directions.
    """
    memory, size = np.ones(len(white)), np.diag(white)
    counted = known.firm & (size > 0)
    if counted.sum() > 1:
        memory[counted] = run.inflation(known.basis[:, counted] / np.sqrt(size[counted]))
    return memory


def whitened(
    variance: Float[np.ndarray, "free free"],
    known: Directions,
    memories: Sequence[tuple[Float[np.ndarray, "free free"], LongRun]],
) -> tuple[Float[np.ndarray, "direction direction"], float]:
    """Covariance of the scores in known directions, with memory, and its trace without."""
    white = known.basis.T @ variance @ known.basis
    plain = float(np.trace(white))
    for share, run in memories:
        part = known.basis.T @ share @ known.basis
        memory = memory_of(part, run, known)
        white = white + (np.sqrt(np.outer(memory, memory)) - 1) * part
    return white, plain


def tempered(
    precision: Float[np.ndarray, "free free"],
    cross: Float[np.ndarray, " free"],
    white: Float[np.ndarray, "direction direction"],
    plain: float,
    known: Directions,
    method: str,
) -> Calibrated:
    """The data with their scores' covariance in known directions, of which `plain` is the trace without memory."""
    level = float(np.trace(white)) / len(white)
    if not level > 0:
        raise ValueError("the scores of the beads do not vary: forces without noise need calibration='none'")
    eigenvalues, vectors = np.linalg.eigh(white)
    clipped = int(np.sum(eigenvalues < _FLOOR * level))
    eigenvalues = np.maximum(eigenvalues, _FLOOR * level)
    root = None
    if method == "godambe":
        root = jnp.asarray(precision @ known.basis @ (vectors * np.sqrt(eigenvalues)) / level)
    report = {
        "score_variance": level,
        "score_variance_min": float(eigenvalues.min()),
        "score_variance_max": float(eigenvalues.max()),
        "score_directions": len(white),
        "score_clipped": clipped,
        "score_memory": level * len(white) / plain,
    }
    zero = jnp.asarray(np.zeros(1))
    data = Reduced(jnp.asarray(precision[None] / level), jnp.asarray(cross[None] / level), zero, zero)
    return Calibrated(data, root, report)


def force_calibration(prior: Prior, statistics: ForceStatistics, reduced: Reduced, *, method: str) -> Calibrated:
    """Calibrated data of force matching, the noise of each class fixed at that of the first fit.

    Args:
        prior: with noises.
        statistics: made with a pilot.
        reduced: `marginal.reduce(prior, statistics.total())`.
        method: "godambe" or "magnitude".

    Raises:
        ValueError: if the statistics hold no scores.
    """
    ingredients = score_sums(prior, statistics, reduced)
    return calibrate(*ingredients[:4], method=method, memories=ingredients[4])


def score_sums(prior: Prior, statistics: ForceStatistics, reduced: Reduced):
    """Precision, cross sum, covariance of the scores, prior factor, and memories: arguments of `calibrate`."""
    weight = np.asarray(prior.noise) ** -2.0
    lift = prior.lift
    variance = lift.T @ statistics.score_covariance(weight) @ lift
    precision = np.einsum("t,tfg->fg", weight, np.asarray(reduced.gram))
    mean, factor = prior_factor(prior, reduced)
    runs = long_runs(prior, statistics, weight, mean)
    memories = [(lift.T @ statistics.score_covariance(weight, s) @ lift, run) for s, run in runs.items()]
    return precision, weight @ np.asarray(reduced.cross), variance, factor, memories


def prior_factor(prior: Prior, reduced: Reduced) -> tuple[Float[np.ndarray, " free"], Float[np.ndarray, "free free"]]:
    """Mean of the free coordinates at the prior medians of all hyperparameters, and the factor of their covariance."""
    values = {name: jnp.exp(d.loc) for name, d in prior.distributions().items()}
    mean, factor = marginal.mean_at(prior, reduced, values)
    return np.asarray(mean), np.asarray(factor)


def long_runs(prior: Prior, statistics: ForceStatistics, weight, mean) -> dict[str, LongRun]:
    """Block scores of every source; each has a mean of its own, which is misfit between systems, not memory."""
    scores: dict[str, list] = {}
    lift, n_basis = prior.lift, prior.potential.n_basis
    fitted = prior.mean + lift @ mean
    for (source, number), block in zip(statistics.keys, statistics.blocks, strict=True):
        # Products with vectors only: there are many blocks, and matrices of many coefficients take long.
        w = np.concatenate([fitted, np.ones(block.gram.shape[-1] - n_basis)])
        score = lift.T @ (weight @ (block.cross - block.gram @ w)[:, :n_basis])
        scores.setdefault(source, []).append((score, float(np.sum(block.components)), number))
    return {
        source: LongRun(
            np.stack([score for score, _, _ in rows]),
            np.array([size for _, size, _ in rows]) / sum(size for _, size, _ in rows),
            np.array([number for _, _, number in rows]),
        )
        for source, rows in scores.items()
    }
