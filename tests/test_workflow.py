"""The steps of `run`: settings, resuming, what is redone, and what comes out."""

import dataclasses
import os
import re
import shutil

import numpy as np
import pytest
import xarray as xr

import bayescg as bcg
from bayescg import workflow
from bayescg.report.results import load_observables, load_results
from bayescg.simulation import ensemble
from bayescg.workflow import actions, single, store
from bayescg.workflow.items import Observable
from bayescg.workflow.reference import Reference
from tests.runs import CONFIG, write_inputs


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run; copy it before changing anything."""
    path = write_inputs(tmp_path_factory.mktemp("run"))
    said = []
    workflow.run(workflow.load(path), say=said.append)
    return path, said


@pytest.fixture
def copied(finished, tmp_path):
    shutil.copytree(finished[0].parent, tmp_path / "run")
    return tmp_path / "run" / "config.yaml"


def again(path, **options):
    """Run, and tell which steps did something."""
    said = []
    workflow.run(workflow.load(path), say=said.append, **options)
    return [line.split(":")[0] for line in said if ": done" in line]


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_everything_is_written(finished):
    path, said = finished
    out = path.parent / "results"
    assert [line.split(":")[0] for line in said if ": done" in line] == list(workflow.STEPS)
    names = {item.name for item in out.iterdir()}
    assert {"statistics.nc", "cg_last.nc", "reference.nc", "posterior.nc", "ensemble.nc", "rdf.nc"} <= names
    assert {"coordination_number.nc", "exports.json", "report.html", "config.yaml", "figures", "lammps"} <= names
    assert not [name for name in names if name.startswith(".")], "temporary files were left behind"
    assert (out / "lammps" / "in.bayescg").is_file()
    assert {item.name for item in (out / "figures").iterdir()} >= {"potential.png", "rdf_A-A_0.7_20.png"}
    assert bcg.posterior.load(out / "posterior.nc").attrs["method"] == "laplace"
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
    bcg.data.save(cg.assign(forces=cg["forces"] * 1.01), copied.parent / "cg.nc")
    assert again(copied) == list(workflow.STEPS)


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


def _interrupted_after(monkeypatch, done):
    """From now on simulations are interrupted when so many draws are finished."""

    def interrupting(futures):
        for future in futures[:done]:
            future.result()
            yield future
        raise KeyboardInterrupt

    monkeypatch.setattr(ensemble, "as_completed", interrupting)


def _counting(monkeypatch):
    """The draws that are simulated from now on."""
    seen, simulate = [], ensemble.Plan._simulate

    def counting(self, numbers, before):
        seen.extend(numbers)
        return simulate(self, numbers, before)

    monkeypatch.setattr(ensemble.Plan, "_simulate", counting)
    return seen


def test_an_interrupted_simulation_goes_on(copied, monkeypatch):
    path = copied.parent / "results" / "ensemble.nc"
    edit(copied, "draws: 2\n", "draws: 4\n")
    again(copied)
    whole = xr.load_dataset(path, engine="h5netcdf")
    path.unlink()
    for done in (1, 2, 3):
        with monkeypatch.context() as patch:
            _interrupted_after(patch, 1)
            with pytest.raises(KeyboardInterrupt):
                again(copied)
        assert xr.load_dataset(path, engine="h5netcdf").sizes["draw"] == done
    seen = _counting(monkeypatch)
    assert again(copied) == ["simulate"]
    assert seen == [3]
    resumed = xr.load_dataset(path, engine="h5netcdf")
    kept = ("workflow_seconds", "workflow_warnings")
    for each in (whole, resumed):
        each.attrs = {name: value for name, value in each.attrs.items() if name not in kept}
    xr.testing.assert_allclose(resumed, whole, rtol=1e-6)
    assert resumed.attrs == whole.attrs
    assert {n: v.dims for n, v in resumed.variables.items()} == {n: v.dims for n, v in whole.variables.items()}
    assert again(copied) == []


@pytest.mark.parametrize("change", ["settings", "force"])
def test_finished_draws_of_other_settings_are_not_kept(copied, monkeypatch, change):
    edit(copied, "time: 0.4", "time: 0.48")
    with monkeypatch.context() as patch:
        _interrupted_after(patch, 1)
        with pytest.raises(KeyboardInterrupt):
            again(copied)
    if change == "settings":
        edit(copied, "time: 0.48", "time: 0.52")
    seen = _counting(monkeypatch)
    again(copied, force=change == "force", last="simulate")
    assert seen == [0, 1]


def test_a_file_that_changes_in_the_middle_is_another(tmp_path, monkeypatch):
    path = tmp_path / "traj.trr"
    content = bytearray(300_000)
    path.write_bytes(content)
    before = store.file_fingerprint(path)
    os.utime(path, (1, 1))
    assert store.file_fingerprint(path) == before
    content[150_000] = 1
    path.write_bytes(content)
    os.utime(path, (1, 1))
    assert store.file_fingerprint(path) != before
    # Of large files both ends are read; what changes between them shows in the time.
    monkeypatch.setattr(store, "_WHOLE", 1000)
    before = store.file_fingerprint(path)
    content[150_000] = 2
    path.write_bytes(content)
    assert store.file_fingerprint(path) != before


def test_warnings_of_a_step_are_said_and_kept(copied, monkeypatch):
    import warnings

    edit(copied, "draws: 20", "draws: 25")
    force_match = actions.force_match

    def warning(*arguments, **options):
        warnings.warn("chains disagree", stacklevel=2)
        return force_match(*arguments, **options)

    monkeypatch.setattr(actions, "force_match", warning)
    said = []
    workflow.run(workflow.load(copied), last="fit", say=said.append)
    assert "warning: chains disagree" in said
    results = load_results(copied.parent / "results")
    assert "chains disagree" in results.warnings["fit"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("timestep:", "timstep:", r"line 15, simulation.timstep: unknown key 'timstep'; did you mean 'timestep'"),
        ("inference:", "inferense:", "did you mean 'inference'"),
        ("cutoff: 0.7\n    bins", "cutof: 0.7\n    bins", "did you mean 'cutoff'"),
        ("method: laplace", "method: laplase", "did you mean 'laplace'"),
        ("- rdf: [A, A]", "- rfd: [A, A]", "did you mean 'rdf'"),
        ("pair: [A, A]", "pair: [A]", "2 bead types were expected"),
        ("draws: 20", "draws: many", "line 10, inference.draws: a whole number was expected, not 'many'"),
        ("time: 0.4", "time: -1", "time must be positive"),
        ("      cutoff: 0.7\n", "", "`cutoff` is missing"),
        ("dataset: cg.nc", "dataset: cg.nc\n  topology: x.tpr", "not both"),
        ("dataset: cg.nc", "temperature: 300", "give `topology` and `trajectory`"),
        ("seed: 3", "seed: 3\nseed: 4", "a second time"),
        ("seed: 3", "seed: [", "is not YAML"),
        ("seed: 3", "seed: true", "a whole number was expected"),
        ("      knot_spacing: 0.05", "      knot_spacing: -1", "knot_spacing must be positive"),
        ("formats: [lammps]", "formats: [gromax]", "did you mean 'gromacs'"),
        ("- coordination_number: [A, A]\n    cutoff: 0.5", "- rdf: [A, A]\n    cutoff: 0.7\n    bins: 20", "twice"),
    ],
)
def test_bad_settings(tmp_path, old, new, message):
    (tmp_path / "cg.nc").touch()
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG)
    edit(path, old, new)
    with pytest.raises(ValueError, match=message):
        workflow.load(path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("  method: laplace", "  method: laplace\n  kernels: {A-A: Mattern52}", "did you mean 'Matern52'"),
        ("  method: laplace", "  method: laplace\n  kernels: {B-B: RBF}", "no term is called B-B"),
        ("draws: 2\n", "draws: 1000\n", r"only"),
        ("formats: [lammps]", "formats: [gromacs]", "bonded terms only"),
        ("interval: 0.04", "interval: 0.0401", "not a multiple"),
    ],
)
def test_settings_are_checked_before_work_begins(tmp_path, old, new, message):
    (tmp_path / "cg.nc").touch()
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG)
    edit(path, old, new)
    with pytest.raises(ValueError, match=message):
        workflow.run(workflow.load(path))
    assert not (tmp_path / "results").exists()


def test_missing_files(tmp_path):
    with pytest.raises(FileNotFoundError, match="bayescg init"):
        workflow.load(tmp_path / "config.yaml")
    (tmp_path / "config.yaml").write_text(CONFIG)
    with pytest.raises(FileNotFoundError, match=r"cg\.nc"):
        workflow.load(tmp_path / "config.yaml")


def test_settings_reach_the_terms(tmp_path):
    (tmp_path / "cg.nc").touch()
    path = tmp_path / "config.yaml"
    path.write_text(
        """
