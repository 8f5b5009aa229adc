"""Averages over blocks of frames: the loop that all observables share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from bayescg._runtime import cpu_count, progress

FrameFunction = Callable[[NDArray, NDArray], tuple[NDArray, float]]

_DEFAULT_BLOCKS = 10
# Frames handed to a thread at a time: enough to hide the cost of handing over, few enough for a smooth progress bar.
_CHUNK = 8


@dataclass(frozen=True, eq=False)
class BlockAverages:
    """Averages of one quantity over contiguous blocks of frames.

    Attributes:
        values: (draw, block, ...) average within each block; NaN in a block without any weight.
        weight: (draw, block) share of each block in the average of its draw; sums to one over the blocks, so that
            sum_b weight_b values_b is exactly the average over all frames.
        shared: whether all draws are reweightings of the same frames.
        has_draws: whether the draw axis is real; if not, it has length one and is dropped from the result.
    """

    values: NDArray[np.float64]
    weight: NDArray[np.float64]
    shared: bool
    has_draws: bool


def block_averages(
    dataset: xr.Dataset,
    frame_function: FrameFunction,
    shape: tuple[int, ...],
    *,
    blocks: int | None,
    weights: ArrayLike | xr.DataArray | None,
    description: str,
    variable: str = "positions",
) -> BlockAverages:
    """Average a ratio of two per-frame quantities over blocks of frames.

    Block b of draw d holds sum_f w_f numerator_f / sum_f w_f denominator_f over its frames, and its weight is its share
    of the denominator. Blocks are contiguous; if the frames do not divide evenly, the first blocks are one frame
    longer, and no frame is left out.

    Args:
        dataset: CG trajectory or ensemble.
        frame_function: `(coordinates (bead, 3), box (3, 3)) -> (numerator, denominator)`; runs in threads.
        shape: shape of the numerator.
        blocks: number of blocks; None: 10, or as many as there are frames if fewer.
        weights: (draw, frame) or (frame,) nonnegative; None: the dataset's variable `weight`, or uniform without it.
            (draw, frame) with a dataset without draws
            reweights its one trajectory to several draws, reading and counting every frame once.
        description: text of the progress bar.
        variable: "positions" or "velocities".

    Returns:
        The averages.

    Raises:
        ValueError: if the dataset lacks what is needed, a coordinate is not finite, or blocks or weights do not fit.
    """
    frames = _check(dataset, variable)
    boundaries = block_of_frame(frames, blocks)
    n_blocks = int(boundaries[-1]) + 1
    has_draws = "draw" in dataset.dims
    n_stored = dataset.sizes["draw"] if has_draws else 1
    weights = given_or_own(weights, dataset)
    weight = frame_weights(weights, n_stored if has_draws else None, frames)
    shared = not has_draws and weights is not None and np.ndim(weights) == 2
    n_draws = weight.shape[0]
    numerator = np.zeros((n_draws, n_blocks, *shape))
    denominator = np.zeros((n_draws, n_blocks))

    workers = min(4, cpu_count())
    with (
        ThreadPoolExecutor(workers) as pool,
        progress(description, n_stored * frames) as advance,
    ):
        for stored in range(n_stored):
            rows = np.arange(n_draws) if not has_draws else np.array([stored])
            # A frame that no draw gives weight to need not be looked at.
            wanted = np.flatnonzero(weight[rows].any(axis=0))
            coordinates, box = _load(dataset, variable, stored if has_draws else None)
            chunks = [wanted[k : k + _CHUNK] for k in range(0, len(wanted), _CHUNK)]

            def measure(chunk: NDArray, coordinates=coordinates, box=box, draw=stored if has_draws else None):
                part = _finite(coordinates, chunk, draw, variable)
                return [frame_function(x, lattice) for x, lattice in zip(part, box[chunk], strict=True)]

            for chunk, results in zip(chunks, pool.map(measure, chunks), strict=True):
                for frame, (above, below) in zip(chunk, results, strict=True):
                    w = weight[rows, frame]
                    numerator[rows, boundaries[frame]] += w.reshape(-1, *(1,) * len(shape)) * above
                    denominator[rows, boundaries[frame]] += w * below
                advance(len(chunk))
            advance(frames - len(wanted))
    total = denominator.sum(axis=1, keepdims=True)
    if np.any(total <= 0):
        raise ValueError(
            f"{description}: there is nothing to average in draw {int(np.argmin(total))}; "
            "choose a longer cutoff or other bead types"
        )
    filled = denominator.reshape(*denominator.shape, *(1,) * len(shape))
    values = np.divide(numerator, filled, out=np.full(numerator.shape, np.nan), where=filled > 0)
    return BlockAverages(values, denominator / total, shared, has_draws or shared)


def block_of_frame(frames: int, blocks: int | None) -> NDArray[np.int64]:
    """Block number of each frame: contiguous blocks whose lengths differ by one frame at most.

    Args:
        frames: number of frames.
        blocks: number of blocks; None: 10, or `frames` if fewer.

    Returns:
        (frame,) block numbers.

    Raises:
        ValueError: if there are more blocks than frames, or none.
    """
    count = min(_DEFAULT_BLOCKS, frames) if blocks is None else int(blocks)
    if not 1 <= count <= frames:
        raise ValueError(f"blocks={blocks}: choose between 1 and the number of frames, {frames}")
    return np.repeat(np.arange(count), [len(part) for part in np.array_split(np.arange(frames), count)])


def given_or_own(weights: ArrayLike | xr.DataArray | None, dataset: xr.Dataset) -> ArrayLike | xr.DataArray | None:
    """The weights that are asked for; if none are, those that the frames of a biased run have (`weight`)."""
    own = weights is None and "weight" in dataset and dataset["weight"].dims == ("frame",)
    return dataset["weight"].values if own else weights


def frame_weights(weights: ArrayLike | xr.DataArray | None, draws: int | None, frames: int) -> NDArray[np.float64]:
    """Weights as (draw, frame), each draw's summing to one.

    Args:
        weights: (draw, frame), (frame,) or None for uniform ones; a DataArray may have its dimensions in any order.
        draws: number of draws of the dataset; None: it has no draw dimension, and any number of weight rows is allowed.
        frames: number of frames of the dataset.

    Returns:
        (draw, frame); one row when there are no draws.

    Raises:
        ValueError: if shapes do not fit, or weights are negative, not finite, or all zero in a draw.
    """
    if weights is None:
        return np.full((draws or 1, frames), 1.0 / frames)
    if isinstance(weights, xr.DataArray):
        weights = weights.transpose(*[d for d in ("draw", "frame") if d in weights.dims])
    array = np.asarray(weights, dtype=np.float64)
    fits = array.ndim in (1, 2) and array.shape[-1] == frames and array.shape[0] > 0
    if not fits or (array.ndim == 2 and draws is not None and len(array) != draws):
        shapes = f"(frame={frames},) or ({'draw' if draws is None else f'draw={draws}'}, frame={frames})"
        raise ValueError(f"weights have shape {array.shape}: this dataset needs {shapes}")
    if not np.all(np.isfinite(array)) or np.any(array < 0):
        raise ValueError(
            "weights must be finite and not negative: exponentiate log weights after subtracting their maximum"
        )
    rows = np.broadcast_to(array, (draws or 1, frames)) if array.ndim == 1 else array
    total = rows.sum(axis=1, keepdims=True)
    if np.any(total <= 0):
        raise ValueError(f"all weights of draw {int(np.argmin(total))} are zero: leave that draw out")
    return rows / total


def _check(dataset: xr.Dataset, variable: str) -> int:
    """Number of frames; complains about what is not a trajectory."""
    if variable not in dataset:
        raise ValueError(f"the dataset has no {variable!r}; give a coarse-grained trajectory or an ensemble that has")
    if "frame" not in dataset[variable].dims:
        raise ValueError("the dataset has no dimension 'frame': select frames with isel(frame=[k]), not isel(frame=k)")
    unknown = set(dataset[variable].dims) - {"draw", "frame", "bead", "xyz"}
    if unknown:
        raise ValueError(
            f"{variable} have the dimensions {sorted(map(str, unknown))}: only draw, frame, bead, xyz are understood"
        )
    if 0 in dataset[variable].shape:
        raise ValueError(f"{variable} are empty: {dict(dataset[variable].sizes)}")
    if "box" not in dataset:
        raise ValueError("the dataset has no 'box': observables are those of periodic systems")
    return dataset.sizes["frame"]


def _load(dataset: xr.Dataset, variable: str, draw: int | None) -> tuple[NDArray, NDArray]:
    """Coordinates (frame, bead, 3) of one draw in their stored precision, and boxes (frame, 3, 3)."""
    chosen = dataset[[variable, "box"]] if draw is None else dataset[[variable, "box"]].isel(draw=draw)
    coordinates = chosen[variable].transpose("frame", "bead", "xyz").values
    box = chosen["box"].transpose(..., "vector", "xyz").values.astype(np.float64)
    return coordinates, np.broadcast_to(box, (len(coordinates), 3, 3))


def _finite(coordinates: NDArray, chunk: NDArray, draw: int | None, variable: str) -> NDArray[np.float64]:
    """Some frames in double precision, after checking that they are finite."""
    part = coordinates[chunk].astype(np.float64)
    if not np.all(np.isfinite(part)):
        frame = int(chunk[~np.isfinite(part).all(axis=(1, 2))][0])
        where = f"frame {frame}" if draw is None else f"draw {draw}, frame {frame}"
        raise ValueError(f"{variable} of {where} are not finite: leave out what blew up with isel")
    return part


def to_array(
    averages: BlockAverages,
    dataset: xr.Dataset,
    *,
    name: str,
    axis: tuple[str, NDArray, Mapping[str, object]] | None,
    attrs: Mapping[str, object],
) -> xr.DataArray:
    """Block averages as a DataArray with dims (draw, block, axis), or without `draw` for a single trajectory.

    Args:
        averages: what `block_averages` returned.
        dataset: where the labels of the draws come from.
        name: name of the array.
        axis: name, bin centers and attrs of the last dimension; None for a scalar observable.
        attrs: attrs of the array.

    Returns:
        The array, with the coordinate `block_weight` (draw, block).
    """
    dims = ("draw", "block") if averages.has_draws else ("block",)
    values, weight = (
        (averages.values, averages.weight) if averages.has_draws else (averages.values[0], averages.weight[0])
    )
    coords: dict[str, object] = {"block": np.arange(values.shape[len(dims) - 1])}
    if "draw" in dataset.dims:
        coords |= {str(k): c.variable for k, c in dataset.coords.items() if c.dims == ("draw",)}
    coords["block_weight"] = (dims, weight, {"long_name": "share of the block in the average of its draw"})
    if axis is not None:
        coords[axis[0]] = (axis[0], axis[1], axis[2])
        dims = (*dims, axis[0])
    kept = {k: dataset.attrs[k] for k in ("source", "temperature") if k in dataset.attrs}
    return xr.DataArray(values, coords, dims, name, {**attrs, "shared_reference": int(averages.shared), **kept})
