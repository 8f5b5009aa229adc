"""A posterior of levels as a DataTree in ArviZ layout, and back."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr
from gpjax.kernels import AbstractKernel

from bayescg._version import ORIGIN
from bayescg.kernels import by_name
from bayescg.kernels.covariance import kernel_name
from bayescg.surrogates.levels.data import Level, Levels
from bayescg.surrogates.levels.model import Link

FORMAT = 1
"""Of names and attributes."""

DIMS = {
    "amplitude": ("level",),
    "constant": ("level",),
    "slope": ("level",),
    "lengthscale": ("level", "input"),
    "rho": ("link",),
    "linked": ("link",),
    "rho_slope": ("link", "input"),
    "noise": ("noisy",),
    "bin_lengthscale": (),
    "link_slope": ("link",),
    "link_amplitude": ("link",),
    "link_length": ("link",),
    "link_range": ("link", "input"),
}
"""Of each unknown, after chain and draw."""


def coordinates(levels: Levels) -> dict[str, np.ndarray]:
    """Of all dimensions that are not draws."""
    names = levels.names
    out = {
        "level": np.asarray(names, str),
        "link": np.asarray(names[1:], str),
        "noisy": np.asarray([names[n] for n in levels.noisy], str),
        "input": np.asarray([f"x{k}" for k in range(levels.x.shape[1])], str),
    }
    return out if levels.bins is None else {**out, "bin": levels.bins}


def variables(levels: Levels, values: Mapping[str, np.ndarray], lead: tuple[str, ...]) -> xr.Dataset:
    """Draws of unknowns by name."""
    found = {name: ((*lead, *DIMS[name]), value) for name, value in values.items()}
    used = {dim for dims, _ in found.values() for dim in dims}
    coords = {name: at for name, at in coordinates(levels).items() if name in used}
    sizes = {dim: np.arange(next(iter(values.values())).shape[axis]) for axis, dim in enumerate(lead)}
    return xr.Dataset(found, {**coords, **sizes})


def constants(levels: Levels, means: np.ndarray) -> xr.Dataset:
    """Data, as they were read: `point_level` says which level a point is of."""
    known = np.asarray([int(level.has_error) for level in levels.levels])
    shared = {
        "x": (("point", "input"), levels.x),
        "point_level": ("point", levels.level),
        "mean": ("level", means),
        "known_error": ("level", known),
    }
    coords = coordinates(levels)
    if levels.bins is None:
        own = {"y": ("point", levels.y[:, 0]), "error": ("point", np.sqrt(levels.error[:, 0, 0]))}
    else:
        own = {"y": (("point", "bin"), levels.y), "error": (("point", "bin", "other_bin"), levels.error)}
    keep = ("level", "input", "bin")
    return xr.Dataset({**shared, **own}, {name: at for name, at in coords.items() if name in keep})


def attributes(link: Link, kernel: AbstractKernel, numbers: Mapping[str, float], notes: list[str]) -> dict:
    """Of the root and of the group `posterior`."""
    return {
        "format": FORMAT,
        **ORIGIN,
        "creation_library": "bayescg",
        "kind": "levels",
        "link": link,
        "kernel": kernel_name(kernel) or "",
        **numbers,
        "warnings": "; ".join(notes),
    }


def check(posterior: xr.DataTree, what: str) -> None:
    """Refuse what is no posterior of `multi_fidelity` of this version.

    Args:
        posterior: anything.
        what: its name in the message.

    Raises:
        ValueError: saying what it lacks.
    """
    missing = {"posterior", "constant_data"} - set(getattr(posterior, "children", ()))
    if missing or posterior["posterior"].attrs.get("kind") != "levels":
        raise ValueError(f"{what} is no posterior of bayescg.surrogates.multi_fidelity")
    found = posterior["posterior"].attrs.get("format")
    if found != FORMAT:
        raise ValueError(f"{what} has format {found}; this version reads format {FORMAT}: fit again")


def restored(posterior: xr.DataTree) -> tuple[Levels, np.ndarray, AbstractKernel, Link]:
    """Levels, their means, kernel and link.

    Raises:
        ValueError: if it is no posterior of levels.
    """
    check(posterior, "this object")
    attrs, data = posterior["posterior"].attrs, posterior["constant_data"].dataset
    number, x, y, error = (data[name].values for name in ("point_level", "x", "y", "error"))
    bins = data["bin"].values if "bin" in data.coords else None
    if bins is None:
        y, error = y[:, None], error[:, None, None] ** 2
    names = [str(name) for name in data["level"].values]
    known = data["known_error"].values
    levels = tuple(
        Level(name, x[number == k], y[number == k], error[number == k], bool(known[k])) for k, name in enumerate(names)
    )
    return Levels(levels, bins), data["mean"].values, by_name(attrs["kernel"]), attrs["link"]


def flat_draws(posterior: xr.DataTree, group: str = "posterior") -> dict[str, np.ndarray]:
    """Draws of the model's unknowns by name, (draw, ...), chains one after the other."""
    data = posterior[group].dataset
    names = [name for name in DIMS if name in data.data_vars]
    return {name: data[name].values.reshape(-1, *data[name].shape[2:]) for name in names}


def stacked(values: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Unknowns of each level as arrays over levels, links and noisy levels."""
    names = dict.fromkeys(name for each in values for name in each)
    return {name: np.stack([each[name] for each in values if name in each], axis=1) for name in names}


def by_level(levels: Levels, values: Mapping[str, np.ndarray]) -> list[dict[str, np.ndarray]]:
    """The inverse of `stacked`."""
    out: list[dict[str, np.ndarray]] = []
    for number in range(len(levels.levels)):
        at = {"level": number, "link": number - 1}
        at["noisy"] = levels.noisy.index(number) if number in levels.noisy else -1
        wanted = {name: at[DIMS[name][0]] for name in values if at[DIMS[name][0]] >= 0}
        out.append({name: values[name][:, k] for name, k in wanted.items()})
    return out
