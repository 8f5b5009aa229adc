"""Propagation of simulated liquids: the same as simulating each draw, and as evaluating each draw's energy."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from scipy.special import softmax

import bayescg
from bayescg import observables as obs
from bayescg import posterior as posteriors
from bayescg.observables._virial import basis_virials
from bayescg.potentials import Interactions, LennardJones, Pair, Potential
from bayescg.units import BOLTZMANN
from tests.compilation import optimized
from tests.seeds import shifted
from tests.simulation.systems import chains, everything, liquid

TERM = Pair("A", "A", cutoff=0.7, knot_spacing=0.05, baseline=LennardJones(0.34, 1.0, 0.7))
DYNAMICS = bayescg.Langevin(timestep=0.004, friction=5.0, equilibration=2.0, interval=0.08)
KT = BOLTZMANN * 300.0
RDF = functools.partial(obs.rdf, a="A", b="A", cutoff=0.7, bins=14)
OBSERVABLES = {
    "rdf": RDF,
    "coordination": functools.partial(obs.coordination_number, a="A", b="A", cutoff=0.5),
    "energy": obs.potential_energy,
    "pressure": obs.virial_pressure,
}


def draws(spread, count, seed=0):
    rng = np.random.default_rng(shifted(seed))
    return posteriors.from_coefficients(
        Potential(TERM), spread * rng.normal(size=(count, TERM.n_basis)), temperature=300.0, ranges={"A-A": (0.3, 0.7)}
    )


@pytest.fixture(scope="module")
@optimized()
def reference():
    """The mean of the narrow posterior, 64 beads, 500 frames."""
    return bayescg.simulate(
        draws(0.3, 4), liquid(64, 12.0), time=40.0, dynamics=DYNAMICS, engine="jax", key=jax.random.key(shifted(1))
    )


@pytest.fixture(scope="module")
@optimized()
def simulated():
    """The same posterior's four draws, simulated."""
    return bayescg.simulate(
        draws(0.3, 4),
        liquid(64, 12.0),
        time=40.0,
        draws=4,
        dynamics=DYNAMICS,
        engine="jax",
        key=jax.random.key(shifted(2)),
    )


def averages_and_errors(array):
    """Averages of draws over blocks, and their standard errors."""
    weight = (array["block_weight"] / array["block_weight"].sum("block")).transpose("draw", "block").values
    values = array.transpose("draw", "block", ...).values
    values = values.reshape(*values.shape[:2], -1)
    mean = np.einsum("db,dbk->dk", weight, values)
    count = values.shape[1]
    influence = count * weight[..., None] * (values - mean[:, None])
    return mean, np.sqrt((influence**2).sum(1) / (count * (count - 1)))


@pytest.mark.parametrize("name", list(OBSERVABLES))
def test_reweighting_equals_simulation(name, reference, simulated):
    guard = obs.Guard(references=0, simulations=0)
    array = obs.propagate(
        draws(0.3, 4), reference, OBSERVABLES[name], draws=4, guard=guard, key=jax.random.key(shifted(0))
    )
    np.testing.assert_array_equal(array["posterior_draw"], simulated["posterior_draw"])
    assert float(array["ess_share"].min()) < 0.7
    ours, our_error = averages_and_errors(array)
    theirs, their_error = averages_and_errors(OBSERVABLES[name](simulated))
    visited = (our_error > 0) & (their_error > 0)
    z = (ours - theirs)[visited] / np.hypot(our_error, their_error)[visited]
    # Errors from ten blocks: 18 degrees of freedom, of which |z| = 4.5 is three in ten thousand.
    assert np.abs(z).max() < 4.5
    assert np.sqrt(np.mean(z**2)) < 1.7


def test_draws_differ_by_more_than_the_errors_of_the_comparison(reference, simulated):
    """Otherwise agreement with simulation would prove nothing."""
    theirs, error = averages_and_errors(obs.potential_energy(simulated))
    mean, mean_error = averages_and_errors(obs.potential_energy(reference))
    assert np.abs((theirs - mean) / np.hypot(error, mean_error)).max() > 6


def direct(potential, dataset, rows):
    """Energies and traces of the virial of every frame for every row of coefficients, each computed by itself."""
    box = dataset["box"].values.astype(float)
    with jax.enable_x64(True):
        interactions = Interactions.of(potential, dataset)
        energy, virial = jax.jit(potential.energy), jax.jit(potential.virial)
        sizes = {term.name: 2000 for term in potential.terms if term.kind == "pair"}
        frames = [interactions.configuration(x.astype(float), box, 0.0, sizes) for x in dataset["positions"].values[0]]
        rows = [jnp.asarray(row) for row in rows]
        energies = [[float(energy(frame, row)) for frame in frames] for row in rows]
        virials = [[float(jnp.trace(virial(frame, row))) for frame in frames] for row in rows]
    return np.array(energies), np.array(virials)


