"""What `kill -9` leaves on the disk, without killing anybody.

The disk after a kill is the disk at that moment, and between two changes of files it does not change. So a folder is
copied at each change while a call runs to its end, and each copy is what a process that was killed there has left: for
a file that was being written, with the first bytes of it only.
"""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

TORN = b"\x89HDF\r\n\x1a\nPK"


class Moments(list[Path]):
    """Copies of a folder, in the order of time.

    Attributes:
        marks: number of copies so far at places in the call that a test has named.
    """

    def __init__(self):
        super().__init__()
        self.marks: dict[str, int] = {}

    def mark(self, name: str) -> None:
        """Remember where the call is."""
        self.marks.setdefault(name, len(self))


@contextlib.contextmanager
def moments(folder: Path, copies: Path, monkeypatch) -> Iterator[Moments]:
    """Copy a folder whenever a file in it is opened for writing, takes its name or is deleted.

    Args:
        folder: to be copied, which may come to be later.
        copies: folder for the copies.
        monkeypatch: of pytest.
    """
    found = Moments()
    names = ("open", "replace", "unlink")
    real = {name: getattr(Path, name) for name in names}

    def copied(path: Path, torn: bool) -> None:
        if folder not in path.parents or path.name.endswith(".lock"):
            return
        copy = copies / f"{len(found):04d}"
        shutil.copytree(folder, copy)
        if torn:
            with real["open"](copy / path.relative_to(folder), "wb") as file:
                file.write(TORN)
        found.append(copy)

    def opening(self, mode="r", *arguments, **options):
        if set(mode) & set("wax+"):
            copied(self, torn=True)
        return real["open"](self, mode, *arguments, **options)

    def replacing(self, target):
        copied(self, torn=False)
        return real["replace"](self, target)

    def unlinking(self, missing_ok=False):
        if self.exists():
            copied(self, torn=False)
        return real["unlink"](self, missing_ok)

    with monkeypatch.context() as patch:
        for name, function in zip(names, (opening, replacing, unlinking), strict=True):
            patch.setattr(Path, name, function)
        yield found
