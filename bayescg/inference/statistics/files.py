"""Force statistics as a Dataset, and back: the format of their files."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import xarray as xr

from bayescg._runtime import write_netcdf
from bayescg._version import ORIGIN
from bayescg.inference.statistics.asked import Fold, Pilot
from bayescg.inference.statistics.force_statistics import ForceStatistics
from bayescg.inference.statistics.sums.columns import Packed
from bayescg.potentials import Potential

_KIND = "force statistics"
_FORMAT = 5
COPIED = 300
"""Coefficients up to which a posterior holds a copy of its sums; tens of MB of more stay in a file of their own."""


def to_dataset(statistics: ForceStatistics) -> xr.Dataset:
    """All numbers as a Dataset: sums of each block in the columns of each bead type, one type after the other."""
    keys = statistics.keys
    blocks = [statistics.sums[key] for key in keys]
    variables: dict = {
        "gram": (("block", "entry"), np.stack([b.gram for b in blocks])),
        "cross": (("block", "own_column"), np.stack([b.cross for b in blocks])),
        "square": (("block", "bead_type"), np.stack([b.square for b in blocks])),
        "components": (("block", "bead_type"), np.stack([b.components for b in blocks])),
        "divergence": (("block", "own_column"), np.stack([b.divergence for b in blocks])),
        "weighed": (("source", "moment"), np.array([statistics.weighed[s] for s in sorted(statistics.frames)])),
    }
    if statistics.pilot is not None:
        products = np.stack([statistics.scores[source] for source in sorted(statistics.scores)])
        variables["scores"] = (("source", "score_entry"), products)
        pilot = statistics.pilot
        variables["pilot"] = ("basis", np.asarray(pilot.coefficients), {"radius": pilot.radius})
        for number, fold in enumerate(pilot.folds):
            where = {"source": fold.source, "first": fold.first, "last": fold.last}
            variables[f"fold_{number}"] = ("basis", np.asarray(fold.coefficients), where)
    systems = sorted(statistics.weights)
    for term in statistics.potential.terms:
        rows = np.stack([statistics.visits[system][term.name] for system in systems])
        variables[f"counts_{term.name}"] = (("system", f"interval_{term.name}"), rows)
    for number, (source, frames) in enumerate(sorted(statistics.frames.items())):
        variables[f"frames_{number}"] = (f"frame_{number}", frames, {"source": source})
    coords = {
        "bead_type": np.asarray(statistics.bead_types, str),
        "block_source": ("block", np.asarray([source for source, _ in keys], str)),
        "block_number": ("block", np.asarray([number for _, number in keys], np.int64)),
    }
    attrs = {
        "kind": _KIND,
        "format": _FORMAT,
        **ORIGIN,
        "potential": statistics.potential.to_json(),
        "temperature": statistics.temperature,
        "levels": json.dumps(statistics.levels),
        "ranges": json.dumps({name: list(pair) for name, pair in statistics.ranges.items()}),
        "systems": json.dumps(statistics.systems),
        "weights": json.dumps(statistics.weights),
        "equations": json.dumps(statistics.equations),
    }
    return xr.Dataset(variables, coords, attrs)


def from_dataset(data: xr.Dataset, where: str = "this dataset") -> ForceStatistics:
    """Rebuild from `to_dataset`.

    Args:
        data: the numbers.
        where: they are from, for error messages.

    Raises:
        ValueError: if the dataset holds no statistics or another format.
    """
    if data.attrs.get("kind") != _KIND:
        raise ValueError(f"{where} holds no force statistics")
    if data.attrs.get("format") != _FORMAT:
        raise ValueError(
            f"{where} holds force statistics of format {data.attrs.get('format')}; this version reads {_FORMAT}: make "
            "them again with force_statistics"
        )
    potential = Potential.from_json(data.attrs["potential"])
    keys = zip(data["block_source"].values.tolist(), data["block_number"].values.tolist(), strict=True)
    pilot, scores = None, {}
    frames = [data[name] for name in data.data_vars if str(name).startswith("frames_")]
    sources = sorted(str(f.attrs["source"]) for f in frames)
    if "pilot" in data:
        scores = dict(zip(sources, data["scores"].values, strict=True))
        values = tuple(data["pilot"].values.tolist())
        folds = [data[name] for name in sorted(map(str, data.data_vars)) if name.startswith("fold_")]
        pilot = Pilot(
            potential,
            values,
            float(data["pilot"].attrs["radius"]),
            tuple(
                Fold(str(f.attrs["source"]), int(f.attrs["first"]), int(f.attrs["last"]), tuple(f.values.tolist()))
                for f in folds
            ),
        )
    sums = {
        (str(source), int(number)): Packed(*(data[name].values[row] for name in Packed._fields))
        for row, (source, number) in enumerate(keys)
    }
    return ForceStatistics(
        potential,
        float(data.attrs["temperature"]),
        tuple(data["bead_type"].values.tolist()),
        sums,
        json.loads(data.attrs["levels"]),
        {str(array.attrs["source"]): array.values for array in frames},
        {
            system: {term.name: data[f"counts_{term.name}"].values[k] for term in potential.terms}
            for k, system in enumerate(sorted(json.loads(data.attrs["weights"])))
        },
        {name: (pair[0], pair[1]) for name, pair in json.loads(data.attrs["ranges"]).items()},
        json.loads(data.attrs["systems"]),
        json.loads(data.attrs["weights"]),
        pilot,
        scores,
        tuple(json.loads(data.attrs["equations"])),
        {source: (float(a), float(b)) for source, (a, b) in zip(sources, data["weighed"].values, strict=True)},
    )


def write(statistics: ForceStatistics, path: str | os.PathLike[str]) -> Path:
    """Write to netCDF, atomically."""
    return write_netcdf(to_dataset(statistics), path)
