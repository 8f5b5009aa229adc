"""Blocks, weights and ensembles: the loop that all observables share."""

import numpy as np
import pytest
import xarray as xr

from bayescg import observables as obs
from bayescg._runtime import write_netcdf
from tests.seeds import shifted

from .systems import CUBIC, TRICLINIC, chains, ensemble, gas

TYPES = ["A"] * 40 + ["B"] * 40


def g(dataset, **options):
    return obs.rdf(dataset, "A", "B", cutoff=0.9, bins=9, **options)


def test_blocks_are_contiguous_and_no_frame_is_lost():
    dataset = gas(CUBIC, TYPES, frames=11)
    result = g(dataset, blocks=3)
    parts = [g(dataset.isel(frame=s), blocks=1).isel(block=0) for s in (slice(0, 4), slice(4, 8), slice(8, 11))]
    np.testing.assert_allclose(result, np.stack(parts), rtol=1e-12)
    np.testing.assert_allclose(result["block_weight"], [4 / 11, 4 / 11, 3 / 11])
    whole = g(dataset, blocks=1).isel(block=0)
    np.testing.assert_allclose((result * result["block_weight"]).sum("block"), whole, rtol=1e-12)
    np.testing.assert_allclose(obs.summarize(result)["mean"], whole, rtol=1e-12)


def test_default_number_of_blocks():
    assert g(gas(CUBIC, TYPES, frames=25)).sizes["block"] == 10
    assert g(gas(CUBIC, TYPES, frames=4)).sizes["block"] == 4
    for blocks in (5, 0):
        with pytest.raises(ValueError, match="between 1 and the number of frames, 4"):
            g(gas(CUBIC, TYPES, frames=4), blocks=blocks)


def test_ensemble_is_its_draws():
    singles = [gas(CUBIC, TYPES, frames=6, seed=s) for s in range(3)]
    result = g(ensemble(*singles), blocks=2)
    assert result.dims == ("draw", "block", "r")
    np.testing.assert_array_equal(result["posterior_draw"], [0, 7, 14])
    assert result.attrs["shared_reference"] == 0
    np.testing.assert_array_equal(result, np.stack([g(s, blocks=2) for s in singles]))
    molecules = [chains("ABBA", frames=3, seed=s) for s in range(2)]
    for measure in (
        lambda d: obs.bonded_angle_distribution(d, *"ABB"),
        lambda d: obs.dihedral_distribution(d, *"ABBA"),
        lambda d: obs.bond_distribution(d, *"BB", bins=np.linspace(0, 1, 9)),
        lambda d: obs.coordination_number(d, *"AB", cutoff=0.5),
        lambda d: obs.angle_distribution(d, *"ABA", cutoff=0.5),
    ):
        np.testing.assert_array_equal(measure(ensemble(*molecules)), np.stack([measure(m) for m in molecules]))


def test_box_with_or_without_frames_and_draws():
    whole = ensemble(gas(TRICLINIC, TYPES, frames=4), gas(TRICLINIC, TYPES, frames=4, seed=1))
    expected = g(whole)
    single = whole.assign(box=whole["box"].isel(frame=0))
    np.testing.assert_array_equal(g(single), expected)
    np.testing.assert_array_equal(g(whole.assign(box=whole["box"].expand_dims(draw=whole.draw))), expected)


def test_dims_in_any_order():
    dataset = ensemble(gas(CUBIC, TYPES, frames=3), gas(CUBIC, TYPES, frames=3, seed=1))
    np.testing.assert_array_equal(g(dataset.transpose("xyz", "frame", "bead", "draw", ...)), g(dataset))


def test_weights_that_choose_frames():
    dataset = gas(CUBIC, TYPES, frames=8)
    chosen = np.array([0, 1, 0, 1, 1, 1, 0, 0.0])
    result = g(dataset, blocks=2, weights=chosen)
    np.testing.assert_allclose(result[0], g(dataset.isel(frame=[1, 3]), blocks=1)[0], rtol=1e-12)
    np.testing.assert_allclose(result[1], g(dataset.isel(frame=[4, 5]), blocks=1)[0], rtol=1e-12)
    np.testing.assert_array_equal(g(dataset, blocks=2, weights=7 * chosen), result)
    np.testing.assert_allclose(g(dataset, blocks=2, weights=np.full(8, 0.3)), g(dataset, blocks=2), rtol=1e-12)


def test_weighted_blocks_average_to_the_weighted_mean():
    dataset = gas(CUBIC, TYPES, frames=9)
    weights = np.random.default_rng(1).exponential(size=9)
    result = g(dataset, blocks=4, weights=weights)
    frames = g(dataset, blocks=9)
    expected = np.average(frames, axis=0, weights=weights)
    np.testing.assert_allclose((result * result["block_weight"]).sum("block"), expected, rtol=1e-12)
    np.testing.assert_allclose(obs.summarize(result)["mean"], expected, rtol=1e-12)
    triples = obs.angle_distribution(dataset, *"ABA", cutoff=0.6, bins=5, blocks=4, weights=weights)
    whole = obs.angle_distribution(dataset, *"ABA", cutoff=0.6, bins=5, blocks=1, weights=weights)
    np.testing.assert_allclose((triples * triples["block_weight"]).sum("block"), whole[0], rtol=1e-12)


