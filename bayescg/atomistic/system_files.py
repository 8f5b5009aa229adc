"""OpenMM Systems from files."""

from __future__ import annotations

import os
from pathlib import Path

from bayescg.atomistic.force_field import ForceField, require_openmm, translate


def read_force_field(path: str | os.PathLike[str]) -> ForceField:
    """The energy function of a System that was written by `openmm.XmlSerializer.serialize(system)`.

    Args:
        path: XML file.

    Returns:
        The force field.

    Raises:
        ImportError: if OpenMM is missing.
        FileNotFoundError: if the file is missing.
        ValueError: if it holds no System, or one that `translate` does not understand.
    """
    mm = require_openmm()
    if not Path(path).is_file():
        raise FileNotFoundError(f"no such file: {path}")
    try:
        system = mm.XmlSerializer.deserialize(Path(path).read_text(encoding="utf-8"))
    except (mm.OpenMMException, UnicodeDecodeError, ValueError) as error:
        raise ValueError(f"{path} holds no OpenMM System: {error}") from error
    if not isinstance(system, mm.System):
        raise ValueError(
            f"{path} holds an OpenMM {type(system).__name__}, not a System: write one by "
            "openmm.XmlSerializer.serialize(forcefield.createSystem(...))"
        )
    return translate(system)
