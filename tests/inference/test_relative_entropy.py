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
from bayescg.inference.structural.reweighting import structure_z
from bayescg.posterior import curves, mean_coefficients, potential_of
from bayescg.units import BAR
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


def test_structure_and_pressure_are_those_of_a_run_that_the_fit_has_not_seen(bonds, tmp_path, monkeypatch):
    made = []
    real = problem.Problem.simulated

    def noted(self, coefficients, time, number):
        made.append((self, coefficients, time, real(self, coefficients, time, number)))
        return made[-1][-1]

    monkeypatch.setattr(problem.Problem, "simulated", noted)
    settings = dataclasses.replace(QUICK, checkpoint=tmp_path / "fit.nc")
    fit = relative_entropy(dimers.potential(), bonds, settings=settings, key=jax.random.key(0))
    attrs, center = fit["posterior"].attrs, mean_coefficients(fit)
    (setting, coefficients, time, run), (*_, length, last) = made[-1], made[-2]
    np.testing.assert_allclose(coefficients, center)
    assert time == length
    assert len(made) == attrs["iterations"] + 1
    assert attrs["simulated_time"] == pytest.approx(sum(2 * each[2] for each in made))
    # The run simulated here with the same key is the same one, and says the same.
    data = setting.data
    for given in (run, real(setting, coefficients, time, 3_000_000)):
        z = np.concatenate(list(structure_z(data, given, center).values()))
        assert attrs["structure_z"] == pytest.approx(np.nanmean(np.abs(z)), rel=1e-6)
        # Every frame counts the same: A run of these coefficients needs no weights.
        values = dimers.kT * 80 - (given.frames.strained @ center + given.frames.baseline[..., 1]) / 3
        assert attrs["pressure"] == pytest.approx(BAR * values.mean() / dimers.SIDE**3, rel=1e-6)
    seen = np.concatenate(list(structure_z(data, last, center).values()))
    assert attrs["structure_z"] != pytest.approx(np.nanmean(np.abs(seen)), rel=1e-3)
    # Once made, it is not made again.
    again = relative_entropy(dimers.potential(), bonds, settings=settings, key=jax.random.key(0))
    assert len(made) == attrs["iterations"] + 1
    assert again["posterior"].attrs["structure_z"] == attrs["structure_z"]
    assert again["posterior"].attrs["pressure_sd_sampling"] == attrs["pressure_sd_sampling"]


def test_a_check_that_was_interrupted_is_all_that_is_repeated(bonds, fitted, tmp_path, monkeypatch):
    real, calls = problem.simulate, []

    def interrupted(*args, **kwargs):
        calls.append(kwargs)
        if len(calls) == 1 + int(fitted["posterior"].attrs["iterations"]):
            raise KeyboardInterrupt
        return real(*args, **kwargs)

    monkeypatch.setattr(problem, "simulate", interrupted)
    fit = {"settings": dataclasses.replace(QUICK, checkpoint=tmp_path / "fit.nc"), "key": jax.random.key(0)}
    with pytest.warns(UserWarning, match=r"interrupted in the run that checks .* unknown \(nan\)"):
        part = relative_entropy(dimers.potential(), bonds, **fit)
    assert np.isnan(part["posterior"].attrs["structure_z"])
    assert (part["posterior"].attrs["converged"], part["posterior"].attrs["interrupted"]) == (1, 1)
    done = len(calls)
    whole = relative_entropy(dimers.potential(), bonds, **fit)
    assert len(calls) == done + 1
    for name in ("structure_z", "pressure", "pressure_sd_sampling", "pressure_sd_posterior"):
        assert whole["posterior"].attrs[name] == fitted["posterior"].attrs[name]


def test_a_fit_that_has_not_converged_has_no_error_bars(bonds):
    settings = dataclasses.replace(QUICK, iterations=1)
    with pytest.warns(UserWarning, match=r"not converged in 1 .* structure_z and the errors .* unknown \(nan\)"):
        fit = relative_entropy(dimers.potential(), bonds, settings=settings, key=jax.random.key(0))
    for attrs in (fit.attrs, fit["posterior"].attrs):
        assert np.isnan([attrs[n] for n in ("structure_z", "pressure_sd_sampling", "pressure_sd_posterior")]).all()
        assert np.isfinite(attrs["pressure"])
        assert "not converged" in attrs["warnings"]


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
    assert np.isnan(part["posterior"].attrs["structure_z"])
    done = len(calls)
    with moments(path.parent, tmp_path / "copies", monkeypatch) as copies:
        whole = relative_entropy(dimers.potential(), bonds, **fit)
    left = int(fitted["posterior"].attrs["iterations"]) - 1 + 1  # and the run that checks
    assert len(calls) - done == left
    np.testing.assert_array_equal(mean_coefficients(whole), mean_coefficients(fitted))
    # Whenever it is killed, the iterations before are there as a whole.
    kept_iterations = [xr.load_dataset(copy / path.name).sizes["iteration"] for copy in copies]
    assert kept_iterations == sorted(kept_iterations)
    assert set(kept_iterations) == set(range(1, left + 1))
    again = relative_entropy(dimers.potential(), bonds, **fit)
    assert len(calls) - done == left
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


def test_a_liquid_with_a_known_pair_potential_and_a_wanted_pressure(liquid, tmp_path, monkeypatch):
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
    made, real = [], problem.Problem.simulated

    def noted(self, *args):
        made.append((self, real(self, *args)))
        return made[-1][-1]

    monkeypatch.setattr(problem.Problem, "simulated", noted)
    wanted = attrs["pressure"] - 300.0
    settings = dataclasses.replace(settings, target_pressure=wanted)
    moved = relative_entropy(potential, liquid, settings=settings, key=jax.random.key(0))
    again = bcg.simulate(moved, liquid.isel(frame=-1), time=60.0, dynamics=dynamics, key=jax.random.key(6))
    found = again["pressure"].values[0]
    # Its own run says what it costs, none that the search for the ramp has used.
    told = np.concatenate(list(structure_z(made[-1][0].data, made[-1][1], mean_coefficients(moved)).values()))
    assert moved["posterior"].attrs["structure_z"] == pytest.approx(np.nanmean(np.abs(told)), rel=1e-6)
    assert moved["posterior"].attrs["structure_z_uncorrected"] == attrs["structure_z"]
    assert abs(moved["posterior"].attrs["pressure"] - wanted) > 1.0  # the search ends within its own error of it
    assert moved["posterior"].attrs["ramp"] < 0
    assert abs(found.mean() - wanted) < 4 * 2 * found.std() / np.sqrt(len(found))
    assert moved["posterior"].attrs["ramp_dg_A-A"] > fit["posterior"].attrs.get("ramp_dg_A-A", 0.0)
