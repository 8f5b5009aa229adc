"""Kinds of bad input through the shell: one message that says what is wrong, exit code 2, before any long work."""

import shutil

import numpy as np
import pytest

from tests.cli.shell import call
from tests.data.lammps import argon, dump

CONFIG = """\
input:
  topology: system.data
  trajectory: run.lammpstrj
  temperature: 120.0
  units: real
  timestep: 0.001
mapping:
  by: atoms
  names: {"1": AR}
potential:
  terms:
    - pair: [AR, AR]
      cutoff: 0.75
      knot_spacing: 0.05
output: results
"""
GRO = "t\n{n}\n{rows}   3.0   3.0   3.0\n"


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A folder with a configuration that runs."""
    folder = tmp_path_factory.mktemp("good")
    positions, forces, side = argon()
    dump(folder, 10 * positions, forces / 41.84, 10 * side, name="run.lammpstrj")
    (folder / "config.yaml").write_text(CONFIG)
    return folder


@pytest.fixture
def folder(good, tmp_path):
    shutil.copytree(good, tmp_path, dirs_exist_ok=True)
    return tmp_path


def change(folder, old, new, name="config.yaml"):
    text = (folder / name).read_text()
    assert old in text
    (folder / name).write_text(text.replace(old, new))


def refused(folder, message, command="run"):
    """Exit code 2, one message with these words, no traceback."""
    result = call(*(command, folder / "config.yaml"), *(("--last", "map") if command == "run" else ()))
    text = " ".join(result.stderr.split())
    assert result.exit_code == 2, (result.exit_code, text, result.exception)
    assert text.count("Error:") == 1
    assert message in text, text
    assert "Traceback" not in text + result.stdout


def test_the_good_one_runs(folder):
    for command in ("check", "run"):
        result = call(*(command, folder / "config.yaml"), *(("--last", "map") if command == "run" else ()))
        assert result.exit_code == 0, result.stderr


TEXTS = [
    # The configuration itself.
    ("output: results", "ouptut: results", "did you mean 'output'"),
    ("temperature: 120.0", "temperature: -5", "input.temperature"),
    ("  temperature: 120.0\n", "", "`temperature` is missing"),
    ("temperature: 120.0", "temperature: warm", "input.temperature"),
    ("cutoff: 0.75", "cutoff: -1", "cutoff"),
    ("cutoff: 0.75", "cutoff: .inf", "cutoff"),
    ("cutoff: 0.75", "cutoff: 0.9", "cutoff"),
    ("      cutoff: 0.75\n", "", "`cutoff` is missing"),
    ("knot_spacing: 0.05", "knot_spacing: 0", "knot_spacing"),
    ("pair: [AR, AR]", "pair: [AR]", "2 bead types were expected"),
    ("pair: [AR, AR]", "pear: [AR, AR]", "pair"),
    ("output: results", "output: results\nexports: {formats: [gulp]}", "exports.formats"),
    ("output: results", "output: results\ninference: {kernels: {AR-AR: Matern99}}", "Matern99"),
    ("output: results", "output: results\nsimulation: {draws: 100000}", "draws"),
    ("output: results", "output: [results]", "output"),
    ("output: results", "output: config.yaml", "is a file, and must be a folder"),
    ("input:", "input: {", "config.yaml"),
    ("output: results", "a: &a [1]\nb: &b [*a, *a]\noutput: results", "unknown key 'a'"),
    # What it names.
    ("topology: system.data", "topology: missing.data", "missing.data, which is not there"),
    ("trajectory: run.lammpstrj", "trajectory: missing.trr", "missing.trr, which is not there"),
    ("trajectory: run.lammpstrj", "trajectory: [run.lammpstrj, run.lammpstrj]", "is listed twice"),
    ("by: atoms", "file: missing.yaml", "missing.yaml, which is not there"),
    ("by: atoms", "by: beads", "mapping.by"),
    ("by: atoms", "by: fragments", "fragments need bonds"),
    ('"1": AR', '"7": AR', "no atoms called 7"),
    ('"1": AR', '"1": A/R', "a name must have printable characters"),
    ('"1": AR', '"1": "A\\nR"', "a name must have printable characters"),
    ("by: atoms", "by: atoms\n  select: type 9", "selects no atom of the 64"),
    ("by: atoms", "by: atoms\n  select: typo typo", "is no selection of MDAnalysis"),
    ("pair: [AR, AR]", "pair: [XE, XE]", "XE"),
    # What it says of the files.
    ("  units: real\n", "", "does not say its units"),
    ("units: real", "units: metal", "look like forces of a dump in `units real`"),
    ("units: real", "units: imperial", "input.units"),
    ("units: real", "units: {energy: 1.0, length: -0.3, mass: 40.0}", "length"),
    ("units: real", "units: real\n  format: NONSENSE", "NONSENSE"),
    ("units: real", "units: real\n  masses: {Ar: 39.9}", "no atom is called Ar"),
    ("units: real", "units: real\n  start: 50", "no frames: start=50"),
    ("units: real", "units: real\n  step: 0", "step"),
    ("units: real", "units: real\n  continuous: perhaps", "input.continuous"),
]


@pytest.mark.parametrize(("old", "new", "message"), TEXTS, ids=[new.strip()[:40] for _, new, _ in TEXTS])
def test_configurations(folder, old, new, message):
    change(folder, old, new)
    refused(folder, message)
    refused(folder, message, "check")
    assert not list(folder.glob("results/*.nc"))


def rewrite_dump(folder, edit):
    """Change the rows of numbers of a dump: edit(row number, columns)."""
    lines, row = [], 0
    for line in (folder / "run.lammpstrj").read_text().splitlines():
        columns = line.split()
        if len(columns) == 8 and columns[0].isdigit():
            columns = edit(row, columns)
            row += 1
        lines.append(" ".join(columns))
    (folder / "run.lammpstrj").write_text("\n".join(lines) + "\n")


def test_an_empty_trajectory(folder):
    (folder / "run.lammpstrj").write_text("")
    refused(folder, "run.lammpstrj is empty (0 bytes)")


def test_text_in_place_of_a_trajectory(folder):
    (folder / "text.trr").write_text("no trajectory at all")
    change(folder, "run.lammpstrj", "text.trr")
    refused(folder, "text.trr is not a GROMACS TRR")


def test_swapped_files(folder):
    change(
        folder,
        "topology: system.data\n  trajectory: run.lammpstrj",
        "topology: run.lammpstrj\n  trajectory: system.data",
    )
    refused(folder, "topology and trajectory swapped")


def test_an_input_of_grompp(folder):
    (folder / "system.top").write_text("[ system ]\nargon\n")
    change(folder, "system.data", "system.top")
    refused(folder, "give the .tpr that grompp made")


def test_no_forces(folder):
    text = (folder / "run.lammpstrj").read_text().replace("id type x y z fx fy fz", "id type x y z a b c")
    (folder / "run.lammpstrj").write_text(text)
    refused(folder, "has no forces")


def test_zero_forces(folder):
    rewrite_dump(folder, lambda row, columns: [*columns[:5], "0", "0", "0"])
    refused(folder, "all forces are zero")


def test_one_force_for_all(folder):
    rewrite_dump(folder, lambda row, columns: [*columns[:5], "0.3", "0", "0"])
    refused(folder, "these are no forces")


@pytest.mark.parametrize("column", [3, 6])
def test_a_number_that_is_none(folder, column):
    rewrite_dump(folder, lambda row, c: [*c[:column], "nan", *c[column + 1 :]] if row == 130 else c)
    refused(folder, "in frame 2")


def test_a_dump_that_is_cut_off(folder):
    path = folder / "run.lammpstrj"
    path.write_text(path.read_text()[:-900])
    refused(folder, "run.lammpstrj")


def test_mixed_boundaries(folder):
    change(folder, "BOX BOUNDS pp pp pp", "BOX BOUNDS pp pp ss", "run.lammpstrj")
    refused(folder, "periodic in some directions only")


def test_time_that_runs_backward(folder):
    change(folder, "ITEM: TIMESTEP\n300\n", "ITEM: TIMESTEP\n100\n", "run.lammpstrj")
    refused(folder, "continuous")


def test_parts_that_overlap(folder):
    shutil.copy(folder / "run.lammpstrj", folder / "more.lammpstrj")
    change(folder, "trajectory: run.lammpstrj", "trajectory: [run.lammpstrj, more.lammpstrj]")
    refused(folder, "more.lammpstrj begins at 0 ps")
    change(folder, "units: real", "units: real\n  continuous: true")
    assert call("run", folder / "config.yaml", "--last", "map").exit_code == 0


def test_another_number_of_atoms(folder):
    text = (folder / "system.data").read_text().replace("64 atoms", "63 atoms")
    (folder / "system.data").write_text(
        "\n".join(line for line in text.splitlines() if not line.startswith("64 1 ")) + "\n"
    )
    refused(folder, "system.data")


def test_a_mapping_file_for_another_molecule(folder):
    (folder / "m.yaml").write_text("molecules:\n  WAT:\n    beads:\n      W: {atoms: all}\n")
    change(folder, '  by: atoms\n  names: {"1": AR}', "  file: m.yaml")
    refused(folder, "no molecule is called WAT; the universe has X")


def test_a_dataset_that_is_none(folder):
    (folder / "cg.nc").write_bytes(b"CDF nothing")
    change(folder, "  topology: system.data\n  trajectory: run.lammpstrj\n", "  dataset: cg.nc\n")
    refused(folder, "cg.nc")


def gro(folder, names, residues):
    rng = np.random.default_rng(0)
    rows = ""
    for k in range(len(names) * residues if residues > 1 else 90):
        x = rng.uniform(0, 3, 3)
        number = k // len(names) + 1 if residues > 1 else 1
        rows += f"{number:5d}{'MOL':5s}{names[k % len(names)]:>5s}{k + 1:5d}{x[0]:8.3f}{x[1]:8.3f}{x[2]:8.3f}\n"
    (folder / "system.gro").write_text(GRO.format(n=rows.count("\n"), rows=rows))
    change(
        folder, "topology: system.data\n  trajectory: run.lammpstrj", "topology: system.gro\n  trajectory: system.gro"
    )
    change(folder, '  by: atoms\n  names: {"1": AR}', "  by: residues\n  names: {MOL: AR}")


def test_masses_that_cannot_be_guessed(folder):
    gro(folder, ["QX"], 60)
    refused(folder, "atoms called QX have no mass in the topology")


def test_all_molecules_in_one_residue(folder):
    gro(folder, ["O", "H", "H"], 1)
    refused(folder, "it is no bead")


def test_init_with_half_of_what_it_needs(folder):
    result = call("init", "--topology", folder / "system.data")
    assert result.exit_code == 2
    assert "give --topology, --trajectory and --temperature" in " ".join(result.stderr.split())
