"""How the command speaks: errors as one message, one line for each step, a table of results."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

import typer

from bayescg._programs import keep_programs

state = {"debug": False}


@contextlib.contextmanager
def errors() -> Iterator[None]:
    """Expected errors as one message and exit code 2, warnings as one line each, interrupts as exit code 130 or 143."""
    keep_programs()
    terminated: list[int] = []
    try:
        with _terminated_like_interrupted(terminated), warnings.catch_warnings():
            warnings.simplefilter("default")
            for category in (DeprecationWarning, PendingDeprecationWarning, FutureWarning):
                warnings.simplefilter("ignore", category)  # for programmers, not for users of a command
            # A program that JAX could not keep is made again.
            warnings.filterwarnings("ignore", "Error (reading|writing) persistent compilation cache")
            warnings.showwarning = lambda message, *_, **__: say(f"warning: {message}")
            yield
    except KeyboardInterrupt:
        _print("[bold]Interrupted.[/bold] Finished parts remain; the same command goes on from there.")
        raise typer.Exit(143 if terminated else 130) from None
    except (ValueError, OSError, ImportError) as error:
        if state["debug"]:
            raise
        from rich.markup import escape

        _print(f"[bold red]Error:[/bold red] {escape(str(error))}")
        raise typer.Exit(2) from None


@contextlib.contextmanager
def _terminated_like_interrupted(terminated: list[int]) -> Iterator[None]:
    """Let SIGTERM, which batch systems send when time is up, end the work as Ctrl-C does: what is finished is kept.

    Args:
        terminated: receives the signal, whatever becomes of the interrupt on its way.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number, frame):
        terminated.append(number)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _print(text: str) -> None:
    from rich.console import Console

    Console(stderr=True, soft_wrap=True).print(text, highlight=False)


def say(text: str) -> None:
    """One line on stderr, the name of the step in bold."""
    from rich.markup import escape

    name, colon, rest = text.partition(":")
    _print(f"[bold]{escape(name)}[/bold]{colon}{escape(rest)}")


def table(rows: dict[str, str], files: list[Path]) -> None:
    """Results and written files on stdout."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    grid = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in rows.items():
        grid.add_row(escape(name), escape(value))
    for folder in sorted({path.parent for path in files}):
        names = ", ".join(path.name for path in sorted(files) if path.parent == folder)
        grid.add_row("written", escape(f"{folder}: {names}"))
    Console(file=sys.stdout).print(grid, highlight=False)


def run_config(path: Path, *, force: bool, last: str, scheduler: str | None = None) -> None:
    """Run a configuration and show what came out."""
    from bayescg import workflow
    from bayescg.report import headline
    from bayescg.workflow.folder import contents

    config = workflow.load(path)
    results = workflow.run(config, force=force, last=last, scheduler=scheduler, say=say)
    table(headline(results), contents(config.output, (*config.settings.exports.formats, *config.each)))
