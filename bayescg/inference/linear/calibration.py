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
from bayescg.inference.linear.marginal import Prior, Reduced
from bayescg.inference.statistics.force_statistics import ForceStatistics

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
        raise ValueError("the data say nothing about the potential: no interaction was sampled; use more frames")
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


class LongRun(NamedTuple):
    """Scores of the time blocks of one trajectory about the fit, for their correlation in time.

    Attributes:
        scores: (block, free) gradient of the working log likelihood of each block.
        share: (block,) share of each block in the trajectory.
        numbers: (block,) number of the block; neighbors in time differ by the smallest difference.
    """

    scores: Float[np.ndarray, "block free"]
    share: Float[np.ndarray, " block"]
    numbers: np.ndarray

    def inflation(self, whiten: Float[np.ndarray, "free direction"]) -> Float[np.ndarray, " direction"]:
        """Long-run variance of the scores over their variance without correlation in time, not below one.

        The larger of two estimates from z_b, the whitened scores of a block. The sum of autocovariances, pooled over
        directions, up to the first lag that is not two standard errors above zero: misses the tail of a long memory.
        And in each direction that of a first-order autoregressive process with the same lag 1 (Andrews, Econometrica
        59, 817 (1991), doi:10.2307/2938229), where lags are averaged over neighboring directions, since a few dozen
        blocks know too little of one, and half a standard error is taken off, since a maximum collects chance: misses
        a weak but long memory. Smooth directions remember longer than rough ones, because the neighbors of a bead stay
        while distances jitter.

        Shares differ where frames have weights. Scores scatter in proportion to them, whatever the memory, so that the
        products of neighbors' shares stand beside those of their scores.

        Without any memory chance still adds a sixth for 16 blocks of 3 directions, a tenth for 20 of 9, and less for
        more.

        Args:
            whiten: directions, ordered from weak to strong, in which the scores of all blocks have unit variance.
        """
        count, directions = len(self.share), whiten.shape[1]
        if count < _FEWEST_BLOCKS:
            return np.ones(directions)
        spacing = int(np.diff(self.numbers).min())
        uneven = _Uneven.of(self.share)
        z = (self.scores - self.share[:, None] * self.scores.sum(axis=0)) @ whiten
        spectrum = np.linalg.eigvalsh(z @ z.T)
        independent = max(1.0, spectrum.sum() ** 2 / np.sum(spectrum**2))
        own = np.sum(z**2, axis=0)
        total, lost, first, lags = float(own.sum()), uneven.lost_alone, np.zeros(directions), []
        for lag in range(1, count // 4 + 1):
            pairs = self.numbers[lag:] - self.numbers[:-lag] == lag * spacing
            if not pairs.any():
                break
            lagged = np.sum((z[lag:] * z[:-lag])[pairs], axis=0) * count / pairs.sum()
            first = lagged if lag == 1 else first
            lags.append(uneven.at(lag, pairs))
            chance = lags[-1].chance / np.sqrt(independent)
            if lagged.sum() + lags[-1].lost * own.sum() < 2 * chance * own.sum():
                break
            total += 2 * float(lagged.sum())
            lost += 2 * lags[-1].lost
        # Deviations from a common mean lose the share (2 L + 1) / B of the long-run variance.
        pooled = total / (directions * (1 - lost))
        # Blocks of many frames have their memory within: their own variance is larger than that of independent frames.
        within = own.sum() / (directions * (1 - uneven.lost_alone)) - np.sqrt(2 / (uneven.worth * independent))
        average = _neighbors_average(directions)
        samples = uneven.worth * np.minimum(1 / np.sum(average**2, axis=1), independent)
        rho = average @ first / (average @ own)
        alike = uneven.alike(self.numbers, spacing)
        memory = _autoregressive(rho, 0.5 / np.sqrt(samples), uneven.lost_alone, lags[0].lost if lags else 0.0, alike)
        return np.maximum(max(1.0, pooled), max(1.0, within) * memory)


class _Lag(NamedTuple):
    """At one lag: share of the long-run variance that the mean takes, and standard error of the autocorrelation."""

    lost: float
    chance: float


class _Uneven(NamedTuple):
    """Blocks of different shares w: with s_b their scores, z_b = s_b - w_b sum(s).

    If a block's share v_b in the variance is in proportion to w_b^2, then E z_b z_c is that of scores about their true
    mean, less (w_b v_c + w_c v_b - w_b w_c) times the long-run variance. All numbers are 1 / B for B equal shares.

    Attributes:
        share: w, (block,).
        variance: v, (block,).
    """

    share: Float[np.ndarray, " block"]
    variance: Float[np.ndarray, " block"]

    @classmethod
    def of(cls, share: Float[np.ndarray, " block"]) -> _Uneven:
        """From the shares."""
        return cls(share, share**2 / np.sum(share**2))

    @property
    def lost_alone(self) -> float:
        """Share of the long-run variance that is lost from the sum of squares."""
        return float(2 * self.share @ self.variance - self.share @ self.share)

    @property
    def worth(self) -> float:
        """Blocks of equal share that would tell the variance as well."""
        return float(1 / np.sum(self.variance**2))

    def at(self, lag: int, pairs: np.ndarray) -> _Lag:
        """What a lag is worth, whose pairs are those."""
        one, other = slice(lag, None), slice(None, -lag)
        w, v, scale = self.share, self.variance, len(self.share) / pairs.sum()
        lost = (w[one] * v[other] + w[other] * v[one] - w[one] * w[other])[pairs].sum()
        return _Lag(float(scale * lost), float(scale * np.sqrt(np.sum((v[one] * v[other])[pairs]))))

    def alike(self, numbers: np.ndarray, spacing: int) -> Float[np.ndarray, " lag"]:
        """(lag,) sum of products of shares at that lag over the sum of squares, from lag 1 on; 1 for equal shares."""
        w, found = self.share, []
        for lag in range(1, len(w) // 2):
            pairs = numbers[lag:] - numbers[:-lag] == lag * spacing
            if not pairs.any():
                break
            found.append(np.sum((w[lag:] * w[:-lag])[pairs]) * len(w) / pairs.sum() / np.sum(w**2))
        return np.array(found)


def _neighbors_average(count: int) -> Float[np.ndarray, "direction direction"]:
    """Averages over neighboring directions, a tenth of all of them to either side."""
    apart = np.arange(count)[:, None] - np.arange(count)
    weight = np.exp(-0.5 * (apart / max(0.1 * count, 0.5)) ** 2)
    return weight / weight.sum(axis=1, keepdims=True)


def _autoregressive(rho, doubt, lost_alone: float, lost_next: float, alike) -> Float[np.ndarray, " direction"]:
    """Long-run over plain variance of first-order autoregressive scores from lag 1 about the sample mean."""
    long_run = np.ones_like(rho)
    if not len(alike):
        return long_run
    differing = 1 - np.array([*alike, alike.mean()])
    powers = np.arange(1, len(differing) + 1)
    for _ in range(20):
        # Each autocovariance has lost a share of the long-run variance, which is what is looked for.
        missing = np.minimum(long_run, 0.25 / lost_alone)
        true = rho * (1 - missing * lost_alone) + missing * lost_next
        true = np.clip((true - doubt) / alike[0], 0.0, 0.95)
        decay = true[:, None] ** powers
        decay[:, -1] /= 1 - true  # all lags beyond
        long_run = np.maximum((1 + true) / (1 - true) - 2 * decay @ differing, 1.0)
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
