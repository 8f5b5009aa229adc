"""OpenMM Systems from files. Nothing that a file holds is executed."""

from __future__ import annotations

import os
from pathlib import Path
from xml.etree import ElementTree

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
        ValueError: if it holds no System, one that `translate` does not understand, or one that holds code.
    """
    mm = require_openmm()
    if not Path(path).is_file():
        raise FileNotFoundError(f"no such file: {path}")
    try:
        text = Path(path).read_text(encoding="utf-8")
        require_no_code(text, str(path))
        system = mm.XmlSerializer.deserialize(text)
    except (mm.OpenMMException, UnicodeDecodeError, ElementTree.ParseError) as error:
        raise ValueError(f"{path} holds no OpenMM System: {error}") from error
    if not isinstance(system, mm.System):
        raise ValueError(
            f"{path} holds an OpenMM {type(system).__name__}, not a System: write one by "
            "openmm.XmlSerializer.serialize(forcefield.createSystem(...))"
        )
    return translate(system)


def require_no_code(text: str, path: str) -> None:
    """Refuse XML that would run code when OpenMM reads it: a PythonForce holds a pickle.

    Args:
        text: of the file.
        path: of the file, for messages.

    Raises:
        ValueError: if it holds code, or comments, entities or instructions, which OpenMM never writes.
        xml.etree.ElementTree.ParseError: if it is no XML.
    """
    # Parsers differ in where comments and instructions end: one's comment may be the other's element.
    if "<!" in text or "<?" in text.lstrip()[1:]:
        raise ValueError(f"{path} has comments, entities or instructions, which OpenMM never writes: it is not read")
    for element in ElementTree.fromstring(text).iter():  # noqa: S314  (entities were refused above)
        if "PythonForce" in (element.tag, element.get("type", "")) or any("Python" in key for key in element.attrib):
            raise ValueError(
                f"{path} holds a PythonForce, which is code that would run when the file is read: it is not read. "
                "Write the System without this force"
            )
