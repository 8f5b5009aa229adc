"""`observe`: what the atoms would show at states where only coarse-grained models were run.

A coarse-grained model has a misfit: g(r), pressure or angles differ from those of the atoms by more than its error bars
say. At states where both were run the misfit is known. It is learned there, as the discrepancy between two levels of
fidelity, and carried to other states with error bars (Kennedy & O'Hagan, doi:10.1093/biomet/87.1.1).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Array, Float

from bayescg.observables import summarize
from bayescg.samplers.settings import Sampling
from bayescg.surrogates import multi_fidelity, predict_levels
from bayescg.surrogates.data import LARGEST
from bayescg.surrogates.levels.model import Link
from bayescg.surrogates.levels.sampling import Method
from bayescg.transfer.systems import values_of

_DEFAULT = Sampling()
_NAMES = ("coarse", "atomistic")
_FEWEST = {"coarse": 3, "atomistic": 2}
_CI_PROB = 0.90
_SHRUNK = 0.1
"""Least weight of independent errors in the correlation of bins, which few blocks know badly."""

Measured = Sequence[tuple[Mapping[str, float], xr.DataArray]]
"""States and what was observed there: dims (draw, block, ...) or (block, ...), as `bayescg.observables` returns."""


class _Level(NamedTuple):
    """States (state, d), means (state, bin), standard deviations, and correlations (state, bin, bin)."""

    x: Float[np.ndarray, "state d"]
    mean: Float[np.ndarray, "state bin"]
    sd: Float[np.ndarray, "state bin"]
    correlation: Float[np.ndarray, "state bin bin"]


def observe(
    coarse: Measured,
    atomistic: Measured,
    states: Sequence[Mapping[str, float]],
    *,
    link: Link = "constant",
    method: Method = "laplace",
    settings: Sampling = _DEFAULT,
    key: Array,
) -> xr.Dataset:
    """An observable of the atoms at states, from coarse-grained ensembles there and atomistic runs elsewhere.

    The coarse model's observable, with the errors of its posterior and of finite runs, is the cheap level of
    `surrogates.multi_fidelity`, that of the atoms the best one. If the coarse model is of no use (the evidence cuts its
    link), the result is that of a Gaussian process on the atomistic data alone.

    Args:
        coarse: (descriptors, observable) of coarse-grained ensembles, three states or more, those of the atoms among
            them and those asked for if they are to help there.
        atomistic: the same of atomistic runs, at two states or more.
        states: descriptors of the states asked for.
        link: "constant" or "varying" with the state (`surrogates.multi_fidelity`).
        method: "laplace" or "nuts".
        settings: numbers of chains and draws.
        key: JAX random key.

    Returns:
        `mean`, `sd`, and `lower`, `upper`, the ends of a 90 % interval, (state, ...) of the atomistic observable, in
        its units, and `coarse` (state, ...), the mean of the coarse level. Bins in which no run ever met anything stay
        at their value, with `sd` of zero. Attributes: `linked`, the probability that the coarse level says anything,
        and `rho`, its factor; coordinates are the descriptors, and `outside`, whether a state lies outside of all that
        were run.

    Raises:
        ValueError: for too few states, descriptors or bins that differ, or `link="nonlinear"`.
    """
    if link == "nonlinear":
        raise ValueError("link='nonlinear' is for single points: use 'constant' or 'varying'")
    for name, several in zip(_NAMES, (coarse, atomistic), strict=True):
        if len(several) < _FEWEST[name]:
            raise ValueError(
                f"{len(several)} {name} states are too few to learn a change: give {_FEWEST[name]} or more"
            )
    if not len(states):
        raise ValueError("no states are asked for: give their descriptors")
    names = tuple(coarse[0][0])
    axis = _axis_of([array for _, array in (*coarse, *atomistic)])
    levels = [_level(several, names) for several in (coarse, atomistic)]
    asked = np.array([values_of(names, state) for state in states])
    used = np.max(np.concatenate([level.sd for level in levels]), axis=0) > 0
    for name, level in zip(_NAMES, levels, strict=True):
        if not level.sd.any():
            raise ValueError(f"the {name} observable has no error: its blocks are all the same")
    data = _data(levels, used, axis)
    bins = None if axis is None else np.asarray(axis[1], float)[used]
    posterior = multi_fidelity(data, bins=bins, link=link, method=method, settings=settings, key=key)
    # One state after the other: of many, joint draws of all bins would be too many.
    found = xr.concat([predict_levels(posterior, each[None], key=key) for each in asked], "point")
    shape = (len(asked), len(used))
    fields = {name: np.broadcast_to(levels[1].mean[:1], shape).copy() for name in ("mean", "lower", "upper", "coarse")}
    fields["sd"] = np.zeros(shape)
    best, band = found.isel(level=1), found["band"].isel(level=1).sel(ci_prob=_CI_PROB)
    parts = {"mean": best["mean"], "sd": best["sd"], "lower": band.isel(bound=0), "upper": band.isel(bound=1)}
    parts["coarse"] = found["mean"].isel(level=0)
    for name, values in parts.items():
        fields[name][:, used] = values.transpose("point", ...).values.reshape(len(asked), -1)
    return _dataset(fields, asked, names, axis, found, posterior, coarse[0][1])


def _axis_of(arrays: Sequence[xr.DataArray]) -> tuple[str, np.ndarray] | None:
    """Name and values of the bins, if there are any."""
    dims = [d for d in arrays[0].dims if d not in ("draw", "block")]
    if len(dims) > 1:
        raise ValueError(f"the observable has the dimensions {dims}: give one of bins, such as `r`, or none")
    if not dims:
        return None
    name = str(dims[0])
    for array in arrays:
        if name not in array.coords:
            raise ValueError(f"the observable's dimension {name!r} has no coordinate: give the bins' values")
        if not np.array_equal(array[name].values, arrays[0][name].values):
            raise ValueError(f"bins differ between states: observe all with the same bins of {name!r}")
    return name, arrays[0][name].values


def _level(several: Measured, names: tuple[str, ...]) -> _Level:
    """Means and errors, the correlations of bins from the scatter of draws and of blocks."""
    x, mean, sd, correlation = [], [], [], []
    for state, array in several:
        summary = summarize(array)
        x.append(values_of(names, state))
        mean.append(np.atleast_1d(summary["mean"].values))
        sd.append(np.atleast_1d(summary["sd"].values))
        correlation.append(_correlation(array))
    return _Level(*(np.array(part, float) for part in (x, mean, sd, correlation)))


def _correlation(array: xr.DataArray) -> Float[np.ndarray, "bin bin"]:
    """Of the errors of bins: that of draws where there are some, else that of blocks; drawn towards independence."""
    over = array.mean("block") if array.sizes.get("draw", 1) > 1 else array.isel(draw=0, missing_dims="ignore")
    values = over.transpose(...).values.reshape(over.shape[0], -1).astype(float)
    centered = values - values.mean(axis=0)
    size = np.sqrt(np.mean(centered**2, axis=0))
    unit = centered / np.where(size > 0, size, 1.0)
    sample = unit.T @ unit / len(unit)
    # Of few rows chance correlates everything: their number against that of bins decides the weight.
    weight = max(_SHRUNK, sample.shape[0] / (sample.shape[0] + len(unit)))
    out = (1 - weight) * sample
    np.fill_diagonal(out, 1.0)
    return out


def _data(levels: Sequence[_Level], used: np.ndarray, axis: tuple[str, np.ndarray] | None) -> dict:
    """The levels as `multi_fidelity` takes them."""
    means = [level.mean[:, used] for level in levels]
    sds = [level.sd[:, used] for level in levels]
    # A bin that one run never met, though others did, has no error that blocks could show: the smallest of its level.
    sds = [np.where(sd > 0, sd, sd[sd > 0].min()) for sd in sds]
    if axis is None:
        return {n: (lv.x, y[:, 0], sd[:, 0]) for n, lv, y, sd in zip(_NAMES, levels, means, sds, strict=True)}
    covariances = [
        sd[:, :, None] * level.correlation[:, used][:, :, used] * sd[:, None, :]
        for level, sd in zip(levels, sds, strict=True)
    ]
    if sum(y.size for y in means) > LARGEST:
        # Too many for a dense matrix of all: one covariance for all, times a number for each state.
        sizes = [np.mean(sd**2, axis=1) for sd in sds]
        shapes = [each / size[:, None, None] for each, size in zip(covariances, sizes, strict=True)]
        common = np.mean(np.concatenate(shapes), axis=0)
        covariances = [size[:, None, None] * common for size in sizes]
    each = zip(_NAMES, levels, means, covariances, strict=True)
    return {name: (level.x, y, covariance) for name, level, y, covariance in each}


def _dataset(fields, asked, names, axis, found: xr.Dataset, posterior: xr.DataTree, example) -> xr.Dataset:
    dims = ("state",) if axis is None else ("state", axis[0])
    attrs = {name: example.attrs[name] for name in ("units", "long_name") if name in example.attrs}
    variables = {
        name: (dims, values[:, 0] if axis is None else values, attrs if name != "sd" else {**attrs, "long_name": "sd"})
        for name, values in fields.items()
    }
    coords: dict = {name: ("state", column) for name, column in zip(names, asked.T, strict=True)}
    coords["outside"] = ("state", found["outside"].values)
    if axis is not None:
        coords[axis[0]] = axis[1]
    group = posterior["posterior"].to_dataset()
    numbers = {name: float(group[name].mean()) for name in ("linked", "rho")}
    return xr.Dataset(variables, coords, {**numbers, "ci_prob": _CI_PROB, "observable": str(example.name or "")})
