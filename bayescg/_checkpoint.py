"""Finished parts of a long call in a folder: the same call goes on from them, however the process has ended.

Each part is a record of its own that appears under its name when it is whole. A part that is damaged counts as not
there and is made again. What the call was is written first, as a digest of its arguments; a folder of another call is
refused.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bayescg._records import read_record, write_record
from bayescg._runtime import atomic_path
from bayescg._version import __version__

_HEAD, _LOCK, _FORMAT = "checkpoint.json", ".lock", 1


@dataclass(frozen=True)
class Parts:
    """Finished parts, by name.

    Attributes:
        folder: where they lie; None: nothing is kept.
        kind: of call.
        classes: named tuples that parts are made of.
    """

    folder: Path | None
    kind: str
    classes: tuple[type, ...] = ()

    def read(self, name: str) -> Any:
        """A part with NumPy's arrays, to the last bit as it was; None if it is not there, or damaged."""
        if self.folder is None:
            return None
        try:
            return read_record(self._path(self.folder, name), self.kind, _FORMAT, classes=self.classes)
        except (FileNotFoundError, ValueError):
            return None

    def keep(self, name: str, part: Any) -> None:
        """Write a part, atomically.

        Raises:
            OSError: if the disk is full.
        """
        if self.folder is not None:
            write_record(self._path(self.folder, name), self.kind, _FORMAT, part, compressed=False)

    @staticmethod
    def _path(folder: Path, name: str) -> Path:
        return folder / f"{name}.npz"


@contextlib.contextmanager
def parts_in(
    folder: str | os.PathLike[str] | None, kind: str, identity: str, classes: Iterable[type] = ()
) -> Iterator[Parts]:
    """Open or make a folder of parts, and keep other processes out of it inside the scope.

    Args:
        folder: where; None for nowhere.
        kind: of call, such as "simulation".
        identity: of the call, from `digest`.
        classes: named tuples that parts are made of.

    Raises:
        ValueError: if the folder belongs to another call or holds something else, or another process is at work there.
    """
    if folder is None:
        yield Parts(None, kind)
        return
    from filelock import FileLock, Timeout

    place = Path(folder)
    if place.exists() and not place.is_dir():
        raise ValueError(f"checkpoint: {folder} is no folder: give the name of one, which need not be there yet")
    place.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(place / _LOCK, timeout=0):
            _claim(place, kind, identity)
            yield Parts(place, kind, tuple(classes))
    except Timeout:
        raise ValueError(f"another process is at work in {folder}: wait until it has ended") from None


def _claim(folder: Path, kind: str, identity: str) -> None:
    """Say whose folder it is, or find that it is ours."""
    # What a process that was killed has not written to its end.
    for path in folder.glob(".*.????????.part"):
        path.unlink(missing_ok=True)
    head, ours = folder / _HEAD, {"kind": kind, "identity": identity}
    try:
        found = json.loads(head.read_text(encoding="utf-8"))
    except FileNotFoundError:
        others = sorted(path.name for path in folder.iterdir() if path.name != _LOCK)
        if others:
            raise ValueError(
                f"checkpoint: {folder} holds something else ({others[0]}): give a folder of its own"
            ) from None
        with atomic_path(head) as temporary:
            temporary.write_text(json.dumps(ours), encoding="utf-8")
        return
    except ValueError:
        found = None
    if found != ours:
        raise ValueError(
            f"{folder} holds finished parts of another {kind} (other arguments, data, key or version of bayescg): give "
            "another folder, or delete it to begin anew"
        )


def remove(folder: str | os.PathLike[str]) -> None:
    """Delete a folder of parts, if it is there; whatever else lies in it stays.

    What it belongs to goes last, so that a folder of which a part is deleted still is what it was.
    """
    place = Path(folder)
    if not place.is_dir():
        return
    for pattern in (".*.????????.part", "*.npz", _HEAD, _LOCK):
        for path in place.glob(pattern):
            path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        place.rmdir()


def digest(*values: Any) -> str:
    """Sixteen hexadecimal digits that tell arguments apart: arrays by all their bytes, all else by its `repr`."""
    total = hashlib.sha256(__version__.encode())
    for value in values:
        if isinstance(value, np.ndarray):
            total.update(f"{value.dtype.str}{value.shape}".encode())
            total.update(np.ascontiguousarray(value).tobytes())
        else:
            total.update(repr(value).encode())
        total.update(b";")
    return total.hexdigest()[:16]
