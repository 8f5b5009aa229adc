"""The public verb: what comes out, and what bad input is told."""

import json
import threading

import jax
import numpy as np
import pytest
import xarray as xr
from filelock import FileLock

import bayescg
from bayescg import posterior as posteriors
from bayescg.exports.lammps import setup
from bayescg.potentials import LennardJones, Pair, Potential
from bayescg.simulation import ensemble as verb
from tests.seeds import shifted
from tests.storage.kills import moments

from .systems import chains, liquid

TERM = Pair("A", "A", cutoff=0.7, knot_spacing=0.05, baseline=LennardJones(0.34, 1.0, 0.7))
SHORT = bayescg.Langevin(equilibration=0.02, interval=0.02)


@pytest.fixture
def posterior():
    rng = np.random.default_rng(0)
    rows = 0.1 * rng.normal(size=(6, TERM.n_basis))
    return posteriors.from_coefficients(Potential(TERM), rows, temperature=300.0, ranges={"A-A": (0.3, 0.7)})


@pytest.fixture
def frame():
    return liquid(64, 12.0)


def _simulate(posterior, frame, **options):
    options = {"time": 0.1, "dynamics": SHORT, "engine": "jax", "key": jax.random.key(4), **options}
    return bayescg.simulate(posterior, frame, **options)


def test_runs_of_the_mean_differ_by_their_noise_only(posterior, frame):
    ensemble = _simulate(posterior, frame, runs=2)
    assert ensemble["posterior_draw"].values.tolist() == [-1, -1]
    np.testing.assert_array_equal(*ensemble["coefficients"].values)
    np.testing.assert_allclose(ensemble["coefficients"][0], posteriors.mean_coefficients(posterior))
    one, two = ensemble["positions"].values
    assert np.abs(one - two).max() > 0.001
    for given in ({"runs": 2, "draws": 3}, {"runs": 0}, {"runs": 1.5}):
        with pytest.raises(ValueError, match=f"runs={given['runs']} with draws="):
            _simulate(posterior, frame, **given)


def test_layout_and_energies(posterior, frame, tmp_path):
    ensemble = _simulate(posterior, frame.assign_attrs(boundary="open"), draws=3)
    assert ensemble["positions"].dims == ("draw", "frame", "bead", "xyz")
    assert ensemble["positions"].shape == (3, 5, 64, 3)
    assert ensemble["positions"].dtype == np.float32
    np.testing.assert_allclose(ensemble["time"], 0.02 * np.arange(1, 6))
    assert ensemble["basis_energy"].dims == ("draw", "frame", "basis")
    assert ensemble["basis_energy"].dtype == np.float64
    assert ensemble.attrs["source"] == frame.attrs["source"]
    assert ensemble.attrs["boundary"] == "open"  # beads in vacuum stay there: observables ask
    assert ensemble.attrs["temperature"] == 300.0
    assert Potential.from_json(ensemble.attrs["potential"]) == Potential(TERM)
    assert json.loads(ensemble.attrs["dynamics"])["timestep"] == 0.002
    rows = posterior["posterior"]["coefficients"].values[0]
    where = ensemble["posterior_draw"].values
    assert len(set(where.tolist())) == 3
    # The energy is linear in the coefficients: what is not basis energy is the baseline's, the same for any draw.
    rest = ensemble["potential_energy"].values - np.einsum("dfb,db->df", ensemble["basis_energy"].values, rows[where])
    zero = posteriors.from_coefficients(Potential(TERM), 0 * rows[:1], temperature=300.0)
    plain = _simulate(zero, frame)
    assert np.ptp(rest[:, 0]) < 0.5 * abs(rest[:, 0].mean())
    assert plain["potential_energy"].values[0, 0] == pytest.approx(rest[:, 0].mean(), rel=0.5)
    ensemble.to_netcdf(tmp_path / "ensemble.nc", engine="h5netcdf")
    assert xr.load_dataset(tmp_path / "ensemble.nc", engine="h5netcdf").sizes == ensemble.sizes


def test_the_mean_is_the_default(posterior, frame):
    ensemble = _simulate(posterior, frame)
    assert ensemble.sizes["draw"] == 1
    assert ensemble["posterior_draw"].values.tolist() == [-1]


def test_broken_molecules_are_made_whole():
    potential = Potential(*(Pair(a, b, cutoff=0.5) for a, b in ("AA", "AB", "BB")), exclude_bonds=2)
    start = chains(8, edge=2.5)
    wrapped = start.assign(positions=start["positions"] % 2.5)
    zero = posteriors.from_coefficients(potential, np.zeros(potential.n_basis), temperature=300.0)
    shifted = wrapped.assign(positions=(wrapped["positions"] + 2.3) % 2.5)
    ensemble = _simulate(zero, shifted)
    bonds = ensemble["bonds"].values
    first = ensemble["positions"].values[0, 0]
    assert np.linalg.norm(first[bonds[:, 0]] - first[bonds[:, 1]], axis=-1).max() < 0.5


def test_a_box_that_leaves_no_room_for_a_skin_is_slow_but_right(posterior, frame):
    edge = float(frame["box"].values[0, 0])
    tight = Potential(Pair("A", "A", cutoff=edge / 2, baseline=LennardJones(0.34, 1.0, edge / 2), learn=False))
    narrow = posteriors.from_coefficients(tight, np.zeros((1, 0)), temperature=300.0)
    ensemble = _simulate(narrow, frame)
    assert int(ensemble["rebuilds"][0]) >= 50
    assert np.all(np.isfinite(ensemble["positions"]))


