"""Result files that know what made them: a step is skipped when its files carry the fingerprint of today's settings."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import xarray as xr

from bayescg._runtime import write_netcdf
from bayescg.report.results import SECONDS, WARNINGS

STAMP = "workflow_fingerprint"
# Part of every fingerprint: a change of what steps do with the same settings makes old files stale.
_VERSION = 1
_SAMPLE, _WHOLE = 1 << 16, 1 << 26


def fingerprint(*parts: Any) -> str:
    """Sixteen hexadecimal digits that tell settings apart."""

    def plain(value: Any) -> Any:
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return {"type": type(value).__name__, **{f.name: getattr(value, f.name) for f in dataclasses.fields(value)}}
        return str(value)

    text = json.dumps([_VERSION, *parts], default=plain, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def file_fingerprint(path: Path) -> str:
    """The contents of a file; of a large one size, both ends and time of the last change, which is cheap."""
    found = path.stat()
    size = found.st_size
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        if size < _WHOLE:
            digest.update(file.read())
            return digest.hexdigest()[:16]
        digest.update(str(found.st_mtime_ns).encode())
        digest.update(file.read(_SAMPLE))
        file.seek(max(0, size - _SAMPLE))
        digest.update(file.read())
    return digest.hexdigest()[:16]


def stamp_of(path: Path) -> str | None:
    """The fingerprint that a file carries; None if it is missing, damaged or carries none."""
    if not path.is_file():
        return None
    try:
        if path.suffix == ".json":
            return json.loads(path.read_text()).get(STAMP)
        if path.suffix == ".html":
            return _meta(path.read_text(encoding="utf-8"))
        with xr.open_dataset(path, engine="h5netcdf") as data:
            return data.attrs.get(STAMP)
    except (OSError, ValueError, KeyError):
        return None


def _meta(html: str) -> str | None:
    mark = f'<meta name="{STAMP}" content="'
    return html.split(mark, 1)[1].split('"', 1)[0] if mark in html else None


@dataclass
class Record:
    """What a step leaves about itself beside its results: fingerprint, warnings, seconds."""

    stamp: str
    started: float = field(default_factory=time.monotonic)
    said: list[str] = field(default_factory=list)

    @property
    def attrs(self) -> dict[str, Any]:
        """As attributes of a file."""
        spent = round(time.monotonic() - self.started, 2)
        return {STAMP: self.stamp, WARNINGS: json.dumps(self.said), SECONDS: spent}


@contextmanager
def recording(stamp: str, say: Callable[[str], None]) -> Iterator[Record]:
    """Collect the warnings of a step, so that a report can list them later, and say each of them once."""
    record = Record(stamp)

    def show(message, category, filename, lineno, file=None, line=None):
        text = str(message)
        # Deprecations are for programmers; ours are UserWarnings.
        if issubclass(category, DeprecationWarning | PendingDeprecationWarning) or text in record.said:
            return
        record.said.append(text)
        say(f"warning: {text}")

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = show
        yield record


def write_stamped(data: xr.Dataset | xr.DataTree, path: str | os.PathLike[str], record: Record) -> Path:
    """Write to netCDF, atomically, with what made it in the root attributes."""
    copy = data.copy()
    copy.attrs.update(record.attrs)
    return write_netcdf(copy, path)
