"""Calibration: a posterior whose width follows the scatter that the scores really have.

Under independent Gaussian noise the total score b = J'(f - J w) has the covariance H = J'J / sigma^2, which the usual
posterior takes for granted. In a liquid it has another one, V: noise of beads in contact is anti-correlated by
Newton's third law and grows with crowding, and the misfit of the potential adds to it. What the data say of w is then
b ~ N(H (w* - w), V), a Gaussian with precision G = H V^-1 H and shift h = H V^-1 b (Godambe, Ann. Math. Statist. 31,
1208 (1960), doi:10.1214/aoms/1177705693; Müller, Econometrica 81, 1805 (2013), doi:10.3982/ECTA9097). The target w*
stays the least-squares projection of force matching: only its error bars change.

V has to be learnt from the same frames. It is estimated in coordinates where H is the identity and a typical prior
says what can be learnt at all, shrunk towards a multiple of the identity as its own noise asks for, and kept away from
zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from bayescg.inference import marginal
from bayescg.inference.blocks import Key, Sums
from bayescg.inference.marginal import Prior, Reduced
from bayescg.inference.statistics import ForceStatistics

CALIBRATIONS = ("godambe", "magnitude", "none")

_LEARNABLE = 1e-3
"""Directions whose data precision is below this share of a typical prior's are left to the prior."""

_FLOOR = 0.25
"""Smallest eigenvalue of the whitened covariance relative to their mean: a smaller one is noise or over-correction."""

_SHRINKAGE = 0.1
"""Where there are no blocks to estimate it from."""

_FEWEST_BLOCKS = 8
"""Below this many blocks nothing can be said of correlation in time."""


class Calibrated(NamedTuple):
    """The data as calibration sees them.

    Attributes:
        data: `Reduced` sums of one noise class of unit noise, whose gram is G and whose cross is h.
        report: numbers for the attributes of a posterior.
    """

    data: Reduced
    report: dict[str, float]


