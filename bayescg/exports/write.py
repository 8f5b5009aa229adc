"""The verb `export`: a posterior's potential in the files of another program, checked before it returns."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Literal, get_args

import jax
import numpy as np
import xarray as xr
from jaxtyping import Array, Float

from bayescg import posterior as posteriors
from bayescg._runtime import atomic_path, progress
from bayescg._version import __version__
from bayescg.exports import gromacs
from bayescg.exports.conditions import Conditions
from bayescg.exports.lammps import check as lammps_check
from bayescg.exports.lammps import commands as lammps_commands
from bayescg.exports.lammps import data as lammps_data
from bayescg.exports.lammps import style as lammps_style
from bayescg.exports.lammps import tables as lammps_tables
from bayescg.exports.lammps.names import keyword
from bayescg.exports.openmm import system as openmm
from bayescg.exports.tables.curves import TOLERANCE, Comparison, terms_of
from bayescg.potentials import Interactions, Potential

Format = Literal["lammps", "openmm", "gromacs"]
_UNITS = {
    "lammps": "real: kcal/mol, Angstrom, fs, Da, degrees",
    "openmm": "kJ/mol, nm, ps, Da, rad",
    "gromacs": "kJ/mol, nm, ps, Da, degrees",
}


def export(
    posterior: xr.DataTree,
    directory: str | os.PathLike[str],
    *,
    format: Format,
    draws: int | None = None,
    initial: xr.Dataset | None = None,
    three_body_table: int | None = None,
    temperature: float | None = None,
    timestep: float = 0.002,
    friction: float = 1.0,
    key: Array | None = None,
) -> list[Path]:
    """Write the potential of a posterior for LAMMPS, OpenMM or GROMACS.

    - `lammps`: tables and `potential.in`, the commands that use them; with `initial` also `system.data` and
    `in.bayescg`,
      which runs. Three-body terms and the splines of pairs beside them go to `potential.uf3` (`pair_style uf3`: the
      same B-splines, exact), local densities to `density.table`.
    - `openmm`: `system.xml`, `configuration.pdb` and `run.py`.
    - `gromacs`: tables of the bonded terms only, with a warning. GROMACS takes no user pair tables since 2020.

    Every folder gets a `manifest.json`.

    All files are read back and compared with the fit before they are moved to their place: forces agree to 1e-4 of the
    local force (or of 1 % of the largest one) within 100 kJ/mol of each curve's minimum. Energies above 1e6 kJ/mol are
    continued linearly towards zero distance. Files of an earlier export are replaced one by one.

    Args:
        posterior: from `force_match`, `relative_entropy` or `posterior.from_coefficients`.
        directory: where files go; made if missing.
        format: "lammps", "openmm" or "gromacs".
        draws: None: the posterior mean; a number: that many posterior draws, in `draw_000/`, `draw_001/`, ..., with
            `draws.json` listing the chain and draw of each.
        initial: a CG configuration (the last frame, if there are several); needed for OpenMM.
        three_body_table: LAMMPS only. None: three-body terms are exact; a number: `pair_style threebody/table` with so
            many entries along each side, which looks up the nearest one. The error of that is not checked.
        temperature: of the thermostat in the scripts that run [K]; that of the posterior if None.
        timestep: in these scripts [ps].
        friction: of the Langevin thermostat in these scripts [1/ps].
        key: JAX random key that chooses the draws; `jax.random.key(0)` by default.

    Returns:
        Paths of all files.

    Raises:
        ValueError: for an unknown format, a configuration that the potential does not fit, a missing configuration
            (OpenMM), no bonded term (GROMACS), a term that the program has nothing for, or more draws than there are.
        ImportError: if OpenMM is needed and missing.
        RuntimeError: if a file that was read back differs from the fit; nothing is left behind then.
    """
    potential = posteriors.potential_of(posterior)
    directory = Path(directory)
    if directory.exists() and not directory.is_dir():
        raise ValueError(f"{directory} is a file: an export needs a folder")
    _require_input(format, potential, initial)
    picked = posteriors.draw_coefficients(posterior, draws, key=jax.random.key(0) if key is None else key)
    fitted_at = posteriors.temperature_of(posterior)
    conditions = Conditions(fitted_at if temperature is None else temperature, timestep, friction)
    conditions.require()
    # Beside its final place: moving within a file system cannot fail halfway through a file.
    beside = directory.absolute()
    beside.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(dir=beside.parent, prefix=f".{beside.name}.", suffix=".part"))
    try:
        origins = []
        with progress(f"exporting for {format}", len(picked.coefficients)) as advance:
            for number, coefficients in enumerate(picked.coefficients):
                name = "." if draws is None else f"draw_{number:03d}"
                folder = staging / name
                folder.mkdir(exist_ok=True)
                compared = write_format(format, potential, coefficients, folder, conditions, initial, three_body_table)
                for path, term, error in compared:
                    _require(error, term, directory / path.relative_to(staging))
                origin = {"chain": int(picked.chain[number]), "draw": int(picked.draw[number])}
                origins.append({"folder": name, **origin})
                manifest = {
                    "bayescg_version": __version__,
                    "format": format,
                    "units": _UNITS[format],
                    "temperature": fitted_at,
                    "script": conditions._asdict(),
                    "posterior_mean": draws is None,
                    **(origin if draws is not None else {}),
                    "largest_force_error": {term: error for _, term, error in compared},
                    "files": sorted(path.name for path in folder.iterdir()),
                    "potential": json.loads(potential.to_json()),
                    "coefficients": np.asarray(coefficients).tolist(),
                }
                _write_json(folder / "manifest.json", manifest)
                advance(1)
        if draws is not None:
            _write_json(staging / "draws.json", {"draws": origins})
        return _move(staging, directory)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def write_format(
    format: Format,
    potential: Potential,
    coefficients: Float[np.ndarray, " basis"],
    folder: Path,
    conditions: Conditions,
    initial: xr.Dataset | None,
    three_body_table: int | None = None,
) -> list[Comparison]:
    """Write one coefficient vector in one format; returns what reading each term back gave."""
    if format == "lammps":
        return _write_lammps(potential, coefficients, folder, conditions, initial, three_body_table)
    if format == "gromacs":
        gromacs.write_tables(potential, coefficients, folder)
        return gromacs.compare_tables(potential, coefficients, folder)
    assert initial is not None  # `_require_input`
    system = openmm.build_system(potential, coefficients, initial)
    texts = {
        "system.xml": openmm.require_openmm().XmlSerializer.serialize(system),
        "configuration.pdb": openmm.pdb_text(initial),
        "run.py": openmm.run_text(conditions),
    }
    for name, text in texts.items():
        _write_text(folder / name, text)
    return openmm.compare_system(folder / "system.xml", potential, coefficients)


def _write_lammps(
    potential, coefficients, folder, conditions: Conditions, initial, three_body_table
) -> list[Comparison]:
    types = lammps_data.bead_types_of(potential, initial)
    tables = lammps_tables.write_tables(
        potential, coefficients, folder, bead_types=types, three_body_table=three_body_table
    )
    others = False
    compared = lammps_check.compare_tables(potential, coefficients, tables, types)
    if initial is not None:
        others = len(lammps_data.other_bonds_of(potential, Interactions.of(potential, initial), initial)) > 0
        path = lammps_data.write_data_file(folder / "system.data", initial, potential)
        distance = lammps_check.compare_data_file(path, initial)
        # 1e-6 nm is a rounding error of positions in single precision; more means that beads went wrong.
        compared.append(Comparison(path, "bead positions", 0.0 if distance < 1e-6 else np.inf))
        _write_text(folder / "in.bayescg", lammps_data.input_text(initial, potential, conditions))
    commands = lammps_commands.interaction_commands(potential, tables, types, other_bonds=others)
    notes = [f"# atom type {number}: {keyword(bead)}" for number, bead in enumerate(types, 1)]
    for kind in lammps_style.KINDS[1:]:
        listed = terms_of(potential, kind)
        notes += [f"# {kind} type {number}: {keyword(term.name)}" for number, term in enumerate(listed, 1)]
    head = [
        "# bayescg: interactions, units real; include after the box and the atoms are defined",
        "# Where a curve is straight, LAMMPS may call its forces inconsistent with -dE/dr: that is rounding.",
        *notes,
    ]
    _write_text(folder / "potential.in", "\n".join([*head, *commands]) + "\n")
    return compared


_CHECKS = {
    "lammps": lammps_style.require_styles,
    "openmm": openmm.require_forces,
    "gromacs": gromacs.require_sections,
}


def check_format(format: Format, potential: Potential) -> None:
    """Check that a program can run every term of a potential.

    Args:
        format: "lammps", "openmm" or "gromacs".
        potential: the potential.

    Raises:
        ValueError: for an unknown format, or naming the terms that the program has nothing for.
    """
    if format not in get_args(Format):
        raise ValueError(f"unknown format {format!r}: choose {', '.join(map(repr, get_args(Format)))}")
    _CHECKS[format](potential)


def _require_input(format: Format, potential: Potential, initial: xr.Dataset | None) -> None:
    check_format(format, potential)
    if format == "gromacs":
        gromacs.warn_of_pairs(potential)
    if format == "openmm":
        openmm.require_openmm()
        if initial is None:
            raise ValueError("an OpenMM System lists every bead: give a configuration, initial=cg.isel(frame=-1)")


def _require(error: float, term: str, path: Path) -> None:
    if not error <= TOLERANCE:
        raise RuntimeError(
            f"{path}: read back, {term} differs from the fit by {error:.2g} of the force (allowed: {TOLERANCE:g}); "
            "nothing was written. Either the disk damaged the file, then export again, or the curve is too rough for "
            "a table, then choose a wider knot_spacing"
        )


def _write_text(path: Path, text: str) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(text)


def _write_json(path: Path, record: dict) -> None:
    _write_text(path, json.dumps(record, indent=1) + "\n")


def _move(staging: Path, directory: Path) -> list[Path]:
    """Move checked files to their place, manifests last: a folder with a manifest is complete."""
    files = [path for path in staging.rglob("*") if path.is_file()]
    files.sort(key=lambda path: (path.name in ("manifest.json", "draws.json"), str(path)))
    moved = []
    for path in files:
        target = directory / path.relative_to(staging)
        target.parent.mkdir(parents=True, exist_ok=True)
        moved.append(path.replace(target))
    return sorted(moved)
