"""Help, version, a configuration to start from; and `python -m bayescg`."""

import subprocess
import sys

import pytest
import yaml

import bayescg as bcg
from tests.cli.shell import call

COMMANDS = ("demo", "run", "init", "fit", "simulate", "observe", "export", "report", "backmap")


HEAVY = ("jax", "numpy", "scipy", "xarray", "matplotlib", "yaml", "MDAnalysis")  # typer takes pydantic where it is


def run_module(*arguments):
    """`python -m bayescg`, and which large packages it has imported."""
    code = (
        f"import runpy, sys; sys.argv[1:] = {arguments!r}\n"
        "try: runpy.run_module('bayescg', run_name='__main__', alter_sys=True)\n"
        f"finally: print('imported', *(m for m in {HEAVY!r} if m in sys.modules))"
    )
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_help_imports_nothing_heavy():
    shown, imported = run_module("--help").rsplit("imported", 1)
    assert "Usage: bayescg " in shown
    assert all(command in shown for command in COMMANDS)
    assert imported.split() == []
    assert run_module("backmap", "--help").rsplit("imported", 1)[1].split() == []


def test_python_can_run_the_package():
    done = subprocess.run([sys.executable, "-m", "bayescg", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"bayescg {bcg.__version__}"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command):
    result = call(command, "--help")
    assert result.exit_code == 0
    assert "Usage" in result.stdout


def test_version():
    result = call("--version")
    assert result.exit_code == 0
    assert result.stdout.strip() == f"bayescg {bcg.__version__}"


def test_init_prints_a_configuration():
    result = call("init")
    assert result.exit_code == 0
    assert {"input", "potential", "observables"} <= set(yaml.safe_load(result.stdout))
