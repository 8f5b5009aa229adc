"""Collective variables for other programs: values, gradients, continuity, and what each program gets."""

import importlib.resources
import importlib.util
import os
import pickle
import subprocess
import sys
from types import SimpleNamespace

import jax
import numpy as np
import openmm as mm
import pytest
from openmm import app, unit

from bayescg.atomistic import gaussian_mixture, internal_coordinates
from bayescg.generative import encode
from bayescg.generative.collective_variables import CollectiveVariables
from bayescg.generative.coordinates import Whitening
from bayescg.generative.cv_export import export_plumed, openmm_bias, openmm_cv
from bayescg.generative.latent_model import build_model
from bayescg.generative.transformer import LatentTransformer

METHYL = (11, 12, 13)
"""Hydrogens of the side chain of alanine dipeptide; they sit on CB (10), next to CA (8)."""
CB, CA = 10, 8
RNG = np.random.default_rng(0)


def alanine(n_latents):
    """Alanine dipeptide's coordinates, without a force field, and networks with random weights."""
    source = importlib.resources.files("bayescg.data").joinpath("files", "alanine_dipeptide.pdb")
    with importlib.resources.as_file(source) as path:
        pdb = app.PDBFile(str(path))
    elements = [atom.element.symbol for atom in pdb.topology.atoms()]
    bonds = [(bond[0].index, bond[1].index) for bond in pdb.topology.bonds()]
    x = pdb.getPositions(asNumpy=True).value_in_unit(unit.nanometer)
    coordinates = internal_coordinates(elements, bonds, x)
    periodic = coordinates.periodic
    location = np.where(periodic, 0.0, np.asarray(coordinates.to_internal(jax.numpy.asarray(x))))
    n = coordinates.n_atoms
    widths = np.concatenate([np.full(n - 1, 0.003), np.full(n - 2, 0.06), np.full(n - 3, 0.1)])
    whitening = Whitening.of(location, np.diag(np.where(periodic, 1.0, widths)), periodic)
    model = build_model(whitening, latents=n_latents, key=jax.random.key(3))
    target = SimpleNamespace(
        coordinates=coordinates, to_coordinates=coordinates.to_internal, temperature=300.0, dimension=3 * n - 6
    )
    return model, target, np.array(x)


@pytest.fixture(scope="module")
def molecule():
    model, target, x = alanine(2)
    return model, target, x, CollectiveVariables.of(model, target)


def shaken(x, size=0.003):
    return x + size * RNG.normal(size=x.shape)


def turned(x, angle):
    """The side chain's methyl group turned about its bond."""
    axis = (x[CB] - x[CA]) / np.linalg.norm(x[CB] - x[CA])
    out = x.copy()
    for atom in METHYL:
        v = x[atom] - x[CB]
        out[atom] = (
            x[CB] + v * np.cos(angle) + np.cross(axis, v) * np.sin(angle) + axis * np.dot(axis, v) * (1 - np.cos(angle))
        )
    return out


def rotor(target, x):
    """The folded coordinate of that methyl group."""
    y = encoded_coordinates(target, x)
    return y[[name.startswith("rotor 11-") for name in target.coordinates.names].index(True)]


def encoded_coordinates(target, x):
    with jax.enable_x64(True):
        return np.asarray(target.to_coordinates(jax.numpy.asarray(x)))


def differences(function, x, h=1e-6):
    out = []
    for k in range(x.size):
        step = np.zeros(x.size)
        step[k] = h
        step = step.reshape(x.shape)
        out.append((function(x + step) - function(x - step)) / (2 * h))
    return np.stack(out, -1).reshape(-1, *x.shape)


def test_values_are_those_of_encode(molecule):
    model, target, x, variables = molecule
    frames = np.stack([turned(shaken(x), angle) for angle in np.radians([-35, -20, 0, 20, 35])])
    frames = frames[[abs(rotor(target, frame)) < 2 * np.pi / 3 for frame in frames]]
    assert len(frames) >= 3
    values = np.stack([variables(frame)[0] for frame in frames])
    # Single precision there, double here.
    np.testing.assert_allclose(values, encode(model, frames, target), atol=2e-4)
    assert np.ptp(values, axis=0).min() > 0.01


