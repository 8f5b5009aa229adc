"""How loops are compiled: by numba, without Python's lock, kept on disk for the next process."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numba import njit

_MATH = {"contract", "reassoc", "nsz", "arcp"}
"""Liberties that change last digits only: what is not a number must stay so, as it is looked for afterwards."""


def compiled(function: Callable) -> Any:
    """A loop over numbers and arrays. Its definition must be decorated with `typing.no_type_check`, too: compiled code
    cannot be checked from outside.
    """
    return njit(nogil=True, cache=True, fastmath=_MATH, error_model="numpy")(function)


def forget_stale(folder: Path) -> None:
    """Delete compiled loops that are kept beside sources, if any of these or of this folder has changed since.

    Numba looks at the file of a loop, and not at those of the loops that it calls.

    Args:
        folder: of the sources.
    """
    digest = hashlib.sha256()
    for path in sorted({*folder.glob("*.py"), *_HERE.glob("*.py")}):
        digest.update(path.read_bytes())
    kept = folder / "__pycache__"
    stamp = kept / "loops.sha256"
    with contextlib.suppress(OSError):
        if stamp.is_file() and stamp.read_text() == digest.hexdigest():
            return
        for path in [*kept.glob("*.nbi"), *kept.glob("*.nbc")]:
            path.unlink(missing_ok=True)
        kept.mkdir(exist_ok=True)
        stamp.write_text(digest.hexdigest())


_HERE = Path(__file__).parent
forget_stale(_HERE)
