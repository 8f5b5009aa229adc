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

V is learnt from the same frames by pooling over neighboring beads, and over time blocks for its memory. What it says is
taken in coordinates where H is the identity, so that negative or vanishing eigenvalues can be told and clipped.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from bayescg.inference import marginal
from bayescg.inference.blocks import Key, Sums
from bayescg.inference.marginal import Prior, Reduced
from bayescg.inference.statistics import ForceStatistics

CALIBRATIONS = ("godambe", "magnitude", "none")

_LEARNABLE = 1e-3
"""Directions whose data precision is below this share of a typical prior's are left to the prior."""

_FLOOR = 0.25
"""Smallest eigenvalue of the whitened covariance relative to their mean: a smaller one is noise or over-correction."""

_FEWEST_BLOCKS = 16
"""Below this many blocks chance would add more than what memory there is."""


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
    long_run: LongRun | None = None,
) -> Calibrated:
    """Temper the working likelihood by the scores' mean variance, and keep all of their covariance for the error bars.

    Args:
        precision: H, minus the Hessian of the working log likelihood, in the free coordinates of a prior.
        cross: b, its gradient at the prior mean.
        variance: V, covariance of that gradient; need not be positive.
        factor: Cholesky factor of a typical prior covariance.
        method: "godambe": all of V; "magnitude": only its mean eigenvalue, which widens or narrows the posterior as a
            whole (Pauli, Racugno & Ventura, Statist. Sinica 21, 149 (2011)).
        long_run: scores of the blocks, for what correlation in time adds to V.

    Returns:
        The calibrated data.

    Raises:
        ValueError: if the data say nothing about any direction.
    """
    strength, rotation = np.linalg.eigh(factor.T @ precision @ factor)
    kept = strength > _LEARNABLE
    if not np.any(kept):
        raise ValueError("the data say nothing about the potential: no interaction was sampled; use more frames")
    basis = factor @ rotation[:, kept] / np.sqrt(strength[kept])
    white = basis.T @ variance @ basis
    memory = np.ones(len(white))
    if long_run is not None:
        own = np.diag(white)
        firm = (strength[kept] > 1.0) & (own > 0)  # others rest on few contacts, whose scores are too rare to average
        if firm.sum() > 1:
            memory[firm] = long_run.inflation(basis[:, firm] / np.sqrt(own[firm]))
        white = np.sqrt(memory)[:, None] * white * np.sqrt(memory)
    level = float(np.trace(white)) / len(white)
    if not level > 0:
        raise ValueError("the scores of the beads do not vary: forces without noise need calibration='none'")
    eigenvalues, vectors = np.linalg.eigh(white)
    clipped = int(np.sum(eigenvalues < _FLOOR * level))
    eigenvalues = np.maximum(eigenvalues, _FLOOR * level)
    root = None
    if method == "godambe":
        root = jnp.asarray(precision @ basis @ (vectors * np.sqrt(eigenvalues)) / level)
    report = {
        "score_variance": level,
        "score_variance_min": float(eigenvalues.min()),
        "score_variance_max": float(eigenvalues.max()),
        "score_directions": len(white),
        "score_clipped": clipped,
        "score_memory": float(memory.mean()),
        "score_memory_max": float(memory.max()),
    }
    zero = jnp.zeros(1)
    data = Reduced(jnp.asarray(precision / level)[None], jnp.asarray(cross / level)[None], zero, zero)
    return Calibrated(data, root, report)


