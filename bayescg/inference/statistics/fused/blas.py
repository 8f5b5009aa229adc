"""BLAS as compiled loops call it: without Python's lock, from SciPy's own library."""

from __future__ import annotations

import ctypes
from typing import Any

import numba.experimental.function_type  # noqa: F401  # teaches numba to take a routine as an argument
import scipy.linalg.cython_blas as cython_blas
from numba import types

_SYRK, _GEMM = 10, 13
"""Numbers of arguments; all of them are addresses."""


class _Routine(types.WrapperAddressProtocol):
    """A routine of BLAS that compiled functions take as an argument: its address is not compiled in, and may change."""

    def __init__(self, name: str, arguments: int):
        capsule = cython_blas.__pyx_capi__[name]
        name_of = ctypes.pythonapi.PyCapsule_GetName
        name_of.restype, name_of.argtypes = ctypes.c_char_p, [ctypes.py_object]
        pointer_of = ctypes.pythonapi.PyCapsule_GetPointer
        pointer_of.restype, pointer_of.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
        self._address, self._arguments = pointer_of(capsule, name_of(capsule)), arguments

    def __wrapper_address__(self):
        return self._address

    def signature(self):
        return types.void(*[types.intp] * self._arguments)


SYRK: Any = _Routine("dsyrk", _SYRK)
"""C = alpha A A' + beta C, one triangle of it."""
GEMM: Any = _Routine("dgemm", _GEMM)
"""C = alpha A B + beta C."""
