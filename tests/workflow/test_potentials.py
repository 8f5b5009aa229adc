"""Several potentials in a configuration, sparse fits, fits to structure, and one run reweighted to all draws."""

import shutil
import warnings

import jax
import numpy as np
import pytest
import xarray as xr

import bayescg as bcg
from bayescg import observables, report, workflow
from bayescg.simulation.ensemble import Plan
from bayescg.storage.expected import load_posterior
from bayescg.workflow.folder import load_ensemble
from bayescg.workflow.runner import steps_of
from bayescg.workflow.stamps import read_json
from tests.runs import write_inputs
from tests.workflow.steps import again, edit

ONE = """\
potential:
  terms:
    - pair: [A, A]
      cutoff: 0.7
      knot_spacing: 0.05
"""
TWO = """\
potentials:
  rough:
    terms: [{pair: [A, A], cutoff: 0.7, knot_spacing: 0.1}]
  fine+sparse:
    terms: [{pair: [A, A], cutoff: 0.7, knot_spacing: 0.05}]
    inference: {method: rvm, draws: 20, chains: 1}
"""


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """A run with two potentials, the second one sparse."""
    path = write_inputs(tmp_path_factory.mktemp("two"))
    edit(path, ONE, TWO)
    workflow.run(workflow.load(path))
    return path


def test_several_potentials_have_folders_and_a_page(two):
    results = workflow.load_results(two.parent / "results")
    assert list(results.each) == ["rough", "fine+sparse"]
    assert results.posterior is None
    text = (two.parent / "results" / "report.html").read_text(encoding="utf-8")
    for name, part in results.each.items():
        assert (two.parent / "results" / name / "report.html").is_file()
        assert f'<a href="{name}/report.html">' in text
        assert {each.kind for each in part.observables} == {"rdf", "coordination_number"}
    rows = report.headline(results)
    assert set(rows) == {
        *(f"held-out force R², {name}" for name in results.each),
        *(f"∫ |difference|, {title}, {name}" for title in _titles(results) for name in results.each),
    }
    assert text.count("<img") == 2
    assert results.each["fine+sparse"].posterior["posterior"].attrs["method"] == "rvm"
    assert "relevance" in results.each["fine+sparse"].posterior.children


def _titles(results):
    return {each.title for part in results.each.values() for each in part.observables}


def test_each_potential_is_that_of_a_run_of_its_own(two, tmp_path):
    path = write_inputs(tmp_path)
    edit(path, "knot_spacing: 0.05", "knot_spacing: 0.1")
    workflow.run(workflow.load(path), last="fit")
    alone = load_posterior(tmp_path / "results" / "posterior.nc")
    beside = load_posterior(two.parent / "results" / "rough" / "posterior.nc")
    xr.testing.assert_identical(alone["posterior"]["coefficients"], beside["posterior"]["coefficients"])


def test_only_what_changed_of_several_potentials_is_done_again(two, tmp_path):
    assert again(two) == []
    shutil.copytree(two.parent, tmp_path / "run")
    path = tmp_path / "run" / "config.yaml"
    edit(path, "{method: rvm, draws: 20, chains: 1}", "{method: rvm, draws: 21, chains: 1}")
    said = []
    workflow.run(workflow.load(path), last="fit", say=said.append)
    done = [line for line in said if "done in" in line]
    assert len(done) == 1
    assert done[0].startswith("fine+sparse: fit: done")


def test_the_page_is_of_these_potentials_only(two, tmp_path):
    """Neither of an earlier run with one potential in the same folder, nor of an earlier name."""
    shutil.copytree(two.parent, tmp_path / "run")
    path, results = tmp_path / "run" / "config.yaml", tmp_path / "run" / "results"
    for file in (results / "rough").glob("*.nc"):
        shutil.copy2(file, results / file.name)
    assert list(workflow.load_results(results).each) == ["rough", "fine+sparse"]
    edit(path, "rough:", "other:")
    (results / "rough").rename(results / "other")
    assert again(path) == ["report"]
    text = (results / "report.html").read_text(encoding="utf-8")
    assert '<a href="other/report.html">' in text
    assert "rough" not in text
    listed = read_json(results / "figures.json")["files"]["figures"]
    assert len(listed) == 6


def test_the_fit_to_structure_knows_all_that_it_depends_on(tmp_path):
    path = write_inputs(tmp_path)
    edit(path, "  method: laplace\n", "  fit: relative_entropy\n")
    before = steps_of(workflow.load(path))[1].posterior.stamp
    for old, new in (("equilibration: 0.2", "equilibration: 0.3"), ("timestep: 0.004", "timestep: 0.002")):
        edit(path, old, new)
        stamp = steps_of(workflow.load(path))[1].posterior.stamp
        assert stamp != before
        before = stamp