@pytest.mark.parametrize("angle", [0.0, 50.0, 59.0])
def test_gradients_are_finite_differences(molecule, angle):
    _, target, x, variables = molecule
    frame = turned(shaken(x), np.radians(angle))
    if angle:
        assert abs(rotor(target, frame)) > 2 * np.pi / 3
    gradient = variables(frame)[1]
    np.testing.assert_allclose(
        gradient, differences(lambda p: variables(p)[0], frame), atol=1e-5 * np.abs(gradient).max()
    )
    # Neither moving nor turning the molecule changes it.
    np.testing.assert_allclose(gradient.sum(axis=1), 0, atol=1e-9 * np.abs(gradient).max())
    torque = np.cross(frame, gradient).sum(axis=1)
    np.testing.assert_allclose(torque, 0, atol=1e-9 * np.abs(gradient).max())


def test_continuous_where_hydrogens_change_names(molecule):
    model, target, x, variables = molecule
    frame = shaken(x, 0.005)
    # The fold: where the folded coordinate jumps from pi to -pi.
    low, high = 0.0, np.radians(119)
    while high - low > 1e-10:
        middle = 0.5 * (low + high)
        same = rotor(target, turned(frame, middle)) > rotor(target, turned(frame, 0.0)) - 1e-9
        low, high = (middle, high) if same else (low, middle)
    sides = np.stack([turned(frame, low - 1e-9), turned(frame, high + 1e-9)])
    assert np.prod([rotor(target, side) for side in sides]) < -9
    jump = np.abs(np.diff(encode(model, sides, target), axis=0)).max()
    (before, slope_before), (after, slope_after) = (variables(side) for side in sides)
    assert jump > 0.05
    np.testing.assert_allclose(before, after, atol=1e-7)
    np.testing.assert_allclose(slope_before, slope_after, atol=1e-6 * np.abs(slope_before).max())


def test_names_of_equal_hydrogens_do_not_matter(molecule):
    _, _, x, variables = molecule
    for angle in np.radians([5, 45, 58, 100]):
        frame = turned(shaken(x), angle)
        renamed = frame.copy()
        renamed[list(METHYL)] = frame[np.roll(METHYL, 1)]
        np.testing.assert_allclose(variables(renamed)[0], variables(frame)[0], atol=1e-9)
        assert np.abs(renamed - frame).max() > 0.1


def test_pickles_share_one_function(molecule):
    _, _, x, variables = molecule
    first, second = (pickle.loads(pickle.dumps(variables)) for _ in range(2))
    assert first is second
    for mine, its in zip(variables(x), first(x), strict=True):
        np.testing.assert_array_equal(mine, its)


def test_values_can_be_changed_by_the_caller(molecule):
    _, _, x, variables = molecule
    values, gradients = variables(x)
    values += 1
    gradients *= 0
    assert not np.allclose(variables(x)[0], values)
    assert np.abs(variables(x)[1]).max() > 0


def in_context(forces, positions, read=None):
    """Energy and forces of forces in a System of their own; `read` gets the context."""
    system = mm.System()
    for _ in positions:
        system.addParticle(12.0)
    for force in forces:
        system.addForce(force)
    system = mm.XmlSerializer.deserialize(mm.XmlSerializer.serialize(system))
    context = mm.Context(system, mm.VerletIntegrator(0.001), mm.Platform.getPlatform("Reference"))
    context.setPositions(positions)
    state = context.getState(energy=True, forces=True)
    energy = state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)
    if read is not None:
        read(system, context)
    return energy, state.getForces(asNumpy=True).value_in_unit(unit.kilojoule_per_mole / unit.nanometer)


@pytest.mark.parametrize("latent", [0, 1])
def test_openmm_force_is_the_latent_variable(molecule, latent):
    model, target, x, variables = molecule
    energy, forces = in_context([openmm_cv(model, target, latent)], x)
    values, gradients = variables(x)
    assert energy == pytest.approx(values[latent], abs=1e-10)
    np.testing.assert_allclose(forces, -gradients[latent], atol=1e-10)


def test_openmm_bias_against_finite_differences(molecule):
    model, target, x, variables = molecule
    # The molecule's atoms stand between others, in another order.
    atoms = RNG.permutation(np.arange(2, 24)).tolist()
    frame = RNG.normal(size=(26, 3))
    frame[atoms] = shaken(x)

    def expected(p):
        first, second = variables(p[atoms])[0]
        return np.array([0.5 * 7.0 * (first - 0.3) ** 2 + np.sin(second)])

    def bias():
        made = openmm_bias(
            model, target, "0.5*k*(z1-center)^2 + sin(z2)", parameters={"k": 7.0, "center": 0.3}, atoms=atoms
        )
        assert [made.getCollectiveVariableName(k) for k in range(2)] == ["z1", "z2"]
        return made

    def read(system, context):
        values = system.getForce(0).getCollectiveVariableValues(context)
        np.testing.assert_allclose(values, variables(frame[atoms])[0], atol=1e-10)
        context.setParameter("k", 0.0)
        energy = context.getState(energy=True).getPotentialEnergy()._value
        assert energy == pytest.approx(np.sin(values[1]), abs=1e-10)

    energy, forces = in_context([bias()], frame, read)
    assert energy == pytest.approx(expected(frame)[0], abs=1e-10)
    np.testing.assert_allclose(forces, -differences(expected, frame)[0], atol=1e-5 * np.abs(forces).max())
    others = np.setdiff1d(np.arange(26), atoms)
    assert np.all(forces[others] == 0)
    assert np.abs(forces[atoms]).max() > 1


