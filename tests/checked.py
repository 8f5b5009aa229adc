"""What jaxtyping's import hook makes of every function of the package while tests run: shapes and kinds are checked.

The hook is switched on in pyproject.toml. Dimensions of one name must be equal among the arguments and the result of a
function, and among the fields of a dataclass. What has no shape is left to pyright: tests give wrong words and numbers
on purpose, to see them refused. So are functions that do not say what they return.
"""

import inspect
import types
from typing import Any, Union, get_args, get_origin

import numpy as np
from beartype import BeartypeConf, beartype
from jaxtyping import AbstractArray

_CHECK = beartype(conf=BeartypeConf(is_pep484_tower=True))  # an integer is a number, too


def check(function):
    """A function that checks those of its arguments, and its result, whose annotations have shapes.

    jaxtyping asks for two of each function: one for its arguments, which may return anything, to be called before it,
    and one for arguments and result, to be called after it. The first checks nothing, so that functions can refuse
    wrong shapes in their own words.
    """
    if function.__annotations__.get("return", Any) is Any:
        return function
    shaped = {name: _with_scalars(hint) for name, hint in function.__annotations__.items() if _has_shape(hint)}
    if not shaped:
        return function
    function.__annotations__ = shaped
    return _CHECK(function)


def _has_shape(hint) -> bool:
    return _is_array(hint) or any(map(_has_shape, get_args(hint)))


def _is_array(hint) -> bool:
    return inspect.isclass(hint) and issubclass(hint, AbstractArray)


def _with_scalars(hint):
    """NumPy's sums over all axes are scalars, not arrays without axes: either will do."""
    if _is_array(hint):
        without_axes = all(axis == "..." or axis.startswith("*") for axis in hint.dim_str.split())
        return hint | np.generic if hint.array_type is np.ndarray and without_axes else hint
    if get_origin(hint) in (Union, types.UnionType):
        return Union[tuple(map(_with_scalars, get_args(hint)))]  # noqa: UP007  (of as many as there are)
    if get_origin(hint) is tuple:
        return tuple[tuple(map(_with_scalars, get_args(hint)))]
    return hint
