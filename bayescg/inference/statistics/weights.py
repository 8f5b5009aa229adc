"""Weights of frames: of a biased run, of replicas at other temperatures, from MBAR.

Frames of a biased ensemble with weights exp(bias / kT) are worth (sum w)^2 / sum w^2 independent ones (Kish, Survey
Sampling, Wiley 1965, section 11.7).
"""

from __future__ import annotations

import numpy as np
import xarray as xr
from jaxtyping import Float, Int

ALL_ZERO = (
    "all frames have the weight 0: nothing is left to fit; give weights up to a factor, such as "
    "exp((bias - largest bias) / kT)"
)

OUT_OF_BOUNDS = (
    "squares of the weights are too small or too large for a number: subtract the largest exponent before taking exp, "
    "weight = exp((bias - largest bias) / kT)"
)

_FEWEST, _LEAST_SHARE = 10, 0.05
"""Effective frames that are worth a warning. With fewer than ten, one or two frames are much of the fit, and of its
error bar as well. Below a twentieth of the frames, log-normal weights have a variance above 3: those frames that should
weigh most are then likely never met, so that the number of effective frames itself is too large."""


def frame_weights(cg: xr.Dataset, numbers: Int[np.ndarray, " frame"]) -> Float[np.ndarray, " frame"]:
    """The variable `weight` of frames, up to a factor; ones without it.

    Args:
        cg: frames.
        numbers: of the frames, for errors.

    Raises:
        ValueError: if a weight is negative or not finite, or there is not one for each frame.
    """
    if "weight" not in cg:
        return np.ones(len(numbers))
    try:
        weights = np.asarray(cg["weight"].values, float)
    except (TypeError, ValueError):
        raise ValueError(
            f"weight is made of {cg['weight'].dtype}, not of numbers: give one number for each frame"
        ) from None
    if weights.shape != (len(numbers),) or cg["weight"].dims != ("frame",):
        raise ValueError(
            f"weight has shape {weights.shape} over {cg['weight'].dims}: give one number for each of the "
            f'{len(numbers)} frames, cg["weight"] = ("frame", weights)'
        )
    wrong = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
    if len(wrong):
        raise ValueError(
            f"the weight of frame {numbers[wrong[0]]} is {weights[wrong[0]]:g}: weights are probabilities up to a "
            "factor, such as exp(bias / kT), and not negative; subtract the largest exponent before taking exp"
        )
    return weights


def weights_of(cg: xr.Dataset) -> Float[np.ndarray, " frame"] | None:
    """Checked weights of a trajectory; None if it has none, or no dimension `frame`.

    Raises:
        ValueError: as `frame_weights`.
    """
    if "weight" not in cg or "frame" not in cg.dims:
        return None
    return frame_weights(cg, cg["frame"].values if "frame" in cg.coords else np.arange(cg.sizes["frame"]))


def counted(cg: xr.Dataset) -> xr.Dataset:
    """The frames whose weight is not 0, with their absolute numbers: the others are as if they were not there.

    Raises:
        ValueError: as `frame_weights`.
    """
    weights = weights_of(cg)
    if weights is None or np.all(weights > 0):
        return cg
    if "frame" not in cg.coords:
        cg = cg.assign_coords(frame=np.arange(len(weights)))
    return cg.isel(frame=weights > 0)


def require_alike(have: set[bool]) -> None:
    """Refuse chunks of which only some have weights.

    Args:
        have: whether they do.

    Raises:
        ValueError: if some do and some do not.
    """
    if len(have) > 1:
        raise ValueError(
            "some chunks have the variable `weight`, and others do not: give all of them weights with one common "
            "factor, or none"
        )


def effective(weights: Float[np.ndarray, " frame"]) -> float:
    """(sum w)^2 / sum w^2; 0 if all are 0."""
    largest = np.max(weights, initial=0.0)
    if not largest > 0:
        return 0.0
    relative = weights / largest  # squares of tiny weights would vanish
    return float(relative.sum() ** 2 / np.sum(relative**2))


def first_frames(cg: xr.Dataset, count: int) -> xr.Dataset:
    """So many frames for a first fit: the first ones, or with unequal weights some that stand for all.

    The first frames of a biased run may all have weights near 0, and a fit to them be that of another ensemble. Taken
    are the frames at equal steps of the added-up weight (systematic resampling; Kitagawa, J. Comput. Graph. Stat. 5, 1
    (1996), doi:10.2307/1390750), each with the number of steps that fall on it as its weight.
    """
    weights = weights_of(cg)
    if weights is None or len(weights) <= count or np.ptp(weights) == 0:
        return cg.isel(frame=slice(0, count))
    reached = np.cumsum(weights)
    steps = (np.arange(count) + 0.5) / count * reached[-1]
    frames, times = np.unique(np.searchsorted(reached, steps), return_counts=True)
    return cg.isel(frame=frames).assign(weight=("frame", times.astype(float)))


def doubts(n_frames: int, effective_frames: float) -> list[str]:
    """What few effective frames mean, in words for the warnings of a fit."""
    if equal(n_frames, effective_frames) or effective_frames >= max(_FEWEST, _LEAST_SHARE * n_frames):
        return []
    return [
        f"the {n_frames} frames are worth {effective_frames:.3g} of equal weight: few of them carry the fit, and those "
        "that should weigh most may never have been met, which no error bar shows. Bias less, add windows of another "
        "bias (MBAR), or sample longer"
    ]


def equal(n_frames: int, effective_frames: float) -> bool:
    """Whether all weights of each system are the same."""
    return bool(np.isclose(n_frames, effective_frames, rtol=1e-9))


def require_equal(n_frames: int, effective_frames: float, what: str, remedy: str) -> None:
    """Refuse unequal weights where independent noise is assumed.

    Raises:
        ValueError: if weights differ.
    """
    if not equal(n_frames, effective_frames):
        raise ValueError(
            f"{what} takes frames for independent draws of one ensemble, but these {n_frames} have weights (worth "
            f"{effective_frames:.4g} of equal weight), for which independent noise gives no likelihood: {remedy}"
        )


def refuse_weights(cg: xr.Dataset, what: str, remedy: str) -> None:
    """Refuse a trajectory with unequal weights where they would not be looked at.

    Raises:
        ValueError: if weights differ.
    """
    weights = weights_of(cg)
    if weights is not None and np.ptp(weights) > 0:
        raise ValueError(
            f"{what} does not take weights of frames, and these frames have some, from {weights.min():.3g} to "
            f"{weights.max():.3g}: {remedy}"
        )
