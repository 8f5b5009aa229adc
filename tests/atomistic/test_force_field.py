"""The translated energy against OpenMM's Reference platform, on clashes, and what is refused."""

import importlib.util
import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

if importlib.util.find_spec("openmm") is None:
    pytest.skip("needs OpenMM", allow_module_level=True)

import openmm as mm
from openmm import app, unit
from openmm.app.internal import customgbforces

from bayescg._runtime import double_precision
from bayescg.atomistic import nonbonded
from bayescg.atomistic.force_field import ForceField, translate

from .systems import SKEWED, alanine, alanine_pdb, by_force, liquid, nonbonded_of, perturbed, water

OBC1 = ("amber96.xml", "implicit/obc1.xml")


def quickly(function, *arguments):
    """Call a jitted function, compiled without optimization: compiling is most of what these tests do."""
    return jax.jit(function).lower(*arguments).compile({"xla_backend_optimization_level": 0})(*arguments)


def agree(system: mm.System, frames: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Energies to 1e-4 kJ/mol and forces to 1e-6, for each force by itself; returns OpenMM's."""
    field, expected = translate(system), by_force(system, frames)
    with double_precision():
        both = partial(jax.lax.map, lambda x: (field.energies(x), jax.jacrev(field.energies)(x)))
        energies, gradients = jax.tree.map(np.asarray, quickly(both, jnp.asarray(frames)))
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
        gradients, exact = jax.tree.map(np.asarray, quickly(partial(jax.lax.map, lambda x: along((x,))), points))
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
        energy, gradient = map(np.asarray, quickly(run, jnp.asarray(frames, dtype)))
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
        energy, gradient = map(np.asarray, quickly(run, jnp.asarray(frames, dtype)))
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
            quickly(run, jnp.asarray(frames, dtype)) for dtype in (np.float64, np.float32)
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
    energies, energy = quickly(field.energies, x), jax.jit(field.energy)(x)
    assert energy == pytest.approx(sum(value.item() for value in energies.values()), abs=1e-3)
    with pytest.raises(ValueError, match=r"shape \(2, 22, 3\).*jax.vmap"):
        field.energy(jnp.stack([x, x]))
    with pytest.raises(ValueError, match=r"int32.*float32"):
        field.energy(jnp.zeros((22, 3), jnp.int32))


def test_an_empty_system_has_no_energy():
    system = mm.System()
    system.addParticle(1.0)
    assert translate(system).energy(jnp.zeros((1, 3))) == 0


def with_force(*forces) -> mm.System:
    system = mm.System()
    for _ in range(4):
        system.addParticle(1.0)
    for force in forces:
        system.addForce(force)
    return system


@pytest.mark.parametrize(
    "name",
    [
        *("RBTorsionForce", "CMAPTorsionForce", "CustomNonbondedForce:r", "CustomBondForce:r^2", "DrudeForce"),
        *("MonteCarloBarostat:1,300", "AndersenThermostat:300,1", "RMSDForce:[]"),
    ],
)
def test_other_forces_are_refused_by_name(name):
    name, _, arguments = name.partition(":")
    given = [] if not arguments else [np.zeros((4, 3))] if arguments == "[]" else arguments.split(",")
    force = getattr(mm, name)(*(float(a) if isinstance(a, str) and a.isdigit() else a for a in given))
    with pytest.raises(ValueError, match=f"{name} has no translation: remove it"):
        translate(with_force(force))


@pytest.mark.parametrize("method", ["Ewald", "PME", "LJPME"])
def test_lattice_sums_are_refused(method):
    system, _ = liquid(1, SKEWED, method)
    with pytest.raises(ValueError, match=r"NonbondedForce uses Ewald summation or PME.*CutoffPeriodic"):
        translate(system)


def test_constraints_virtual_sites_and_others_are_refused():
    system, _ = alanine("amber96.xml", constraints=app.HBonds)
    with pytest.raises(ValueError, match=r"12 constraints.*constraints=None, rigidWater=False"):
        translate(system)
    system = with_force()
    system.setVirtualSite(3, mm.TwoParticleAverageSite(0, 1, 0.5, 0.5))
    with pytest.raises(ValueError, match="virtual sites"):
        translate(system)
    with pytest.raises(ValueError, match=r"takes an openmm.System, not Topology"):
        translate(alanine_pdb().topology)
    with pytest.raises(ValueError, match="no particles"):
        translate(mm.System())
    with pytest.raises(ValueError, match="NonbondedForce has 0 particles, the System 4"):
        translate(with_force(mm.NonbondedForce()))
    system, _ = liquid(1, SKEWED, "CutoffPeriodic")
    nonbonded_of(system).setCutoffDistance(1.2)
    with pytest.raises(ValueError, match=r"cutoff of 1.2 nm is more than half the box"):
        translate(system)


@pytest.mark.parametrize("where", ["addParticleParameterOffset", "addExceptionParameterOffset"])
def test_parameter_offsets_are_refused(where):
    system, _ = liquid(1, SKEWED, "NoCutoff")
    force = nonbonded_of(system)
    force.addGlobalParameter("scale", 1.0)
    with pytest.raises(ValueError, match="global parameters or parameter offsets"):
        translate(system)
    getattr(force, where)("scale", 0, 0.1, 0.0, 0.0)
    with pytest.raises(ValueError, match="global parameters or parameter offsets"):
        translate(system)


@pytest.mark.parametrize("model", ["hct", "gbn", "gbn2"])
def test_other_born_models_are_refused(model):
    system, _ = alanine("amber96.xml", f"implicit/{model}.xml")
    with pytest.raises(ValueError, match=r"CustomGBForce is not OpenMM's OBC1 or OBC2.*HCT, GBn"):
        translate(system)


@pytest.mark.parametrize("files", [OBC1, ("amber96.xml", "amber96_obc.xml")])
def test_implicit_solvent_with_a_cutoff_is_refused(files):
    system, _ = alanine(*files, nonbondedMethod=app.CutoffNonPeriodic, nonbondedCutoff=0.9 * unit.nanometer)
    with pytest.raises(ValueError, match=r"GB.*Force has a cutoff.*NoCutoff"):
        translate(system)


@pytest.mark.parametrize("change", ["energy", "value", "range", "number", "parameter"])
def test_an_almost_obc_force_is_refused(change):
    system, _ = alanine(*OBC1)
    force = next(force for force in system.getForces() if isinstance(force, mm.CustomGBForce))
    if change == "energy":
        text, kind = force.getEnergyTermParameters(2)
        force.setEnergyTermParameters(2, text.replace("4*B1*B2", "3*B1*B2"), kind)
    elif change == "value":
        name, text, kind = force.getComputedValueParameters(1)
        force.setComputedValueParameters(1, name, text.replace("2.909125", "2.9"), kind)
    elif change == "range":
        name, text, _ = force.getComputedValueParameters(0)
        force.setComputedValueParameters(0, name, text, force.ParticlePair)
    elif change == "number":
        force.addEnergyTerm("charge^2", force.SingleParticle)
    else:
        force.addGlobalParameter("charge1", 1.0)
    with pytest.raises(ValueError, match="not OpenMM's OBC1 or OBC2"):
        translate(system)


def test_without_openmm(monkeypatch):
    monkeypatch.setitem(sys.modules, "openmm", None)
    with pytest.raises(ImportError, match=r"pip install 'bayescg\[openmm\]'"):
        translate(None)
