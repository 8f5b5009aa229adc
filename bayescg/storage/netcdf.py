"""Results that are xarray objects, and sums of forces, as netCDF."""

from __future__ import annotations

import os
from pathlib import Path

import xarray as xr

from bayescg import posterior as posteriors
from bayescg._checksum import check
from bayescg._runtime import write_netcdf
from bayescg._version import ORIGIN
from bayescg.data import validate

_ARRAY = "bayescg_array"
"""Attribute of a file that holds one DataArray: its name."""


def write(result: xr.Dataset | xr.DataArray | xr.DataTree, path: str | os.PathLike[str]) -> Path:
    """Write an xarray object, atomically."""
    if isinstance(result, xr.DataArray):
        name = "" if result.name is None else str(result.name)
        result = result.to_dataset(name="array").assign_attrs({_ARRAY: name})
    return write_netcdf(result, path)


def read(path: str | os.PathLike[str]):
    """Read an xarray object or sums of forces.

    Raises:
        ValueError: if the file is damaged, no result of bayescg, or of another version's layout.
    """
    check(path)
    try:
        tree = xr.load_datatree(path, engine="h5netcdf")
    except (OSError, KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise ValueError(f"{path} is not a netCDF file that bayescg wrote, or it is damaged: {error}") from error
    tree = xr.DataTree.from_dict({place: _with_text(node.to_dataset()) for place, node in tree.subtree_with_keys})
    _require_layout(tree, path)
    if tree.children:
        return _checked_tree(tree, path)
    return _checked_dataset(tree.to_dataset(), path)


def _checked_tree(tree: xr.DataTree, path: str | os.PathLike[str]) -> xr.DataTree:
    if "posterior" not in tree.children:
        return tree
    if "law" in tree["posterior"].attrs:
        from bayescg import surrogates

        surrogates.check(tree, str(path))
    elif tree["posterior"].attrs.get("kind") == "levels":
        from bayescg.surrogates import levels

        levels.check(tree, str(path))
    else:
        posteriors.check(tree, str(path))
    return tree


def _checked_dataset(data: xr.Dataset, path: str | os.PathLike[str]):
    if data.attrs.get("kind") == "force statistics":
        from bayescg.inference.statistics import files

        return files.from_dataset(data, str(path))
    if _ARRAY in data.attrs:
        name = data.attrs[_ARRAY]
        return data["array"].rename(name or None)
    if {"positions", "bead_type"} <= set(data.variables) and "draw" not in data.dims:
        try:
            validate(data)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
    return data


def _require_layout(tree: xr.DataTree, path: str | os.PathLike[str]) -> None:
    """Refuse results of another version; files of other programs are judged by what they hold."""
    attrs = tree.attrs
    if "bayescg_version" not in attrs or attrs.get("bayescg_format") == ORIGIN["bayescg_format"]:
        return
    raise ValueError(
        f"{path} was written by bayescg {attrs['bayescg_version']} in layout {attrs.get('bayescg_format', 1)}; this "
        f"version reads layout {ORIGIN['bayescg_format']}: make it again"
    )


def _with_text(data: xr.Dataset) -> xr.Dataset:
    """Text as NumPy's strings, which netCDF gives back as objects."""
    words = [name for name, variable in data.variables.items() if variable.dtype == object]
    return data.assign({name: (data[name].dims, data[name].values.astype(str), data[name].attrs) for name in words})
