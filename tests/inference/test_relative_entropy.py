"""`relative_entropy` on systems whose potential is known: identity mapping, exact distributions."""

import dataclasses

import jax
import numpy as np
import pytest
import xarray as xr

import bayescg as bcg
from bayescg.inference import Sampling
from bayescg.inference.relative_entropy import relative_entropy
from bayescg.inference.structural import problem
from bayescg.inference.structural.refinement import Refinement
from bayescg.posterior import curves, mean_coefficients, potential_of
from tests.compilation import optimized
from tests.inference import dimers, systems
from tests.storage.kills import moments

QUICK = Refinement(
    time=10.0,
    dynamics=bcg.Langevin(timestep=0.004, friction=5.0, interval=0.1, equilibration=2.0),
    engine="jax",
    sampling=Sampling(chains=1, warmup=1, draws=400),
)


@pytest.fixture(scope="module", autouse=True)
def _optimized():
    """Simulations run longer than they compile."""
    with optimized():
        yield


@pytest.fixture(scope="module")
def bonds():
    return dimers.dataset(dimers.sample(dimers.energy, 200, 40, 0))


@pytest.fixture(scope="module")
def fitted(bonds):
    return relative_entropy(dimers.potential(), bonds, settings=QUICK, key=jax.random.key(0))


def relative(posterior, x):
    """z of the energy differences of a bond against the truth, the mean over its distribution taken off."""
    draws = posterior["posterior"]["coefficients"].values.reshape(-1, potential_of(posterior).n_basis)
    u = curves(potential_of(posterior), "bond_A-A", draws, x)[0]
    exact = dimers.energy(x)
    weight = x**2 * np.exp(-exact / dimers.kT)
    u = u - np.average(u, axis=1, weights=weight)[:, None]
    exact = exact - np.average(exact, weights=weight)
    return (u.mean(axis=0) - exact) / u.std(axis=0), u.mean(axis=0) - exact


def test_a_known_bond_comes_back_within_its_error_bars(fitted):
    attrs = fitted["posterior"].attrs
    assert attrs["converged"]
    assert attrs["iterations"] <= 5
    x = np.linspace(0.30, 0.41, 45)
    z, error = relative(fitted, x)
    weight = x**2 * np.exp(-dimers.energy(x) / dimers.kT)
    assert np.sqrt(np.average(error**2, weights=weight)) < 0.05 * dimers.kT
    assert 0.3 < np.sqrt(np.mean(z**2)) < 1.8


@pytest.mark.filterwarnings("ignore:.*outside the trust region")
def test_the_error_bars_are_as_wide_as_the_scatter_of_fits():
    """Six data sets: rms z of all of them together.

    Whether one of so few frames warns depends on the rounding of a chaotic simulation; its error bars count.
    """
    x = np.linspace(0.32, 0.40, 9)
    settings = dataclasses.replace(QUICK, time=5.0, longest=40.0)
    z = []
    for seed in range(6):
        data = dimers.dataset(dimers.sample(dimers.energy, 40, 40, 50 + seed))
        z.append(
            relative(relative_entropy(dimers.potential(), data, settings=settings, key=jax.random.key(seed)), x)[0]
        )
    assert 0.6 < np.sqrt(np.mean(np.square(z))) < 1.5


def test_layout_and_report(fitted):
    records = fitted["iterations"].to_dataset()
    assert records.sizes["basis"] == potential_of(fitted).n_basis
    assert set(records.data_vars) >= {"coefficients", "gradient", "z", "length", "step", "overlap", "structure", "time"}
    assert float(records["structure"][-1]) < 1.5
    assert {"prior", "constant_data", "iterations"} <= set(fitted.children)
    attrs = fitted["posterior"].attrs
    assert attrs["calibration"] == "godambe"
    assert {"pressure", "pressure_sd_sampling", "pressure_sd_posterior", "draw_overlap"} <= set(attrs)


def test_interrupted_fits_go_on_from_their_checkpoint(bonds, fitted, tmp_path, monkeypatch):
    path = tmp_path / "fit" / "fit.nc"
    real, calls = problem.simulate, []

    def interrupted(*args, **kwargs):
        calls.append(kwargs)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*args, **kwargs)

    monkeypatch.setattr(problem, "simulate", interrupted)
    kept = dataclasses.replace(QUICK, checkpoint=path)
    fit = {"settings": kept, "key": jax.random.key(0)}
    with pytest.warns(UserWarning, match="interrupted after 1 iterations"):
        part = relative_entropy(dimers.potential(), bonds, **fit)
    assert not part["posterior"].attrs["converged"]
    done = len(calls)
    with moments(path.parent, tmp_path / "copies", monkeypatch) as copies:
        whole = relative_entropy(dimers.potential(), bonds, **fit)
    assert len(calls) - done == int(fitted["posterior"].attrs["iterations"]) - 1
    np.testing.assert_array_equal(mean_coefficients(whole), mean_coefficients(fitted))
    # Whenever it is killed, the iterations before are there as a whole.
    kept_iterations = [xr.load_dataset(copy / path.name).sizes["iteration"] for copy in copies]
    assert kept_iterations == sorted(kept_iterations)
    assert set(kept_iterations) == set(range(1, len(calls) - done + 1))
    again = relative_entropy(dimers.potential(), bonds, **fit)
    assert len(calls) - done == int(fitted["posterior"].attrs["iterations"]) - 1
    np.testing.assert_array_equal(mean_coefficients(again), mean_coefficients(whole))
    with pytest.raises(ValueError, match="checkpoint of another fit"):
        relative_entropy(dimers.potential(), bonds, settings=kept, key=jax.random.key(1))


