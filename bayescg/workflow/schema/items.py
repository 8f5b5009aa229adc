"""Lists in a configuration, whose items are named by one of their keys, as `pair` in `- pair: [W, W]`."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator

from bayescg._settings import Section, UnknownKeyError


class Item(Section):
    """An item of a list; the key that names it holds its bead types."""

    kind: ClassVar[str]
    width: ClassVar[int]

    @property
    def beads(self) -> tuple[str, ...]:
        """Bead types."""
        return getattr(self, self.kind)

    @property
    def options(self) -> dict[str, Any]:
        """What is given beside the bead types, in the order of the model."""
        given = self.model_fields_set - {self.kind}
        return {name: getattr(self, name) for name in type(self).model_fields if name in given}


def listed(models: Mapping[str, type[Item]], value: Any) -> tuple[Any, ...]:
    """The items of a list, as a tuple.

    Raises:
        ValueError: if it is no list.
    """
    if not isinstance(value, list | tuple):
        raise ValueError(f"a list was expected, each item as in `- {next(iter(models))}: ...`, not {value!r}")
    return tuple(value)


def choose(models: Mapping[str, type[Item]], value: Any) -> Item:
    """The item that a table of a YAML file describes.

    Args:
        models: by the key that names the item.
        value: the table.

    Raises:
        ValueError: if no key, or more than one, names the item, or a setting is wrong.
    """
    if isinstance(value, Item):
        return value
    if isinstance(value, str) and value in models and models[value].width == 0:
        return models[value]()
    example = f"`- {next(iter(models))}: ...`"
    if not isinstance(value, dict):
        raise ValueError(f"a table was expected, as in {example}, not {value!r}")
    found = [kind for kind in models if kind in value]
    if not found:
        settings = dict.fromkeys(name for model in models.values() for name in model.model_fields)
        for key in value:
            if key not in settings:
                raise UnknownKeyError(key, [*models, *settings])
    if len(found) != 1:
        raise ValueError(f"one of {', '.join(models)} must name the item, as in {example}")
    return models[found[0]].model_validate(value)


def described(cls: type) -> dict[str, str]:
    """What the docstring of a class says of its attributes."""
    attributes = (inspect.getdoc(cls) or "").partition("Attributes:\n")[2]
    found = re.findall(r"^ {4}(\w+): (.*(?:\n {8,}.*)*)", attributes, re.MULTILINE)
    return {name: " ".join(words.split()) for name, words in found}


def _read_beads(width: int, value: Any) -> tuple[str, ...]:
    found = value.split("-") if isinstance(value, str) else value
    found = tuple(found) if isinstance(found, list | tuple) else (found,)
    if len(found) != width or any(isinstance(bead, bool | list | dict) for bead in found):
        raise ValueError(f"{width} bead types were expected, as in [{', '.join('ABBA'[:width])}], not {value!r}")
    return tuple(str(bead) for bead in found)


Two = Annotated[tuple[str, ...], BeforeValidator(partial(_read_beads, 2))]
"""Two bead types, from a list or from a text such as A-B."""
Three = Annotated[tuple[str, ...], BeforeValidator(partial(_read_beads, 3))]
"""Three of them."""
Four = Annotated[tuple[str, ...], BeforeValidator(partial(_read_beads, 4))]
"""Four of them."""
