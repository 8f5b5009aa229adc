"""The results of a run, as they lie in its folder."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import xarray as xr

from bayescg import posterior as posteriors
from bayescg.observables import zscore

STATISTICS = "statistics.nc"
LAST_FRAME = "cg_last.nc"
REFERENCE = "reference.nc"
POSTERIOR = "posterior.nc"
ENSEMBLE = "ensemble.nc"
EXPORTS = "exports.json"
CONFIG = "config.yaml"
REPORT = "report.html"
FIGURES = "figures"
KINDS = (
    "rdf",
    "coordination_number",
    "angle_distribution",
    "bond_distribution",
    "bonded_angle_distribution",
    "dihedral_distribution",
)
WARNINGS = "workflow_warnings"
SECONDS = "workflow_seconds"
# What of an ensemble a report needs: not its positions.
_DIAGNOSTICS = ("temperature", "configurational_temperature", "pressure", "out_of_range", "failed", "failure")


@dataclass(frozen=True, eq=False)
class Compared:
    """One observable of the ensemble beside that of the atomistic data.

    Attributes:
        kind: name of the observable.
        label: what tells it from others of its kind: beads, cutoff.
        predicted: summary of the ensemble.
        atomistic: summary of the mapped atomistic data, if there are any.
    """

    kind: str
    label: str
    predicted: xr.Dataset
    atomistic: xr.Dataset | None

    @property
    def title(self) -> str:
        """In words."""
        return str(self.predicted["mean"].attrs.get("long_name", f"{self.kind} {self.label}"))

    @property
    def mean_abs_z(self) -> float:
        """Mean of |z| over bins, z the difference in combined standard deviations; nan without a reference."""
        if self.atomistic is None:
            return float("nan")
        scores = np.abs(zscore(self.predicted, self.atomistic).values)
        return float(np.nanmean(scores)) if np.any(np.isfinite(scores)) else float("nan")

    @property
    def difference(self) -> float:
        """Integral of |predicted - atomistic| over the axis, in its units; the absolute difference of a number."""
        if self.atomistic is None:
            return float("nan")
        first, second = xr.align(self.predicted["mean"], self.atomistic["mean"], join="inner")
        apart = np.abs(first - second)
        return float(apart) if not apart.dims else float(apart.fillna(0).integrate(str(apart.dims[0])))


@dataclass(frozen=True, eq=False)
class Results:
    """What a run has produced so far; parts that are missing are None or empty.

    Attributes:
        posterior: of the coefficients.
        ensemble: diagnostics of the simulations, without positions.
        observables: beside the atomistic data.
        exports: files by format.
        config: the YAML.
        warnings: by step, what was said on the way.
        seconds: by step, the time that it took.
        beads: number of beads of each type.
    """

    posterior: xr.DataTree | None = None
    ensemble: xr.Dataset | None = None
    observables: tuple[Compared, ...] = ()
    exports: dict[str, list[str]] = field(default_factory=dict)
    config: str = ""
    warnings: dict[str, list[str]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    beads: dict[str, int] = field(default_factory=dict)


def load_results(directory: str | os.PathLike[str]) -> Results:
    """Read what a folder holds of a run.

    Raises:
        FileNotFoundError: if there is no such folder, or nothing of a run in it.
        ValueError: if a file in it is damaged or of another version.
    """
    folder = Path(directory)
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder {folder}: give the output folder of `bayescg run`")
    if not (folder / POSTERIOR).is_file():
        raise FileNotFoundError(f"{folder} holds no {POSTERIOR}: give the output folder of `bayescg run`")
    tree = posteriors.load(folder / POSTERIOR)
    stamps = {"fit": tree.attrs}
    exports = {}
    ensemble, beads, compared = None, {}, []
    if (folder / STATISTICS).is_file():
        stamps["map"] = attributes(folder / STATISTICS)
    if (folder / ENSEMBLE).is_file():
        ensemble = load_ensemble(folder / ENSEMBLE, diagnostics_only=True)
        stamps["simulate"] = ensemble.attrs
        types, counts = np.unique(ensemble["bead_type"].values.astype(str), return_counts=True)
        beads = dict(zip(types.tolist(), counts.tolist(), strict=True))
    for kind in KINDS:
        if (folder / f"{kind}.nc").is_file():
            compared += load_observables(folder / f"{kind}.nc")
            stamps[f"observe {kind}"] = attributes(folder / f"{kind}.nc")
    if (folder / EXPORTS).is_file():
        record = json.loads((folder / EXPORTS).read_text())
        exports = record["files"]
        stamps["export"] = record
    config = (folder / CONFIG).read_text() if (folder / CONFIG).is_file() else ""
    said = {step: json.loads(str(attrs.get(WARNINGS, "[]"))) for step, attrs in stamps.items()}
    seconds = {step: float(attrs[SECONDS]) for step, attrs in stamps.items() if SECONDS in attrs}
    return Results(
        tree, ensemble, tuple(compared), exports, config, {k: v for k, v in said.items() if v}, seconds, beads
    )


def attributes(path: Path) -> dict:
    """Root attributes of a netCDF file, without reading anything else."""
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
    try:
        with xr.open_dataset(path, engine="h5netcdf") as data:
            if not {"positions", "box"} <= set(data.data_vars) or "draw" not in data.dims:
                raise ValueError("it holds no positions with the dimension 'draw'")
            kept = [name for name in _DIAGNOSTICS if name in data] if diagnostics_only else list(data.data_vars)
            dropped = [name for name in data.variables if name not in data.coords and name not in kept]
            data = data.drop_vars(dropped).load()
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} is no ensemble of bayescg: {error}") from error
    words = [name for name, variable in data.variables.items() if variable.dtype == object]
    return data.assign({name: (data[name].dims, data[name].values.astype(str), data[name].attrs) for name in words})


def load_observables(path: str | os.PathLike[str]) -> list[Compared]:
    """Read the observables of one kind that `run` wrote.

    Raises:
        ValueError: if the file holds none.
    """
    path = Path(path)
    try:
        tree = xr.load_datatree(path, engine="h5netcdf")
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} is not a readable netCDF file: {error}") from error
    if "kind" not in tree.attrs:
        raise ValueError(f"{path} holds no observables of bayescg")
    return [
        Compared(
            str(tree.attrs["kind"]),
            str(group.attrs.get("label", name)),
            group["predicted"].to_dataset(),
            group["atomistic"].to_dataset() if "atomistic" in group.children else None,
        )
        for name, group in tree.children.items()
    ]
