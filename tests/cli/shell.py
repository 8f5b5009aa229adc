"""How tests call the command."""

from typer.testing import CliRunner

from bayescg.cli import app


def call(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])