def test_starts(bonds, fitted):
    few = dataclasses.replace(QUICK, iterations=6)
    near = relative_entropy(dimers.potential(), bonds, start=fitted, settings=few, key=jax.random.key(2))
    assert near["posterior"].attrs["converged"]
    run = bcg.simulate(
        fitted, bonds.isel(frame=-1), time=20.0, dynamics=QUICK.dynamics, engine="jax", key=jax.random.key(3)
    )
    given = relative_entropy(dimers.potential(), bonds, start=run, settings=few, key=jax.random.key(4))
    assert float(given["iterations"]["time"][0]) == 0.0
    x = np.linspace(0.31, 0.40, 10)
    for posterior in (near, given):
        difference = relative(posterior, x)[1] - relative(fitted, x)[1]
        assert np.max(np.abs(difference)) < 0.15 * dimers.kT
    several = bcg.simulate(
        fitted, bonds.isel(frame=-1), time=1.0, draws=2, dynamics=QUICK.dynamics, engine="jax", key=jax.random.key(3)
    )
    with pytest.raises(ValueError, match="holds 2 draws"):
        relative_entropy(dimers.potential(), bonds, start=several, settings=few, key=jax.random.key(4))
    with pytest.raises(ValueError, match="another potential"):
        relative_entropy(dimers.potential(0.02), bonds, start=fitted, settings=few, key=jax.random.key(4))
    with pytest.raises(ValueError, match="another potential"):
        relative_entropy(dimers.potential(0.02), bonds, start=run, settings=few, key=jax.random.key(4))


def test_draws_outside_the_trust_region_are_warned_of(bonds):
    settings = dataclasses.replace(QUICK, overlap=0.999, iterations=1)
    few = bonds.isel(frame=slice(12))
    with (
        pytest.warns(UserWarning, match="outside the trust region"),
        pytest.warns(match="not converged in 1 iteration"),
    ):
        relative_entropy(dimers.potential(), few, settings=settings, key=jax.random.key(0))


def test_refusals(bonds):
    potential, key = dimers.potential(), jax.random.key(0)
    growing = bonds.assign(box=bonds["box"] * (1 + 1e-3 * bonds["frame"]))
    with pytest.raises(ValueError, match=r"the box changes.*constant volume"):
        relative_entropy(potential, growing, key=key)
    cold = bonds.copy()
    del cold.attrs["temperature"]
    with pytest.raises(ValueError, match="no temperature"):
        relative_entropy(potential, cold, key=key)
    with pytest.raises(ValueError, match="9 frames are too few"):
        relative_entropy(potential, bonds.isel(frame=slice(9)), key=key)
    with pytest.raises(ValueError, match="unknown terms"):
        relative_entropy(potential, bonds, kernels={"A-A": "RBF"}, key=key)
    with pytest.raises(ValueError, match="target_pressure needs a pair term"):
        relative_entropy(potential, bonds, settings=dataclasses.replace(QUICK, target_pressure=1.0), key=key)
    with pytest.raises(ValueError, match="start is a posterior, an ensemble or None"):
        relative_entropy(potential, bonds, start=3.0, key=key)
    with pytest.raises(ValueError, match="overlap is a share"):
        Refinement(overlap=2.0)
    with pytest.raises(ValueError, match="method must be one of"):
        relative_entropy(potential, bonds, method="mcmc", key=key)
    with pytest.raises(ValueError, match="calibration must be one of"):
        relative_entropy(potential, bonds, calibration="all", key=key)
    with pytest.raises(ValueError, match="target_pressure=nan"):
        Refinement(target_pressure=float("nan"))


@pytest.fixture(scope="module")
def liquid():
    return systems.lennard_jones(60)


def test_a_liquid_with_a_known_pair_potential_and_a_wanted_pressure(liquid, tmp_path):
    """Identity mapping: structure alone gives Lennard-Jones back; then a ramp moves the pressure."""
    potential = bcg.Potential(bcg.Pair("A", "A", systems.CUTOFF, knot_spacing=0.02))
    dynamics = bcg.Langevin(timestep=0.004, friction=5.0, equilibration=4.0, interval=0.2)
    lengths = {"time": 20.0, "longest": 60.0, "dynamics": dynamics, "engine": "auto"}
    settings = dataclasses.replace(QUICK, **lengths, checkpoint=tmp_path / "fit.nc")
    fit = relative_entropy(potential, liquid, settings=settings, key=jax.random.key(0))
    x = np.linspace(0.34, 0.80, 60)
    draws = fit["posterior"]["coefficients"].values.reshape(-1, potential.n_basis)
    force = curves(potential, "A-A", draws, x)[1]
    exact = systems.true_force(systems.LJ, x)
    z = (force.mean(axis=0) - exact) / force.std(axis=0)
    assert fit["posterior"].attrs["converged"]
    # Errors are smooth over 0.08 nm: six independent ones, whose rms exceeds 1.94 with probability 0.001.
    assert np.sqrt(np.mean(z**2)) < 1.94
    assert np.sqrt(np.mean((force.mean(axis=0) - exact) ** 2)) < 0.15 * np.sqrt(np.mean(exact**2))
    attrs = fit["posterior"].attrs
    wanted = attrs["pressure"] - 300.0
    settings = dataclasses.replace(settings, target_pressure=wanted)
    moved = relative_entropy(potential, liquid, settings=settings, key=jax.random.key(0))
    again = bcg.simulate(moved, liquid.isel(frame=-1), time=60.0, dynamics=dynamics, key=jax.random.key(6))
    found = again["pressure"].values[0]
    assert moved["posterior"].attrs["ramp"] < 0
    assert abs(found.mean() - wanted) < 4 * 2 * found.std() / np.sqrt(len(found))
    assert moved["posterior"].attrs["ramp_dg_A-A"] > fit["posterior"].attrs.get("ramp_dg_A-A", 0.0)
