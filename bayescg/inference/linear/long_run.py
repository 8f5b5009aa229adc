"""Correlation of scores in time, from the time blocks of a trajectory."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

_FEWEST_BLOCKS = 16
"""Below this many blocks chance would add more than what memory there is."""


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
