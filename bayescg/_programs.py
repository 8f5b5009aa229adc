"""Compiled programs, kept on disk for the next process: compiling is most of a short fit. Imports no JAX.

JAX keeps programs itself, if variables of the environment say where before it is imported. Names of kept programs are
hashes of their text, of the compiler and its options, but not of the processor: another one gets another folder.
"""

from __future__ import annotations

import hashlib
import os
import platform
import time
from importlib import metadata
from pathlib import Path

FOLDER = "JAX_COMPILATION_CACHE_DIR"
"""Variable that says where programs are kept."""
_YOUNG = 60.0
_MOST = 1 << 30
"""Bytes that they may take; those not used for longest go first."""


def keep_programs() -> None:
    """Let JAX, which must not have been imported, keep programs in the user's cache, unless the user has said where.

    An empty variable `JAX_COMPILATION_CACHE_DIR` keeps none.
    """
    if FOLDER in os.environ:
        return
    folder = cache_folder("bayescg") / machine()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _mend(folder)
    except OSError:  # a home that cannot be written: compile anew
        return
    if not os.access(folder, os.W_OK):
        return
    os.environ[FOLDER] = str(folder)
    os.environ.setdefault("JAX_COMPILATION_CACHE_MAX_SIZE", str(_MOST))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
    # XLA compares what it reads with the processor in pages of text, also where all is well.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def _mend(folder: Path) -> None:
    """Delete halves of pairs, a program or its time, which a killed process has left and JAX stumbles over.

    A young half may be half of what another process is writing.
    """
    pairs = {"-cache": "-atime", "-atime": "-cache"}
    for path in folder.iterdir():
        for own, other in pairs.items():
            if not path.name.endswith(own) or path.with_name(path.name.removesuffix(own) + other).exists():
                continue
            if time.time() - path.stat().st_mtime > _YOUNG:
                path.unlink(missing_ok=True)


def cache_folder(name: str) -> Path:
    """A folder in the user's cache, which need not be there yet."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / name


def machine() -> str:
    """A name for what compiled programs belong to: the compiler, its options, the processor's instructions."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        instructions = next(line for line in lines if line.startswith(("flags", "Features")))
    except (OSError, StopIteration):
        instructions = platform.processor()
    versions = [metadata.version(name) for name in ("jax", "jaxlib")]
    parts = (*versions, platform.machine(), instructions, os.environ.get("XLA_FLAGS", ""))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
