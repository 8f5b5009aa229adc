"""The command: help, exit codes, one clear message for bad input, single steps from file to file."""

import os
import subprocess
import sys
import time

import numpy as np
import pytest
import xarray as xr
import yaml
from typer.testing import CliRunner

import bayescg as bcg
from bayescg.cli import app
from bayescg.report.results import load_observables
from tests.runs import write_inputs

COMMANDS = ("demo", "run", "init", "fit", "simulate", "observe", "export", "report", "backmap")


def call(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli")
    return folder, call("run", write_inputs(folder))


def test_help_is_quick():
    code = "import sys; sys.argv = ['bayescg', '--help']; from bayescg.cli import app; app()"
    seconds = []
    for _ in range(3):
        begin = time.perf_counter()
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        seconds.append(time.perf_counter() - begin)
    assert min(seconds) < 1.0
    assert all(command in done.stdout for command in COMMANDS)


def test_help_imports_nothing_heavy():
    code = "import sys, bayescg.cli; print([m for m in ('jax', 'numpy', 'xarray', 'matplotlib') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


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


def test_run_ends_with_a_table_of_results(ran):
    folder, result = ran
    assert result.exit_code == 0, result.stderr
    assert "map: done" in result.stderr
    for words in ("held-out force R²", "temperature", "mean |z|, g(r) A-A", "report.html", "lammps"):
        assert words in result.stdout
    again = call("run", folder / "config.yaml")
    assert again.exit_code == 0
    assert again.stderr.count("up to date") == 6


def test_fit_from_a_configuration_stops_there(ran):
    result = call("fit", ran[0] / "config.yaml")
    assert result.exit_code == 0
    assert "simulate" not in result.stderr


def test_single_steps_from_file_to_file(ran, tmp_path):
    """fit, simulate, observe, export, report: each from what the former wrote."""
    out = ran[0] / "results"
    posterior, ensemble, rdf = tmp_path / "p.nc", tmp_path / "e.nc", tmp_path / "g.nc"
    fit = call(
        *("fit", out / "statistics.nc", "-o", posterior, "--method", "laplace", "--draws", 10, "--kernel", "A-A=RBF")
    )
    assert fit.exit_code == 0, fit.stderr
    assert bcg.posterior.load(posterior).attrs["method"] == "laplace"
    simulate = call(
        *("simulate", posterior, "--initial", out / "cg_last.nc", "--draws", 2, "--time", 0.2, "-o", ensemble),
        *("--engine", "jax", "--timestep", 0.004, "--equilibration", 0.04, "--interval", 0.04),
    )
    assert simulate.exit_code == 0, simulate.stderr
    assert xr.load_dataset(ensemble, engine="h5netcdf").sizes["draw"] == 2
    figure = tmp_path / "g.png"
    observe = call(
        *("observe", ensemble, "rdf", "A", "A", "--cutoff", 0.7, "--reference", ran[0] / "cg.nc", "-o", rdf),
        *("--figure", figure),
    )
    assert observe.exit_code == 0, observe.stderr
    assert "mean |z|" in observe.stdout
    assert np.isfinite(load_observables(rdf)[0].mean_abs_z)
    assert figure.read_bytes()[:4] == b"\x89PNG"
    export = call("export", posterior, tmp_path / "lammps", "--draws", 2)
    assert export.exit_code == 0, export.stderr
    assert (tmp_path / "lammps" / "draw_001" / "pair.table").is_file()
    page = tmp_path / "page.html"
    assert call("report", out, "-o", page).exit_code == 0
    assert page.read_text().startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run", "missing.yaml"), "no configuration at missing.yaml"),
        (("fit", "missing.nc"), "no such file: missing.nc"),
        (("fit", "foreign.nc"), "foreign.nc holds no force statistics"),
        (("fit", "config.yaml"), "did you mean 'potential'"),
        (("simulate", "foreign.nc", "--initial", "foreign.nc"), "foreign.nc is not a readable netCDF file"),
        (("simulate", "missing.nc", "--initial", "foreign.nc"), "no posterior at missing.nc"),
        (("observe", "foreign.nc", "rdf", "A", "A"), "rdf needs --cutoff"),
        (("observe", "foreign.nc", "rdf", "A", "--cutoff", "0.9"), "rdf needs 2 bead types"),
        (("observe", "foreign.nc", "rdf", "A", "A", "--cutoff", "0.9", "--group", "x"), "rdf takes no --group"),
        (("observe", "foreign.nc", "rdf", "A", "A", "--cutoff", "0.9"), "is not a netCDF file that bayescg wrote"),
        (("export", "foreign.nc", "out"), "foreign.nc is not a readable netCDF file"),
        (("report", "missing"), "no folder missing"),
    ],
)
def test_bad_input_is_one_message(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "foreign.nc").write_bytes(b"nothing that is netCDF")
    (tmp_path / "config.yaml").write_text("input: {dataset: foreign.nc}\npotentail: {}\n")
    result = call(*arguments)
    assert result.exit_code == 2
    text = " ".join(result.stderr.split())
    assert message in text
    assert text.startswith("Error:")
    assert "Traceback" not in text


def test_unknown_options_are_explained():
    result = call("run", "config.yaml", "--forec")
    assert result.exit_code == 2
    assert "--force" in result.stderr


def test_debug_shows_the_traceback():
    result = call("--debug", "run", "missing.yaml")
    assert isinstance(result.exception, FileNotFoundError)


def test_interrupt(monkeypatch, tmp_path):
    from bayescg import workflow

    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(workflow, "run", interrupted)
    result = call("run", write_inputs(tmp_path))
    assert result.exit_code == 130
    assert "Finished parts remain" in result.stderr


def test_full_disk_is_one_message(monkeypatch, tmp_path):
    from bayescg.workflow import store

    def full(data, path):
        raise OSError(28, "No space left on device", str(path))

    path = write_inputs(tmp_path)
    monkeypatch.setattr(store, "write_netcdf", full)
    result = call("run", path, "--last", "map")
    assert result.exit_code == 2
    assert "No space left on device" in result.stderr
    assert not list((tmp_path / "results").glob("*.nc"))


def test_demo_is_a_run_of_its_own_configuration(monkeypatch, tmp_path):
    from bayescg import report, workflow

    seen = []
    monkeypatch.setattr(workflow, "run", lambda config, **options: seen.append(config) or report.Results())
    result = call("demo", "--output", tmp_path / "demo", "--fast")
    assert result.exit_code == 0, result.stderr
    assert (tmp_path / "demo" / "config.yaml").read_text() == workflow.example("demo_fast")
    assert all(path.is_file() for path in seen[0].inputs)
    assert seen[0].output == tmp_path / "demo"
    # The user's own changes are not overwritten.
    (tmp_path / "demo" / "config.yaml").write_text("seed: 2\n")
    result = call("demo", "--output", tmp_path / "demo")
    assert result.exit_code == 2
    assert "has been changed" in result.stderr
    assert os.listdir(tmp_path) == ["demo"]
