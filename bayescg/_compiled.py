"""Programs of functions that are made within functions."""

from __future__ import annotations

from collections.abc import Callable

import equinox as eqx
import jax
import numpy as np

_BATCH = 512
"""Rows that `batched` works on at a time."""


def compiled(function: Callable) -> Callable:
    """`equinox.filter_jit` for a function that is made anew at each call of another: its programs go when it goes.

    Equinox keeps the programs of every function for the life of the process. Those of one `discover` hold about
    15,000 memory maps, of which Linux grants a process 65,530: the fifth would end it.

    Args:
        function: of pytrees, all arrays of which are traced; it returns pytrees of arrays.
    """
    programs = {}

    def call(*arguments):
        arrays, rest = eqx.partition(arguments, lambda leaf: isinstance(leaf, jax.Array | np.ndarray))
        leaves, structure = jax.tree.flatten(rest)
        known = (structure, *leaves)
        if known not in programs:
            programs[known] = jax.jit(lambda arrays: function(*eqx.combine(arrays, rest)))
        return programs[known](arrays)

    return call


def batched(function, values):
    """Apply a function of one row to all rows, compiled, a bounded number at a time."""
    return compiled(lambda f, v: jax.lax.map(f, v, batch_size=min(_BATCH, len(v))))(function, values)
