"""Densities of molecules: agreement with OpenMM, what happens outside the domain, what is refused."""

import importlib.util

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bayescg._runtime import double_precision
from bayescg.atomistic import OpenMMTarget

if importlib.util.find_spec("openmm") is None:
    pytest.skip("needs OpenMM", allow_module_level=True)

import openmm as mm
from openmm import app, unit

from .densities import log_densities
from .systems import SKEWED, alanine, alanine_pdb, liquid, nonbonded_of

BETAS = (1.0, 0.3, 0.0, 2.0)


def nearby(target, count: int, width: float = 0.5) -> np.ndarray:
    """Coordinates around the minimum, with any torsions of the rotors."""
    rng = np.random.default_rng(4)
    rotors = [name.startswith("rotor") for name in target.names]
    y = target.location + width * np.where(target.periodic, 0.3, target.scale) * rng.normal(size=(count, 60))
    y = np.where(rotors, rng.uniform(-3, 3, y.shape), y)
    return np.where(target.periodic, (y + np.pi) % (2 * np.pi) - np.pi, y)


def test_alanine_dipeptide_is_what_it_says(alanine_target):
    target = alanine_target
    assert target.dimension == len(target.names) == len(target.scale) == 60
    assert target.periodic.sum() == 7
    kinds = [name.split()[0] for name in target.names]
    assert [kinds.count(kind) for kind in ("bond", "angle", "rotor", "torsion", "branch")] == [21, 20, 3, 4, 12]
    np.testing.assert_array_equal(target.periodic, [kind in ("rotor", "torsion") for kind in kinds])
    assert np.all(target.scale[target.periodic] == np.pi)
    bonds, angles = target.scale[:21], target.scale[21:41]
    assert 0.001 < bonds.min() < bonds.max() < 0.005
    assert 0.02 < angles.min() < angles.max() < 0.15
    with double_precision():
        slope = np.asarray(jax.jit(jax.grad(target.energy))(jnp.asarray(target.location)))
    assert np.abs(slope * target.scale)[~target.periodic].max() < 0.05 * target.thermal_energy


def openmm_energy(positions) -> np.ndarray:
    system, _ = alanine("amber96.xml", "implicit/obc1.xml")
    context = mm.Context(system, mm.VerletIntegrator(0.001), mm.Platform.getPlatformByName("Reference"))
    found = []
    for x in positions:
        context.setPositions(x)
        found.append(context.getState(getEnergy=True).getPotentialEnergy()._value)
    return np.array(found)


@pytest.mark.peer
def test_log_density_is_openmms_energy_and_the_jacobian(alanine_target):
    """At any temperature only the energy is scaled; positions there and back have the same energy."""
    target, y = alanine_target, nearby(alanine_target, 8)
    with double_precision():
        x = np.asarray(jax.jit(jax.vmap(target.to_positions))(jnp.asarray(y)))
        volume = np.asarray(jax.jit(jax.vmap(target.coordinates.log_jacobian))(y))
        # As a trajectory has them: turned, moved, methyl groups somewhere else.
        rolled = x.copy()
        hydrogens = np.array([k for k, name in enumerate(_names()) if name in ("HB1", "HB2", "HB3")])
        rolled[:, hydrogens] = rolled[:, np.roll(hydrogens, 1)]
        rolled = rolled[:, :, [2, 0, 1]] + 5.0
        there = jax.jit(jax.vmap(target.to_coordinates))
        again, canonical = np.asarray(there(jnp.asarray(rolled))), np.asarray(there(jnp.asarray(x)))
        back = np.asarray(jax.jit(jax.vmap(target.energy))(jnp.asarray(again)))
    energy = openmm_energy(x)
    np.testing.assert_allclose(openmm_energy(rolled), energy, atol=1e-6)
    np.testing.assert_allclose(back, energy, atol=1e-4)
    np.testing.assert_allclose(again, canonical, atol=1e-8)
    assert np.ptp(energy) > 10
    thermal_energy = 0.00831446261815324 * 300
    for beta in BETAS:
        np.testing.assert_allclose(
            log_densities(target, y, beta), volume - beta * energy / thermal_energy, atol=1e-4, rtol=0
        )


