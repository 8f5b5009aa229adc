"""`bayescg backmap`: one clear message for bad input, before any work."""

import numpy as np
import pytest
from typer.testing import CliRunner

import bayescg as bcg
from bayescg.cli import app
from bayescg.data import from_arrays, save
from tests.studies import methanol


@pytest.fixture
def files(tmp_path):
    """Names of files that exist: beads of two molecules, and something that is no System."""
    save(from_arrays(np.full((2, 2, 3), [[0.0], [0.5]]), 2 * np.eye(3), "M", temperature=300.0), tmp_path / "cg.nc")
    (tmp_path / "system.xml").write_text("nothing", encoding="utf-8")
    (tmp_path / "beads.xtc").write_bytes(b"?")
    return tmp_path


def call(files, beads: str, *more: str):
    names = {"--topology": "topol.pdb", "--trajectory": "traj.dcd", "--system": "system.xml"}
    options = [word for name, value in names.items() for word in (name, str(files / value))]
    return CliRunner().invoke(app, ["backmap", str(files / beads), *options, *more])


@pytest.mark.parametrize(
    ("beads", "more", "words"),
    [
        ("missing.nc", (), "no such file"),
        ("beads.xtc", (), "--bead-topology"),
        ("beads.xtc", ("--bead-topology", "beads.gro"), "--temperature"),
        ("cg.nc", ("--start", "5"), "no frames of"),
        ("cg.nc", (), "holds no OpenMM System"),
    ],
)
def test_one_message_for_bad_input(files, beads, more, words):
    pytest.importorskip("openmm")
    result = call(files, beads, *more)
    assert result.exit_code == 2
    assert words in result.output
    assert "Traceback" not in result.output
    assert not (files / "atoms.nc").exists()


def test_system_from_a_file(tmp_path):
    openmm = pytest.importorskip("openmm")
    system = methanol.system(2, 2.0)
    (tmp_path / "system.xml").write_text(openmm.XmlSerializer.serialize(system), encoding="utf-8")
    field = bcg.atomistic.read_force_field(tmp_path / "system.xml")
    assert field.n_atoms == 12
    assert np.diag(field.box).tolist() == [2.0] * 3
    (tmp_path / "state.xml").write_text(
        openmm.XmlSerializer.serialize(openmm.VerletIntegrator(0.001)), encoding="utf-8"
    )
    with pytest.raises(ValueError, match="VerletIntegrator, not a System"):
        bcg.atomistic.read_force_field(tmp_path / "state.xml")
