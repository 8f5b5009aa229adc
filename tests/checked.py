"""What jaxtyping's import hook makes of every function of the package while tests run: shapes and kinds are checked.

The hook is switched on in pyproject.toml. Dimensions of one name must be equal among the arguments and the result of a
function, and among the fields of a dataclass. What has no shape is left to pyright: tests give wrong words and numbers
on purpose, to see them refused.
"""

import inspect
from typing import get_args

from beartype import beartype
from jaxtyping import AbstractArray


def check(function):
    """A function that checks those of its arguments, and its result, whose annotations have shapes."""
    shaped = {name: hint for name, hint in function.__annotations__.items() if _has_shape(hint)}
    if not shaped:
        return function
    function.__annotations__ = shaped
    return beartype(function)


def _has_shape(hint) -> bool:
    return (inspect.isclass(hint) and issubclass(hint, AbstractArray)) or any(map(_has_shape, get_args(hint)))
