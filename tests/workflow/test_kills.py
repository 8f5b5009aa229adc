"""A run that was killed at any moment goes on, and gives what a run gives that nobody has killed."""

import json
import os
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
import xarray as xr

import bayescg as bcg
from bayescg import workflow
from bayescg.storage import load
from bayescg.workflow import unfinished
from bayescg.workflow.runner import STEPS
from tests.runs import write_inputs
from tests.seeds import shifted
from tests.storage.kills import moments
from tests.workflow.steps import again

_OWN = ("workflow_seconds", "workflow_warnings")


def _values(folder):
    """All that a run has found: numbers, attributes and exported files. The page is made from these."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.suffix == ".nc":
            for place, node in xr.load_datatree(path, engine="h5netcdf").subtree_with_keys:
                data = node.to_dataset()
                found[f"{name}:{place}"] = data.drop_attrs(deep=False), _attributes(data)
        elif path.name == "exports.json":
            found[name] = json.loads(path.read_text())["files"]
        elif path.parent != folder and path.is_file() and path.parent.name != "figures":
            found[name] = path.read_bytes()
    return found


def _attributes(data):
    return {name: str(value) for name, value in data.attrs.items() if name not in _OWN}


def _require_same(folder, whole):
    found = _values(folder)
    assert found.keys() == whole.keys()
    for name, value in whole.items():
        if isinstance(value, tuple):
            xr.testing.assert_identical(found[name][0], value[0])
            assert found[name][1] == value[1], name
        else:
            assert found[name] == value, name


def _left(inputs, copy, folder):
    """A configuration with the results that a kill has left."""
    shutil.copytree(copy, folder / "results")
    for name in ("cg.nc", "config.yaml"):
        shutil.copy2(inputs.parent / name, folder / name)
    return folder / "config.yaml"


@pytest.fixture(scope="module")
def long_inputs(tmp_path_factory):
    """A configuration whose trajectory passes in three chunks."""
    path = write_inputs(tmp_path_factory.mktemp("long"))
    cg = bcg.load(path.parent / "cg.nc")
    many = cg.isel(frame=np.arange(120) % 12).assign_coords(frame=np.arange(120), time=("frame", np.arange(120.0)))
    bcg.save(many, path.parent / "cg.nc")
    return path


@pytest.fixture(scope="module")
def killed(long_inputs, tmp_path_factory):
    """What a whole run gives, and the disk as it was at each change, by the step that was under way."""
    patch, copies = pytest.MonkeyPatch(), tmp_path_factory.mktemp("copies")
    with patch.context() as patched:
        patched.setattr(unfinished, "_SECONDS", 0.0)
        with moments(long_inputs.parent / "results", copies, patched) as found:
            workflow.run(workflow.load(long_inputs), say=found.mark)
    begins = [found.marks[f"{step}: begins"] for step in STEPS]
    ends = [*begins[1:], len(found)]
    assert all(end - begin >= 2 for begin, end in zip(begins, ends, strict=True))
    return _values(long_inputs.parent / "results"), {
        step: found[begin:end] for step, begin, end in zip(STEPS, begins, ends, strict=True)
    }


@pytest.mark.parametrize("step", STEPS)
def test_a_killed_run_goes_on(killed, long_inputs, tmp_path, monkeypatch, step):
    monkeypatch.setattr(unfinished, "_SECONDS", 0.0)
    whole, copies = killed
    rng = np.random.default_rng(shifted(STEPS.index(step)))
    for number in rng.choice(len(copies[step]), 2 if step in ("map", "simulate") else 1, replace=False):
        path = _left(long_inputs, copies[step][number], tmp_path / f"{number}")
        again(path, last="report" if step == "report" else "export")
        results = path.parent / "results"
        _require_same(results, whole)
        assert not list(results.rglob("*.part"))
        assert not (results / "unfinished").exists()


_KILLED = """
import os, signal, sys
from pathlib import Path

from tests.compilation import compile_quickly, keep_programs
compile_quickly(); keep_programs()
from bayescg import workflow

left, replace = int(sys.argv[2]), Path.replace

def replacing(self, target):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return replace(self, target)

Path.replace = replacing
workflow.run(workflow.load(sys.argv[1]))
"""


def test_a_process_that_is_really_killed(killed, long_inputs, tmp_path):
    """While the second draw takes its name."""
    path = _left(long_inputs, killed[1]["simulate"][0], tmp_path)
    ended = subprocess.run([sys.executable, "-c", _KILLED, str(path), "4"], check=False, env={**os.environ})
    assert ended.returncode == -signal.SIGKILL
    (draws,) = (tmp_path / "results" / "unfinished" / "simulate").iterdir()
    assert len(list(draws.glob("*.npz"))) == 1
    assert len(list(draws.glob(".*.part"))) == 1
    assert again(path, last="export") == ["simulate", "observe", "export"]
    _require_same(tmp_path / "results", killed[0])
    assert load(tmp_path / "results" / "ensemble.nc").attrs["interrupted"] == 0