@pytest.mark.filterwarnings("ignore:.* draws fail the guard")
def test_energies_and_pressures_by_direct_evaluation(reference):
    posterior, short = draws(0.3, 3), reference.isel(frame=slice(0, 300, 10))
    guard = obs.Guard(ess=1.0, pareto_k=1.0, references=0, simulations=0, tolerance=0.9)
    rows = posterior["posterior"]["coefficients"].values[0]
    energies, virials = direct(Potential(TERM), short, [*rows, short["coefficients"].values[0]])
    weights = softmax(-(energies[:-1] - energies[-1]) / KT, axis=1)
    pressures = (64 * KT + virials / 3) / (64 / 12.0) * 16.605390671738466
    for observable, exact in ((obs.potential_energy, energies), (obs.virial_pressure, pressures)):
        array = obs.propagate(posterior, short, observable, draws=3, guard=guard, key=jax.random.key(0))
        np.testing.assert_allclose(averages_and_errors(array)[0][:, 0], (weights * exact[:-1]).sum(1), rtol=1e-6)
        np.testing.assert_allclose(observable(short).mean(), exact[-1].mean(), rtol=1e-6)


def test_virials_of_every_kind_of_term():
    """Pairs, bonds, angles and dihedrals with baselines of all kinds, exclusions, a triclinic box."""
    potential, w = everything()
    start = chains(16, box=np.array([[3.0, 0, 0], [0.4, 2.9, 0], [-0.3, 0.5, 2.8]]), beads="ABAB").drop_vars(
        ["frame", "time"]
    )
    moved = start["positions"] + xr.DataArray(
        0.02 * np.random.default_rng(3).normal(size=(3, 64, 3)), dims=("frame", "bead", "xyz")
    )
    dataset = start.assign(positions=moved.transpose("frame", "bead", "xyz")).assign_attrs(
        potential=potential.to_json()
    )
    found = basis_virials(dataset) @ w
    with jax.enable_x64(True):
        interactions, energy = Interactions.of(potential, dataset), jax.jit(potential.energy)
        for k, x in enumerate(dataset["positions"].values):
            frame = interactions.configuration(x, dataset["box"].values, 0.0)

            def spline_energy(stretch, frame=frame):
                moved = frame._replace(positions=frame.positions * stretch, box=frame.box * stretch)
                return float(energy(moved, jnp.asarray(w)) - energy(moved, jnp.zeros_like(w)))

            slope = (spline_energy(1 + 1e-5) - spline_energy(1 - 1e-5)) / 2e-5
            assert found[k] == pytest.approx(-slope, rel=1e-6)


def test_runs_are_added_and_draws_simulated(reference):
    """A wider posterior, elsewhere: one more reference, then the worst draws by themselves, the rest marked."""
    short = reference.isel(frame=slice(0, 100))
    posterior = draws(0.6, 12, seed=5)
    guard = obs.Guard(references=1, simulations=4, ess=8.0)
    with pytest.warns(UserWarning, match="of 12 draws fail the guard"):
        array = obs.propagate(posterior, short, RDF, draws=12, guard=guard, key=jax.random.key(shifted(3)))
    source = array["source"].values.tolist()
    assert array.attrs["n_references"] == 2
    assert source.count("simulated") == 4
    assert source.count("reweighted") >= 2
    assert float(array["ess"].where(array["source"] == "reweighted").min()) >= 8.0
    summary = obs.summarize(array)
    assert np.isfinite(summary["sd"]).all()
    again = obs.add_references(posterior, short, draws=12, guard=guard, key=jax.random.key(shifted(3)))
    assert len(again) == 2
    assert again[1].sizes["frame"] == 100
    for name in ("dynamics", "engine", "temperature", "potential"):
        assert again[1].attrs[name] == short.attrs[name]
    assert np.abs(again[1]["coefficients"] - again[0]["coefficients"]).max() > 0.01


def test_coefficients_travel_with_the_ensemble(simulated, tmp_path):
    rows = draws(0.3, 4)["posterior"]["coefficients"].values[0]
    np.testing.assert_array_equal(simulated["coefficients"], rows)
    rest = simulated["potential_energy"] - (simulated["basis_energy"] * simulated["coefficients"]).sum("basis")
    with jax.enable_x64(True):
        zero = Interactions.of(Potential(TERM), simulated).configuration(
            simulated["positions"].values[1, 7].astype(float), simulated["box"].values
        )
        baseline = float(Potential(TERM).energy(zero, jnp.zeros(TERM.n_basis)))
    assert float(rest[1, 7]) == pytest.approx(baseline, rel=1e-9)