input: {dataset: cg.nc, temperature: 3e2}
potential:
  exclude_bonds: 2
  terms:
    - {pair: A-B, cutoff: 0.9, baseline: {wca: {sigma: 0.3, epsilon: 1}}, kernel: RBF}
    - {bond: [A, B], group: ends}
    - angle: [A, B, A]
    - dihedral: [A, B, B, A]
"""
    )
    config = workflow.load(path)
    expected = bcg.Potential(
        bcg.Pair("A", "B", cutoff=0.9, baseline=bcg.WCA(0.3, 1.0)),
        bcg.Bond("A", "B", group="ends"),
        bcg.Angle("A", "B", "A"),
        bcg.Dihedral("A", "B", "B", "A"),
        exclude_bonds=2,
    )
    assert config.potential == expected
    assert config.inference.kernels == {"A-B": "RBF"}
    assert config.input.temperature == 300.0
    assert config.output == tmp_path / "results"
    assert [each.kind for each in config.observables] == [
        "rdf",
        "bond_distribution",
        "bonded_angle_distribution",
        "dihedral_distribution",
    ]


def test_many_body_terms_and_what_is_looked_at_by_default(tmp_path):
    (tmp_path / "cg.nc").touch()
    path = tmp_path / "config.yaml"
    text = """
