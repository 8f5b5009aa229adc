"""A reference ensemble and what it says about nearby coefficients: means, covariances, errors, overlap.

U is linear in w, so that one simulation with its basis energies stored gives averages at other coefficients by the
weights exp(-beta (U_w - U_ref)), trusted as far as their effective sample size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from bayescg.inference.structural.structure import Frames

_FLAT = 1e-8
"""Variance of a direction, relative to the largest, below which it is rounding."""

_LEAST = 0.1
"""Share of its variance by batch means that a direction keeps."""


class Moments(NamedTuple):
    """Averages of some per-frame quantities at given coefficients.

    Attributes:
        mean: (k,).
        covariance: (k, k) over the ensemble.
        error: (k, k) covariance of the mean from the finite length of the simulation.
        overlap: effective share of the frames, 1 where no reweighting is needed.
    """

    mean: Float[np.ndarray, " k"]
    covariance: Float[np.ndarray, "k k"]
    error: Float[np.ndarray, "k k"]
    overlap: float


@dataclass(frozen=True, eq=False)
class Reference:
    """A simulated ensemble.

    Attributes:
        frames: its structure.
        energy: (run, frame) potential energy under which it was made, without the baselines [kJ/mol].
        kT: thermal energy [kJ/mol].
    """

    frames: Frames
    energy: Float[np.ndarray, "run frame"]
    kT: float

    def weights(self, coefficients: Float[np.ndarray, " basis"]) -> tuple[Float[np.ndarray, "run frame"], float]:
        """Normalized weight of each frame at other coefficients, and the effective share of the frames."""
        log = (self.energy - self.frames.basis @ coefficients) / self.kT
        weight = np.exp(log - log.max())
        weight /= weight.sum()
        return weight, float(1 / np.sum(weight**2) / weight.size)

    def moments(self, coefficients: Float[np.ndarray, " basis"], values: Float[np.ndarray, "run frame k"]) -> Moments:
        """Mean, covariance and error of per-frame values at given coefficients."""
        weight, overlap = self.weights(coefficients)
        mean = np.einsum("rf,rfk->k", weight, values)
        centered = values - mean
        covariance = np.einsum("rfk,rf,rfl->kl", centered, weight, centered, optimize=True)
        influence = centered * (weight * weight.size)[..., None]
        return Moments(mean, covariance, long_run_covariance(influence) / weight.size, overlap)


def long_run_covariance(values: Float[np.ndarray, "run frame k"]) -> Float[np.ndarray, "k k"]:
    """Covariance per frame of the mean of correlated frames: sum over lags of the autocovariances.

    Overlapping batch means V_b, that is Bartlett's window (Newey & West, doi:10.2307/1913610), miss what is correlated
    over longer times than a batch, and part of the rest: a sixth of the variance where it is correlated over two frames
    of six. The lugsail window (3 V_b - V_{b/3}) / 2 (Vats & Flegal, doi:10.1093/biomet/asab049) takes the latter off to
    first order. It can be indefinite, so that directions keep a tenth of V_b at least. The batch is four times the
    longest integrated correlation time of any direction, at least one frame and at most a tenth of a run.

    Args:
        values: per-frame values, centered about the mean of all runs.

    Returns:
        Gamma, with Cov(mean) = Gamma / (runs * frames).
    """
    length = batch_length(values)
    whole = _batch_means(values, length)
    part = _batch_means(values, max(length // 3, 1)) if length > 1 else whole
    size, turn = np.linalg.eigh(whole)
    used = size > _FLAT * max(float(size[-1]), 1e-300)
    if length == 1 or not np.any(used):
        return whole
    root, back = turn[:, used] * np.sqrt(size[used]), turn[:, used] / np.sqrt(size[used])
    ratio, axes = np.linalg.eigh(1.5 * np.eye(int(used.sum())) - 0.5 * back.T @ part @ back)
    root = root @ axes
    return (root * np.maximum(ratio, _LEAST)) @ root.T


def _batch_means(values: Float[np.ndarray, "run frame k"], length: int) -> Float[np.ndarray, "k k"]:
    runs, frames, k = values.shape
    if length == 1:
        flat = values.reshape(-1, k)
        return flat.T @ flat / max(len(flat) - 1, 1)
    sums = np.concatenate([np.zeros((runs, 1, k)), np.cumsum(values, axis=1)], axis=1)
    batches = (sums[:, length:] - sums[:, :-length]).reshape(-1, k)
    # Batches about the mean of all frames lose the share length / (all frames) of their variance.
    return batches.T @ batches / (len(batches) * length) / (1 - length / (runs * frames))


def batch_length(values: Float[np.ndarray, "run frame k"]) -> int:
    """Frames in a batch: four integrated correlation times of the slowest directions (Sokal's window).

    Components remember little: a distance jitters from frame to frame. The combinations that vary little, a few times
    less than their parts would if these were independent, are collective and slow, and they decide the pressure. They
    are among the principal components of the correlation matrix.
    """
    frames = values.shape[1]
    scale = np.mean(values**2, axis=(0, 1))
    used = scale > 1e-12 * max(float(scale.max()), 1e-300)
    if frames < 20 or not np.any(used):
        return 1
    unit = values[..., used] / np.sqrt(scale[used])
    variances, directions = np.linalg.eigh(np.einsum("rfk,rfl->kl", unit, unit) / (unit.shape[0] * frames))
    kept = variances > _FLAT * variances[-1]
    unit = unit @ (directions[:, kept] / np.sqrt(variances[kept]))
    size = 1 << (2 * frames - 1).bit_length()
    spectrum = np.abs(np.fft.rfft(unit, size, axis=1)) ** 2
    correlation = np.fft.irfft(spectrum, size, axis=1)[:, : frames // 4].mean(axis=0) / frames
    # The largest of many noisy estimates is too large: that makes batches longer than needed, and the error a little
    # noisier. Too short ones would miss the direction that is slow.
    time = np.max(_integrated(correlation))
    return int(np.clip(np.ceil(4 * time), 1, max(frames // 10, 1))) if time > 1.2 else 1


def _integrated(correlation: Float[np.ndarray, "lag k"]) -> Float[np.ndarray, " k"]:
    """1 + 2 sum of the autocorrelations up to five times the result."""
    running = 2 * np.cumsum(correlation, axis=0) - 1
    lags = np.arange(len(running))[:, None]
    done = lags >= 5 * running
    last = np.where(done.any(axis=0), done.argmax(axis=0), len(running) - 1)
    return np.maximum(running[last, np.arange(running.shape[1])], 1.0)


def structure_z(
    data: Frames, reference: Reference, coefficients: Float[np.ndarray, " basis"], enough: int = 20
) -> dict[str, Float[np.ndarray, " interval"]]:
    """Differences of the histograms of each term over their standard errors, the errors of both ensembles in them.

    Args:
        data: the atomistic frames.
        reference: the simulated ones.
        coefficients: to which they are reweighted.
        enough: intervals that the data visited less often are nan.
    """
    result = {}
    for name, counts in data.counts.items():
        used = counts.sum(axis=(0, 1)) >= enough
        own = counts[..., used]
        mean = own.mean(axis=(0, 1))
        error = np.diag(long_run_covariance(own - mean)) / data.size
        moments = reference.moments(coefficients, reference.frames.counts[name][..., used])
        result[name] = np.full(counts.shape[-1], np.nan)
        result[name][used] = (moments.mean - mean) / np.sqrt(error + np.diag(moments.error))
    return result
