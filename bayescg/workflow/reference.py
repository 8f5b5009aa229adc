"""Observables of a trajectory that is never held in memory, block by block as its frames pass."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import add

import numpy as np
import xarray as xr

from bayescg.workflow.schema.observables import Observable

_BLOCKS = 10


class Reference:
    """Collects the observables of passing chunks; the result is what one call on all frames would give.

    Blocks hold as many frames as they would in one call. Averages of the parts of a block are weighted by their
    frames, or the sum of the frames' weights, which is exact where every frame counts alike (all observables but the
    angles between neighbors, where the number of angles varies by a percent or so from frame to frame).

    Args:
        observables: which.
        frames: how many frames will pass.
        exclude_bonds: as in the potential.
    """

    def __init__(self, observables: Sequence[Observable], frames: int, exclude_bonds: int):
        self._observables, self._exclude_bonds, self._seen = observables, exclude_bonds, 0
        self._block = [
            np.repeat(np.arange(count), [len(part) for part in np.array_split(np.arange(frames), count)])
            for count in (min(each.blocks or _BLOCKS, frames) for each in observables)
        ]
        self._parts: list[dict[int, list[tuple[float, xr.DataArray]]]] = [{} for _ in observables]

    def add(self, chunk: xr.Dataset) -> None:
        """Count a chunk of frames."""
        chunk = chunk.assign_attrs(exclude_bonds=self._exclude_bonds)
        size = chunk.sizes["frame"]
        for observable, blocks, parts in zip(self._observables, self._block, self._parts, strict=True):
            numbers = blocks[self._seen : self._seen + size]
            for block in np.unique(numbers).tolist():
                inside = chunk.isel(frame=np.flatnonzero(numbers == block))
                share = float(inside["weight"].sum()) if "weight" in inside else float(inside.sizes["frame"])
                if share == 0:
                    continue
                part = observable.measure(inside, blocks=1).isel(block=0, drop=True)
                kept = parts.setdefault(block, [])
                kept.append((share, part.drop_vars("block_weight", errors="ignore")))
                if len(kept) > 1:
                    parts[block] = [_merge(kept)]
        self._seen += size

    def state(self) -> dict[str, xr.Dataset]:
        """What has been counted so far, for a file: a group for each block of each observable."""
        return {
            f"{number}/{block}": part.to_dataset(name="value").assign_attrs(frames=frames, name=str(part.name))
            for number, parts in enumerate(self._parts)
            for block, ((frames, part),) in parts.items()
        }

    def restore(self, state: dict[str, xr.Dataset], seen: int) -> None:
        """Go on from a state, after so many frames."""
        self._seen = seen
        for place, part in state.items():
            number, block = map(int, place.split("/"))
            if number < len(self._parts):
                self._parts[number][block] = [(float(part.attrs["frames"]), part["value"].rename(part.attrs["name"]))]

    def results(self) -> list[xr.DataArray]:
        """One array for each observable, dims (block, ...)."""
        return [_stack(parts) for parts in self._parts]

    def tree(self) -> xr.DataTree:
        """The results as they lie in a file: a group for each, called by its number."""
        groups = {
            str(number): array.to_dataset(name="value").assign_attrs(kind=each.kind, label=each.label)
            for number, (each, array) in enumerate(zip(self._observables, self.results(), strict=True))
        }
        return xr.DataTree.from_dict({"/": xr.Dataset(), **groups})


def _merge(parts: list[tuple[float, xr.DataArray]]) -> tuple[float, xr.DataArray]:
    frames = sum(count for count, _ in parts)
    # Distributions of bond lengths cover the bins where something was seen: elsewhere they are zero.
    arrays = _aligned(parts)
    total = reduce(add, [(count / frames) * array for (count, _), array in zip(parts, arrays, strict=True)])
    return frames, total.assign_attrs(parts[0][1].attrs)


def _aligned(parts: list[tuple[float, xr.DataArray]]) -> tuple[xr.DataArray, ...]:
    arrays = (array for _, array in parts)
    return xr.align(*arrays, join="outer", fill_value=0.0)  # pyright: ignore[reportCallIssue, reportArgumentType]  xarray takes numbers


def _stack(parts: dict[int, list[tuple[float, xr.DataArray]]]) -> xr.DataArray:
    merged = [_merge(parts[block]) for block in sorted(parts)]
    frames = np.array([count for count, _ in merged], float)
    stacked = xr.concat(_aligned(merged), "block", combine_attrs="override").assign_coords(block=np.arange(len(merged)))
    first = merged[0][1]
    for name in first.dims:
        stacked[name].attrs.update(first[name].attrs)
    return stacked.assign_coords(block_weight=("block", frames / frames.sum())).rename(first.name)
