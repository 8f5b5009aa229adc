"""The verb `export`: formats, draws, manifests, bad input, damaged files; and the GROMACS tables."""

import builtins
import json

import jax
import numpy as np
import pytest

from bayescg.exports import export, gromacs, write
from bayescg.exports.lammps.check import compare_tables, read_tables
from bayescg.exports.lammps.tables import Tables, write_tables
from bayescg.exports.tables import curves
from bayescg.exports.tables.curves import Curve
from bayescg.potentials import Potential


def test_manifest_says_what_the_files_are(trimer, tmp_path):
    export(trimer.posterior, tmp_path / "new" / "folder", format="lammps", initial=trimer.cg)
    folder = tmp_path / "new" / "folder"
    manifest = json.loads((folder / "manifest.json").read_text())
    assert Potential.from_json(json.dumps(manifest["potential"])) == trimer.potential
    assert manifest["temperature"] == 300.0
    assert manifest["posterior_mean"] is True
    assert "kcal/mol" in manifest["units"]
    np.testing.assert_allclose(manifest["coefficients"], trimer.coefficients.mean(0))
    assert max(manifest["largest_force_error"].values()) < 1e-4
    assert sorted([*manifest["files"], "manifest.json"]) == sorted(path.name for path in folder.iterdir())


def test_draws_are_listed(trimer, tmp_path):
    paths = export(trimer.posterior, tmp_path, format="lammps", draws=2, key=jax.random.key(4))
    listed = json.loads((tmp_path / "draws.json").read_text())["draws"]
    assert [entry["folder"] for entry in listed] == ["draw_000", "draw_001"]
    assert {(entry["chain"], entry["draw"]) for entry in listed} == {(0, 0), (0, 1)}
    for entry in listed:
        manifest = json.loads((tmp_path / entry["folder"] / "manifest.json").read_text())
        assert (manifest["chain"], manifest["draw"]) == (entry["chain"], entry["draw"])
        np.testing.assert_array_equal(manifest["coefficients"], trimer.coefficients[entry["draw"]])
    assert sorted(paths) == sorted(path for path in tmp_path.rglob("*") if path.is_file())


