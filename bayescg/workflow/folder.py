"""The folder of a run: names of its files, and what they hold."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import get_args

import numpy as np
import xarray as xr

from bayescg._checksum import check
from bayescg._yaml import read_yaml
from bayescg.report.results import Results
from bayescg.storage.expected import load_posterior
from bayescg.workflow.comparisons import load_observables
from bayescg.workflow.schema.choices import ObservableKind
from bayescg.workflow.stamps import read_json, record_of

STATISTICS = "statistics.nc"
LAST_FRAME = "cg_last.nc"
TRAJECTORY = "cg.nc"
REFERENCE = "reference.nc"
POSTERIOR = "posterior.nc"
ENSEMBLE = "ensemble.nc"
OBSERVABLES = {kind: f"{kind}.nc" for kind in get_args(ObservableKind)}
EXPORTS = "exports.json"
CONFIG = "config.yaml"
REPORT = "report.html"
FIGURES = "figures"
FIGURES_LIST = "figures.json"
UNFINISHED = "unfinished"
"""Folder of what is done of a step that has not ended."""
# What of an ensemble a report needs: not its positions.
_DIAGNOSTICS = ("temperature", "configurational_temperature", "pressure", "out_of_range", "failed", "failure")


def contents(directory: Path, folders: Iterable[str]) -> list[Path]:
    """What is worth naming to a user: results, page, figures, and folders of exported files or of each potential."""
    found = [path for path in directory.iterdir() if path.suffix in (".nc", ".html") or path.name == FIGURES]
    return sorted([*found, *(directory / name for name in folders if (directory / name).is_dir())])


def load_results(directory: str | os.PathLike[str]) -> Results:
    """Read what a folder holds of a run.

    Args:
        directory: the output folder of `bayescg run` or `workflow.run`.

    Returns:
        The results; what the run has not made yet is None or empty. Of a run with several potentials, those of each.

    Raises:
        FileNotFoundError: if there is no such folder, or nothing of a run in it.
        ValueError: if a file in it is damaged or of another version.
    """
    folder = Path(directory)
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder {folder}: give the output folder of `bayescg run`")
    if not has_results(folder):
        raise FileNotFoundError(f"{folder} holds no {POSTERIOR}: give the output folder of `bayescg run`")
    if _parts(folder):
        each = {part.name: load_results(part) for part in _parts(folder)}
        return Results(config=_config(folder), each=each)
    names = (STATISTICS, TRAJECTORY, POSTERIOR, ENSEMBLE, *OBSERVABLES.values(), EXPORTS)
    return read_results(folder, (name for name in names if (folder / name).is_file()))


def has_results(folder: Path) -> bool:
    """Whether a folder holds a posterior, or folders that do."""
    return bool(_parts(folder)) or (folder / POSTERIOR).is_file()


def _parts(folder: Path) -> list[Path]:
    """Folders of several potentials, in the order of the settings; empty if there is one potential."""
    settings = read_yaml(folder / CONFIG).table if (folder / CONFIG).is_file() else {}
    places = [folder / str(name) for name in settings.get("potentials") or ()]
    return [place for place in places if (place / POSTERIOR).is_file()]


def _config(folder: Path) -> str:
    return (folder / CONFIG).read_text(encoding="utf-8") if (folder / CONFIG).is_file() else ""


def read_results(folder: Path, names: Iterable[str]) -> Results:
    """Read results of a run; the names of files say what they hold.

    Args:
        folder: of the run; its settings are read where they are there.
        names: files in it.

    Raises:
        ValueError: if a file is damaged or of another version.
    """
    tree, ensemble, compared, beads, exports = None, None, [], {}, {}
    kinds = {name: kind for kind, name in OBSERVABLES.items()}
    attrs = {}
    for name in names:
        path = folder / name
        if name in (STATISTICS, TRAJECTORY):
            attrs["map"] = _attributes(path)
        elif name == POSTERIOR:
            tree = load_posterior(path)
            attrs["fit"] = tree.attrs
        elif name == ENSEMBLE:
            ensemble = load_ensemble(path, diagnostics_only=True)
            attrs["simulate"] = ensemble.attrs
            types, counts = np.unique(ensemble["bead_type"].values.astype(str), return_counts=True)
            beads = dict(zip(types.tolist(), counts.tolist(), strict=True))
        elif name in kinds:
            compared += load_observables(path)
            attrs[f"observe {kinds[name]}"] = _attributes(path)
        elif name == EXPORTS:
            attrs["export"] = read_json(path)
            exports = attrs["export"]["files"]
    config = _config(folder)
    records = {step: record_of(found) for step, found in attrs.items()}
    return Results(
        *(tree, ensemble, tuple(compared), exports, config),
        warnings={step: said for step, (said, _) in records.items() if said},
        seconds={step: seconds for step, (_, seconds) in records.items() if seconds is not None},
        beads=beads,
    )


def _attributes(path: Path) -> dict:
    """Root attributes of a netCDF file, without reading anything else but its checksum."""
    check(path)
    with xr.open_dataset(path, engine="h5netcdf") as data:
        return dict(data.attrs)


def load_ensemble(path: str | os.PathLike[str], *, diagnostics_only: bool = False) -> xr.Dataset:
    """Read an ensemble, or only its diagnostics.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no ensemble.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"no ensemble at {path}")
    check(path)
    try:
        with xr.open_dataset(path, engine="h5netcdf") as opened:
            if not {"positions", "box"} <= set(opened.data_vars) or "draw" not in opened.dims:
                raise ValueError("it holds no positions with the dimension 'draw'")
            kept = [name for name in _DIAGNOSTICS if name in opened] if diagnostics_only else list(opened.data_vars)
            dropped = [name for name in opened.variables if name not in opened.coords and name not in kept]
            data = opened.drop_vars(dropped).load()
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} is no ensemble of bayescg: {error}") from error
    if data.attrs.get("interrupted"):
        warnings.warn(
            f"{path} is partial: its simulation was interrupted after {data.sizes['draw']} draws; the command that "
            "made it goes on from there",
            stacklevel=2,
        )
    words = [name for name, variable in data.variables.items() if variable.dtype == object]
    return data.assign({name: (data[name].dims, data[name].values.astype(str), data[name].attrs) for name in words})


def whole_draws(ensemble: xr.Dataset) -> xr.Dataset:
    """An ensemble without the draws that blew up; a dataset without draws as it is."""
    return ensemble.isel(draw=~ensemble["failed"].values) if "failed" in ensemble else ensemble
