"""Files of results that know what made them: a step is skipped when its files carry today's fingerprint."""

from __future__ import annotations

import hashlib
import json
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import xarray as xr

from bayescg._checksum import check, checksum
from bayescg._runtime import atomic_path, write_netcdf

_STAMP = "workflow_fingerprint"
_WARNINGS = "workflow_warnings"
_SECONDS = "workflow_seconds"
# What h5py, JSON and xarray raise for a file that another program wrote, or of which bits have flipped.
_UNREADABLE = (OSError, ValueError, KeyError, RuntimeError, TypeError, AttributeError, IndexError, EOFError)
# Part of every fingerprint: a change of what steps do with the same settings makes old files stale.
_VERSION = 2
_SAMPLE, _BLOCKS, _WHOLE = 1 << 16, 128, 1 << 26


def fingerprint(*parts: Any) -> str:
    """Sixteen hexadecimal digits that tell settings apart."""
    text = json.dumps([_VERSION, *parts], default=str, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def file_fingerprint(path: Path) -> str:
    """The contents of a file; of a large one its size and blocks from all over it, which is cheap."""
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        if size < _WHOLE:
            digest.update(file.read())
            return digest.hexdigest()[:16]
        for number in range(_BLOCKS):
            file.seek((size - _SAMPLE) * number // (_BLOCKS - 1))
            digest.update(file.read(_SAMPLE))
    return digest.hexdigest()[:16]


@dataclass
class Record:
    """What a step leaves about itself beside its results.

    Attributes:
        started: when, by the clock that only goes on.
        said: its warnings.
    """

    started: float = field(default_factory=time.monotonic)
    said: list[str] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """Since it has begun."""
        return round(time.monotonic() - self.started, 2)


@contextmanager
def recording(say: Callable[[str], None]) -> Iterator[Record]:
    """Collect the warnings of a step, so that a report can list them later, and say each of them once."""
    record = Record()

    def show(message, category, filename, lineno, file=None, line=None):
        text = str(message)
        # Deprecations are for programmers; ours are UserWarnings. A program that JAX could not keep is made again.
        if "persistent compilation cache" in text:
            return
        if issubclass(category, DeprecationWarning | PendingDeprecationWarning) or text in record.said:
            return
        record.said.append(text)
        say(f"warning: {text}")

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = show
        yield record


@dataclass(frozen=True)
class Product:
    """A file of results.

    Attributes:
        path: where it lies.
        stamp: fingerprint of all settings and inputs that it depends on.
    """

    path: Path
    stamp: str

    @property
    def is_made(self) -> bool:
        """Whether it is there and was made by these settings and inputs."""
        return stamp_of(self.path) == self.stamp

    @property
    def is_current(self) -> bool:
        """Whether it is made, and nothing is missing that belongs to it."""
        return self.is_made

    @property
    def unfinished(self) -> Product:
        """The same file as an interrupted step leaves it: partial, and never current."""
        return replace(self, stamp=f"interrupted {self.stamp}")

    def attrs(self, record: Record) -> dict[str, Any]:
        """What the file says of itself."""
        return {_STAMP: self.stamp, _WARNINGS: json.dumps(record.said), _SECONDS: record.seconds}

    def write(self, data: xr.Dataset | xr.DataTree, record: Record) -> None:
        """Write to netCDF, atomically, with what made it in the root attributes."""
        copy = data.copy()
        copy.attrs.update(self.attrs(record))
        write_netcdf(copy, self.path)

    def write_json(self, content: dict[str, Any], record: Record) -> None:
        """Write a table to JSON, atomically, with what made it; its last entry is a checksum of all before."""
        text = json.dumps({**self.attrs(record), **content}, indent=1).removesuffix("\n}") + ',\n "checksum": "'
        with atomic_path(self.path) as temporary:
            temporary.write_bytes(text.encode() + checksum(text.encode()) + b'"\n}\n')


@dataclass(frozen=True)
class Listing(Product):
    """A list of files that other programs read, in groups: it is current if these are as they were written.

    Attributes:
        needed: names of groups; one that could not be written is tried again by the next run.
    """

    needed: tuple[str, ...] = ()

    @property
    def is_current(self) -> bool:
        """Whether it is made, all groups are there, and all files are as they were written."""
        if not self.is_made:
            return False
        content = read_json(self.path)
        files = [(self.path.parent / name, digest) for name, digest in content["digests"].items()]
        return set(self.needed) <= set(content["files"]) and all(
            path.is_file() and file_fingerprint(path) == digest for path, digest in files
        )

    @property
    def groups(self) -> tuple[str, ...]:
        """Names of the groups that could be written."""
        return tuple(read_json(self.path)["files"]) if self.is_made else ()

    def write_listing(self, groups: dict[str, list[Path]], record: Record) -> None:
        """Write the list.

        Args:
            groups: files by group; they lie in its folder or below.
            record: what is kept beside it.
        """
        files = {name: [str(path.relative_to(self.path.parent)) for path in paths] for name, paths in groups.items()}
        digests = {
            str(path.relative_to(self.path.parent)): file_fingerprint(path)
            for paths in groups.values()
            for path in paths
        }
        self.write_json({"files": files, "digests": digests}, record)


def stamp_of(path: Path) -> str | None:
    """The fingerprint that a file carries; None if it is missing, damaged or carries none."""
    if not path.is_file():
        return None
    try:
        if path.suffix == ".json":
            return read_json(path).get(_STAMP)
        check(path)
        if path.suffix == ".html":
            return _meta(path.read_text(encoding="utf-8"))
        with xr.open_dataset(path, engine="h5netcdf") as data:
            return data.attrs.get(_STAMP)
    except _UNREADABLE:
        return None


def read_json(path: Path) -> dict[str, Any]:
    """Read what `Product.write_json` wrote.

    Raises:
        OSError: if there is no such file.
        ValueError: if it is damaged, or no table.
    """
    check(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is damaged, or no file of a run: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} is no file of a run: it holds no table")
    return content


def _meta(html: str) -> str | None:
    mark = f'<meta name="{_STAMP}" content="'
    return html.split(mark, 1)[1].split('"', 1)[0] if mark in html else None


def record_of(attrs: dict[str, Any]) -> tuple[list[str], float | None]:
    """Warnings and seconds of the step that made a file, from its attributes."""
    seconds = attrs.get(_SECONDS)
    return json.loads(str(attrs.get(_WARNINGS, "[]"))), None if seconds is None else float(seconds)