def test_one_trajectory_reweighted_to_many_draws():
    dataset = gas(CUBIC, TYPES, frames=8)
    weights = np.random.default_rng(1).exponential(size=(3, 8))
    result = g(dataset, blocks=4, weights=xr.DataArray(weights.T, dims=("frame", "draw")))
    assert result.dims == ("draw", "block", "r")
    assert result.attrs["shared_reference"] == 1
    np.testing.assert_allclose(result, np.stack([g(dataset, blocks=4, weights=w) for w in weights]), rtol=1e-12)
    stacked = ensemble(dataset, dataset, dataset)
    np.testing.assert_allclose(g(stacked, blocks=4, weights=weights), result, rtol=1e-12)
    np.testing.assert_allclose(g(stacked, blocks=4, weights=weights[0])[2], result[0], rtol=1e-12)


def test_block_without_weight_is_missing_but_harmless():
    dataset = gas(CUBIC, TYPES, frames=9)
    weights = np.array([1.0, 1, 1, 0, 0, 0, 1, 1, 1])
    result = g(dataset, blocks=3, weights=weights)
    assert np.isnan(result[1]).all()
    assert np.isfinite(result[[0, 2]]).all()
    summary = obs.summarize(result)
    np.testing.assert_allclose(summary["mean"], (result[0] + result[2]) / 2)


def test_bad_weights_are_refused():
    dataset = gas(CUBIC, TYPES, frames=4)
    for weights, message in [
        (np.ones(3), "have shape"),
        (np.ones((2, 3)), "have shape"),
        (-np.ones(4), "not negative"),
        (np.full(4, np.nan), "finite"),
        (np.zeros(4), "draw 0 are zero"),
    ]:
        with pytest.raises(ValueError, match=message):
            g(dataset, weights=weights)
    with pytest.raises(ValueError, match="have shape"):
        g(ensemble(dataset, dataset), weights=np.ones((3, 4)))


def test_what_is_no_trajectory_is_refused():
    dataset = gas(CUBIC, TYPES, frames=4)
    with pytest.raises(ValueError, match="isel"):
        g(dataset.isel(frame=0))
    with pytest.raises(ValueError, match="no 'positions'"):
        g(dataset.drop_vars("positions"))
    with pytest.raises(ValueError, match="empty"):
        g(dataset.isel(frame=slice(0, 0)))
    with pytest.raises(ValueError, match="only draw, frame, bead, xyz"):
        g(dataset.expand_dims(chain=2))
    broken = ensemble(dataset, dataset)
    broken["positions"] = broken["positions"].copy()
    broken["positions"][1, 2, 5] = np.nan
    with pytest.raises(ValueError, match="draw 1, frame 2 are not finite"):
        g(broken)
    molecules = chains("AB", frames=4)
    molecules["positions"][3, 0] = np.inf
    with pytest.raises(ValueError, match="positions of frame 3 are not finite"):
        obs.bond_distribution(molecules, "A", "B")


def test_results_survive_a_file(tmp_path):
    result = g(ensemble(gas(CUBIC, TYPES, frames=4), gas(CUBIC, TYPES, frames=4, seed=1)))
    write_netcdf(result, tmp_path / "rdf.nc")
    xr.testing.assert_identical(xr.load_dataarray(tmp_path / "rdf.nc"), result)
    summary = obs.summarize(result)
    write_netcdf(summary, tmp_path / "summary.nc")
    xr.testing.assert_identical(xr.load_dataset(tmp_path / "summary.nc"), summary)


def test_kinetic_temperature():
    dataset = gas(CUBIC, TYPES, frames=50)
    mass = np.where(np.array(TYPES) == "A", 18.0, 40.0)
    dataset = dataset.assign_coords(mass=("bead", mass))
    rng = np.random.default_rng(shifted(0))
    sd = np.sqrt(0.00831446 * 300 / mass)[:, None]
    dataset["velocities"] = (("frame", "bead", "xyz"), rng.normal(size=(50, 80, 3)) * sd)
    summary = obs.summarize(obs.kinetic_temperature(dataset))
    assert float(summary["sd"]) == pytest.approx(300 * np.sqrt(2 / (240 * 50)), rel=0.5)
    assert abs(float(summary["mean"]) - 300) < 3 * 300 * np.sqrt(2 / (240 * 50))
    fewer = obs.kinetic_temperature(dataset, degrees_of_freedom=237)
    np.testing.assert_allclose(fewer, obs.kinetic_temperature(dataset) * 240 / 237)
    with pytest.raises(ValueError, match="no 'velocities'"):
        obs.kinetic_temperature(gas(CUBIC, TYPES, frames=2))
