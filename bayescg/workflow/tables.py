"""YAML with line numbers: tables that know where each of their keys stands, so that errors can say it."""

from __future__ import annotations

import dataclasses
import difflib
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import yaml

T = TypeVar("T")


class Table(dict):
    """A YAML table; `lines` holds the line of each key, `where` names the table in messages."""

    def __init__(self, file: str, where: str, line: int):
        super().__init__()
        self.file, self.where, self.line = file, where, line
        self.lines: dict[str, int] = {}

    def place(self, key: str | None = None) -> str:
        """File, line and name of the table or of one of its keys."""
        line = self.lines.get(key, self.line) if key is not None else self.line
        name = ".".join(part for part in (self.where, key or "") if part)
        return f"{self.file}, line {line}" + (f", {name}" if name else "")

    def check(self, known: Iterable[str]) -> None:
        """Refuse keys that are not known, naming the nearest one that is.

        Raises:
            ValueError: for the first unknown key.
        """
        known = list(known)
        for key in self:
            if key not in known:
                near = difflib.get_close_matches(str(key), known, n=1, cutoff=0.5)
                hint = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(known)}"
                raise ValueError(f"{self.place(key)}: unknown key {key!r}; {hint}")

    def take(self, key: str, read: Callable[[Any], T], default: Any = ...) -> T:
        """The converted value of a key.

        Raises:
            ValueError: if the key is missing and has no default, or the converter refuses its value.
        """
        if key not in self or self[key] is None:
            if default is ...:
                raise ValueError(f"{self.place()}: `{key}` is missing")
            return default
        try:
            return read(self[key])
        except FileNotFoundError as error:
            raise FileNotFoundError(f"{self.place(key)}: {error}") from None
        except (TypeError, ValueError) as error:
            raise ValueError(f"{self.place(key)}: {error}") from None


def read_yaml(path: str | os.PathLike[str]) -> Table:
    """The top table of a YAML file.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not YAML, holds no table, or names a key twice.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no configuration at {path}; `bayescg init` prints one to start from")
    try:
        loader = yaml.SafeLoader(path.read_text(encoding="utf-8"))
        node = loader.get_single_node()
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path.name} is not YAML: {error}") from error
    if not isinstance(node, yaml.MappingNode):
        raise ValueError(f"{path.name} holds no table of settings; `bayescg init` prints one to start from")
    return _convert(loader, node, path.name, "")


def _convert(loader: yaml.SafeLoader, node: yaml.Node, file: str, where: str) -> Any:
    if isinstance(node, yaml.MappingNode):
        loader.flatten_mapping(node)
        table = Table(file, where, node.start_mark.line + 1)
        for key_node, value_node in node.value:
            key = str(loader.construct_object(key_node))
            if key in table:
                raise ValueError(f"{file}, line {key_node.start_mark.line + 1}: {key!r} stands here a second time")
            table.lines[key] = key_node.start_mark.line + 1
            table[key] = _convert(loader, value_node, file, f"{where}.{key}" if where else key)
        return table
    if isinstance(node, yaml.SequenceNode):
        return [_convert(loader, item, file, f"{where}[{number}]") for number, item in enumerate(node.value)]
    return loader.construct_object(node)


def section(cls: type[T], table: Any, **given: Any) -> T:
    """A frozen dataclass from a table; fields carry their converters in `metadata["read"]`.

    Args:
        cls: the dataclass.
        table: the YAML table; None for an absent section.
        **given: fields that do not come from the table.

    Raises:
        ValueError: naming file, line and key of what is wrong.
    """
    if table is None:
        return cls(**given)
    table = _as_table(table)
    fields = [field for field in dataclasses.fields(cls) if "read" in field.metadata]
    table.check(field.name for field in fields)
    values = {}
    for field in fields:
        missing = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        value = table.take(field.name, field.metadata["read"], ... if missing else None)
        if value is not None:
            values[field.name] = value
    try:
        return cls(**values, **given)
    except ValueError as error:
        raise ValueError(f"{table.place()}: {error}") from None


def setting(read: Callable[[Any], Any], default: Any = dataclasses.MISSING) -> Any:
    """A dataclass field that is read from YAML by `read`."""
    if default is dict:
        return dataclasses.field(default_factory=dict, metadata={"read": read})
    return dataclasses.field(default=default, metadata={"read": read})


def table(value: Any) -> Table:
    """A table of settings."""
    if not isinstance(value, Table):
        raise ValueError(f"a section of settings was expected, not {value!r}")
    return value


def number(value: Any) -> float:
    """A number; also what YAML 1.1 reads as text, such as 1e-3."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"a number was expected, not {value!r}")
    try:
        return float(value)
    except ValueError:
        raise ValueError(f"a number was expected, not {value!r}") from None


def integer(value: Any) -> int:
    """A whole number."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"a whole number was expected, not {value!r}")
    return value


def text(value: Any) -> str:
    """Text; a number is taken as it stands."""
    if isinstance(value, bool | list | dict):
        raise ValueError(f"text was expected, not {value!r}")
    return str(value)


def texts(value: Any) -> tuple[str, ...]:
    """One text or a list of them."""
    return tuple(text(item) for item in value) if isinstance(value, list) else (text(value),)


def choice(*options: str) -> Callable[[Any], str]:
    """One of some words."""

    def read(value: Any) -> str:
        if value not in options:
            near = difflib.get_close_matches(str(value), options, n=1, cutoff=0.5)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"one of {', '.join(options)} was expected, not {value!r}{hint}")
        return value

    return read


_as_table = table


def dictionary(value: Any) -> dict[str, str]:
    """A table of texts."""
    if not isinstance(value, dict):
        raise ValueError(f"a table was expected, as in {{SOL: W}}, not {value!r}")
    return {str(key): text(item) for key, item in value.items()}
