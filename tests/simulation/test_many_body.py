"""Many-body terms in the JAX engine and in what is measured of frames."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import bayescg as bcg
from bayescg._runtime import double_precision
from bayescg.exports.lammps import can_run, setup
from bayescg.posterior import from_coefficients
from bayescg.potentials import WCA, Interactions, LocalDensity, Pair, Potential, SmoothOverlap, ThreeBody
from bayescg.simulation import forces as engine
from bayescg.simulation import lammps
from bayescg.simulation.ensemble import plan
from bayescg.simulation.lists import Lists

BOX = np.eye(3) * 1.4
POTENTIAL = Potential(
    Pair("A", "A", 0.5, baseline=WCA(0.3, 2.0), learn=False),
    Pair("A", "B", 0.5, baseline=WCA(0.3, 2.0), learn=False),
    Pair("B", "B", 0.5, baseline=WCA(0.3, 2.0), learn=False),
    ThreeBody("A", "A", "B", 0.45, 0.1, 0.05, 0.15),
    LocalDensity("B", "A", 0.25, 0.5, stop=8.0),
)


def start():
    rng = np.random.default_rng(2)
    lattice = np.stack(np.meshgrid(*[np.arange(4)] * 3, indexing="ij"), -1).reshape(-1, 3) * 0.35
    positions = lattice + rng.normal(scale=0.03, size=(64, 3))
    types = np.array(["A", "B"])[np.arange(64) % 2]
    return bcg.from_arrays(positions[None], BOX[None], types, temperature=300.0, mass=[20.0] * 64).isel(frame=0)


def test_engine_and_potential_agree_for_lists_with_a_skin():
    w = np.random.default_rng(0).normal(size=POTENTIAL.n_basis)
    first = start()
    with double_precision():
        interactions = Interactions.of(POTENTIAL, first)
        x = first.positions.values.astype(float)
        lists = Lists(interactions, BOX, 0.1).build(x[None])
        moved = x + np.random.default_rng(1).uniform(-0.028, 0.028, x.shape)
        arrays, draw = engine.layout(interactions, BOX), engine.curves(POTENTIAL, w)
        forces = jax.jit(engine.forces, static_argnums=(0, 1))
        found = forces(POTENTIAL, True, arrays, draw, tuple(each[0] for each in lists), moved)
        expected = np.asarray(jax.jit(POTENTIAL.forces)(interactions.configuration(moved, BOX), w))
    np.testing.assert_allclose(found, expected, atol=1e-9 * np.abs(expected).max())


def test_simulated_frames_carry_energies_of_all_terms():
    w = np.random.default_rng(0).normal(size=POTENTIAL.n_basis)
    posterior = from_coefficients(POTENTIAL, w, temperature=300.0)
    dynamics = bcg.Langevin(timestep=0.002, equilibration=0.0, interval=0.02)
    ensemble = bcg.simulate(posterior, start(), time=0.06, dynamics=dynamics, engine="jax", key=jax.random.key(0))
    with double_precision():
        interactions = Interactions.of(POTENTIAL, start())
        evaluate = jax.jit(lambda at: (POTENTIAL.energy(at, w), POTENTIAL.virial(at, w)))
        for frame in range(3):
            x = ensemble.positions.values[0, frame].astype(float)
            at = interactions.configuration(x, BOX)
            energy, virial = evaluate(at)
            np.testing.assert_allclose(ensemble.potential_energy.values[0, frame], energy, rtol=1e-6)
            np.testing.assert_allclose(ensemble.virial.values[0, frame], virial, atol=1e-5 * np.abs(virial).max())


@pytest.mark.skipif(not can_run(POTENTIAL), reason="needs pip install 'bayescg[lammps]'")
def test_lammps_steps_as_our_forces_say(tmp_path):
    """After one step without friction, beads with and without a force are F t^2 / 2m apart."""
    pairs = [Pair(a, b, 0.5, baseline=WCA(0.3, 2.0), learn=False) for a, b in ("AA", "AB", "BB")]
    potential = Potential(*pairs, ThreeBody("A", "A", "B", 0.45, 0.1, 0.05, 0.15))
    w, first, step = np.random.default_rng(0).normal(size=potential.n_basis), start(), 0.01
    dynamics = bcg.Langevin(timestep=step, friction=1e-9, equilibration=0.0, interval=step)
    coefficients = np.stack([0 * w, 10 * w])
    planned = plan(
        from_coefficients(potential, w, temperature=300.0), first, time=step, dynamics=dynamics, key=jax.random.key(0)
    )
    assert planned.engine == "lammps"
    # The same random numbers for both; without measuring what comes out, which takes long to compile.
    keys = jax.random.split(jax.random.key(1), 1)[jnp.array([0, 0])]
    jobs = lammps.write_jobs(planned.system, planned.start, coefficients, keys, tmp_path)
    runs = [lammps.run(job, lambda steps: None, lambda: False) for job in jobs]
    one, other = (found.positions[0].astype(float) for found in runs if found is not None)
    with double_precision():
        at = Interactions.of(potential, first).configuration(first.positions.values.astype(float), BOX)
        term = potential.terms[-1]
        force = np.asarray(jax.jit(term.forces)(at, jnp.asarray(10 * w)))
    moved = other - one
    assert np.abs(moved).max() > 1e-3
    # Positions are in single precision.
    np.testing.assert_allclose(moved, force * step**2 / (2 * 20.0), atol=3e-7)


def test_what_lammps_has_no_style_for_goes_to_jax(monkeypatch):
    posterior = from_coefficients(POTENTIAL, np.zeros(POTENTIAL.n_basis), temperature=300.0)
    dynamics = bcg.Langevin(timestep=0.002, equilibration=0.0, interval=0.02)
    settings = {"time": 0.02, "dynamics": dynamics, "key": jax.random.key(0)}
    monkeypatch.setattr(setup, "_missing", lambda styles: f"no {' '.join(styles)}" if styles else None)
    assert plan(posterior, start(), **settings).engine == "jax"
    with pytest.raises(ValueError, match=r"engine='lammps', but no uf3 local/density: pip install"):
        plan(posterior, start(), engine="lammps", **settings)
    term = SmoothOverlap("A", ("A",), 0.5, degree=1, power=1, inducing=((1.0,),))
    posterior = from_coefficients(Potential(*POTENTIAL.terms[:3], term), np.zeros(1), temperature=300.0)
    assert plan(posterior, start(), **settings).engine == "jax"
    with pytest.raises(ValueError, match="engine='lammps', but LAMMPS has nothing for overlap_A-A: simulate"):
        plan(posterior, start(), engine="lammps", **settings)
