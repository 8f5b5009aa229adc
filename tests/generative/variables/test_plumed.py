"""The folder for PLUMED: values, derivatives, virials, units, and a process that finds it."""

import importlib.util
import os
import subprocess
import sys

import numpy as np
import pytest

from bayescg.generative import encode
from bayescg.generative.variables.collective_variables import CollectiveVariables
from bayescg.generative.variables.export import export_plumed
from tests.generative.alanine import alanine, differences, shaken


@pytest.fixture(scope="module")
def molecule():
    model, target, x = alanine(2)
    return model, target, x, CollectiveVariables.of(model, target)


class Action:
    """What pycv hands to a module: positions of the atoms, possibly across a box's border."""

    def __init__(self, positions, box=None):
        self.positions, self.box, self.data = np.array(positions), box, {}

    def makeWhole(self):
        if self.box is not None:
            for k in range(1, len(self.positions)):
                step = self.positions[k] - self.positions[k - 1]
                self.positions[k] -= self.box * np.round(step / self.box)

    def getPositions(self):
        return self.positions


def imported(folder):
    spec = importlib.util.spec_from_file_location("bayescg_cv", folder / "bayescg_cv.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def plumed(molecule, tmp_path_factory):
    model, target, *_ = molecule
    folder = export_plumed(model, target, tmp_path_factory.mktemp("export") / "plumed")
    return folder, imported(folder)


def test_plumed_module_values_and_derivatives(molecule, plumed):
    model, target, x, _ = molecule
    folder, module = plumed
    assert {path.name for path in folder.iterdir()} == {
        "model.npz",
        "coordinates.json",
        "bayescg_cv.py",
        "plumed.dat",
    }
    assert module.plumedInit["COMPONENTS"] == {name: {"period": None, "derivative": True} for name in ("z1", "z2")}
    # A box that cuts the molecule, and that pycv's own function mends.
    box = np.array([2.0, 2.1, 2.2])
    frame = shaken(x)
    found = module.cv(Action((frame - frame[5]) % box, box))
    exact = encode(model, frame[None], target)[0]
    for k, name in enumerate(("z1", "z2")):
        value, gradient, virial = found[name]
        assert isinstance(value, float)
        assert value == pytest.approx(exact[k], abs=2e-4)
        numeric = differences(lambda p, name=name: np.array([module.cv(Action(p))[name][0]]), frame)[0]
        np.testing.assert_allclose(gradient, numeric, atol=1e-5 * np.abs(gradient).max())
        # Stretching space: dz = -virial : strain, by PLUMED's sign.
        for i, j in ((0, 0), (0, 1), (2, 1)):
            strain = np.zeros((3, 3))
            strain[i, j] = 1e-6
            ends = [module.cv(Action(frame + sign * frame @ strain))[name][0] for sign in (1, -1)]
            slope = (ends[0] - ends[1]) / 2e-6
            assert slope == pytest.approx(-virial[i, j], abs=1e-5 * np.abs(virial).max())


def test_plumed_module_in_angstrom(molecule, plumed, monkeypatch):
    _, _, x, variables = molecule
    module = plumed[1]
    monkeypatch.setattr(module, "NANOMETER", 10.0)
    found = module.cv(Action(10 * x))
    values, gradients = variables(x)
    assert found["z2"][0] == pytest.approx(values[1], abs=1e-10)
    np.testing.assert_allclose(found["z2"][1], gradients[1] / 10, atol=1e-10)
    np.testing.assert_allclose(found["z2"][2], -x.T @ gradients[1], atol=1e-9)


def test_plumed_input(molecule, tmp_path):
    model, target, *_ = molecule
    text = (export_plumed(model, target, tmp_path / "a") / "plumed.dat").read_text()
    assert "cv: PYCVINTERFACE ATOMS=1-22 IMPORT=bayescg_cv CALCULATE=cv" in text
    assert "PRINT ARG=cv.py-z1,cv.py-z2" in text
    order = [*range(7, 28), 3]
    text = (export_plumed(model, target, tmp_path / "b", atoms=order) / "plumed.dat").read_text()
    assert f"ATOMS={','.join(str(k + 1) for k in order)} " in text
    (tmp_path / "a" / "model.npz").unlink()
    with pytest.raises(ValueError, match=r"has no model\.npz"):
        CollectiveVariables.read(tmp_path / "a")


def test_one_latent_has_no_name_for_plumed(tmp_path):
    model, target, x = alanine(1)
    folder = export_plumed(model, target, tmp_path)
    # In a process of its own, where OpenMM cannot be imported; found by PYTHONPATH, as PLUMED finds it.
    np.save(tmp_path / "x.npy", x)
    code = (
        "import sys; sys.modules['openmm'] = None\n"
        "import numpy as np, bayescg_cv\n"
        "class Action:\n"
        "    def makeWhole(self): pass\n"
        "    def getPositions(self): return np.load('x.npy')\n"
        "assert list(bayescg_cv.plumedInit['COMPONENTS']) == ['z1']\n"
        "value, gradient, box = bayescg_cv.cv(Action())\n"
        "assert gradient.shape == (22, 3) and box.shape == (3, 3)\n"
        "print(value)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert float(done.stdout) == pytest.approx(encode(model, x[None], target)[0, 0], abs=2e-4)
    assert "PRINT ARG=cv STRIDE" in (folder / "plumed.dat").read_text()
