"""Fenced blocks of the documentation, where they stand, and which of them are not run."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\w*)\n(?P<code>.*?)^(?P=indent)```$", re.DOTALL | re.MULTILINE)
_NOT_RUN = re.compile(r"<!-- not run: (.+?) -->\n+\Z")
_INCLUDED = re.compile(r'^--8<-- "(.+)"\n', re.MULTILINE)


class Block(NamedTuple):
    """One fenced block.

    Attributes:
        page: its file, from the root of the repository.
        line: of its first line of code, from 1.
        language: python, sh, bash, yaml, lammps, or empty.
        code: with files in place of the lines that include them.
        included: names of these files.
        excuse: why it is not run; None where it is.
    """

    page: str
    line: int
    language: str
    code: str
    included: tuple[str, ...]
    excuse: str | None


def blocks_of(page: str, text: str | None = None) -> list[Block]:
    """All blocks of a page, in order. A comment `<!-- not run: reason -->` before a block excuses it."""
    text = (ROOT / page).read_text(encoding="utf-8") if text is None else text
    found = []
    for match in _FENCE.finditer(text):
        before, code = text[: match.start()], textwrap.dedent(match["code"])
        excuse = _NOT_RUN.search(before)
        line = text[: match.start("code")].count("\n") + 1
        whole = _INCLUDED.sub(lambda each: (ROOT / each[1]).read_text(encoding="utf-8"), code)
        included = tuple(_INCLUDED.findall(code))
        found.append(Block(page, line, match["language"], whole, included, excuse[1] if excuse else None))
    assert text.count("```") == 2 * len(found), f"{page}: a block does not end, or is indented in another way"
    return found


def pages() -> list[str]:
    """Pages that hold blocks, from the root of the repository."""
    files = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [path.relative_to(ROOT).as_posix() for path in files if "```" in path.read_text(encoding="utf-8")]


def runs(block: Block) -> bool:
    """Whether a block is run here: it is not excused, and no example, which test_examples.py runs as a whole."""
    return block.excuse is None and not any(name.startswith("examples/") for name in block.included)
