"""When a reweighted draw may be believed, and where the next reference should go."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from bayescg.observables.references import References
from bayescg.observables.reweighting import Mixture, log_weights, squared_distances
from bayescg.samplers.importance import kish, pareto_k

_STEP = 4.0
"""Largest squared distance of a new reference from an old one; Gaussian log weights of this variance still overlap."""


@dataclass(frozen=True)
class Guard:
    """When `propagate` trusts a reweighted draw, and how many simulations it may add for those that it does not.

    A draw is trusted if its weights are worth at least `ess` independent frames, and the Pareto k of their tail is at
    most `pareto_k`, the limit of PSIS (Vehtari et al., JMLR 25 (2024) 72). The number of independent frames is Kish's
    effective sample size times the share of the reference's frames that are independent in time.

    Attributes:
        ess: smallest number of independent frames that a draw's weights must be worth.
        pareto_k: largest Pareto k.
        references: largest number of further references, each as long as the first one.
        simulations: largest number of draws that are then simulated by themselves, the worst first, each as long as the
            first reference.
        tolerance: share of draws that may fail before simulations are added for them. Draws that still fail are marked,
            and a warning counts them.

    Raises:
        ValueError: if `ess` is below 1, `pareto_k` outside (0, 1], a number of runs negative, or `tolerance` outside
            [0, 1).
    """

    ess: float = 20.0
    pareto_k: float = 0.7
    references: int = 3
    simulations: int = 16
    tolerance: float = 0.02

    def __post_init__(self):
        if not self.ess >= 1:
            raise ValueError(f"ess={self.ess}: at least 1")
        if not 0 < self.pareto_k <= 1:
            raise ValueError(f"pareto_k={self.pareto_k}: choose a limit in (0, 1]; PSIS holds up to 0.7")
        if self.references < 0 or self.simulations < 0:
            raise ValueError(
                f"references={self.references}, simulations={self.simulations}: numbers of runs, zero or more"
            )
        if not 0 <= self.tolerance < 1:
            raise ValueError(f"tolerance={self.tolerance}: a share of draws, in [0, 1)")


class Verdict(NamedTuple):
    """Diagnostics of the weights of each draw.

    Attributes:
        share: (draw,) Kish's effective sample size over the number of frames.
        ess: (draw,) independent frames that the weights are worth.
        pareto_k: (draw,) of the tail of the weights; -inf where they are bounded as far as can be seen, NaN
            of fewer than 25 frames.
        nearest: (draw,) the reference at the smallest distance.
        passed: (draw,) whether the guard lets the draw pass.
        enough: whether no more than the tolerated share of draws fails.
    """

    share: Float[np.ndarray, " draw"]
    ess: Float[np.ndarray, " draw"]
    pareto_k: Float[np.ndarray, " draw"]
    nearest: Int[np.ndarray, " draw"]
    passed: Bool[np.ndarray, " draw"]
    enough: bool


def judge(
    references: References, mixed: Mixture, coefficients: Float[np.ndarray, "draw basis"], guard: Guard
) -> Verdict:
    """Judge the weights of each draw."""
    logs = log_weights(mixed, coefficients)
    share = kish(np.exp(logs)) / logs.shape[1]
    nearest = squared_distances(mixed, coefficients, references.coefficients).argmin(axis=1)
    independent = np.zeros(len(coefficients))
    for k in range(len(references.coefficients)):
        # What decorrelates is the energy difference that makes the weights.
        series = (coefficients - references.coefficients[nearest]) @ mixed.energies[references.member == k].T
        independent += series.shape[1] / inefficiency(series)
    tails = np.array([pareto_k(row, each / len(row)) for row, each in zip(logs, independent, strict=True)])
    ess = share * independent
    passed = (ess >= guard.ess) & ~(tails > guard.pareto_k)
    return Verdict(share, ess, tails, nearest, passed, bool(np.mean(~passed) <= guard.tolerance))


def inefficiency(series: Float[np.ndarray, "draw frame"]) -> Float[np.ndarray, " draw"]:
    """Frames for each independent one: 1 + 2 sum_t rho_t, summed while pairs of lags are positive (Geyer 1992)."""
    length = series.shape[1]
    apart = series - series.mean(axis=1, keepdims=True)
    transform = np.fft.rfft(apart, n=2 * length, axis=1)
    covariance = np.fft.irfft(np.abs(transform) ** 2, axis=1)[:, :length]
    still = covariance[:, :1] <= 1e-24 * np.maximum(1.0, (series**2).sum(axis=1, keepdims=True))
    correlation = np.where(still, 0.0, covariance) / np.where(still, 1.0, covariance[:, :1])
    even = length // 2 * 2
    pairs = correlation[:, :even:2] + correlation[:, 1:even:2]
    positive = np.cumprod(pairs > 0, axis=1)
    return np.where(still[:, 0], 1.0, np.clip(2 * (pairs * positive).sum(axis=1) - 1, 1.0, length))


def next_reference(
    references: References, mixed: Mixture, coefficients: Float[np.ndarray, "draw basis"], verdict: Verdict
) -> tuple[Float[np.ndarray, " basis"], int]:
    """Coefficients of the reference that helps most, and the old one that it is nearest to.

    It is the mean of the failing draws on the side of the worst one, seen from that draw's nearest reference. In many
    dimensions a mean is nearer to draws than draws are to each other: another draw as reference would help itself
    only. A step that would leave the region where frames overlap is shortened.
    """
    failing = coefficients[~verdict.passed]
    nearest = verdict.nearest[~verdict.passed]
    distance = squared_distances(mixed, failing, references.coefficients).min(axis=1)
    worst = int(np.argmax(distance))
    base = references.coefficients[nearest[worst]]
    side = (failing - base) @ mixed.covariance @ (failing[worst] - base) > 0
    side[worst] = True
    target = failing[side].mean(axis=0)
    apart = squared_distances(mixed, target[None], references.coefficients)[0]
    start = int(apart.argmin())
    step = min(1.0, np.sqrt(_STEP / apart[start])) if apart[start] > 0 else 1.0
    return references.coefficients[start] + step * (target - references.coefficients[start]), start