def test_an_interrupt_keeps_finished_draws(posterior, frame, monkeypatch):
    finished = threading.Event()

    def interrupting(futures):
        for number, future in enumerate(futures):
            if number == 2:
                finished.set()
                raise KeyboardInterrupt
            future.result()
            yield future

    monkeypatch.setattr(verb, "as_completed", interrupting)
    with pytest.warns(UserWarning, match="2 of 5 draws are finished"):
        ensemble = _simulate(posterior, frame, draws=5)
    assert finished.is_set()
    assert ensemble.sizes["draw"] == 2


def test_an_interrupt_with_nothing_finished_goes_on(posterior, frame, monkeypatch):
    def interrupting(futures):
        raise KeyboardInterrupt

    monkeypatch.setattr(verb, "as_completed", interrupting)
    with pytest.raises(KeyboardInterrupt):
        _simulate(posterior, frame, draws=2, time=1000.0)


def test_a_checkpoint_goes_on_to_the_same_bits(posterior, frame, tmp_path, monkeypatch):
    """From what a kill at any moment has left; each draw that is there is not simulated again."""
    folder = tmp_path / "draws"
    whole = _simulate(posterior, frame, draws=3)
    with moments(folder, tmp_path / "copies", monkeypatch) as copies:
        xr.testing.assert_identical(_simulate(posterior, frame, draws=3, checkpoint=folder), whole)
    seen, measured = [], verb.Plan._measured
    monkeypatch.setattr(verb.Plan, "_measured", lambda self, k, found: seen.append(k) or measured(self, k, found))
    chosen = np.random.default_rng(shifted(0)).choice(len(copies), 3, replace=False)
    for copy in (folder, *(copies[k] for k in chosen)):
        seen.clear()
        there = {path.stem for path in copy.glob("draw_*.npz")}
        xr.testing.assert_identical(_simulate(posterior, frame, draws=3, checkpoint=copy), whole)
        assert sorted(seen) == [k for k in range(3) if f"draw_{k:05d}" not in there]
    damaged = folder / "draw_00001.npz"
    damaged.write_bytes(damaged.read_bytes()[:-300])
    xr.testing.assert_identical(_simulate(posterior, frame, draws=3, checkpoint=folder), whole)


def test_a_checkpoint_of_another_simulation_is_refused(posterior, frame, tmp_path):
    _simulate(posterior, frame, checkpoint=tmp_path / "mean")
    for other in ({"draws": 2}, {"time": 0.12}, {"key": jax.random.key(5)}, {"temperature": 310.0}):
        with pytest.raises(ValueError, match=r"mean holds finished parts of another simulation .* delete it"):
            _simulate(posterior, frame, **{"checkpoint": tmp_path / "mean", **other})
    moved = frame.assign(positions=frame["positions"] + 0.01)
    with pytest.raises(ValueError, match="of another simulation"):
        _simulate(posterior, moved, checkpoint=tmp_path / "mean")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").touch()
    with pytest.raises(ValueError, match=r"full holds something else \(mine\.txt\)"):
        _simulate(posterior, frame, checkpoint=tmp_path / "full")
    with FileLock(tmp_path / "mean" / ".lock"), pytest.raises(ValueError, match="another process is at work"):
        _simulate(posterior, frame, checkpoint=tmp_path / "mean")


def test_auto_takes_lammps_or_says_jax(posterior, frame, monkeypatch):
    monkeypatch.setattr(setup, "_missing", lambda styles: "it is a test")
    assert _simulate(posterior, frame, engine="auto").attrs["engine"] == "jax"
    with pytest.raises(ValueError, match=r"it is a test.*bayescg\[lammps\]"):
        _simulate(posterior, frame, engine="lammps")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"engine": "gromacs"}, "engine='gromacs'.*'auto', 'jax', 'lammps'"),
        ({"time": 0.0}, "time=0.0 ps: it must be positive"),
        ({"time": 0.01}, "shorter than the interval"),
        ({"time": np.nan}, "time=nan"),
        ({"temperature": -3.0}, "temperature=-3 K"),
        ({"draws": 7}, "draws must lie between 1 and the posterior's 6"),
    ],
)
def test_bad_options(posterior, frame, options, message):
    with pytest.raises(ValueError, match=message):
        _simulate(posterior, frame, **options)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"timestep": 0.0}, "timestep=0.0 ps"),
        ({"friction": -1.0}, "friction=-1.0 1/ps"),
        ({"equilibration": np.inf}, "equilibration=inf"),
        ({"timestep": 0.003}, "not a multiple of the timestep"),
    ],
)
def test_bad_dynamics(values, message):
    with pytest.raises(ValueError, match=message):
        bayescg.Langevin(**values)


def test_missing_temperature(posterior, frame):
    del posterior["posterior"].attrs["temperature"]
    with pytest.raises(ValueError, match="temperature is missing"):
        _simulate(posterior, frame)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.assign(positions=f["positions"].where(f["positions"] > 0.1)), "not finite"),
        (lambda f: f.assign_coords(bead_type=("bead", ["B"] * 64)), "no term for bead type B"),
        (lambda f: f.assign(box=0.5 * f["box"]), "cutoff 0.7 nm exceeds half the shortest box height"),
        (lambda f: f.drop_vars("mass"), "lacks mass"),
        (lambda f: f.assign_coords(mass=0 * f["mass"]), "masses must be positive"),
        (lambda f: xr.concat([f, f], "frame", data_vars=["positions", "box"]), "2 frames"),
        (lambda f: f.expand_dims(draw=2), "several draws"),
    ],
)
def test_bad_start(posterior, frame, change, message):
    with pytest.raises(ValueError, match=message):
        _simulate(posterior, change(frame))
