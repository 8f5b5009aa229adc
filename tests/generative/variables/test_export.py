"""Collective variables in OpenMM: values, gradients, continuity, forces."""

import pickle

import jax
import numpy as np
import openmm as mm
import pytest
from openmm import unit

from bayescg.atomistic import gaussian_mixture
from bayescg.generative import encode
from bayescg.generative.model.latent_model import build_model
from bayescg.generative.model.whitening import Whitening
from bayescg.generative.variables.collective_variables import CollectiveVariables
from bayescg.generative.variables.export import openmm_bias, openmm_cv
from tests.generative.alanine import METHYL, RNG, alanine, differences, rotor, shaken, turned


@pytest.fixture(scope="module")
def molecule():
    model, target, x = alanine(2)
    return model, target, x, CollectiveVariables.of(model, target)


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
    first, second = (pickle.loads(pickle.dumps(variables)) for _ in range(2))  # noqa: S301  (our own)
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
