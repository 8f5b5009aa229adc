"""Objects that are no arrays of xarray, in one file: numbers in NumPy's format, all else as JSON. Nothing is executed.

A record is a ZIP archive as `numpy.savez` writes it: one text `header` and the arrays that it refers to. Objects are
kept field by field under the name of their class; reading takes only the classes that the reader names.
"""

from __future__ import annotations

import dataclasses
import json
import os
import zipfile
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from bayescg._runtime import atomic_path
from bayescg._version import __version__

MAGIC = b"PK\x03\x04"
"""What such a file begins with."""

_DAMAGE = (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, zipfile.BadZipFile, zlib.error)


class Codec(NamedTuple):
    """How objects of a foreign class are kept.

    Attributes:
        cls: the class; its subclasses are kept alike.
        encode: from an object to what a record can hold.
        decode: back.
    """

    cls: type
    encode: Callable[[Any], object]
    decode: Callable[[Any], Any]


def write_record(
    path: str | os.PathLike[str],
    kind: str,
    version: int,
    content: object,
    *,
    codec: Codec | None = None,
    compressed: bool = True,
) -> Path:
    """Write an object to a file, atomically.

    Args:
        path: of the file.
        kind: what it is, such as "latent model".
        version: of the object's layout; a reader takes this one only.
        content: numbers, text, arrays, tuples, lists, dicts, named tuples and dataclasses of such.
        codec: of a class of another library among its parts.
        compressed: make the file smaller, which takes a second for 20 MB of coordinates.

    Raises:
        ValueError: for a part that cannot be kept, such as a function.
    """
    arrays: list[np.ndarray] = []
    header = {
        "kind": kind,
        "format": version,
        "bayescg_version": __version__,
        "content": _encode(content, arrays, codec),
    }
    # Any: for a type checker one of the names could be that of an option of `savez_compressed`.
    named: dict[str, Any] = {f"array{number}": array for number, array in enumerate(arrays)}
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        write = np.savez_compressed if compressed else np.savez
        write(file, header=np.array(json.dumps(header)), **named)
    return Path(path)


def record_kind(path: str | os.PathLike[str]) -> str:
    """What a file holds.

    Raises:
        ValueError: if it is damaged or no record.
    """
    return str(_read(path)[0]["kind"])


def read_record(
    path: str | os.PathLike[str],
    kind: str,
    version: int,
    *,
    classes: Iterable[type] = (),
    codec: Codec | None = None,
) -> Any:
    """Read what `write_record` wrote; arrays are NumPy's.

    Args:
        path: of the file.
        kind: what it must be.
        version: the layout it must have.
        classes: dataclasses and named tuples that it may hold.
        codec: that it was written with.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is damaged, of another kind or of another layout.
    """
    header, arrays = _read(path)
    if header["kind"] != kind or header["format"] != version:
        raise ValueError(
            f"{path} holds a {header['kind']} of format {header['format']} (bayescg {header['bayescg_version']}); "
            f"this version reads a {kind} of format {version}: make it again"
        )
    try:
        return _decode(header["content"], arrays, {cls.__name__: cls for cls in classes}, codec)
    except (KeyError, TypeError, IndexError) as error:
        raise ValueError(f"{path} is damaged: {error!r}") from error


def _read(path: str | os.PathLike[str]) -> tuple[dict[str, Any], list[np.ndarray]]:
    try:
        # NumPy leaves a file open that it opened and cannot read.
        with Path(path).open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            header = json.loads(str(file["header"]))
            if not {"kind", "format", "bayescg_version", "content"} <= header.keys():
                raise ValueError("its header says nothing of bayescg")
            return header, [file[f"array{number}"] for number in range(len(file.files) - 1)]
    except FileNotFoundError:
        raise
    except _DAMAGE as error:
        raise ValueError(f"{path} is damaged, or no file that bayescg wrote: {error}") from error


def _encode(value: Any, arrays: list[np.ndarray], codec: Codec | None) -> Any:
    """As JSON takes it; arrays go to the list."""

    def encode(part):
        return _encode(part, arrays, codec)

    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.generic | np.ndarray | jax.Array):
        arrays.append(np.asarray(value))
        return {"array": len(arrays) - 1}
    if codec is not None and isinstance(value, codec.cls):
        return {"codec": _encode(codec.encode(value), arrays, None)}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        own = {field.name: encode(getattr(value, field.name)) for field in dataclasses.fields(value)}
        return {"class": type(value).__name__, "fields": own}
    names = getattr(value, "_fields", None)
    if isinstance(value, tuple) and names is not None:
        own = {name: encode(part) for name, part in zip(names, value, strict=True)}
        return {"class": type(value).__name__, "fields": own}
    if isinstance(value, tuple | list):
        return {type(value).__name__: [encode(part) for part in value]}
    if isinstance(value, dict):
        return {"dict": [[encode(name), encode(part)] for name, part in value.items()]}
    raise ValueError(f"a {type(value).__name__} cannot be kept in a file: {value!r:.80}")


def _decode(value: Any, arrays: list[np.ndarray], classes: dict[str, type], codec: Codec | None) -> Any:
    """What `_encode` was given."""

    def decode(part):
        return _decode(part, arrays, classes, codec)

    if not isinstance(value, dict):
        return value
    if "array" in value:
        return arrays[value["array"]]
    if "codec" in value and codec is not None:
        return codec.decode(_decode(value["codec"], arrays, classes, None))
    if "tuple" in value:
        return tuple(decode(part) for part in value["tuple"])
    if "list" in value:
        return [decode(part) for part in value["list"]]
    if "dict" in value:
        return {decode(name): decode(part) for name, part in value["dict"]}
    cls = classes[value["class"]]
    fields = {name: decode(part) for name, part in value["fields"].items()}
    if issubclass(cls, tuple):
        return cls(**fields)
    if {field.name for field in dataclasses.fields(cls)} != fields.keys():
        raise KeyError(f"fields of {cls.__name__}")
    # Fields are what a constructor made of its arguments: it is not called again.
    made = object.__new__(cls)
    for name, part in fields.items():
        object.__setattr__(made, name, part)
    return made
