"""Compiling is most of what the tests do: quickly, and nothing twice.

Programs of tests run once or a few times on few data, so that XLA's optimization costs more than it gains. It is off,
also in programs that tests start, but for those in `optimized()`; with `BAYESCG_TESTS_OPTIMIZED=1` all compile as they
do for users. What is compiled is kept on disk for all processes of a run and for later runs, in
`$XDG_CACHE_HOME/bayescg-tests` (about 200 MB, may be deleted at any time). The name of a kept program is a hash of its
text, of the compiler's version and options: a program that has changed is another one.
"""

import contextlib
import os
from pathlib import Path

import jax

from bayescg._programs import FOLDER, cache_folder, machine

_QUICK = "JAX_DISABLE_MOST_OPTIMIZATIONS"
_FORMER = "--xla_cpu_use_fusion_emitters=false"
_MOST = 1 << 30
"""Bytes that kept programs may take before the oldest half of them goes."""


def compile_quickly() -> None:
    """No optimization, and former emitters of fused loops, which compile twice as fast as today's.

    Programs that this one starts inherit both: programs of other emitters have the same name where they are kept, but
    other last digits. Options that the caller gives XLA stay.
    """
    if os.environ.get("BAYESCG_TESTS_OPTIMIZED", "0") != "0":
        return
    _set(_QUICK, True)
    flags = os.environ.get("XLA_FLAGS", "")
    if _FORMER not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} {_FORMER}".strip()
    jax.devices()


def keep_programs() -> None:
    """Programs are kept on disk, unless the caller has said where."""
    if FOLDER in os.environ:
        return
    folder = _home() / machine()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return
    _set(FOLDER, str(folder))
    _set("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", 0.0)
    _set("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", -1)


def forget_old_programs() -> None:
    """Bound the room that kept programs take; to be called before any test begins."""
    kept = [(path.stat(), path) for path in _home().glob("*/*") if path.is_file()]
    if sum(stat.st_size for stat, _ in kept) > _MOST:
        kept.sort(key=lambda each: each[0].st_mtime)
        for _, path in kept[: len(kept) // 2]:
            path.unlink(missing_ok=True)


def _set(name: str, value) -> None:
    """A setting of JAX, for this process and for those that it starts."""
    os.environ[name] = str(int(value) if isinstance(value, bool) else value)
    jax.config.update(name.lower(), value)


def _home() -> Path:
    return cache_folder("bayescg-tests")


@contextlib.contextmanager
def optimized():
    """XLA as users have it: for programs that run longer than they compile."""
    before = jax.config.values[_QUICK.lower()]
    jax.config.update(_QUICK.lower(), False)
    try:
        yield
    finally:
        jax.config.update(_QUICK.lower(), before)
