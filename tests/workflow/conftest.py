"""A finished run, shared by the tests of this folder."""

import shutil

import pytest

from bayescg import workflow
from tests.runs import write_inputs


@pytest.fixture(scope="session")
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
