"""Charges of beads: known lattice sums, OpenMM, derivatives, the permittivity, and what is refused."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import bayescg as bcg
from bayescg._runtime import double_precision
from bayescg.data import Topology
from bayescg.potentials import Coulomb, Interactions, Potential, Term, fill_ranges
from bayescg.units import COULOMB
from tests.seeds import shifted

BOX = np.array([[2.6, 0, 0], [0.5, 2.4, 0], [-0.6, 0.4, 2.7]])
CHARGES = {"A": 1.0, "B": -2.0, "C": 1.0}


def molecules(frames=1, count=8, box=BOX, seed=0):
    """Bent molecules A-B-C with net charge zero, and a neutral W beside each."""
    rng = np.random.default_rng(shifted(seed))
    corner = np.stack(np.meshgrid(*[np.arange(2)] * 3, indexing="ij"), -1).reshape(-1, 3)[:count] / 2
    shape = np.array([[0.0, 0, 0], [0.3, 0, 0], [0.4, 0.28, 0], [0.1, 0.5, 0.4]])
    beads = (corner @ box)[:, None] + shape + rng.normal(size=(frames, count, 4, 3)) * 0.03
    first = 4 * np.arange(count)
    return bcg.from_arrays(
        beads.reshape(frames, -1, 3),
        np.broadcast_to(box, (frames, 3, 3)),
        ["A", "B", "C", "W"] * count,
        temperature=300.0,
        mass=[20.0] * (4 * count),
        topology=Topology.from_bonds(
            4 * count, np.concatenate([np.stack([first + k, first + k + 1], 1) for k in (0, 1)])
        ),
    )


def charged(cg, values=CHARGES):
    """The same with charges of the beads."""
    return cg.assign_coords(charge=("bead", np.array([values.get(b, 0.0) for b in cg["bead_type"].values.astype(str)])))


def frame_of(term, cg, exclude_bonds=1):
    """The term alone in the last frame."""
    found = Interactions.of(Potential(term, exclude_bonds=exclude_bonds), cg)
    return found.configuration(cg["positions"].values[-1].astype(float), np.asarray(cg["box"].values[-1], float))


@partial(jax.jit, static_argnums=0)
def evaluate(term, frame, w=()):
    """Energy [kJ/mol] and forces [kJ/mol/nm]."""
    w = jnp.asarray(w, float)
    return term.energy(frame, w), term.forces(frame, w)


@pytest.fixture(autouse=True)
def _doubles():
    with double_precision():
        yield


@pytest.mark.filterwarnings("ignore:no pair term")
def test_madelung_constant_of_rock_salt():
    sites = np.stack(np.meshgrid(*[np.arange(4)] * 3, indexing="ij"), -1).reshape(-1, 3)
    names = np.where(sites.sum(axis=1) % 2, "CL", "NA").tolist()
    spacing = 0.28
    cg = bcg.from_arrays(sites[None] * spacing, np.eye(3) * 4 * spacing, names, temperature=300.0, mass=[30.0] * 64)
    term = Coulomb(0.55, charges={"NA": 1, "CL": -1}, tolerance=1e-8)
    energy = float(evaluate(term, frame_of(term, cg))[0])
    # The energy of an ion pair is -1.747565 e^2 / distance.
    assert -energy * spacing / COULOMB / 32 == pytest.approx(1.7475645946, abs=1e-6)


@pytest.mark.filterwarnings("ignore:no pair term")
@pytest.mark.parametrize("exclude_bonds", [0, 2])
@pytest.mark.parametrize("method", ["ewald", "reaction_field"])
def test_forces_and_energy_equal_openmm(method, exclude_bonds):
    mm = pytest.importorskip("openmm")
    cg = molecules()
    term = Coulomb(1.0, method, CHARGES, dielectric=2.5)
    frame = frame_of(term, cg, exclude_bonds)
    system, force = mm.System(), mm.NonbondedForce()
    system.setDefaultPeriodicBoxVectors(*BOX)
    for bead in cg["bead_type"].values.astype(str):
        system.addParticle(1.0)
        force.addParticle(CHARGES.get(str(bead), 0.0) / np.sqrt(2.5), 1.0, 0.0)
    for first in range(0, 32, 4):
        for i, j in ((0, 1), (1, 2), (0, 2)) if exclude_bonds else ():
            force.addException(first + i, first + j, 0.0, 1.0, 0.0)
    force.setCutoffDistance(1.0)
    force.setNonbondedMethod(force.PME if method == "ewald" else force.CutoffPeriodic)
    force.setEwaldErrorTolerance(1e-6)
    force.setReactionFieldDielectric(1e12)
    system.addForce(force)
    context = mm.Context(system, mm.VerletIntegrator(0.001), mm.Platform.getPlatformByName("Reference"))
    context.setPositions(np.asarray(frame.positions))
    state = context.getState(getForces=True, getEnergy=True)
    true = state.getForces(asNumpy=True)._value
    energy, found = map(np.asarray, evaluate(term, frame))
    size = np.linalg.norm(true, axis=1)
    assert np.all(np.linalg.norm(found - true, axis=1) < 1e-4 * np.maximum(size, np.sqrt(np.mean(size**2))))
    assert energy == pytest.approx(state.getPotentialEnergy()._value, rel=1e-5)


@pytest.mark.filterwarnings("ignore:no pair term")
@pytest.mark.parametrize("method", ["ewald", "reaction_field"])
def test_derivatives(method):
    term = Coulomb(1.1, method, CHARGES, dielectric=3.0, learn=True)
    frame = frame_of(term, molecules())
    w = jnp.array([0.4])
    x, forces = np.asarray(frame.positions), np.asarray(evaluate(term, frame, w)[1])

    def energy(frame, w):
        return evaluate(term, frame, w)[0]

    rng, step = np.random.default_rng(1), 1e-4
    way = rng.normal(size=x.shape)
    ahead, behind = (energy(frame._replace(positions=x + sign * step * way), w) for sign in (1, -1))
    assert float(ahead - behind) / (2 * step) == pytest.approx(-np.sum(forces * way), rel=1e-5)
    strain = rng.normal(size=(3, 3))
    both = []
    for sign in (1, -1):
        stretch = np.eye(3) + sign * 1e-5 * strain
        both.append(float(energy(frame._replace(positions=x @ stretch, box=frame.box @ stretch), w)))
    virial = np.asarray(jax.jit(term.virial)(frame, w))
    assert (both[0] - both[1]) / 2e-5 == pytest.approx(-np.sum(virial * strain), rel=2e-4)
    slow = jax.jit(partial(Term.laplacian, term))
    assert float(jax.jit(term.laplacian)(frame, w)) == pytest.approx(float(slow(frame, w)), rel=1e-8)
    # One coefficient: energy, forces and design rows are linear in 1 / permittivity.
    rows, basis = jax.jit(lambda each: (term.design_rows(each), term.basis_energies(each)))(frame)
    np.testing.assert_allclose(np.einsum("nkx,k->nx", rows, w), forces, rtol=1e-12, atol=1e-9)
    assert float(basis[0] * w[0]) == pytest.approx(float(energy(frame, w)), rel=1e-12)
    known = Coulomb(1.1, method, CHARGES, dielectric=2.5)
    np.testing.assert_allclose(np.asarray(jax.jit(known.baseline_forces)(frame))[:, 0], forces, rtol=1e-9, atol=1e-9)


@pytest.mark.filterwarnings("ignore:no pair term")
def test_the_sum_depends_on_neither_split_nor_origin_nor_images():
    cg = molecules()
    energies, forces = [], []
    for cutoff in (0.8, 1.1):
        term = Coulomb(cutoff, charges=CHARGES, tolerance=1e-7)
        frame = frame_of(term, cg)
        energy, force = evaluate(term, frame)
        energies.append(float(energy))
        forces.append(np.asarray(force))
    assert energies[0] == pytest.approx(energies[1], rel=1e-6)
    np.testing.assert_allclose(*forces, rtol=0, atol=1e-6 * np.abs(forces[0]).max())
    np.testing.assert_allclose(forces[0].sum(axis=0), 0.0, atol=1e-8)
    images = np.random.default_rng(0).integers(-2, 3, (cg.sizes["bead"], 3)) @ BOX
    moved = frame._replace(positions=np.asarray(frame.positions) + images + [0.3, -0.2, 0.1])
    assert float(evaluate(term, moved)[0]) == pytest.approx(energies[1], rel=1e-9)


def test_reaction_field_of_two_charges():
    cg = bcg.from_arrays([[[0.0, 0, 0], [0.5, 0, 0]]], [3.0] * 3, "A", temperature=300.0, mass=[1.0, 1.0])
    term = Coulomb(1.0, "reaction_field", {"A": 2.0})
    frame = frame_of(term, cg)
    assert float(term.energy(frame, jnp.zeros(0))) == pytest.approx(4 * COULOMB * (1 / 0.5 + 0.125 - 1.5))
    assert float(term.forces(frame, jnp.zeros(0))[1, 0]) == pytest.approx(4 * COULOMB * (1 / 0.25 - 0.5))
    energy, force = term.pair_energy(jnp.array([1.0]))
    assert abs(float(energy[0])) + abs(float(force[0])) < 1e-10
    # All images of a single pair are neutralized by a conductor: the sum over them is what Ewald refuses to guess.
    with pytest.raises(ValueError, match=r"add up to \+4 e \(2 A of \+2 e\).*reaction_field"):
        frame_of(Coulomb(1.0, charges={"A": 2.0}), cg)


@pytest.mark.filterwarnings("ignore:no pair term")
def test_charges_come_from_the_data():
    cg = charged(molecules(frames=2))
    filled = fill_ranges(Potential(Coulomb(1.0), bcg.Bond("A", "B"), exclude_bonds=2), cg)
    term = filled.term("coulomb")
    assert term == Coulomb(1.0, charges=(("A", 1.0), ("B", -2.0), ("C", 1.0)))
    assert term.types == ("A", "B", "C")
    assert Potential.from_json(filled.to_json()) == filled
    assert hash(Potential.from_json(filled.to_json())) == hash(filled)
    assert Potential(Coulomb(1.0), bcg.Bond("A", "B"), exclude_bonds=2).filled_by(filled)


def test_learned_permittivity_is_frozen_with_the_rest():
    term = Coulomb(1.0, charges=CHARGES, learn=True)
    assert bcg.freeze(Potential(term), [0.25]) == (Coulomb(1.0, charges=CHARGES, dielectric=4.0),)
    assert bcg.freeze(Potential(Coulomb(1.0, charges=CHARGES)), [])[0].n_baselines == 1
    with pytest.raises(ValueError, match="turns attraction into repulsion"):
        bcg.freeze(Potential(term), [-0.25])


@pytest.mark.filterwarnings("ignore:no pair term")
@pytest.mark.parametrize("method", ["ewald", "reaction_field"])
def test_permittivity_is_learned_from_forces(method):
    # Ions that a pair term keeps apart, and whose forces are known but for noise.
    rng = np.random.default_rng(shifted(4))
    sites = np.stack(np.meshgrid(*[np.arange(4)] * 3, indexing="ij"), -1).reshape(-1, 3)
    names = np.where(sites.sum(axis=1) % 2, "CL", "NA").tolist()
    x = sites * 0.5 + rng.normal(size=(8, 64, 3)) * 0.06
    cg = bcg.from_arrays(x, np.broadcast_to(np.eye(3) * 2.0, (8, 3, 3)), names, temperature=300.0, mass=[30.0] * 64)
    core = bcg.Pair("CL", "NA", cutoff=0.5, baseline=bcg.WCA(0.4, 1.0), learn=False)
    truth = Potential(core, Coulomb(0.9, method, {"NA": 1, "CL": -1}, dielectric=4.0))
    found, sizes = Interactions.of(truth, cg), {}
    frames = [found.configuration(each, np.eye(3) * 2.0, sizes=sizes) for each in x]
    exact = np.stack([evaluate(truth, frame)[1] for frame in frames])
    cg = cg.assign(forces=(("frame", "bead", "xyz"), exact + rng.normal(size=x.shape) * 10.0))
    model = Potential(core, Coulomb(0.9, method, {"NA": 1, "CL": -1}, dielectric=2.0, learn=True))
    posterior = bcg.force_match(model, cg, method="laplace", calibration="none", key=jax.random.key(0))
    found = posterior["posterior"]["dielectric"].values
    assert found.std() < 0.2
    assert abs(found.mean() - 4.0) < 4 * found.std()
    drawn = posterior["posterior"]["coefficients"].values[..., -1]
    np.testing.assert_allclose(found, 1 / drawn)


def test_net_charge_needs_a_term_only_where_beads_have_neighbors():
    cg = charged(molecules(frames=3))
    bonds = (bcg.Bond("A", "B", start=0.1, stop=0.6), bcg.Bond("B", "C", start=0.1, stop=0.6))
    assert Interactions.of(Potential(*bonds), cg).n_beads == 32
    assert Interactions.of(Potential(bcg.Pair("W", "W", 0.8)), cg).n_beads == 32
    with pytest.raises(ValueError, match=r"bead type B carries a net charge of -2 e.*bayescg.Coulomb"):
        Interactions.of(Potential(bcg.Pair("B", "B", 0.8), *bonds), cg)
    with pytest.raises(ValueError, match=r"bead type C carries a net charge of \+1 e"):
        Interactions.of(Potential(bcg.Pair("C", "C", 0.8), Coulomb(1.0, charges={"A": 2, "B": -2})), cg)
    with pytest.warns(UserWarning, match="no pair term for A-B, B-C: nothing keeps these beads of opposite charge"):
        Interactions.of(Potential(Coulomb(1.0, charges=CHARGES)), cg)


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (lambda: Coulomb(1.0, "pme"), "method='pme'; choose 'ewald' or 'reaction_field'"),
        (lambda: Coulomb(0.0), "cutoff must be positive"),
        (lambda: Coulomb(1.0, dielectric=-2.0), "dielectric must be positive"),
        (lambda: Coulomb(1.0, tolerance=0.5), "tolerance is a relative error"),
        (lambda: Coulomb(1.0, charges={"A": 0.0}), "not all zero"),
        (lambda: Coulomb(1.0, charges={"A": np.nan}), "numbers by bead type"),
        (lambda: Coulomb(1.0, charges="AB"), "numbers by bead type"),
        (lambda: Coulomb(1.0).types and Coulomb(1.0).of_types, None),
        (lambda: Coulomb(1.0).of_types, "no charges yet.*fill_ranges"),
        (lambda: Potential(Coulomb(1.0), Coulomb(1.0, "reaction_field")), "describe the same interaction"),
    ],
)
def test_what_is_refused_at_once(made, words):
    if words is None:
        assert made() == ()
        return
    with pytest.raises(ValueError, match=words):
        made()


def _uneven(cg):
    charge = cg["charge"].values.copy()
    charge[:2] += [0.2, -0.2]
    return cg.assign_coords(charge=("bead", charge))


@pytest.mark.parametrize(
    ("change", "term", "words"),
    [
        (_uneven, Coulomb(1.0), r"beads of type A have charges from \+1 to \+1.2 e.*different types"),
        (
            lambda d: d.assign_coords(charge=("bead", np.zeros(32))),
            Coulomb(1.0),
            "no bead of the data carries a charge",
        ),
        (lambda d: d.drop_vars("charge"), Coulomb(1.0), "give them as charges="),
        (lambda d: d, Coulomb(1.0, charges={"A": 1, "B": -1.5, "C": 1}), r"\+4 e .*neutral box"),
        (lambda d: d, Coulomb(1.4, "reaction_field"), "cutoff 1.4 nm exceeds half the shortest box height"),
        (lambda d: d, Coulomb(1.0, charges={"A": 1, "X": -1}), "coulomb names bead type 'X'"),
        (lambda d: d.assign_attrs(boundary="open"), Coulomb(1.0), "in vacuum.*leave Coulomb out"),
    ],
)
@pytest.mark.filterwarnings("ignore:no pair term")
def test_what_data_do_not_allow(change, term, words):
    cg = change(charged(molecules()))
    with pytest.raises(ValueError, match=words):
        Interactions.of(fill_ranges(Potential(term), cg), cg)
