"""`save` and `load`: one file for each result, whatever it is. The results of xarray are netCDF, all others records."""

from __future__ import annotations

import os
from pathlib import Path

import xarray as xr

from bayescg import _records
from bayescg.storage import netcdf

__all__ = ["load", "save"]

_HDF = b"\x89HDF\r\n\x1a\n"


def save(result: object, path: str | os.PathLike[str]) -> Path:
    """Write a result to a file that `load` reads.

    The file appears under its name only when it is complete; an older one of that name stays until then.

    Args:
        result: CG trajectory, ensemble, observable or other `xarray` object; posterior of `force_match`,
            `relative_entropy`, `surrogates.fit` or `multi_fidelity`; `ForceStatistics`, `Pilot` or `Potential`; a
            `LatentModel`, its samples, or `Particles`; a conditional of `backmapping`.
        path: of the file; by convention it ends in `.nc` for `xarray` objects and in `.npz` for others.

    Returns:
        The path.

    Raises:
        ValueError: if it is no result of bayescg, or there is something at `path` that is no file.
        OSError: if the disk is full.
    """
    if isinstance(result, xr.Dataset | xr.DataArray | xr.DataTree):
        return netcdf.write(result, path)
    from bayescg.inference.statistics import files
    from bayescg.inference.statistics.force_statistics import ForceStatistics

    if isinstance(result, ForceStatistics):
        return files.write(result, path)
    # Records know every room, whose imports take seconds: only for those who have one.
    from bayescg.storage import records

    return records.write(result, path)


def load(path: str | os.PathLike[str]):
    """Read what `save` wrote, wholly into memory, and check it.

    Args:
        path: of the file.

    Returns:
        The result, of the type that was saved; what was saved as an `xarray` object comes back as one.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is damaged, no result of bayescg, or of another version's layout.
    """
    if not Path(path).exists():
        raise FileNotFoundError(f"no such file: {path}")
    if not Path(path).is_file():
        raise ValueError(f"{path} is no file: give the name that bayescg.save was given")
    with Path(path).open("rb") as file:
        begin = file.read(len(_HDF))
    if begin == _HDF:
        return netcdf.read(path)
    if begin.startswith(_records.MAGIC):
        from bayescg.storage import records

        return records.read(path)
    raise ValueError(f"{path} is no result of bayescg: it is neither netCDF nor a record of bayescg.save")
