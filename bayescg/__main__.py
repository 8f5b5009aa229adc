"""`python -m bayescg` is the `bayescg` command."""

from bayescg.cli import app

app(prog_name="bayescg")
