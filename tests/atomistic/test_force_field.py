"""The translated energy against OpenMM's Reference platform, and on clashes."""

import importlib.util
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

if importlib.util.find_spec("openmm") is None:
    pytest.skip("needs OpenMM", allow_module_level=True)

import openmm as mm
from openmm.app.internal import customgbforces

from bayescg._runtime import double_precision
from bayescg.atomistic import nonbonded
from bayescg.atomistic.force_field import ForceField, translate

from .systems import SKEWED, alanine, by_force, liquid, nonbonded_of, perturbed, water

OBC1 = ("amber96.xml", "implicit/obc1.xml")


def agree(system: mm.System, frames: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Energies to 1e-4 kJ/mol and forces to 1e-6, for each force by itself; returns OpenMM's."""
    field, expected = translate(system), by_force(system, frames)
    with double_precision():
        both = partial(jax.lax.map, lambda x: (field.energies(x), jax.jacrev(field.energies)(x)))
        energies, gradients = jax.tree.map(np.asarray, jax.jit(both)(jnp.asarray(frames)))
    assert set(energies) == set(expected)
    for name, (energy, force) in expected.items():
        assert np.abs(energies[name] - energy).max() < 1e-4, name
        norm = np.linalg.norm(force, axis=(1, 2))
        assert np.all(norm > 0), name
        assert (np.linalg.norm(gradients[name] + force, axis=(1, 2)) / norm).max() < 1e-6, name
    return expected


@pytest.mark.peer
@pytest.mark.parametrize("protein", ["amber96.xml", "amber99sb.xml"])
@pytest.mark.parametrize("solvent", [None, "implicit/obc1.xml", "implicit/obc2.xml", "amber96_obc.xml"])
def test_alanine_dipeptide_is_openmms(protein, solvent):
    if solvent == "amber96_obc.xml" and protein != "amber96.xml":
        solvent = "amber99_obc.xml"
    system, positions = alanine(*filter(None, (protein, solvent)))
    expected = agree(system, perturbed(positions, 50))
    assert len(expected) == (5 if solvent else 4)


@pytest.mark.peer
@pytest.mark.parametrize(
    ("model", "arguments"),
    [
        ("obc1", {"soluteDielectric": 2.0, "solventDielectric": 20.0, "sasaMethod": None}),
        ("obc2", {"implicitSolventKappa": 1.3}),
    ],
)
def test_salt_surface_and_dielectrics(model, arguments):
    system, positions = alanine("amber96.xml", f"implicit/{model}.xml", **arguments)
    agree(system, perturbed(positions, 5))


@pytest.mark.peer
@pytest.mark.parametrize("kind", ["GBSAOBCForce", "CustomGBForce"])
def test_atoms_deep_inside_others(kind):
    """OpenMM's two classes differ there, and both are followed."""
    system = mm.System()
    if kind == "GBSAOBCForce":
        force = mm.GBSAOBCForce()
        force.setSurfaceAreaEnergy(1.0)
        force.setSoluteDielectric(1.5)
    else:
        force = customgbforces.GBSAOBC2Force(SA="ACE")
    for charge, radius, scale in ((0.4, 0.11, 0.8), (-0.6, 0.35, 0.9), (0.2, 0.15, 0.72)):
        system.addParticle(1.0)
        force.addParticle(charge, radius, scale) if kind == "GBSAOBCForce" else force.addParticle(
            [charge, radius, scale]
        )
    if kind == "CustomGBForce":
        force.finalize()
    system.addForce(force)
    agree(system, perturbed(np.array([[0.0, 0, 0], [0.1, 0.02, 0], [0.0, 0.3, 0.2]]), 20, 0.03))


@pytest.mark.peer
def test_water_as_openmm_builds_it():
    system, positions, box = water()
    agree(system, perturbed(positions, 2, 0.005))
    assert nonbonded_of(system).getUseDispersionCorrection()
    np.testing.assert_array_equal(translate(system).box, box)


@pytest.mark.peer
@pytest.mark.parametrize(
    ("box", "switched", "periodic_bonded"),
    [(np.diag([2.4, 2.2, 2.6]), False, False), (SKEWED, True, False), (SKEWED, False, True)],
    ids=["brick", "switched", "broken molecules"],
)
def test_periodic_liquid(box, switched, periodic_bonded):
    system, positions = liquid(27, box, "CutoffPeriodic", periodic_bonded)
    force = nonbonded_of(system)
    force.setCutoffDistance(1.0)
    force.setReactionFieldDielectric(12.0 if switched else 78.3)
    force.setUseSwitchingFunction(switched)
    force.setSwitchingDistance(0.7)
    if periodic_bonded:
        # Whole molecules become broken ones, which only periodic bonded forces understand.
        fraction = positions @ np.linalg.inv(box)
        positions = (fraction - np.floor(fraction)) @ box
    agree(system, perturbed(positions, 3, 0.01))


@pytest.mark.peer
@pytest.mark.parametrize("switch", [None, 0.5, 0.79])
def test_dispersion_correction(switch):
    system, positions = liquid(8, SKEWED, "CutoffPeriodic")
    force = nonbonded_of(system)
    force.setCutoffDistance(0.8)
    force.setUseSwitchingFunction(switch is not None)
    force.setSwitchingDistance(switch or 0.5)
    with_correction = by_force(system, positions[None])["NonbondedForce"][0].item()
    (constant,) = (term.constant for term in translate(system).terms if isinstance(term, nonbonded.AtomPairs))
    force.setUseDispersionCorrection(False)
    without = by_force(system, positions[None])["NonbondedForce"][0].item()
    # OpenMM's closed integral over a short switch loses digits: quadrature by hand is closer to ours than to it.
    assert constant == pytest.approx(with_correction - without, abs=1e-5)
    assert abs(constant) > 0.1


@pytest.mark.peer
@pytest.mark.parametrize(("method", "molecules"), [("CutoffNonPeriodic", 4), ("NoCutoff", 60)])
def test_isolated_clusters(method, molecules):
    """60 molecules are more than one table holds, and more than one block of rows."""
    system, positions = liquid(molecules, 1.5 * np.eye(3) * molecules ** (1 / 3), method)
    nonbonded_of(system).setCutoffDistance(0.9)
    agree(system, perturbed(positions, 2, 0.01))
    assert translate(system).box is None


def test_rows_in_blocks_are_rows_at_once(monkeypatch):
    """Gradients and second derivatives do not depend on how atoms are split into blocks."""
    system, positions = liquid(8, SKEWED, "CutoffPeriodic")
    (term,) = (term for term in translate(system).terms if isinstance(term, nonbonded.AtomPairs))
    found = []
    for pairs in (7 * len(positions), 1 << 20):
        monkeypatch.setattr(nonbonded, "_BLOCK_PAIRS", pairs)
        found.append(curvature(term.energy, positions))
    for ours, others in zip(*found, strict=True):
        np.testing.assert_allclose(ours, others, rtol=1e-9, atol=1e-6)


def test_second_derivatives():
    """The hand-written slope of the Born integral differentiates on."""
    system, positions = alanine(*OBC1)
    field = translate(system)
    curvature(lambda x: field.energies(x)["CustomGBForce"], positions)


def curvature(energy, positions: np.ndarray) -> tuple[np.ndarray, ...]:
    """Gradient, and its derivative in one direction, which must be that of finite differences."""
    direction = np.random.default_rng(2).normal(size=positions.shape)
    with double_precision():
        points = jnp.asarray(positions + np.array([0, 1e-6, -1e-6])[:, None, None] * direction)
        along = partial(jax.jvp, jax.grad(energy), tangents=(jnp.asarray(direction),))
        gradients, exact = jax.tree.map(np.asarray, jax.jit(partial(jax.lax.map, lambda x: along((x,))))(points))
    np.testing.assert_allclose(
        exact[0], (gradients[1] - gradients[2]) / 2e-6, rtol=1e-5, atol=1e-5 * np.abs(exact[0]).max()
    )
    return gradients[0], exact[0]


def clashes(positions: np.ndarray) -> np.ndarray:
    """Coincident atoms, nearly coincident ones, all atoms in a point, on a line, and far away."""
    frames = [positions.copy() for _ in range(8)]
    frames[0][1] = frames[0][4]
    frames[1][1] = frames[1][4] + 1e-9
    frames[2][2] = frames[2][15] + [1e-4, 0, 0]
    frames[3][:] = 0.3
    frames[4][:] = np.linspace(0, 2, len(positions))[:, None] * [1, 0.5, 0.2]
    frames[5][6:9] = frames[5][6]
    frames[6][:, 2] = 0
    frames[7] *= 1e3
    return np.array(frames)


@pytest.mark.parametrize(
    ("solvent", "dtype"),
    [("implicit/obc1.xml", np.float32), ("amber96_obc.xml", np.float32), ("implicit/obc2.xml", np.float64)],
)
def test_clashes_have_finite_gradients(solvent, dtype):
    system, positions = alanine("amber96.xml", solvent)
    frames = np.concatenate([clashes(positions), positions[None], perturbed(positions, 100, 0.2)])
    with double_precision():
        run = jax.vmap(jax.value_and_grad(translate(system).energy))
        energy, gradient = map(np.asarray, jax.jit(run)(jnp.asarray(frames, dtype)))
    assert energy.dtype == gradient.dtype == dtype
    assert np.all(np.isfinite(energy))
    assert np.all(np.isfinite(gradient))
    assert energy[:7].min() > energy[8]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_clashes_in_a_liquid(dtype):
    system, positions = liquid(8, SKEWED, "CutoffPeriodic")
    frames = clashes(positions)[:7]
    with double_precision():
        run = partial(jax.lax.map, jax.value_and_grad(translate(system).energy))
        energy, gradient = map(np.asarray, jax.jit(run)(jnp.asarray(frames, dtype)))
    assert energy.dtype == gradient.dtype == dtype
    assert np.all(np.isfinite(energy))
    assert np.all(np.isfinite(gradient))


def test_single_precision():
    """Close enough for sampling: 300 K is 2.5 kJ/mol."""
    system, positions = alanine(*OBC1)
    field, frames = translate(system), perturbed(positions, 200, 0.005)
    with double_precision():
        run = partial(jax.lax.map, jax.value_and_grad(field.energy))
        (double, exact), (single, rounded) = (
            jax.jit(run)(jnp.asarray(frames, dtype)) for dtype in (np.float64, np.float32)
        )
        assert single.dtype == np.float32
        assert np.abs(np.asarray(single) - np.asarray(double)).max() < 0.005
        assert np.linalg.norm(rounded - exact) / np.linalg.norm(exact) < 1e-5


def test_object():
    """No leaves, so that models which hold it train nothing of it; its method compiles as it is."""
    system, positions = alanine(*OBC1)
    field = translate(system)
    assert isinstance(field, ForceField)
    assert not jax.tree.leaves(field)
    assert field.n_atoms == len(field.masses) == 22
    assert field.masses[1] == pytest.approx(12.01, abs=0.01)
    assert field.box is None
    x = jnp.asarray(positions, jnp.float32)
    energies, energy = jax.jit(field.energies)(x), jax.jit(field.energy)(x)
    assert energy == pytest.approx(sum(value.item() for value in energies.values()), abs=1e-3)
    with pytest.raises(ValueError, match=r"shape \(2, 22, 3\).*jax.vmap"):
        field.energy(jnp.stack([x, x]))
    with pytest.raises(ValueError, match=r"int32.*float32"):
        field.energy(jnp.zeros((22, 3), jnp.int32))


def test_an_empty_system_has_no_energy():
    system = mm.System()
    system.addParticle(1.0)
    assert translate(system).energy(jnp.zeros((1, 3))) == 0
