"""`check` and `initial`: what an input holds, and a configuration for it."""

import numpy as np
import pytest
import yaml

import bayescg as bcg
from bayescg import datasets, workflow
from tests.cli.shell import call
from tests.data.lammps import KELVIN, argon, dump
from tests.runs import write_inputs

WATER = """\
input:
  topology: topol.tpr
  trajectory: traj.trr
  temperature: 300.0
  stop: 20
mapping:
  by: residues
  names: {SOL: W}
potential:
  terms:
    - pair: [W, W]
      cutoff: 0.9
      knot_spacing: 0.03
inference: {chains: 2, warmup: 100, draws: 100}
"""


@pytest.fixture(scope="module")
def water(tmp_path_factory):
    folder = tmp_path_factory.mktemp("water")
    datasets.water(folder)
    (folder / "config.yaml").write_text(WATER)
    return folder / "config.yaml"


def test_what_a_configuration_means_for_its_files(water):
    rows = dict(workflow.check(workflow.load(water)))
    assert rows["frames"] == "20, 2 ps apart, 38 ps in all"
    assert rows["beads W"] == "510, 18.015 Da"
    assert rows["molecules"] == "510"
    assert rows["box"] == "2.477 x 2.477 x 2.477 nm; cutoffs up to 1.239 nm"
    assert "masses" not in rows
    value, error = (float(word) for word in rows["configurational temperature"].split(" K")[0].split(" ± "))
    assert abs(value - 300) < 4 * error
    assert rows["coefficients"] == "30 of 1 terms"
    assert {"mapping will take", "fit by nuts will take", "memory will peak at"} <= set(rows)


def test_rows_come_before_what_is_refused(water):
    config = water.with_name("far.yaml")
    config.write_text(WATER.replace("cutoff: 0.9", "cutoff: 1.3"))
    result = call("check", config)
    assert result.exit_code == 2
    assert "above half the shortest height of the box, 1.239 nm" in " ".join(result.stderr.split())
    assert "beads W" in result.stdout


def test_forces_that_do_not_belong_to_positions(water):
    """Another temperature, as if beads of another trajectory had got these forces."""
    config = water.with_name("hot.yaml")
    config.write_text(WATER.replace("temperature: 300.0", "temperature: 900.0"))
    shown = " ".join(call("check", config).stdout.split())
    assert "errors off: positions and forces do not belong together" in shown


def test_a_configuration_for_given_files(water, monkeypatch):
    monkeypatch.chdir(water.parent)
    result = call("init", "-s", "topol.tpr", "-f", "traj.trr", "-T", 300)
    assert result.exit_code == 0, result.stderr
    found = yaml.safe_load(result.stdout)
    assert found["input"]["topology"] == "topol.tpr"
    assert found["mapping"] == {"by": "molecules", "names": {"SOL": "SOL"}}
    (term,) = found["potential"]["terms"]
    assert term["pair"] == ["SOL", "SOL"]
    assert 0.6 < term["cutoff"] < 1.2
    (water.parent / "made.yaml").write_text(result.stdout)
    assert dict(workflow.check(workflow.load(water.parent / "made.yaml")))["beads SOL"] == "510, 18.015 Da"


def test_a_configuration_for_a_dump(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    positions, forces, side = argon()
    dump(tmp_path, 10 * positions, forces / 41.84, 10 * side, name="dump.run")
    result = call(
        *("init", "-s", "system.data", "-f", "dump.run", "-T", KELVIN, "--units", "real", "--timestep", "0.001")
    )
    assert result.exit_code == 0, result.stderr
    found = yaml.safe_load(result.stdout)
    assert found["input"]["units"] == "real"
    assert found["mapping"]["names"] == {"X": "X"}
    assert found["potential"]["terms"][0]["cutoff"] <= side / 2


def test_one_molecule_is_nothing_to_begin_with(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    rows = "".join(
        f"{1:5d}{'P':5s}{'C':>5s}{k:5d}" + "".join(f"{v:8.3f}" for v in rng.uniform(0, 1, 3)) + "\n"
        for k in range(1, 6)
    )
    (tmp_path / "one.gro").write_text(f"t\n5\n{rows}   3.0   3.0   3.0\n")
    result = call("init", "-s", "one.gro", "-f", "one.gro", "-T", 300)
    assert result.exit_code == 2
    assert "the system is one molecule" in " ".join(result.stderr.split())


def test_weights_are_told_and_their_first_frames_may_be_zero(tmp_path):
    path = write_inputs(tmp_path)
    cg = bcg.load(tmp_path / "cg.nc")
    frames = cg.sizes["frame"]
    weights = np.arange(frames) - frames // 2
    bcg.save(cg.assign(weight=("frame", np.maximum(weights, 0).astype(float))), tmp_path / "cg.nc")
    rows = dict(workflow.check(workflow.load(path)))
    left = weights[weights > 0]
    assert rows["frames are worth"] == f"{left.sum() ** 2 / np.sum(left**2):.4g} of equal weight"
    assert "few of them carry the fit" in rows["doubt"]
    path.write_text(path.read_text().replace("  method: laplace\n", "  fit: relative_entropy\n"))
    with pytest.raises(ValueError, match="relative_entropy does not take weights of frames"):
        list(workflow.check(workflow.load(path)))
