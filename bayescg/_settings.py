"""Settings as frozen pydantic models; what is wrong in a file is said in one line: where, the value, the remedy."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from bayescg._yaml import Document


class UnknownKeyError(ValueError):
    """A key that nothing is called by.

    Args:
        key: of a table.
        known: what keys may be there.
    """

    def __init__(self, key: str, known: Iterable[str]):
        super().__init__(f"unknown key {key!r}; {nearest(key, known)}")
        self.key = key


class Section(BaseModel):
    """A table of settings: a frozen model that takes no unknown key, and of which an empty key counts as absent.

    A docstring below a field is its description.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    @model_validator(mode="before")
    @classmethod
    def _check_keys(cls, given: Any) -> Any:
        if isinstance(given, cls):
            return given
        if not isinstance(given, dict):
            raise ValueError(f"a section of settings was expected, not {given!r}")
        for key in given:
            if key not in cls.model_fields:
                raise UnknownKeyError(key, cls.model_fields)
        given = {key: value for key, value in given.items() if value is not None}
        for name, field in cls.model_fields.items():
            if field.is_required() and name not in given:
                example = f", as in `{name}: {field.examples[0]}`" if field.examples else ""
                raise ValueError(f"`{name}` is missing{example}")
        return given


T = TypeVar("T", bound=Section)


def validate(model: type[T], document: Document) -> T:
    """Settings from a YAML file.

    Args:
        model: what the file should hold.
        document: from `read_yaml`.

    Raises:
        ValueError: in one line that names the file, the line, the key, the value and what would be right.
    """
    try:
        return model.model_validate(document.table)
    except ValidationError as error:
        raise ValueError(explain(error, document)) from None


def explain(error: ValidationError, document: Document) -> str:
    """The first mistake that pydantic has found in a file, in one line."""
    first = error.errors(include_url=False)[0]
    cause = first.get("ctx", {}).get("error")
    location = first["loc"] + ((cause.key,) if isinstance(cause, UnknownKeyError) else ())
    return f"{document.place(location)}: {describe(error)}"


def nearest(word: str, known: Iterable[str]) -> str:
    """The known word that was probably meant, or all that are known."""
    known = list(known)
    near = difflib.get_close_matches(str(word), known, n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(known)}"


def describe(error: ValidationError) -> str:
    """The first mistake that pydantic has found: the value, and what would be right."""
    first = error.errors(include_url=False)[0]
    value, context = first["input"], first.get("ctx", {})
    name = first["loc"][-1] if first["loc"] else ""
    match first["type"]:
        case "value_error":
            return str(context["error"])
        case "literal_error":
            options = re.findall(r"'([^']*)'", context["expected"])
            hint = nearest(value, options)
            return f"one of {', '.join(options)} was expected, not {value!r}" + (f"; {hint}" if hint[0] == "d" else "")
        case "int_type" | "int_from_float":
            return f"a whole number was expected, not {value!r}"
        case "finite_number":
            return f"{name} must be finite; got {value}"
        case "greater_than":
            least = context["gt"]
            return f"{name} must be {'positive' if least == 0 else f'above {least}'}; got {value}"
        case "greater_than_equal":
            return f"{name} must be at least {context['ge']}; got {value}"
        case "dict_type":
            return f"a table was expected, as in {{SOL: W}}, not {value!r}"
        case "tuple_type" | "list_type":
            return f"a list was expected, not {value!r}"
    return f"{first['msg']}; got {value!r}"


def _number(value: Any) -> float:
    """A number; also what YAML 1.1 reads as text, such as 1e-3."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"a number was expected, not {value!r}")
    try:
        return float(value)
    except (ValueError, OverflowError):
        raise ValueError(f"a number was expected, not {value!r}") from None


def _text(value: Any) -> str:
    if isinstance(value, bool | list | dict | tuple):
        raise ValueError(f"text was expected, not {value!r}")
    return str(value)


def as_tuple(value: Any) -> tuple[Any, ...]:
    """The items of a list, or the one value that stands in its place."""
    return tuple(value) if isinstance(value, list | tuple) else (value,)


Number = Annotated[float, BeforeValidator(_number)]
"""A finite number."""
Positive = Annotated[Number, Field(gt=0)]
"""A number above zero."""
Count = Annotated[int, Field(ge=1)]
"""A whole number above zero."""
Text = Annotated[str, BeforeValidator(_text)]
"""Text; a number is taken as it stands."""
Texts = Annotated[tuple[Text, ...], BeforeValidator(as_tuple)]
"""One text or a list of them."""