def test_gromacs_tables_follow_the_fit(tetramer, trimer, tmp_path):
    for system, name, unit in ((trimer, "a0", np.degrees(1)), (tetramer, "d0", np.degrees(1)), (trimer, "b0", 1.0)):
        with pytest.warns(UserWarning, match="takes no user tables for non-bonded"):
            export(system.posterior, tmp_path, format="gromacs")
        x, energy, force = gromacs.read_table(tmp_path / f"table_{name}.xvg").T
        kind = {"a": "angle", "d": "dihedral", "b": "bond"}[name[0]]
        (term,) = curves.terms_of(system.potential, kind)
        curve = Curve.of(system.potential, term, system.coefficients.mean(0))
        true_energy, true_force = curve(x / unit)
        np.testing.assert_allclose(energy, true_energy, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(force * unit, true_force, rtol=1e-9, atol=1e-8)
        # The third column is minus the slope of the second, per unit of the first.
        slope = np.gradient(energy, x)[1:-1]
        np.testing.assert_allclose(-slope, force[1:-1], atol=1e-3 * np.abs(force).max())
    text = (tmp_path / "README.txt").read_text()
    assert "NOT EXPORTED" in text
    assert "ai aj  8  0  1.0" in text


def test_gromacs_needs_a_bonded_term(liquid, tmp_path):
    with pytest.raises(ValueError, match="pair terms only"):
        export(liquid.posterior, tmp_path / "out", format="gromacs")
    assert not list(tmp_path.iterdir())


def _scale_forces(text):
    rows = [line.split() for line in text.splitlines()]
    rows = [[*row[:3], str(1.001 * float(row[3]))] if len(row) == 4 and row[0].isdigit() else row for row in rows]
    return "\n".join(" ".join(row) for row in rows)


DAMAGE = {
    "cut short": lambda text: text[: len(text) // 2],
    "forces off by 0.1 %": _scale_forces,
    "exponents lost": lambda text: text.replace("e-", "e", 400),
    "empty": lambda text: "",
}


@pytest.mark.parametrize("damage", list(DAMAGE))
def test_damaged_table_stops_the_export(damage, liquid, tmp_path, monkeypatch):
    def broken(potential, coefficients, directory, **options):
        tables = write_tables(potential, coefficients, directory, **options)
        path = tables.paths["pair"]
        path.write_text(DAMAGE[damage](path.read_text()))
        return tables

    monkeypatch.setattr(write.lammps_tables, "write_tables", broken)
    with pytest.raises(RuntimeError, match=r"out/pair.table: read back, W-W differs"):
        export(liquid.posterior, tmp_path / "out", format="lammps")
    assert not list(tmp_path.iterdir())


def test_damaged_system_xml_stops_the_export(trimer, tmp_path, monkeypatch):
    pytest.importorskip("openmm", reason="needs OpenMM: pip install 'bayescg[openmm]'")
    build = write.openmm.build_system
    monkeypatch.setattr(write.openmm, "build_system", lambda p, w, cg: build(p, 1.001 * w, cg))
    with pytest.raises(RuntimeError, match=r"out/system.xml: read back"):
        export(trimer.posterior, tmp_path / "out", format="openmm", initial=trimer.cg)
    assert not list(tmp_path.iterdir())


def test_full_disk_leaves_nothing_and_keeps_the_old(liquid, tmp_path, monkeypatch):
    export(liquid.posterior, tmp_path / "out", format="lammps")
    before = {path.name: path.read_text() for path in (tmp_path / "out").iterdir()}

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(write, "_write_json", full)
    with pytest.raises(OSError, match="No space"):
        export(liquid.posterior, tmp_path / "out", format="lammps", draws=2)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert {path.name: path.read_text() for path in (tmp_path / "out").iterdir()} == before


def test_interrupt_leaves_nothing(liquid, tmp_path, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(write.lammps_check, "compare_tables", interrupted)
    with pytest.raises(KeyboardInterrupt):
        export(liquid.posterior, tmp_path / "out", format="lammps")
    assert not list(tmp_path.iterdir())


def test_foreign_files_survive(liquid, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    export(liquid.posterior, tmp_path, format="lammps")
    export(liquid.posterior, tmp_path, format="lammps")
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_missing_openmm_says_how_to_install_it(liquid, tmp_path, monkeypatch):
    original = builtins.__import__

    def without(name, *args, **options):
        if name.split(".")[0] == "openmm":
            raise ImportError("No module named 'openmm'")
        return original(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r"pip install 'bayescg\[openmm\]'"):
        export(liquid.posterior, tmp_path / "out", format="openmm", initial=liquid.cg)


def test_bad_input_names_the_remedy(liquid, trimer, tmp_path):
    with pytest.raises(ValueError, match="unknown format 'namd': choose 'lammps', 'openmm', 'gromacs'"):
        export(liquid.posterior, tmp_path, format="namd")
    with pytest.raises(ValueError, match="draws must lie between"):
        export(liquid.posterior, tmp_path, format="lammps", draws=3)
    with pytest.raises(ValueError, match="names bead type 'A'"):
        export(trimer.posterior, tmp_path, format="lammps", initial=liquid.cg)
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="is a file"):
        export(liquid.posterior, tmp_path / "file", format="lammps")
    with pytest.raises(ValueError, match="not a bayescg posterior"):
        export(liquid.cg, tmp_path, format="lammps")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_openmm_needs_a_configuration(liquid, tmp_path):
    pytest.importorskip("openmm", reason="needs OpenMM: pip install 'bayescg[openmm]'")
    with pytest.raises(ValueError, match="initial=cg"):
        export(liquid.posterior, tmp_path, format="openmm")


def test_table_of_another_potential_is_noticed(trimer, tetramer, tmp_path):
    tables = write_tables(trimer.potential, trimer.coefficients[0], tmp_path)
    assert all(error < 1e-4 for *_, error in compare_tables(trimer.potential, trimer.coefficients[0], tables))
    other = compare_tables(trimer.potential, trimer.coefficients[1], tables)
    assert all(error > 1e-2 for _, name, error in other if name in ("A-A", "B-B", "angle_A-B-A"))
    foreign = compare_tables(
        tetramer.potential, tetramer.coefficients[0], Tables({"pair": tables.paths["pair"]}, {"pair": 5})
    )
    assert all(error == np.inf for *_, error in foreign)
    assert set(read_tables(tables.paths["pair"])) == {"A-A", "A-B", "B-B"}


def test_scripts_run_as_they_are_told(trimer, tmp_path):
    given = {"temperature": 280.0, "timestep": 0.0015, "friction": 4.0}
    export(trimer.posterior, tmp_path / "lammps", format="lammps", initial=trimer.cg, **given)
    text = (tmp_path / "lammps" / "in.bayescg").read_text()
    assert "\ntimestep 1.5\n" in text  # fs
    assert "fix thermostat all langevin 280 280 250 48271" in text
    assert "velocity all create 280 " in text
    assert json.loads((tmp_path / "lammps" / "manifest.json").read_text())["script"] == given
    export(trimer.posterior, tmp_path / "lammps", format="lammps", initial=trimer.cg)
    assert "langevin 300 300 1000 48271" in (tmp_path / "lammps" / "in.bayescg").read_text()
    with pytest.raises(ValueError, match=r"timestep=-1.0: the script of an export needs a positive number"):
        export(trimer.posterior, tmp_path / "wrong", format="lammps", timestep=-1.0)
    pytest.importorskip("openmm")
    export(trimer.posterior, tmp_path / "openmm", format="openmm", initial=trimer.cg, **given)
    assert (
        "280 * unit.kelvin, 4 / unit.picosecond, 0.0015 * unit.picoseconds"
        in (tmp_path / "openmm" / "run.py").read_text()
    )
