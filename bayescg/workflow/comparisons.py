"""Observables beside those of the atomistic data, as they lie in a file: one for each kind."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import xarray as xr

from bayescg._checksum import check
from bayescg.observables import summarize
from bayescg.report.results import Compared
from bayescg.workflow.schema.observables import Observable


def comparison_tree(kind: str, measured: Iterable[tuple[Observable, xr.DataArray, xr.DataArray | None]]) -> xr.DataTree:
    """Observables of one kind with their error bars.

    Args:
        kind: of all of them.
        measured: each with its values in the ensemble (draw, block, ...), and in the atomistic data (block, ...) if
            there are any.

    Returns:
        A group for each, with `blocks`, `predicted`, `atomistic_blocks` and `atomistic`.

    Raises:
        ValueError: if an observable has fewer than two blocks.
    """
    groups: dict[str, xr.Dataset] = {}
    for observable, array, atomistic in measured:
        name = observable.label.replace("/", "_")
        groups[name] = xr.Dataset(attrs={"label": observable.label})
        groups[f"{name}/blocks"] = array.to_dataset(name=array.name)
        groups[f"{name}/predicted"] = summarize(array)
        if atomistic is not None:
            groups[f"{name}/atomistic_blocks"] = atomistic.to_dataset(name=array.name)
            groups[f"{name}/atomistic"] = summarize(atomistic.rename(array.name))
    return xr.DataTree.from_dict({"/": xr.Dataset(attrs={"kind": kind}), **groups})


def compared_in(tree: xr.DataTree) -> list[Compared]:
    """The observables of a tree."""
    return [
        Compared(
            str(tree.attrs["kind"]),
            str(group.attrs.get("label", name)),
            group["predicted"].to_dataset(),
            group["atomistic"].to_dataset() if "atomistic" in group.children else None,
        )
        for name, group in tree.children.items()
    ]


def load_observables(path: str | os.PathLike[str]) -> list[Compared]:
    """Read the observables of one kind that `run` or `bayescg observe` wrote.

    Raises:
        ValueError: if the file holds none.
    """
    path = Path(path)
    check(path)
    try:
        tree = xr.load_datatree(path, engine="h5netcdf")
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} is not a readable netCDF file: {error}") from error
    if "kind" not in tree.attrs:
        raise ValueError(f"{path} holds no observables of bayescg")
    return compared_in(tree)
