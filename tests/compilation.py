"""Compiling is most of what many tests do: without optimization, and nothing twice."""

import contextlib

import jax
from jax.experimental.compilation_cache import compilation_cache

_SETTINGS = {
    "jax_disable_most_optimizations": True,
    "jax_persistent_cache_min_compile_time_secs": 0.1,
    "jax_persistent_cache_min_entry_size_bytes": -1,
}


@contextlib.contextmanager
def quick(folder=None):
    """XLA without optimization of programs.

    Args:
        folder: for compiled programs, which then serve other tests of this run; None keeps none.
    """
    settings = {**_SETTINGS, "jax_compilation_cache_dir": None if folder is None else str(folder)}
    before = {name: jax.config.values[name] for name in settings}
    for name, value in settings.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()
    yield
    for name, value in before.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()
