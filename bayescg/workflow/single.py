"""One observable from files, for the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import xarray as xr

from bayescg._runtime import write_netcdf
from bayescg.data import load
from bayescg.observables import summarize
from bayescg.report.results import Compared, load_ensemble
from bayescg.workflow.build import measure
from bayescg.workflow.items import OBSERVABLES, Observable


def observe(
    trajectory: Path,
    kind: str,
    beads: tuple[str, ...],
    *,
    options: dict[str, Any],
    blocks: int | None,
    reference: Path | None,
    output: Path,
) -> Compared:
    """Compute an observable of an ensemble or a dataset in a file, and write it as `run` does.

    Args:
        trajectory: ensemble or coarse-grained dataset.
        kind: name of the observable.
        beads: bead types.
        options: its other arguments; None for those not given.
        blocks: of frames.
        reference: mapped atomistic dataset.
        output: file to write.

    Raises:
        FileNotFoundError: if a file is missing.
        ValueError: for a wrong number of beads, options that the observable does not take, or a file of another kind.
    """
    width, known = OBSERVABLES[kind]
    given = {name: value for name, value in options.items() if value is not None}
    if len(beads) != width:
        raise ValueError(f"{kind} needs {width} bead types, as in {' '.join('ABBA'[:width])}; got {len(beads)}")
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise ValueError(f"{kind} takes no {', '.join(f'--{name}' for name in unknown)}")
    if "cutoff" in known and "cutoff" not in given:
        raise ValueError(f"{kind} needs --cutoff [nm], such as --cutoff 0.9")
    observable = Observable(kind, beads, tuple(given.items()), blocks)
    opened = _open(trajectory)
    array = measure(observable, opened)
    groups = {
        observable.label: xr.Dataset(attrs={"label": observable.label}),
        f"{observable.label}/blocks": array.to_dataset(name=array.name),
        f"{observable.label}/predicted": summarize(array),
    }
    atomistic = None
    if reference is not None:
        # The same pairs on both sides: an ensemble knows what its potential excludes, atomistic data do not.
        excluded = {name: value for name, value in opened.attrs.items() if name == "exclude_bonds"}
        atomistic = summarize(measure(observable, _open(reference).assign_attrs(excluded)))
        groups[f"{observable.label}/atomistic"] = atomistic
    write_netcdf(xr.DataTree.from_dict({"/": xr.Dataset(attrs={"kind": kind}), **groups}), output)
    return Compared(kind, observable.label, groups[f"{observable.label}/predicted"], atomistic)


def _open(path: Path) -> xr.Dataset:
    """An ensemble without draws that blew up, or a coarse-grained dataset."""
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    try:
        ensemble = load_ensemble(path)
    except ValueError:
        return load(path)
    return ensemble.isel(draw=~ensemble["failed"].values) if "failed" in ensemble else ensemble
