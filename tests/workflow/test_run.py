"""The steps of `run`: what comes out, what is redone."""

import numpy as np
import pytest
import xarray as xr

import bayescg as bcg
from bayescg import workflow
from bayescg.workflow.comparisons import load_observables
from bayescg.workflow.runner import STEPS
from bayescg.workflow.steps import fit
from tests.workflow.steps import again, edit


def test_everything_is_written(finished):
    path, said = finished
    out = path.parent / "results"
    assert [line.split(":")[0] for line in said if ": done" in line] == list(STEPS)
    names = {item.name for item in out.iterdir()}
    assert {"statistics.nc", "cg_last.nc", "reference.nc", "posterior.nc", "ensemble.nc", "rdf.nc"} <= names
    assert {"coordination_number.nc", "exports.json", "report.html", "config.yaml", "figures", "lammps"} <= names
    assert not [name for name in names if name.startswith(".") and name != ".lock"], "temporary files were left behind"
    assert (out / "lammps" / "in.bayescg").is_file()
    assert {item.name for item in (out / "figures").iterdir()} >= {"potential.png", "rdf_A-A_0.7_20.png"}
    assert bcg.load(out / "posterior.nc").attrs["method"] == "laplace"
    assert bcg.load(out / "cg_last.nc").sizes["frame"] == 1


def test_results_are_those_of_the_functions(finished):
    out = finished[0].parent / "results"
    cg = bcg.load(finished[0].parent / "cg.nc")
    (found,) = load_observables(out / "rdf.nc")
    expected = bcg.observables.summarize(bcg.observables.rdf(cg, "A", "A", cutoff=0.7, bins=20, blocks=5))
    for name in ("mean", "sd_sampling", "lower"):
        np.testing.assert_allclose(found.atomistic[name], expected[name], atol=1e-12)
    ensemble = xr.load_dataset(out / "ensemble.nc", engine="h5netcdf")
    assert ensemble.sizes["draw"] == 2
    assert ensemble.attrs["engine"] == "jax"
    expected = bcg.observables.summarize(bcg.observables.rdf(ensemble, "A", "A", cutoff=0.7, bins=20, blocks=5))
    np.testing.assert_allclose(found.predicted["mean"], expected["mean"], atol=1e-12)


def test_a_second_run_does_nothing(finished):
    path = finished[0]
    before = {item: item.stat().st_mtime_ns for item in (path.parent / "results").rglob("*") if item.is_file()}
    assert again(path) == []
    after = {item: item.stat().st_mtime_ns for item in (path.parent / "results").rglob("*") if item.is_file()}
    assert {k.name for k in before if before[k] != after[k]} <= {"config.yaml"}


@pytest.mark.parametrize(
    ("old", "new", "redone"),
    [
        ("time: 0.4", "time: 0.48", ["simulate", "observe", "report"]),
        ("formats: [lammps]", "formats: []", ["report"]),
        ("bins: 20", "bins: 10", ["map", "observe", "report"]),
        ("draws: 20", "draws: 30", ["fit", "simulate", "observe", "export", "report"]),
    ],
)
def test_what_depends_on_a_change_is_redone(copied, old, new, redone):
    edit(copied, old, new)
    assert again(copied) == redone
    assert again(copied) == []


def test_a_changed_input_redoes_all(copied):
    cg = bcg.load(copied.parent / "cg.nc")
    bcg.save(cg.assign(forces=cg["forces"] * 1.01), copied.parent / "cg.nc")
    assert again(copied) == list(STEPS)


def test_other_bins_do_not_touch_the_sums_of_forces(copied):
    sums = copied.parent / "results" / "statistics.nc"
    before = sums.stat().st_mtime_ns
    edit(copied, "bins: 20", "bins: 10")
    assert "map" in again(copied, last="map")
    assert sums.stat().st_mtime_ns == before


def test_missing_and_damaged_files_are_made_again(copied):
    (copied.parent / "results" / "rdf.nc").unlink()
    assert again(copied) == ["observe"]
    (copied.parent / "results" / "rdf.nc").write_bytes(b"damaged")
    assert again(copied) == ["observe"]


def test_force_and_last(copied):
    assert again(copied, force=True, last="fit") == ["map", "fit"]
    with pytest.raises(ValueError, match="the steps are"):
        again(copied, last="nothing")


def test_warnings_of_a_step_are_said_and_kept(copied, monkeypatch):
    import warnings

    edit(copied, "draws: 20", "draws: 25")
    force_match = fit.force_match

    def warning(*arguments, **options):
        warnings.warn("chains disagree", stacklevel=2)
        return force_match(*arguments, **options)

    monkeypatch.setattr(fit, "force_match", warning)
    said = []
    workflow.run(workflow.load(copied), last="fit", say=said.append)
    assert "warning: chains disagree" in said
    results = workflow.load_results(copied.parent / "results")
    assert "chains disagree" in results.warnings["fit"]


def test_only_the_missing_observable_is_made_again(copied):
    other = copied.parent / "results" / "coordination_number.nc"
    before = other.stat().st_mtime_ns
    (copied.parent / "results" / "rdf.nc").unlink()
    assert again(copied) == ["observe"]
    assert other.stat().st_mtime_ns == before


def test_a_step_reads_only_what_this_run_has_made(copied, monkeypatch):
    """Two configurations in one folder: what another run puts there meanwhile is not taken for this one's."""
    out = copied.parent / "results"
    edit(copied, "bins: 20", "bins: 10")
    simulated = xr.load_dataset(out / "ensemble.nc", engine="h5netcdf")

    def replacing(*arguments):
        foreign = simulated.assign_attrs(workflow_fingerprint="of another run")
        (out / "ensemble.nc").unlink()
        foreign.to_netcdf(out / "ensemble.nc", engine="h5netcdf")

    monkeypatch.setattr("bayescg.workflow.steps.map.Map.act", replacing)
    monkeypatch.setattr("bayescg.workflow.steps.simulate.Simulate.writes", ())
    with pytest.raises(ValueError, match=r"ensemble\.nc is not what an earlier step of this run has left"):
        again(copied)


def test_the_report_is_about_this_configuration(copied):
    """Files that other settings have left in the folder are in no report."""
    edit(copied, "formats: [lammps]", "formats: []")
    assert again(copied) == ["report"]
    page = (copied.parent / "results" / "report.html").read_text()
    assert "lammps/pair.table" not in page
    assert "formats: []" in page
