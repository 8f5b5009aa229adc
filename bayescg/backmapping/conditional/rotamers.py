"""Wells of a torsion, found from data: which values count as one rotamer."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

_GRID = 360
_WIDTH = 0.2
"""Of the smoothing kernel [rad] at 500 values."""

_VALLEY = 0.6
"""Two peaks with more than this share of the lower one between them are one well."""

_FEWEST = 8
"""Values in a well."""


class Wells(NamedTuple):
    """A partition of the circle.

    Attributes:
        centers: circular means of the values in each well, ascending [rad].
        borders: where a well begins: that of `centers[k]` reaches from borders[k] to borders[k + 1], the last one back
            to borders[0]. Empty for a single well.
    """

    centers: tuple[float, ...]
    borders: tuple[float, ...]

    def assign(self, angles: Float[np.ndarray, " value"]) -> Int[np.ndarray, " value"]:
        """The number of the well that each angle [rad] lies in."""
        if not self.borders:
            return np.zeros(len(angles), int)
        turns = (np.asarray(angles) - self.borders[0]) % (2 * np.pi)
        starts = (np.array(self.borders) - self.borders[0]) % (2 * np.pi)
        return np.searchsorted(starts, turns, side="right") - 1


def find_wells(angles: Float[np.ndarray, " value"], *, smallest: float = 0.02) -> Wells:
    """Wells of a torsion from its values.

    Peaks of a kernel density estimate on the circle; neighbors without a clear valley between them, and wells with
    too few values, are joined. Nothing is known of chemistry: two, three or any number may come out.

    Args:
        angles: values of the torsion [rad].
        smallest: share of the values that makes a well.

    Returns:
        The wells.
    """
    angles = np.asarray(angles, float)
    grid = np.arange(_GRID) * 2 * np.pi / _GRID - np.pi
    density = _smooth(angles, grid)
    peaks = np.flatnonzero((density > np.roll(density, 1)) & (density >= np.roll(density, -1)))
    if len(peaks) < 2:
        return Wells((_mean(angles),), ())
    peaks = peaks.tolist()
    while len(peaks) > 1:
        valleys = [_lowest(density, a, b) for a, b in zip(peaks, [*peaks[1:], peaks[0]], strict=True)]
        tops = density[peaks]
        ratio = density[valleys] / np.minimum(tops, np.roll(tops, -1))
        if ratio.max() > _VALLEY:
            k = int(ratio.argmax())
            other = (k + 1) % len(peaks)
            peaks.pop(k if tops[k] < tops[other] else other)
            continue
        # The valley after peak k - 1 is where the well of peak k begins.
        borders = grid[np.roll(valleys, 1)]
        order = np.argsort(borders)
        label = Wells((), tuple(borders[order])).assign(angles)
        counts = np.bincount(label, minlength=len(peaks))
        few = int(counts.argmin())
        if counts[few] >= max(_FEWEST, smallest * len(angles)):
            centers = tuple(_mean(angles[label == k]) for k in range(len(peaks)))
            return Wells(centers, tuple(borders[order].tolist()))
        peaks.pop(int(order[few]))
    return Wells((_mean(angles),), ())


def _smooth(angles: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Kernel density estimate on the circle, by a histogram's Fourier coefficients."""
    width = _WIDTH * (500 / max(len(angles), 50)) ** 0.2
    counts = np.bincount(np.rint((angles - grid[0]) / (2 * np.pi) * _GRID).astype(int) % _GRID, minlength=_GRID)
    waves = np.fft.rfft(counts) * np.exp(-0.5 * (width * np.arange(_GRID // 2 + 1)) ** 2)
    return np.maximum(np.fft.irfft(waves, _GRID), 0) + 1e-9 * len(angles)


def _lowest(density: np.ndarray, a: int, b: int) -> int:
    """Where the density is lowest between two peaks, going up from the first."""
    between = np.arange(a, b if b > a else b + _GRID) % _GRID
    return int(between[density[between].argmin()])


def _mean(angles: np.ndarray) -> float:
    return float(np.angle(np.mean(np.exp(1j * angles))))
