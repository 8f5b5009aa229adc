"""The commands, from files to files."""

import numpy as np
import pytest
import xarray as xr

import bayescg as bcg
from bayescg.simulation import ensemble as verb
from bayescg.workflow.comparisons import load_observables
from tests.cli.shell import call
from tests.runs import write_inputs


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli")
    return folder, call("run", write_inputs(folder))


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


def _first_alone(futures):
    """The first draw, then Ctrl-C."""
    futures[0].result()
    yield futures[0]
    raise KeyboardInterrupt


def test_single_steps_from_file_to_file(ran, tmp_path, monkeypatch):
    """fit, simulate, observe, export, report: each from what the former wrote."""
    out = ran[0] / "results"
    posterior, ensemble, rdf = tmp_path / "p.nc", tmp_path / "e.nc", tmp_path / "g.nc"
    fit = call(
        *("fit", out / "statistics.nc", "-o", posterior, "--method", "laplace", "--draws", 10, "--kernel", "A-A=RBF")
    )
    assert fit.exit_code == 0, fit.stderr
    assert bcg.load(posterior).attrs["method"] == "laplace"
    draws = [
        *("simulate", posterior, "--initial", out / "cg_last.nc", "--draws", 2, "--time", 0.2, "-o", ensemble),
        *("--engine", "jax", "--timestep", 0.004, "--equilibration", 0.04, "--interval", 0.04),
    ]
    with monkeypatch.context() as patch:
        patch.setattr(verb, "as_completed", _first_alone)
        simulate = call(*draws)
    assert simulate.exit_code == 130
    assert "1 of 2 draws are finished" in " ".join(simulate.stderr.split())
    part = xr.load_dataset(ensemble, engine="h5netcdf")
    assert (part.sizes["draw"], part.attrs["interrupted"]) == (1, 1)
    other = call(*draws, "--seed", 1)
    assert other.exit_code == 2
    assert "holds finished parts of another simulation" in " ".join(other.stderr.split())
    simulate = call(*draws)
    assert simulate.exit_code == 0, simulate.stderr
    whole = xr.load_dataset(ensemble, engine="h5netcdf")
    assert (whole.sizes["draw"], whole.attrs["interrupted"]) == (2, 0)
    xr.testing.assert_equal(whole["positions"].isel(draw=[0]), part["positions"])
    assert not ensemble.with_name("e.nc.unfinished").exists()
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
    assert [path.name for path in tmp_path.iterdir()] == ["demo"]
