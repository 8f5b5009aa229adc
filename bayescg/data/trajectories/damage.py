"""Damage that MDAnalysis reads over without a word.

For a TRR frame with fewer atoms than the first it returns stale coordinates; a last TRR frame that was cut within its
header, or a last frame of a LAMMPS dump that was cut anywhere, it does not count.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

_MAGIC = 1993
_HEADER = 76  # magic, the string GMX_trn_file with its two lengths, and 13 integers

UNREADABLE = (OSError, EOFError, ValueError, IndexError, KeyError, StopIteration, RuntimeError)
"""What readers raise for a frame that is not what it should be."""


class FrameGuard:
    """Checks frames of TRR files and the ends of TRR files and LAMMPS dumps; does nothing for other readers.

    Args:
        reader: MDAnalysis reader of one file.
    """

    def __init__(self, reader):
        self._file = None
        self._reader = reader
        if getattr(reader, "format", "") == "TRR":
            self._file = Path(reader.filename).open("rb")  # noqa: SIM115  (closed in __exit__)
            self._size = os.fstat(self._file.fileno()).st_size
            self._offsets = reader._xdr.offsets

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    def check(self, frame: int, n_atoms: int) -> None:
        """Check one frame.

        Raises:
            EOFError: if the frame is cut off.
            ValueError: if the frame has another number of atoms.
        """
        if self._file is None:
            return
        found, end = self._parse(self._file, frame)
        if found != n_atoms:
            raise ValueError(f"number of atoms changed to {found}")
        if end > self._size:
            raise EOFError(f"it ends {end - self._size} bytes too early")

    def cut_behind(self, frame: int) -> bool:
        """Whether this is the last frame that the reader knows, and the file goes on behind it."""
        if getattr(self._reader, "format", "") == "LAMMPSDUMP":
            return frame + 1 == self._reader.n_frames and self._dump_goes_on(frame)
        if self._file is None or frame + 1 != len(self._offsets):
            return False
        return self._parse(self._file, frame)[1] < self._size

    def _dump_goes_on(self, frame: int) -> bool:
        from MDAnalysis.lib.util import anyopen

        with anyopen(self._reader.filename) as file:
            file.seek(self._reader._offsets[frame])
            for _ in range(self._reader.n_atoms + 9):  # nine lines of header
                file.readline()
            return bool(file.read(1000).strip())

    def _parse(self, file: BinaryIO, frame: int) -> tuple[int, int]:
        """Number of atoms of a frame, and where in the file it ends."""
        start = int(self._offsets[frame])
        file.seek(start)
        header = file.read(_HEADER)
        if len(header) < _HEADER or struct.unpack(">i", header[:4])[0] != _MAGIC:
            raise EOFError("its header is cut off or damaged")
        sizes = struct.unpack(">13i", header[24:])
        # The time and lambda that follow have the precision of the box, or of the first array there is.
        precision = sizes[2] // 9 if sizes[2] else max(sizes[7:10]) // (3 * max(sizes[10], 1))
        return sizes[10], start + _HEADER + 2 * precision + sum(sizes[2:5]) + sum(sizes[7:10])
