"""YAML that remembers on which line each of its keys stands, so that errors can say it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

import yaml

Location = tuple[str | int, ...]
"""Keys and numbers of list items that lead from the top of a file to a value."""
_MOST = 100_000
"""Values in a file: far more than anyone writes by hand, far less than aliases of aliases can unfold to."""

_MERGE = "tag:yaml.org,2002:merge"  # the key `<<`


class Document(NamedTuple):
    """What a YAML file holds.

    Attributes:
        file: name of the file.
        text: of the file.
        table: the top table; keys are text.
        lines: line of each key and of each item of a list.
    """

    file: str
    text: str
    table: dict[str, Any]
    lines: dict[Location, int]

    def place(self, location: Location) -> str:
        """File, line and path of a value, as in `config.yaml, line 4, potential.terms[0].cutoff`.

        Parts of the location that the file does not have are left out.
        """
        found: Location = ()
        value: Any = self.table
        for part in location:
            if isinstance(value, dict) and part in value:
                value, found = value[str(part)], (*found, part)
            elif isinstance(value, list) and isinstance(part, int):
                value, found = value[part], (*found, part)
        name = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in found).lstrip(".")
        line = [f"line {self.lines[found]}"] if found in self.lines else []
        return ", ".join([self.file, *line, *([name] if name else [])])


def read_yaml(path: str | os.PathLike[str]) -> Document:
    """Read the table that a YAML file holds.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not YAML, holds no table, names a key twice, or unfolds without end.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path.name} is not YAML: {error}") from error
    lines: dict[Location, int] = {}
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        table = _convert(loader, node, (), lines) if isinstance(node, yaml.MappingNode) else None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f", line {mark.line + 1}," if mark else ""
        raise ValueError(f"{path.name}{line} is not YAML: {error.problem or error.context}") from error
    except yaml.YAMLError as error:
        raise ValueError(f"{path.name} is not YAML: {' '.join(str(error).split())}") from error
    except RecursionError:
        raise ValueError(f"{path.name}: its tables lie too deep in each other, or contain themselves") from None
    except _Refused as error:
        raise ValueError(f"{path.name}{error}") from None
    if table is None:
        raise ValueError(f"{path.name} holds no table of settings: lines such as `name: value` were expected")
    return Document(path.name, text, table, lines)


class _Refused(Exception):
    pass


def _convert(loader: yaml.SafeLoader, node: yaml.Node, where: Location, lines: dict[Location, int]) -> Any:
    if len(lines) > _MOST:
        raise _Refused(f" unfolds to more than {_MOST} values: write it without so many aliases")
    if isinstance(node, yaml.MappingNode):
        own: set[str] = set()
        for key_node, _ in node.value:
            if key_node.tag == _MERGE:
                continue
            key = str(loader.construct_object(key_node))
            if key in own:
                raise _Refused(f", line {key_node.start_mark.line + 1}: {key!r} stands here a second time")
            own.add(key)
        loader.flatten_mapping(node)  # puts what is merged before the table's own keys
        table = {}
        for key_node, value_node in node.value:
            key = str(loader.construct_object(key_node))
            lines[*where, key] = key_node.start_mark.line + 1
            table[key] = _convert(loader, value_node, (*where, key), lines)
        return table
    if isinstance(node, yaml.SequenceNode):
        items = []
        for number, item in enumerate(node.value):
            lines[*where, number] = item.start_mark.line + 1
            items.append(_convert(loader, item, (*where, number), lines))
        return items
    return loader.construct_object(node)