input: {dataset: cg.nc, temperature: 300}
potential:
  terms:
    - {pair: [A, B], cutoff: 0.9}
    - {three_body: [A, B, B], cutoff: 0.4, start: 0.2, opposite_spacing: 0.08, kernel: RBF}
    - {local_density: [B, A], inner: 0.3, outer: 0.4}
"""
    path.write_text(text)
    config = workflow.load(path)
    assert config.potential == bcg.Potential(
        bcg.Pair("A", "B", cutoff=0.9),
        bcg.ThreeBody("A", "B", "B", cutoff=0.4, start=0.2, opposite_spacing=0.08),
        bcg.LocalDensity("B", "A", inner=0.3, outer=0.4),
    )
    assert config.inference.kernels == {"three_A-B-B": "RBF"}
    assert [(each.kind, each.beads, dict(each.options)) for each in config.observables] == [
        ("rdf", ("A", "B"), {"cutoff": 0.9}),
        ("angle_distribution", ("B", "A", "B"), {"cutoff": 0.4}),
        ("coordination_number", ("B", "A"), {"cutoff": 0.4}),
    ]
    for old, new, message in (
        ("inner: 0.3, ", "", "`inner` is missing"),
        ("opposite_spacing: 0.08", "oposite_spacing: 0.08", "did you mean 'opposite_spacing'"),
        ("cutoff: 0.4, start", "cutoff: 1.4, start", "three_A-B-B"),
        ("three_body: [A, B, B]", "three_body: [A, B]", "3 bead types were expected"),
        ("outer: 0.4", "outer: 0.4, baseline: {wca: {sigma: 0.3, epsilon: 1}}", "unknown key 'baseline'"),
    ):
        path.write_text(text.replace(old, new))
        with pytest.raises(ValueError, match=message):
            workflow.load(path)
    path.write_text(text + "exports: {formats: [gromacs]}\n")
    with pytest.raises(ValueError, match="one distance or angle only, not for three_A-B-B, density_B-A"):
        workflow.run(workflow.load(path))


@pytest.mark.parametrize("name", ["example", "demo", "demo_fast"])
def test_bundled_configurations_are_valid(tmp_path, name):
    for file in ("topol.tpr", "traj.trr"):
        (tmp_path / "data").mkdir(exist_ok=True)
        (tmp_path / file).touch()
        (tmp_path / "data" / file).touch()
    (tmp_path / "config.yaml").write_text(workflow.example(name))
    assert workflow.load(tmp_path / "config.yaml").potential.terms[0].name == "W-W"


def test_every_setting_is_in_the_example():
    from bayescg.workflow import config, items

    text = workflow.example()
    for kind, found in items._TERMS.items():
        # The item and the comments below it, up to the next one.
        own = re.search(rf"^ +(# )?- {kind}:.*\n( +(# )? *\w+:.*\n)*", text, re.MULTILINE)
        assert own, f"{kind} is not explained"
        for name in found.options:
            assert re.search(rf"\b{name}\b", own[0]), f"{name} of {kind} is not explained"
    for cls in (config.Input, config.MappingChoice, config.Inference, config.Simulation, config.Exports):
        for field in dataclasses.fields(cls):
            assert f" {field.name}:" in text, f"{cls.__name__}.{field.name} is not explained"


def bonded_trajectory(frames):
    rng = np.random.default_rng(1)
    a = rng.uniform(0, 2, size=(frames, 20, 3))
    b = a + rng.normal(scale=0.2, size=a.shape)
    topology = bcg.data.Topology.from_bonds(40, [(k, k + 20) for k in range(20)])
    positions = np.concatenate([a, b], axis=1)
    return bcg.from_arrays(positions, (2.0,) * 3, ["A"] * 20 + ["B"] * 20, temperature=300.0, topology=topology)


@pytest.mark.parametrize("sizes", [[7, 7, 9], [23], [1] * 23])
def test_streamed_reference_equals_one_call(sizes):
    """However the trajectory is cut into chunks, the blocks are those of one call on all of it."""
    cg = bonded_trajectory(23)
    wanted = (
        Observable("rdf", ("A", "B"), (("cutoff", 0.8), ("bins", 16)), 4),
        Observable("bond_distribution", ("A", "B"), (), 4),
    )
    reference = Reference(wanted, 23, exclude_bonds=1)
    for begin, size in zip(np.cumsum([0, *sizes[:-1]]), sizes, strict=True):
        reference.add(cg.isel(frame=slice(begin, begin + size)))
    g, lengths = reference.results()
    expected = bcg.observables.rdf(cg, "A", "B", cutoff=0.8, bins=16, blocks=4, exclude_bonds=1)
    np.testing.assert_allclose(g, expected, atol=1e-12)
    np.testing.assert_allclose(g["block_weight"], expected["block_weight"])
    expected = bcg.observables.bond_distribution(cg, "A", "B", blocks=4)
    np.testing.assert_allclose(lengths.sel(r=expected["r"]), expected, atol=1e-12)
    assert float(lengths.sum()) == pytest.approx(float(expected.sum()))
    assert lengths["r"].attrs["units"] == "nm"


def test_a_reference_from_a_file_leaves_out_what_the_ensemble_does(tmp_path):
    rng = np.random.default_rng(0)
    ends = rng.uniform(0, 3, (10, 20, 3))
    positions = np.stack([ends, ends + 0.2], axis=2).reshape(10, 40, 3)
    bonds = np.arange(40).reshape(-1, 2)
    cg = bcg.from_arrays(positions, [3, 3, 3], "A", temperature=300.0, topology=bcg.data.Topology.from_bonds(40, bonds))
    bcg.data.save(cg, tmp_path / "reference.nc")
    bcg.data.save(cg.assign_attrs(exclude_bonds=1), tmp_path / "ensemble.nc")
    compared = single.observe(
        tmp_path / "ensemble.nc",
        "coordination_number",
        ("A", "A"),
        options={"cutoff": 0.4},
        blocks=5,
        reference=tmp_path / "reference.nc",
        output=tmp_path / "n.nc",
    )
    assert float(compared.atomistic["mean"]) == float(compared.predicted["mean"])
    with_bonds = bcg.observables.coordination_number(cg, "A", "A", cutoff=0.4).mean("block")
    assert float(with_bonds.values) - float(compared.predicted["mean"]) == pytest.approx(1.0)
