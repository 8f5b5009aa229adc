"""One observable from files, for the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import xarray as xr
from pydantic import ValidationError

from bayescg._runtime import write_netcdf
from bayescg._settings import describe
from bayescg.report.results import Compared
from bayescg.storage.expected import load_trajectory
from bayescg.workflow.comparisons import compared_in, comparison_tree
from bayescg.workflow.folder import load_ensemble, whole_draws
from bayescg.workflow.schema.observables import OBSERVABLES, Observable


def observe(
    trajectory: Path,
    kind: str,
    beads: tuple[str, ...],
    *,
    options: dict[str, Any],
    reference: Path | None,
    output: Path,
) -> Compared:
    """Compute an observable of an ensemble or a dataset in a file, and write it as `run` does.

    Args:
        trajectory: ensemble or coarse-grained dataset.
        kind: name of the observable.
        beads: bead types.
        options: its other settings; None for those not given.
        reference: mapped atomistic dataset.
        output: file to write.

    Raises:
        FileNotFoundError: if a file is missing.
        ValueError: for a wrong number of beads, options that the observable does not take, or a file of another kind.
    """
    observable = _observable(kind, beads, {name: value for name, value in options.items() if value is not None})
    opened = open_beads(trajectory)
    array = observable.measure(opened)
    atomistic = None
    if reference is not None:
        # The same pairs on both sides: an ensemble knows what its potential excludes, atomistic data do not.
        excluded = {name: value for name, value in opened.attrs.items() if name == "exclude_bonds"}
        atomistic = observable.measure(open_beads(reference).assign_attrs(excluded))
    tree = comparison_tree(kind, [(observable, array, atomistic)])
    write_netcdf(tree, output)
    return compared_in(tree)[0]


def _observable(kind: str, beads: tuple[str, ...], options: dict[str, Any]) -> Observable:
    model = OBSERVABLES[kind]
    if beads and not model.width:
        raise ValueError(f"{kind} is that of all beads: no bead types were expected, not {' '.join(beads)}")
    if len(beads) != model.width:
        raise ValueError(
            f"{kind} needs {model.width} bead types, as in {' '.join('ABBA'[: model.width])}; got {len(beads)}"
        )
    unknown = sorted(set(options) - set(model.model_fields))
    if unknown:
        raise ValueError(f"{kind} takes no {', '.join(f'--{name}' for name in unknown)}")
    if "cutoff" in model.model_fields and "cutoff" not in options:
        raise ValueError(f"{kind} needs --cutoff [nm], such as --cutoff 0.9")
    try:
        return model(**{kind: beads}, **options)
    except ValidationError as error:
        raise ValueError(f"{kind}: {describe(error)}") from None


def open_beads(path: Path) -> xr.Dataset:
    """An ensemble without draws that blew up, or a coarse-grained dataset.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is neither.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    try:
        return whole_draws(load_ensemble(path))
    except ValueError:
        return load_trajectory(path)
