"""Observables of reweighted frames, and the linear-response control of what reweighting gives."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable

import numpy as np
import xarray as xr
from jaxtyping import Float

from bayescg.observables._blocks import block_of_frame
from bayescg.observables.references import References
from bayescg.observables.reweighting import Mixture
from bayescg.observables.summary import summarize

Observable = Callable[..., xr.DataArray]

_STEP = 0.1
"""Largest relative change of a frame's weight in the central difference."""


def check_observable(observable: Observable) -> None:
    """Complain about what cannot be reweighted.

    Raises:
        ValueError: if it is no callable, or has no parameter `weights`.
    """
    if not callable(observable):
        raise ValueError(
            f"observable={observable!r} cannot be called: give a function of a dataset, such as "
            "functools.partial(rdf, a='W', b='W', cutoff=0.9)"
        )
    try:
        parameters = inspect.signature(observable).parameters.values()
    except (TypeError, ValueError):
        return
    if not any(p.name == "weights" or p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters):
        raise ValueError(
            "the observable takes no weights=, so that its frames cannot be reweighted: give a function (dataset, *, "
            "weights) such as those of bayescg.observables, or wrap a function of positions and box by "
            "observables.per_frame(function)"
        )


def evaluate(
    observable: Observable,
    references: References,
    coefficients: Float[np.ndarray, "draw basis"],
    weights: Float[np.ndarray, "draw frame"],
) -> xr.DataArray:
    """The observable for each row of weights, from one call.

    The dataset that the observable gets holds the frames of the references, `coefficients` (frame, basis), by which
    each frame was simulated, and `target_coefficients` (target, basis), one for each row of weights.

    Returns:
        Dims (draw, block, ...), with the coordinate `block_weight`.

    Raises:
        ValueError: if it returns something else.
    """
    dataset = references.frames.assign(
        coefficients=(("frame", "basis"), references.coefficients[references.member]),
        target_coefficients=(("target", "basis"), coefficients),
    )
    result = observable(dataset, weights=xr.DataArray(weights, dims=("draw", "frame")))
    return checked(result, weights)


def checked(result: xr.DataArray, weights: Float[np.ndarray, "draw frame"] | None) -> xr.DataArray:
    """What an observable returned, with the dimensions in order and block weights filled in."""
    if not isinstance(result, xr.DataArray) or not {"draw", "block"} <= set(result.dims):
        dims = result.dims if isinstance(result, xr.DataArray) else type(result).__name__
        raise ValueError(f"the observable must return a DataArray with dims (draw, block, ...); it gave {dims}")
    result = result.transpose("draw", "block", ...)
    if weights is not None and result.sizes["draw"] != len(weights):
        raise ValueError(
            f"the observable returned {result.sizes['draw']} draws for {len(weights)} rows of weights: it must pass "
            "weights= on"
        )
    if "block_weight" not in result.coords:
        # Blocks of reweighted frames do not weigh the same.
        n_blocks = result.sizes["block"]
        share = np.full((result.sizes["draw"], n_blocks), 1 / n_blocks)
        if weights is not None:
            share = weights @ np.eye(n_blocks)[block_of_frame(weights.shape[1], n_blocks)]
        result = result.assign_coords(block_weight=(("draw", "block"), share))
    return result


def averages(array: xr.DataArray) -> Float[np.ndarray, "draw ..."]:
    """Average of each draw over its blocks."""
    share = array["block_weight"].transpose("draw", "block").values
    share = share / share.sum(axis=1, keepdims=True)
    values = np.where(share.reshape(*share.shape, *(1,) * (array.ndim - 2)) > 0, array.values, 0.0)
    return np.einsum("db,db...->d...", share, values)


def response_weights(
    mixed: Mixture, references: References, coefficients: Float[np.ndarray, "draw basis"], nearest: np.ndarray
) -> tuple[Float[np.ndarray, "both frame"], Float[np.ndarray, " draw"]]:
    """Weights a little towards and away from each draw, as seen from its nearest reference.

    To first order in w_d - w_k the weights p of reference k become p (1 + y), y = -beta (A - <A>) . (w_d - w_k). With
    p (1 + e y) and p (1 - e y), both positive, a central difference of the observable is -beta Cov(O, A) . (w_d - w_k)
    whatever the observable is made of.

    Returns:
        (2 draw, frame) weights, all plus rows before all minus rows, and (draw,) the steps e.
    """
    base = mixed.own[nearest]
    change = -(coefficients - references.coefficients[nearest]) @ mixed.energies.T
    change -= (base * change).sum(axis=1, keepdims=True)
    step = _STEP / np.maximum(np.abs(change).max(axis=1), 1e-12)
    scaled = step[:, None] * change
    return np.concatenate([base * (1 + scaled), base * (1 - scaled)]), step


def linear_response(plus: np.ndarray, minus: np.ndarray, step: Float[np.ndarray, " draw"]) -> np.ndarray:
    """The observable of each draw to first order, from its averages under `response_weights`."""
    return (plus + minus) / 2 + (plus - minus) / (2 * step.reshape(-1, *(1,) * (plus.ndim - 1)))


def discrepancy(array: xr.DataArray, predicted: np.ndarray, compared: np.ndarray) -> Float[np.ndarray, " draw"]:
    """Root mean square difference of reweighted draws and linear response, in units of the error bar.

    Args:
        array: the propagated observable.
        predicted: (compared draw, ...) its linear response.
        compared: (draw,) which draws were reweighted.

    Returns:
        (draw,) rms over all bins of O_d - O_d,linear over the rms of `sd`; NaN for draws that are not compared.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # correlated blocks are for the user's own summary to say
        scale = np.sqrt(np.mean(summarize(array)["sd"].values ** 2))
    apart = averages(array)[compared] - predicted
    result = np.full(len(compared), np.nan)
    if not compared.any():
        return result
    rms = np.sqrt(np.mean(apart.reshape(len(apart), -1) ** 2, axis=1))
    result[compared] = np.divide(rms, scale, out=np.zeros_like(rms), where=scale > 0)
    return result