def _names() -> list[str]:
    return [atom.name for atom in alanine_pdb().topology.atoms()]


def test_states_have_one_vector_of_coordinates(alanine_target):
    """A rotor that ran on over a third of a turn is the same configuration, but not with the same stiff coordinates."""
    target, y = alanine_target, nearby(alanine_target, 6)
    rotors = [name.startswith("rotor") for name in target.names]
    with double_precision():
        canonical = jax.jit(jax.vmap(target.canonical))
        np.testing.assert_allclose(canonical(jnp.asarray(y)), y, atol=1e-9)
        far = y + 2 * np.pi * np.outer([1, -1, 2, 3, -3, 4], rotors)
        found = np.asarray(canonical(jnp.asarray(far)))
    assert np.all(np.abs(found[:, target.periodic]) <= np.pi)
    density = log_densities(target, far)
    np.testing.assert_allclose(log_densities(target, found), density, atol=1e-8)
    # Three thirds are a whole turn, one third is not: there the labels matter.
    same = np.abs(log_densities(target, y) - density) < 1e-8
    assert same.tolist() == [False, False, False, True, True, False]


def test_outside_the_domain_the_density_is_zero(alanine_target):
    """And gradients are finite, whatever the coordinates are."""
    target = alanine_target
    y = np.tile(target.location, (7, 1))
    branch = [name.startswith("branch") for name in target.names].index(True)
    y[0, 3], y[1, 30], y[2, 25], y[4] = -0.1, -0.2, 4.0, np.nan
    y[3, branch] *= -1
    y[5, target.periodic] += 2 * np.pi * 3
    y[6, :21] = 1e-3
    # Single precision, in which particles move.
    value, slope = map(
        np.asarray, jax.jit(jax.vmap(jax.value_and_grad(target.log_density)))(jnp.asarray(y, jnp.float32))
    )
    double = log_densities(target, y)
    for values in (value, double):
        assert np.all(values[:5] == -np.inf)
        assert not values[6] > values[5] - 1e3
    assert value[5] == pytest.approx(double[5], abs=0.01)
    assert double[5] == pytest.approx(log_densities(target, y[5:] * 0 + target.location)[0], abs=1e-6)
    assert np.all(np.isfinite(slope))


def test_the_other_hand_is_outside(alanine_target):
    """D-alanine is another molecule."""
    target = alanine_target
    positions = np.array(alanine_pdb().getPositions(asNumpy=True)._value)
    with double_precision():
        within = jax.jit(lambda x: target.coordinates.within(target.to_coordinates(x)))
        assert bool(within(jnp.asarray(positions)))
        assert not bool(within(jnp.asarray(positions * [1, 1, -1])))


def built(**changes):
    """An OpenMMTarget of alanine dipeptide in vacuum with one argument changed."""
    system, positions = alanine("amber96.xml")
    arguments = {"system": system, "topology": alanine_pdb().topology, "positions": positions, "temperature": 300.0}
    return OpenMMTarget(**{**arguments, **changes})


def test_systems_that_cannot_be_used_are_refused():
    rigid, _ = alanine("amber96.xml", constraints=app.HBonds)
    with pytest.raises(ValueError, match=r"12 constraints.*constraints=None"):
        built(system=rigid)
    periodic, positions = liquid(1, SKEWED, "CutoffPeriodic")
    nonbonded_of(periodic).setCutoffDistance(0.9)
    with pytest.raises(ValueError, match=r"the system is periodic: .* one molecule in open space"):
        built(system=periodic, positions=positions)
    other, positions = liquid(1, SKEWED, "NoCutoff")
    with pytest.raises(ValueError, match="the topology has 22 atoms and the system 5"):
        built(system=other, positions=positions)
    strange, _ = alanine("amber96.xml")
    strange.addForce(mm.CustomBondForce("r^2"))
    with pytest.raises(ValueError, match="CustomBondForce has no translation"):
        built(system=strange)


