"""Compiling is most of what many tests do: without optimization, and nothing twice."""

import contextlib

import jax
from jax.experimental.compilation_cache import compilation_cache


@contextlib.contextmanager
def _settings(settings):
    before = {name: jax.config.values[name] for name in settings}
    for name, value in settings.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()
    yield
    for name, value in before.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()


def quick(folder=None):
    """XLA without optimization of programs.

    Args:
        folder: for compiled programs; None: that of the whole run.
    """
    settings = {"jax_disable_most_optimizations": True}
    return _settings(settings if folder is None else {**settings, "jax_compilation_cache_dir": str(folder)})


def optimized():
    """XLA as users have it, within `quick`: for programs that run longer than they compile."""
    return _settings({"jax_disable_most_optimizations": False})
