"""Checksums at the end of files, by which every flipped bit is noticed when they are read.

A file ends with `bayescg crc32` and eight digits, the CRC-32 of all bytes before these words, as in the ZIP archives of
NumPy. HDF5, which ends where its own header says, and a page with a comment at its end stay what they are for other
programs. HDF5's own filters would leave out attributes, texts and single numbers.

A file without a checksum is of another program, or was changed by one (HDF5 cuts off what follows its own end): it is
judged by what it holds.
"""

from __future__ import annotations

import os
import zlib
from pathlib import Path

_MARK, _DIGITS = b"bayescg crc32 ", 8
_END = 64
"""The checksum is looked for in so many bytes at the end."""
_PIECE = 1 << 22


def checksum(content: bytes | memoryview) -> bytes:
    """The words that follow this content in a file."""
    return _MARK + b"%08x" % zlib.crc32(content)


def append_checksum(path: str | os.PathLike[str]) -> None:
    """Write the checksum of a file to its end."""
    with Path(path).open("r+b") as file:
        total = _sum(file, os.fstat(file.fileno()).st_size)
        file.seek(0, os.SEEK_END)
        file.write(_MARK + b"%08x" % total)


def check(path: str | os.PathLike[str]) -> None:
    """Compare a file with its checksum, if it has one.

    Args:
        path: of the file; it is read once, about 2 GB a second where it is in the system's memory.

    Raises:
        OSError: if the file cannot be read.
        ValueError: if its bytes are not those that were written.
    """
    with Path(path).open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        begin = max(0, size - _END)
        file.seek(begin)
        end = file.read()
        place = end.rfind(_MARK)
        if place < 0:
            return
        words = end[place : place + len(_MARK) + _DIGITS]
        if words != _MARK + b"%08x" % _sum(file, begin + place):
            raise ValueError(
                f"{path} is damaged: its bytes are not those that were written; make it again, or copy it anew"
            )


def _sum(file, size: int) -> int:
    """CRC-32 of the first bytes of an open file."""
    file.seek(0)
    total = 0
    while size > 0 and (piece := file.read(min(size, _PIECE))):
        total, size = zlib.crc32(piece, total), size - len(piece)
    return total
