"""How loops are compiled: by numba, without Python's lock, kept on disk for the next process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit

_MATH = {"contract", "reassoc", "nsz", "arcp"}
"""Liberties that change last digits only: what is not a number must stay so, as it is looked for afterwards."""


def compiled(function: Callable) -> Any:
    """A loop over numbers and arrays. Its definition must be decorated with `typing.no_type_check`, too: compiled code
    cannot be checked from outside.
    """
    return njit(nogil=True, cache=True, fastmath=_MATH, error_model="numpy")(function)
