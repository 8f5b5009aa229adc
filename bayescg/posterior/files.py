"""Posteriors in netCDF files."""

from __future__ import annotations

import os
from pathlib import Path

import xarray as xr

from bayescg._runtime import write_netcdf
from bayescg.posterior.layout import check


def save(posterior: xr.DataTree, path: str | os.PathLike[str]) -> Path:
    """Write a posterior to netCDF, atomically."""
    check(posterior, "this object")
    return write_netcdf(posterior, path)


def load(path: str | os.PathLike[str]) -> xr.DataTree:
    """Read a posterior, wholly into memory (the file is not kept open).

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is not netCDF, is no bayescg posterior, or was written by another file format version.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"no posterior at {path}")
    try:
        tree = xr.load_datatree(path, engine="h5netcdf")
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} is not a readable netCDF file: {error}") from error
    check(tree, str(path))
    return tree