class LongRun(NamedTuple):
    """Scores of consecutive time blocks about the fit, for their correlation in time.

    Attributes:
        scores: (block, free) gradient of the working log likelihood of each block.
        share: (block,) share of each block in all data.
        consecutive: (block,) number of the block in its source; neighbors in time differ by one.
        source: (block,) source of the block.
    """

    scores: Float[np.ndarray, "block free"]
    share: Float[np.ndarray, " block"]
    consecutive: np.ndarray
    source: np.ndarray

    def inflation(self, whiten: Float[np.ndarray, "free direction"]) -> Float[np.ndarray, " direction"]:
        """Long-run variance of the scores over their variance without correlation in time, not below one.

        The larger of two estimates from z_b, the whitened scores of a block. The sum of autocovariances, pooled over
        directions, up to the first lag that is not a standard error above zero: misses the tail of a long memory. And
        in each direction that of a first-order autoregressive process with the same lag 1 (Andrews, Econometrica 59,
        817 (1991), doi:10.2307/2938229), where lags are averaged over neighboring directions, since a few dozen blocks
        know too little of one: misses a weak but long memory. Smooth directions remember longer than rough ones,
        because the neighbors of a bead stay while distances jitter. Without any memory chance
        makes the result five per cent too large for a few dozen blocks.

        Args:
            whiten: directions, ordered from weak to strong, in which a block's score has its share of unit variance.
        """
        count = len(self.share)
        if count < _FEWEST_BLOCKS:
            return np.ones(whiten.shape[1])
        z = (self.scores - self.share[:, None] * self.scores.sum(axis=0)) @ whiten
        spectrum = np.linalg.eigvalsh(z @ z.T)
        independent = max(1.0, spectrum.sum() ** 2 / np.sum(spectrum**2))
        own = float(np.sum(z**2))
        total, lost, first = own, float(np.sum(self.share**2)), np.zeros(z.shape[1])
        for lag in range(1, count // 4 + 1):
            pairs = (self.source[lag:] == self.source[:-lag]) & (
                self.consecutive[lag:] - self.consecutive[:-lag] == lag
            )
            if not pairs.any():
                break
            lagged = np.sum((z[lag:] * z[:-lag])[pairs], axis=0) * count / pairs.sum()
            first = lagged if lag == 1 else first
            chance = own / np.sqrt(pairs.sum() * independent)
            if lagged.sum() + own / count < chance:
                break
            total += 2 * float(lagged.sum())
            lost += 2 / count
        # Deviations from a common mean lose the share (2 L + 1) / B of the long-run variance.
        pooled = total / (z.shape[1] * (1 - lost))
        smooth = _neighbors_average(z.shape[1])
        return np.maximum(max(1.0, pooled), _autoregressive(smooth @ np.sum(z**2, axis=0), smooth @ first, count))


def _neighbors_average(count: int) -> Float[np.ndarray, "direction direction"]:
    """Averages over neighboring directions, a tenth of all of them to either side."""
    apart = np.arange(count)[:, None] - np.arange(count)
    weight = np.exp(-0.5 * (apart / max(0.1 * count, 0.5)) ** 2)
    return weight / weight.sum(axis=1, keepdims=True)


def _autoregressive(own, first, count: int) -> Float[np.ndarray, " direction"]:
    """Long-run variance of first-order autoregressive scores from lags 0 and 1 about the sample mean."""
    long_run = own
    for _ in range(20):
        # Each autocovariance has lost 1 / B of the long-run variance, which is what is looked for.
        missing = np.minimum(long_run, own * count / 4) / count
        rho = np.clip((first + missing) / (own + missing), 0.0, 0.95)
        long_run = (own + missing) * (1 + rho) / (1 - rho)
    return long_run


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
    weight = np.asarray(prior.noise) ** -2.0
    lift = prior.lift
    variance = lift.T @ statistics.score_covariance(weight) @ lift
    precision = np.einsum("t,tfg->fg", weight, np.asarray(reduced.gram))
    cross = weight @ np.asarray(reduced.cross)
    values = {name: jnp.exp(d.loc) for name, d in prior.distributions().items()}
    factors = prior.factors(values)
    mean, _ = marginal.mean_and_spread(marginal.solve(reduced, factors, jnp.asarray(prior.noise)))
    return calibrate(
        precision,
        cross,
        variance,
        np.asarray(jax.scipy.linalg.block_diag(*factors)),
        method=method,
        long_run=_long_run(prior, statistics.keys, statistics.blocks, weight, np.asarray(mean)),
    )


def _long_run(prior: Prior, keys: Sequence[Key], blocks: Sequence[Sums], weight, mean) -> LongRun:
    scores, share = [], []
    for block in blocks:
        part = marginal.reduce(prior, block)
        scores.append(weight @ (np.asarray(part.cross) - np.asarray(part.gram) @ mean))
        share.append(float(np.sum(np.asarray(part.components))))
    sources = np.asarray([source for source, _ in keys])
    return LongRun(
        np.stack(scores), np.asarray(share) / np.sum(share), np.asarray([number for _, number in keys]), sources
    )
