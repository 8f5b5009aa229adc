"""Atoms that were placed, into files."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import xarray as xr

from bayescg.data.trajectories.writing import write_positions


def write_atoms(
    result: xr.Dataset,
    path: str | os.PathLike[str],
    universe,
    *,
    draw: int | slice | None = None,
    frame: int | None = None,
) -> Path:
    """Write placed atoms to a file of any format that MDAnalysis writes.

    All draws of the first frame come first, then those of the second. A file cannot hold weights. If they differ, draws
    of large weight are written more than once and others are left out, unless draws are chosen.

    Args:
        result: of `sample`.
        path: file; its suffix says the format (pdb, gro, xtc, trr, dcd, ...).
        universe: MDAnalysis Universe with the names of the atoms, in the order of the target's.
        draw: which draws, by position; None for all.
        frame: which frame, by position; None for all.

    Returns:
        The path.

    Raises:
        ValueError: if the universe has other atoms, the format cannot hold them, or there is nothing to write.
    """
    if "positions" not in result or result["positions"].dims != ("draw", "frame", "atom", "xyz"):
        raise ValueError("the result has no positions (draw, frame, atom, xyz): give what `sample` returned")
    chosen = result
    if draw is not None:
        chosen = chosen.isel(draw=[draw] if isinstance(draw, int | np.integer) else draw)
    if frame is not None:
        chosen = chosen.isel(frame=[frame])
    if 0 in chosen["positions"].shape:
        raise ValueError(f"draw={draw}, frame={frame} choose nothing of {dict(result.sizes)}")
    values = chosen["positions"].transpose("frame", "draw", "atom", "xyz").values
    draws = values.shape[1]
    if draw is None and "log_weight" in chosen:
        values = np.stack([x[_resampled(w)] for x, w in zip(values, chosen["log_weight"].values.T, strict=True)])
    box = np.repeat(chosen["box"].values, draws, axis=0) if "box" in chosen else None
    time = np.repeat(chosen["time"].values, draws) if "time" in chosen.coords else None
    return write_positions(values.reshape(-1, *values.shape[2:]), path, universe, box=box, time=time)


def _resampled(log_weight: np.ndarray) -> np.ndarray:
    """Numbers of as many draws, each in proportion to its weight; all of them where weights are equal."""
    weight = np.exp(log_weight - log_weight.max())
    place = (np.arange(len(weight)) + 0.5) / len(weight)
    return np.searchsorted(np.cumsum(weight) / weight.sum(), place * (1 - 1e-12))