def test_openmm_errors(molecule, monkeypatch):
    model, target, _, _ = molecule
    with pytest.raises(ValueError, match="latents 0 to 1"):
        openmm_cv(model, target, 2)
    with pytest.raises(ValueError, match="22 different numbers"):
        openmm_cv(model, target, atoms=[1, 2, 3])
    with pytest.raises(ValueError, match="count from 0"):
        openmm_cv(model, target, atoms=list(range(-1, 21)))
    with pytest.raises(ValueError, match=r"z3.*variables are z1, z2, k"):
        openmm_bias(model, target, "k*z3", parameters={"k": 1.0})
    with pytest.raises(ValueError, match="names of latent variables"):
        openmm_bias(model, target, "z1", parameters={"z2": 1.0})
    flat = gaussian_mixture([[0.0, 0.0]], [np.eye(2)], [1.0])
    with pytest.raises(ValueError, match="has no positions"):
        openmm_cv(model, flat)
    whitening = Whitening.of(np.zeros(2), np.eye(2), [False, False])
    with pytest.raises(ValueError, match="2 coordinates and the target 60"):
        openmm_cv(build_model(whitening, latents=1, key=jax.random.key(0)), target)
    monkeypatch.delattr(mm, "PythonForce")
    with pytest.raises(ImportError, match=r"OpenMM 8\.6 or newer"):
        openmm_bias(model, target, "z1")


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
        "model.eqx",
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
    (tmp_path / "a" / "model.eqx").unlink()
    with pytest.raises(ValueError, match=r"has no model\.eqx"):
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
    environment = {**os.environ, "PYTHONPATH": str(folder), "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert float(done.stdout) == pytest.approx(encode(model, x[None], target)[0, 0], abs=2e-4)
    assert "PRINT ARG=cv STRIDE" in (folder / "plumed.dat").read_text()


def test_transformer(molecule):
    model, target, x, _ = molecule
    frames = np.stack([shaken(x) for _ in range(5)])
    coordinates = np.stack([encoded_coordinates(target, frame) for frame in frames])
    transformer = LatentTransformer(model, target)
    z = transformer.fit_transform(frames)
    np.testing.assert_array_equal(z, encode(model, frames, target))
    # Rows of numbers, as pipelines have them: positions or coordinates, told apart by their number.
    np.testing.assert_array_equal(transformer.transform(frames.reshape(5, -1)), z)
    np.testing.assert_allclose(transformer.transform(coordinates), z, atol=1e-6)
    np.testing.assert_allclose(LatentTransformer(model).fit(coordinates).transform(coordinates), z, atol=1e-6)
    assert transformer.n_features_in_ == 66
    assert transformer.get_feature_names_out().tolist() == ["z1", "z2"]
    assert transformer.get_params() == {"model": model, "target": target}
    assert transformer.set_params(target=None).target is None
    with pytest.raises(ValueError, match="unknown parameters"):
        transformer.set_params(depth=3)
    with pytest.raises(ValueError, match="positions need"):
        LatentTransformer(model).fit(frames)


def test_transformer_in_a_pipeline(molecule):
    pytest.importorskip("sklearn", reason="needs scikit-learn, which the library itself does not")
    from sklearn.base import clone
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model, target, x, _ = molecule
    rows = np.stack([shaken(x) for _ in range(20)]).reshape(20, -1)
    pipeline = make_pipeline(LatentTransformer(model, target), StandardScaler())
    np.testing.assert_allclose(pipeline.fit_transform(rows).std(axis=0), 1, rtol=1e-6)
    np.testing.assert_array_equal(clone(pipeline[0], safe=False).transform(rows), pipeline[0].transform(rows))
    assert pipeline.get_feature_names_out().tolist() == ["z1", "z2"]
