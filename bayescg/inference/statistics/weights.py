"""Weights of frames: of a biased run, of replicas at other temperatures, from MBAR."""

from __future__ import annotations

import numpy as np
import xarray as xr
from jaxtyping import Float, Int


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
    weights = np.asarray(cg["weight"].values, float)
    if weights.shape != (len(numbers),):
        raise ValueError(f"weight has shape {weights.shape}: give one number for each of the {len(numbers)} frames")
    wrong = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
    if len(wrong):
        raise ValueError(
            f"the weight of frame {numbers[wrong[0]]} is {weights[wrong[0]]:g}: weights are probabilities up to a "
            "factor, such as exp(bias / kT), and not negative; subtract the largest exponent before taking exp"
        )
    return weights
