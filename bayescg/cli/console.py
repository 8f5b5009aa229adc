"""How the command speaks: errors as one message, one line for each step, a table of results."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

import typer

state = {"debug": False}


@contextlib.contextmanager
def errors() -> Iterator[None]:
    """Expected errors as one message and exit code 2; interrupts as 130."""
    try:
        yield
    except KeyboardInterrupt:
        _print("[bold]Interrupted.[/bold] Finished parts remain; the same command goes on from there.")
        raise typer.Exit(130) from None
    except (ValueError, FileNotFoundError, NotADirectoryError, PermissionError, ImportError) as error:
        if state["debug"]:
            raise
        from rich.markup import escape

        _print(f"[bold red]Error:[/bold red] {escape(str(error))}")
        raise typer.Exit(2) from None


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
    from rich.table import Table

    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for name, value in rows.items():
        table.add_row(f"[bold]{name}[/bold]", value)
    for number, path in enumerate(files):
        table.add_row("[bold]written[/bold]" if number == 0 else "", str(path))
    Console(file=sys.stdout).print(table)


def run_config(path: Path, *, force: bool, last: str) -> None:
    """Run a configuration and show what came out."""
    from bayescg import workflow
    from bayescg.report import headline

    config = workflow.load(path)
    results = workflow.run(config, force=force, last=last, say=say)
    shown = [path for path in config.output.iterdir() if path.suffix in (".nc", ".html") or path.name == "figures"]
    shown += [config.output / form for form in config.exports.formats if (config.output / form).is_dir()]
    table(headline(results), sorted(shown))
