"""Configurations: what they say, and one line for each mistake, before any work."""

import numpy as np
import pytest

import bayescg as bcg
from bayescg import workflow
from tests.data.lammps import dump
from tests.runs import CONFIG
from tests.workflow.steps import edit


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("timestep:", "timstep:", r"line 15, simulation.timstep: unknown key 'timstep'; did you mean 'timestep'"),
        ("inference:", "inferense:", "did you mean 'inference'"),
        ("cutoff: 0.7\n    bins", "cutof: 0.7\n    bins", "did you mean 'cutoff'"),
        ("method: laplace", "method: laplase", "did you mean 'laplace'"),
        ("- rdf: [A, A]", "- rfd: [A, A]", r"line 19, observables\[0\].rfd: unknown key 'rfd'; did you mean 'rdf'"),
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
        (
            "  method: laplace",
            "  method: laplace\n  kernels: {A-A: Mattern52}",
            "kernels.A-A: .*did you mean 'Matern52'",
        ),
        ("  method: laplace", "  method: laplace\n  kernels: {B-B: RBF}", "no term is called B-B; terms: A-A"),
        ("      cutoff: 0.7\n", "      cutoff: 0.7\n      kernel: Mattern52\n", r"terms\[0\].kernel: .*'Matern52'"),
        ("draws: 2\n", "draws: 1000\n", "simulation.draws=1000, but inference makes chains . draws = 80 draws only"),
        ("formats: [lammps]", "formats: [gromacs]", "bonded terms only"),
        ("interval: 0.04", "interval: 0.0401", "line 11, simulation: interval=0.0401 ps is not a multiple"),
        ("  dataset: cg.nc", "  dataset: cg.nc\n  temperature: .inf", "temperature must be finite; got inf"),
        ("  dataset: cg.nc", "  dataset: cg.nc\n  temperature: warm", "a number was expected, not 'warm'"),
        (
            "  dataset: cg.nc",
            "  dataset: cg.nc\n  stop: 2.5",
            "line 3, input.stop: a whole number was expected, not 2.5",
        ),
        ("input:\n  dataset: cg.nc", "input: cg.nc", "line 1, input: a section of settings was expected, not 'cg.nc'"),
        ("    - pair: [A, A]\n", "    - ends: [A, A]\n", "unknown key 'ends'"),
        (
            "    - pair: [A, A]\n",
            "    - pair: [A, A]\n      bond: [A, A]\n",
            r"terms\[0\]: one of pair, .* must name the item",
        ),
        ("draws: 20", "draws: 0", "draws must be at least 1; got 0"),
        ("seed: 3", "? [seed]\n: 3", "unknown key"),
        ("seed: 3", "seed: !!python/name:os.system", "line 28, is not YAML: could not determine a constructor"),
    ],
)
def test_one_line_for_each_mistake(tmp_path, old, new, message):
    (tmp_path / "cg.nc").touch()
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG)
    edit(path, old, new)
    with pytest.raises(ValueError, match=message) as raised:
        workflow.load(path)
    assert str(raised.value).startswith("config.yaml")
    assert "\n" not in str(raised.value)


def test_empty_keys_count_as_absent(tmp_path):
    (tmp_path / "cg.nc").touch()
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG)
    edit(path, "  draws: 20", "  draws:\n  noise_ceiling:")
    edit(path, "exports:\n  formats: [lammps]", "exports:")
    settings = workflow.load(path).settings
    assert settings.inference.draws == 500
    assert settings.exports.formats == ()
    edit(path, "input:\n  dataset: cg.nc", "input:")
    with pytest.raises(ValueError, match=r"config\.yaml: `input` is missing"):
        workflow.load(path)


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
    assert config.kernels == {"A-B": "RBF"}
    assert config.settings.input.temperature == 300.0
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
    assert config.kernels == {"three_A-B-B": "RBF"}
    assert [(each.kind, each.beads, each.arguments) for each in config.observables] == [
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
    with pytest.raises(ValueError, match="exports: GROMACS has nothing for three_A-B-B, density_B-A"):
        workflow.load(path)


@pytest.mark.parametrize(("boundary", "kind"), [("open", "coordination_number"), (None, "rdf")])
@pytest.mark.parametrize("source", ["dataset", "trajectory"])
def test_default_observable_of_pairs_in_vacuum(source, boundary, kind, tmp_path):
    """Without a box there is no g(r): neighbors are counted instead, unless observables are given."""
    positions = np.random.default_rng(0).normal(size=(2, 4, 3))
    if source == "dataset":
        data = bcg.from_arrays(positions, [9.0] * 3, ["A"] * 4, temperature=300.0, mass=[40.0] * 4)
        bcg.save(data.assign_attrs({"boundary": boundary} if boundary else {}), tmp_path / "cg.nc")
        given = "{dataset: cg.nc}"
    else:
        dump(tmp_path, positions, positions, 9.0, bounds="ss ss ss" if boundary else "pp pp pp")
        given = "{topology: system.data, trajectory: run.lammpsdump, units: real, temperature: 300}"
    path = tmp_path / "config.yaml"
    text = f"input: {given}\npotential:\n  terms:\n    - pair: [A, A]\n      cutoff: 0.7\n"
    path.write_text(text)
    (found,) = workflow.load(path).observables
    assert (found.kind, found.beads, found.arguments) == (kind, ("A", "A"), {"cutoff": 0.7})
    path.write_text(text + "observables:\n  - rdf: [A, A]\n    cutoff: 0.5\n")
    assert [each.kind for each in workflow.load(path).observables] == ["rdf"]