def calibrate(
    precision: Float[np.ndarray, "free free"],
    cross: Float[np.ndarray, " free"],
    variance: Float[np.ndarray, "free free"],
    factor: Float[np.ndarray, "free free"],
    *,
    method: str = "godambe",
    parts: Float[np.ndarray, "block free free"] | None = None,
    long_run: LongRun | None = None,
) -> Calibrated:
    """Turn data precision and score covariance into the Gaussian that the marginal likelihood of kernels sees.

    Args:
        precision: H, minus the Hessian of the working log likelihood, in the free coordinates of a prior.
        cross: b, its gradient at the prior mean.
        variance: V, covariance of that gradient; need not be positive.
        factor: Cholesky factor of a typical prior covariance.
        method: "godambe": all of V; "magnitude": only its mean eigenvalue, which widens or narrows the posterior as a
            whole (Pauli, Racugno & Ventura, Statist. Sinica 21, 149 (2011)).
        parts: what each time block contributes to V, for the strength of shrinkage.
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
    level = float(np.trace(white)) / len(white)
    amount = 1.0
    if method == "godambe":
        amount = _shrinkage(white, None if parts is None else basis.T @ parts @ basis)
    eigenvalues, vectors = np.linalg.eigh((1 - amount) * white + amount * level * np.eye(len(white)))
    eigenvalues = np.maximum(eigenvalues, _FLOOR * level)
    memory = 1.0
    if long_run is not None:
        # Directions that the data determine poorly rest on few contacts, whose scores are too rare to average.
        firm = strength[kept] > 1.0
        memory = long_run.inflation((basis @ vectors / np.sqrt(eigenvalues))[:, firm] if firm.sum() > 1 else None)
    eigenvalues = memory * eigenvalues
    half = precision @ basis @ vectors / np.sqrt(eigenvalues)
    shift = half @ ((basis @ vectors / np.sqrt(eigenvalues)).T @ cross)
    zero = jnp.zeros(1)
    report = {
        "score_variance": level * memory,
        "score_variance_min": float(eigenvalues.min()),
        "score_variance_max": float(eigenvalues.max()),
        "score_shrinkage": float(amount),
        "score_memory": float(memory),
    }
    return Calibrated(Reduced(jnp.asarray(half @ half.T)[None], jnp.asarray(shift)[None], zero, zero), report)


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

    def inflation(self, whiten: Float[np.ndarray, "free direction"] | None) -> float:
        """Long-run variance of the scores over their variance without correlation in time, not below one.

        The larger of two estimates, pooled over directions, with z_b the whitened score of a block: the sum of
        autocovariances up to the first lag that is not two standard errors above zero, which misses the tail of a long
        memory; and that of a first-order autoregressive process with the same lag 1 (Andrews, Econometrica 59, 817
        (1991), doi:10.2307/2938229), which misses a weak but long one.
        """
        count = len(self.share)
        if whiten is None or count < _FEWEST_BLOCKS:
            return 1.0
        centered = self.scores - self.share[:, None] * self.scores.sum(axis=0)
        z = centered @ whiten
        own = float(np.sum(z**2))
        spectrum = np.linalg.eigvalsh(z @ z.T)
        independent = max(1.0, spectrum.sum() ** 2 / np.sum(spectrum**2))
        total, lost, first = own, float(np.sum(self.share**2)), 0.0
        for lag in range(1, count // 4 + 1):
            pairs = (self.source[lag:] == self.source[:-lag]) & (
                self.consecutive[lag:] - self.consecutive[:-lag] == lag
            )
            lagged = float(np.sum((z[lag:] * z[:-lag])[pairs]))
            chance = own * np.sqrt(pairs.sum() / independent) / count
            if not pairs.any() or lagged + own * pairs.sum() / count**2 < 2 * chance:
                break
            lagged *= count / pairs.sum()
            first = lagged if lag == 1 else first
            total += 2 * lagged
            lost += 2 / count
        # Deviations from a common mean lose the share (2 L + 1) / B of the long-run variance.
        summed = total / (z.shape[1] * (1 - lost))
        own, first = own / z.shape[1], first / z.shape[1]
        regressive = own
        for _ in range(20 if first > 0 else 0):
            # Each autocovariance has lost 1 / B of the long-run variance, which is what is looked for.
            missing = min(regressive, count / 4) / count
            rho = min((first + missing) / (own + missing), 0.95)
            regressive = (own + missing) * (1 + rho) / (1 - rho)
        return max(1.0, summed, regressive)


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
    keys = statistics.keys
    parts = np.stack([lift.T @ statistics.score_covariance(weight, only=key) @ lift for key in keys])
    mean, _ = marginal.mean_and_spread(marginal.solve(reduced, factors, jnp.asarray(prior.noise)))
    return calibrate(
        precision,
        cross,
        variance,
        np.asarray(jax.scipy.linalg.block_diag(*factors)),
        method=method,
        parts=parts,
        long_run=_long_run(prior, keys, statistics.blocks, weight, np.asarray(mean)),
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


def _shrinkage(white: Float[np.ndarray, "d d"], parts: Float[np.ndarray, "block d d"] | None) -> float:
    """Weight d / (n + d) of the identity, as under an inverse-Wishart prior worth d scores.

    n is how many independent scores would estimate the diagonal as well as it is: 2 over its mean squared relative
    error, which the blocks tell. Ledoit and Wolf's intensity minimizes the error summed over all matrix entries and
    shrinks ten times more; but interval widths depend on few entries at a time, and on the inverse (ADR 0008).
    """
    if parts is None or len(parts) < _FEWEST_BLOCKS:
        return _SHRINKAGE
    count, own = len(parts), np.maximum(np.diag(white), 1e-300)
    noise = np.sum((count * np.diagonal(parts, axis1=1, axis2=2) - own) ** 2, axis=0) / (count * (count - 1))
    effective = 2.0 / max(float(np.mean(noise / own**2)), 1e-12)
    return float(len(white) / (effective + len(white)))
