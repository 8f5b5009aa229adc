"""Lines for a shell: those of `bayescg` are run, or parsed by the real command line where they take long."""

from __future__ import annotations

import shlex
from pathlib import Path

import typer.main

from bayescg.cli import app
from bayescg.workflow import load
from tests.cli.shell import call

PARSED = {"demo", "run", "backmap", "report"}
"""Commands that take long, or need what such a one leaves: their words are parsed, and their configuration is read."""
NOT_RUN = {
    "pip": "changes the environment",
    "make": "runs pip, or the tests themselves",
    "gmx": "is no part of bayescg",
    "cd": "changes the folder",
    "git": "reads from the network",
}
"""Other programs, and why they are not started."""


def run_line(line: str) -> str | None:
    """Run a line in the working folder; returns the program's name if it was not run.

    Raises:
        AssertionError: if the line is wrong.
    """
    words = shlex.split(line, comments=True)
    if not words:
        return None
    if words[0] in NOT_RUN:
        return words[0]
    assert words[0] == "bayescg", f"no rule for the program {words[0]!r}: tests/docs/shell.py"
    words, target = (words[:-2], words[-1]) if ">" in words else (words, None)
    if words[1] in PARSED:
        _parse(words[1:])
        if words[1] == "run" and Path(words[2]).is_file():
            load(words[2])
        return None
    done = call(*words[1:])
    assert done.exit_code == 0, f"exit code {done.exit_code}: {done.stderr}"
    if target is not None:
        Path(target).write_text(done.stdout)
    return None


def _parse(words: list[str]) -> None:
    """All that happens before a command's own code runs: names of options, numbers of words, choices, files."""
    group = typer.main.get_command(app)
    try:
        with group.make_context("bayescg", list(words)) as context:
            name, command, rest = group.resolve_command(context, words)
            command.make_context(name, list(rest), parent=context)
    except Exception as error:  # typer may bring a Click of its own
        raise AssertionError(str(error)) from None