@pytest.mark.filterwarnings("ignore:.* draws fail the guard")  # of so few data that a draw or two are far off
def test_runs_of_the_mean_reweighted_to_all_draws(tmp_path, monkeypatch):
    """Of three runs one blows up: the others serve, and the ensemble still tells of it."""

    def blown(self, checkpoint=None):
        ensemble = run(self, checkpoint)
        if ensemble.sizes["draw"] == 3:
            ensemble["failed"][1] = True
            ensemble["positions"][1, 5:] = np.nan
        return ensemble

    run = Plan.run
    monkeypatch.setattr(Plan, "run", blown)
    path = write_inputs(tmp_path)
    edit(path, "  draws: 2\n  time: 0.4", "  propagate: true\n  runs: 3\n  draws: 15\n  time: 8.0")
    edit(path, "exports:", "  - virial_pressure: []\n    blocks: 4\nexports:")
    config = workflow.load(path)
    results = workflow.run(config, last="observe")
    folder = tmp_path / "results"
    tree, ensemble = load_posterior(folder / "posterior.nc"), load_ensemble(folder / "ensemble.nc")
    assert ensemble["posterior_draw"].values[[0, 1, -1]].tolist() == [-1, -1, -1]  # the mean
    assert ensemble["failed"].values.tolist() == [False] * (ensemble.sizes["draw"] - 1) + [True]
    assert ensemble.sizes["frame"] == 200
    found = {each.kind: each for each in results.observables}
    assert found["virial_pressure"].atomistic is None
    assert found["virial_pressure"].unit == "bar"
    assert found["rdf"].atomistic is not None
    direct = observables.propagate(
        tree,
        ensemble.isel(draw=~ensemble["failed"].values),
        lambda dataset, **given: observables.virial_pressure(dataset, blocks=4, **given),
        draws=15,
        guard=observables.Guard(references=0, simulations=0),
        key=jax.random.fold_in(jax.random.key(3), 3),
    )
    direct = direct.isel(draw=direct["source"].values == "reweighted")
    xr.testing.assert_allclose(observables.summarize(direct)["mean"], found["virial_pressure"].predicted["mean"])
    assert found["virial_pressure"].predicted.attrs["n_draws"] > 7


def test_fits_to_structure_need_no_forces(tmp_path):
    path = write_inputs(tmp_path)
    cg = bcg.load(tmp_path / "cg.nc")
    bcg.save(cg.drop_vars("forces"), tmp_path / "cg.nc")
    edit(path, "  method: laplace\n", "  fit: relative_entropy\n")
    edit(path, "simulation:", "refinement:\n  iterations: 2\n  time: 0.4\n  longest: 0.8\nsimulation:")
    settings = bcg.Refinement(
        iterations=2,
        time=0.4,
        longest=0.8,
        engine="jax",
        dynamics=bcg.Langevin(timestep=0.004, equilibration=0.2, interval=0.04),
        sampling=bcg.Sampling(draws=20),
    )
    config = workflow.load(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # so short a fit does not converge
        direct = bcg.relative_entropy(
            config.potential,
            bcg.load(tmp_path / "cg.nc"),
            settings=settings,
            key=jax.random.fold_in(jax.random.key(3), 0),
        )
    results = workflow.run(config)
    np.testing.assert_allclose(
        results.posterior["posterior"]["coefficients"], direct["posterior"]["coefficients"], rtol=1e-6, atol=1e-8
    )
    assert not (tmp_path / "results" / "unfinished").exists()
    assert (tmp_path / "results" / "cg.nc").is_file()
    assert "map" in results.seconds
    text = (tmp_path / "results" / "report.html").read_text(encoding="utf-8")
    assert "Fitted to structure by relative entropy" in text


def test_structure_equations_need_neither_forces_nor_simulations(tmp_path):
    path = write_inputs(tmp_path)
    cg = bcg.load(tmp_path / "cg.nc")
    bcg.save(cg.drop_vars("forces"), tmp_path / "cg.nc")
    edit(path, "  method: laplace\n", "  fit: structure_matching\n  method: laplace\n")
    config = workflow.load(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of so few frames the mode is a poor guide
        results = workflow.run(config)
    attrs = results.posterior["posterior"].attrs
    assert attrs["equations"] == "structure"
    assert "held_out_structure" in attrs
    text = (tmp_path / "results" / "report.html").read_text(encoding="utf-8")
    assert "Fitted to structure by equations" in text
    assert ("fit by structure_matching", "takes one pass, and a fit as that of forces") in list(workflow.check(config))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (ONE, "", "give `potential`, as in"),
        ("seed: 3\n", f"seed: 3\n{TWO}", "give `potential`, as in"),
        (ONE, TWO.replace("rough:", "lammps:"), "'lammps' cannot be the name of a potential"),
        (ONE, TWO.replace("rough:", "Fine+Sparse:"), "stands there twice"),
        (ONE, TWO.replace("rough:", "../rough:"), "cannot be the name of a potential"),
        (ONE, TWO.replace("method: rvm", "kernels: {B-B: RBF}"), r"potentials.fine\+sparse: .*no term is called B-B"),
        (ONE, TWO.replace("draws: 20", "draws: 1"), r"simulation.draws=2, but inference makes .* = 1 draws"),
        ("  method: laplace", "  fit: relative_entropy\n  method: rvm", "rvm is for force matching"),
        ("  method: laplace", "  fit: relative_entropy\n  noise_ceiling: 0.5", "noise_ceiling is one of forces"),
        ("exports:", "  - virial_pressure: [A]\nexports:", "no bead types were expected"),
        ("seed: 3", "seed: 3\nrefinement: {overlap: 2.0}", "overlap"),
    ],
)
def test_one_line_for_each_mistake(tmp_path, old, new, message):
    path = write_inputs(tmp_path)
    edit(path, old, new)
    with pytest.raises(ValueError, match=message) as raised:
        workflow.load(path)
    assert str(raised.value).startswith("config.yaml")
    assert "\n" not in str(raised.value)