def test_positions_and_temperatures_that_cannot_be_used_are_refused():
    _, positions = alanine("amber96.xml")
    with pytest.raises(ValueError, match="not all finite"):
        built(positions=np.where(np.arange(22)[:, None] == 3, np.nan, positions))
    with pytest.raises(ValueError, match=r"shape \(21, 3\); the topology has 22 atoms"):
        built(positions=positions[1:])
    for temperature in (0, -300.0, np.nan, np.inf, -1 * unit.kelvin):
        with pytest.raises(ValueError, match=r"temperature is .* K; it must be positive"):
            built(temperature=temperature)


def test_topologies_that_cannot_be_used_are_refused():
    def topology(bond=None, without=None):
        made = app.Topology()
        residue = made.addResidue("ALA", made.addChain())
        source = alanine_pdb().topology
        atoms = [made.addAtom(a.name, a.element, residue) for a in source.atoms()]
        pairs = [(a.index, b.index) for a, b in source.bonds()]
        for i, j in [*(pair for k, pair in enumerate(pairs) if k != without), *([bond] if bond else [])]:
            made.addBond(atoms[i], atoms[j])
        return made

    with pytest.raises(ValueError, match="close a ring"):
        built(topology=topology(bond=(0, 8)))
    with pytest.raises(ValueError, match="not connected to atom 0 by bonds"):
        built(topology=topology(without=10))


def small(charges=(0.1, 0.1, 0.1)) -> OpenMMTarget:
    """Methanol without a force field: four kinds of bonds, angles and one torsion."""
    from .molecules import grow

    bonds = [(0, 1), (1, 2), (0, 3), (0, 4), (0, 5)]
    mol = grow(["C", "O", "H", "H", "H", "H"], bonds, seed=5)
    system = mm.System()
    topology = app.Topology()
    residue = topology.addResidue("MOH", topology.addChain())
    atoms = [topology.addAtom(e, app.Element.getBySymbol(e), residue) for e in mol.elements]
    forces = mm.HarmonicBondForce(), mm.HarmonicAngleForce(), mm.PeriodicTorsionForce(), mm.NonbondedForce()
    for charge in (-0.1, -0.6, 0.4, *charges):
        system.addParticle(12.0)
        forces[3].addParticle(charge, 0.2, 0.1)
    for i, j in bonds:
        topology.addBond(atoms[i], atoms[j])
        forces[0].addBond(i, j, 0.143 if j == 1 else 0.1, 3e5)
    for i, j, k in ((0, 1, 2), *((a, 0, b) for a, b in ((1, 3), (1, 4), (1, 5), (3, 4), (3, 5), (4, 5)))):
        forces[1].addAngle(i, j, k, 1.91, 400.0)
    for hydrogen in (3, 4, 5):
        forces[2].addTorsion(hydrogen, 0, 1, 2, 3, 0.0, 1.0)
    forces[3].createExceptionsFromBonds(bonds, 0.8, 0.5)
    for force in forces:
        system.addForce(force)
    return OpenMMTarget(system, topology, mol.positions * unit.nanometer, 300 * unit.kelvin)


def test_only_equal_rotors_are_folded():
    """Methyl hydrogens with different charges are not one state; with OpenMM's units, and equal ones, they are."""
    equal, different = small(), small((0.1, 0.15, 0.05))
    assert (equal.temperature, equal.coordinates.fold, different.coordinates.fold) == (300.0, True, False)
    assert sum(name.startswith("rotor") for name in equal.names) == 1
    assert not any(name.startswith("rotor") for name in different.names)
    for target in (equal, different):
        with double_precision():
            x = np.array(jax.jit(lambda y, target=target: target.to_positions(y))(target.location + 0.02))
            there = jax.jit(lambda p, target=target: target.to_coordinates(p))
            first, second = (log_densities(target, [there(p)]) for p in (x, x[[0, 1, 2, 4, 5, 3]]))
        assert (abs(first - second) < 1e-6) == target.coordinates.fold
