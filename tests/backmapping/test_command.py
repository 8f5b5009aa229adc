"""`bayescg backmap`: from files to files, and one clear message for bad input, before any work."""

import itertools

import numpy as np
import pytest
import xarray as xr
from typer.testing import CliRunner

import bayescg as bcg
from bayescg.backmapping import sampling
from bayescg.cli import app
from bayescg.data import from_arrays
from bayescg.storage import save
from tests.backmapping import planted
from tests.studies.backmapping import methanol


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


BONDS = ((0, 1), (1, 2), (2, 3), (3, 4))


def chain_system(openmm):
    """Five atoms about as stiff as the planted chain."""
    system, bonds, angles = openmm.System(), openmm.HarmonicBondForce(), openmm.HarmonicAngleForce()
    for _ in range(5):
        system.addParticle(12.011)
    for i, j in BONDS:
        bonds.addBond(i, j, planted.LENGTH, 2.5 / planted.LENGTH_SD**2)
    for i in (1, 2):
        angles.addAngle(i, i + 1, i + 2, planted.ANGLE, 2.5 / planted.ANGLE_SD**2)
    torsions = openmm.PeriodicTorsionForce()
    torsions.addTorsion(3, 2, 1, 0, 1, 2.6 - np.pi, 2.5 / planted.TORSION_SD**2)
    torsions.addTorsion(4, 3, 2, 1, 2, 0.0, 10.0)
    for force in (bonds, angles, torsions):
        system.addForce(force)
    return system


def _first_alone(real):
    """The first frame, then Ctrl-C."""
    calls = itertools.count()

    def one(*arguments, **options):
        if next(calls):
            raise KeyboardInterrupt
        return real(*arguments, **options)

    return one


@pytest.mark.filterwarnings("ignore::UserWarning:MDAnalysis")
def test_from_files_to_files(tmp_path, monkeypatch):
    openmm, mda = pytest.importorskip("openmm"), pytest.importorskip("MDAnalysis")
    x = planted.chain(150, seed=0).positions
    made = planted.universe(x, BONDS)
    made.atoms.write(str(tmp_path / "topol.pdb"), bonds="all")
    made.atoms.write(str(tmp_path / "traj.dcd"), frames="all")
    system = chain_system(openmm)
    (tmp_path / "system.xml").write_text(openmm.XmlSerializer.serialize(system), encoding="utf-8")
    beads = from_arrays(x[-2:, :3], 9 * np.eye(3), list("ABC"), temperature=300.0)
    save(beads, tmp_path / "cg.nc")
    output, atoms = tmp_path / "atoms.nc", tmp_path / "atoms.dcd"
    more = ("--by", "atoms", "--select", "index 0 1 2", "--method", "imh", "--draws", "20")
    arguments = (tmp_path, "cg.nc", *more, "--output", str(output), "--atoms", str(atoms))
    with monkeypatch.context() as patch:
        patch.setattr(sampling, "sample_frame", _first_alone(sampling.sample_frame))
        result = call(*arguments)
    assert result.exit_code == 130
    part = xr.load_dataset(output)
    assert (part.sizes["frame"], part.attrs["interrupted"]) == (1, 1)
    assert output.with_name("atoms.nc.unfinished").is_dir()
    result = call(*arguments)
    assert result.exit_code == 0, result.output
    assert "imh" in result.output
    assert not output.with_name("atoms.nc.unfinished").exists()
    xr.testing.assert_equal(xr.load_dataset(output)["positions"].isel(frame=[0]), part["positions"])
    placed = xr.load_dataset(output)
    # The beads are atoms: they stay where they were given.
    kept = placed["positions"].values[:, :, :3]
    assert np.abs(kept - x[-2:, :3]).max() < 1e-12
    integrator = openmm.VerletIntegrator(0.001)
    context = openmm.Context(system, integrator, openmm.Platform.getPlatformByName("Reference"))
    for draw, frame in ((0, 0), (7, 1), (19, 0)):
        context.setPositions(placed["positions"].values[draw, frame])
        energy = context.getState(getEnergy=True).getPotentialEnergy()._value
        assert float(placed["energy"][draw, frame]) == pytest.approx(energy, abs=1e-6)
    back = mda.Universe(str(tmp_path / "topol.pdb"), str(atoms))
    assert len(back.trajectory) == 40
    assert np.abs(0.1 * back.trajectory[0].positions - placed["positions"].values[0, 0]).max() < 1e-5
