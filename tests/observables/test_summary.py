"""Error bars against synthetic data whose errors are known."""

import warnings

import numpy as np
import pytest
import xarray as xr
from scipy import stats

from bayescg import observables as obs
from tests.seeds import shifted


def hierarchy(draws, blocks, sd_posterior, sd_block, bins=2000, seed=0):
    """Independent draws: value of a draw ~ N(1, sd_posterior), block averages ~ N(value, sd_block)."""
    rng = np.random.default_rng(shifted(seed))
    centers = 1 + sd_posterior * rng.normal(size=(draws, 1, bins))
    values = centers + sd_block * rng.normal(size=(draws, blocks, bins))
    return xr.DataArray(
        values, dims=("draw", "block", "r"), coords={"r": np.arange(bins)}, name="g", attrs={"units": "1"}
    )


@pytest.mark.parametrize(("sd_posterior", "sd_block"), [(0.5, 1.0), (0.5, 0.1), (0.5, 1.5)])
def test_posterior_and_sampling_are_told_apart(sd_posterior, sd_block):
    summary = obs.summarize(hierarchy(40, 10, sd_posterior, sd_block))
    assert float((summary["sd_posterior"] ** 2).mean()) == pytest.approx(sd_posterior**2, rel=0.05)
    assert float((summary["sd_sampling"] ** 2).mean()) == pytest.approx(sd_block**2 / 10 / 40, rel=0.02)
    clipped = summary["sd_posterior"] == 0
    taken = summary["sd_posterior"].where(~clipped, summary["sd_posterior_upper"])
    np.testing.assert_allclose(summary["sd"] ** 2, taken**2 + summary["sd_sampling"] ** 2)
    assert summary.attrs["posterior_clipped"] <= float(clipped.mean())
    # The limit is one with a probability of 0.75, whatever the noise: the bins are independent replicates.
    assert float((summary["sd_posterior_upper"] > sd_posterior).mean()) == pytest.approx(0.75, abs=0.05)


@pytest.mark.parametrize("draws", [4, 5, 16])
@pytest.mark.parametrize(("sd_posterior", "sd_block"), [(0.5, 0.3), (0.3, 1.0), (0.0, 1.0)])
def test_interval_covers_another_draw_of_the_posterior(draws, sd_posterior, sd_block):
    summary = obs.summarize(hierarchy(draws, 10, sd_posterior, sd_block, bins=4000, seed=1), ci_prob=0.9)
    truth = 1 + sd_posterior * np.random.default_rng(shifted(2)).normal(size=4000)
    covered = float(((summary["lower"] < truth) & (truth < summary["upper"])).mean())
    # Where draws show no spread beyond their noise, the interval takes a limit: zero would cover 0.84 of four draws.
    # Without a posterior spread, that limit and what noise adds by chance make it wider than it need be.
    assert 0.88 < covered < (0.955 if sd_posterior else 0.99)


@pytest.mark.parametrize("blocks", [4, 10])
def test_interval_of_a_trajectory_covers_its_mean(blocks):
    rng = np.random.default_rng(shifted(0))
    array = xr.DataArray(2 + rng.normal(size=(blocks, 4000)), dims=("block", "r"))
    summary = obs.summarize(array, ci_prob=0.8)
    assert summary.attrs["ci_prob"] == 0.8
    assert summary.attrs["ci_kind"] == "eti"
    assert summary.attrs["n_draws"] == 0
    assert float(((summary["lower"] < 2) & (summary["upper"] > 2)).mean()) == pytest.approx(0.8, abs=0.02)
    np.testing.assert_array_equal(summary["sd_posterior"], 0)
    np.testing.assert_allclose(summary["sd_sampling"], array.std("block", ddof=1) / np.sqrt(blocks))
    np.testing.assert_allclose(summary["mean"], array.mean("block"))


def test_spread_of_draws_below_their_noise_is_clipped():
    rng = np.random.default_rng(0)
    blocks = rng.normal(size=(5, 10, 3))
    equal = xr.DataArray(blocks - blocks.mean(1, keepdims=True), dims=("draw", "block", "r"))
    summary = obs.summarize(equal)
    np.testing.assert_array_equal(summary["sd_posterior"], 0)
    np.testing.assert_allclose(summary["sd_posterior_upper"], 0, atol=1e-12)
    np.testing.assert_allclose(summary["sd_sampling"] ** 2, equal.var("block", ddof=1).mean("draw") / 10 / 5)


def test_a_spread_of_zero_from_five_draws_is_said_to_be_no_knowledge():
    """Five draws 0, 1, 2, 3, 4 with a variance of 2.5; blocks -+ 6 about them, with a squared error of 4 each."""
    blocks = np.tile([6.0, -6.0], 5)
    values = np.arange(5.0)[:, None] + blocks
    summary = obs.summarize(xr.DataArray(values, dims=("draw", "block")))
    assert float(summary["sd_posterior"]) == 0
    # The chi-square distribution of four degrees of freedom has its lower quartile at 1.9226.
    upper = 2.5 * 4 / 1.922557 - 4.0
    assert float(summary["sd_posterior_upper"]) ** 2 == pytest.approx(upper, rel=1e-5)
    assert float(summary["sd"]) ** 2 == pytest.approx(upper + 4.0 / 5, rel=1e-5)
    half = stats.t.ppf(0.95, 45) * np.sqrt(upper * 1.2 + 0.8)
    assert float(summary["upper"]) == pytest.approx(2.0 + half, rel=1e-5)
    assert summary.attrs["posterior_clipped"] == 1.0
    assert "below which" in summary["sd_posterior_upper"].attrs["long_name"]


def test_shared_frames_move_all_draws_alike():
    """Draws reweighted from common frames: their common noise is sampling error, not hidden by averaging draws."""
    rng = np.random.default_rng(shifted(0))
    draws, blocks, bins = 30, 10, 3000
    common = 2.0 * rng.normal(size=(1, blocks, bins))
    own = 0.4 * rng.normal(size=(draws, blocks, bins))
    own -= own.mean(0)
    values = 0.5 * rng.normal(size=(draws, 1, bins)) + common + own
    array = xr.DataArray(values, dims=("draw", "block", "r"), attrs={"shared_reference": 1})
    summary = obs.summarize(array)
    assert float((summary["sd_sampling"] ** 2).mean()) == pytest.approx(4 / 10, rel=0.05)
    assert float((summary["sd_posterior"] ** 2).mean()) == pytest.approx(0.25, rel=0.05)
    independent = obs.summarize(array.assign_attrs(shared_reference=0))
    assert float(independent["sd_sampling"].mean()) < 0.3 * float(summary["sd_sampling"].mean())
    assert float((independent["sd_posterior"] ** 2).mean()) < 0.1


def test_unequal_blocks_give_the_error_of_the_weighted_mean():
    rng = np.random.default_rng(shifted(0))
    weight = np.array([0.3, 0.1, 0.2, 0.05, 0.05, 0.1, 0.05, 0.05, 0.05, 0.05])
    # Variance inverse to weight, as for blocks of different lengths: the mean has variance 1 then.
    values = rng.normal(size=(10, 20000)) / np.sqrt(weight)[:, None]
    array = xr.DataArray(values, dims=("block", "r"), coords={"block_weight": ("block", weight)})
    summary = obs.summarize(array)
    np.testing.assert_allclose(summary["mean"], weight @ values)
    # The ratio estimator's variance is short by the leverage of the heaviest blocks: 10/9 (1 - sum of squared shares).
    expected = 10 / 9 * (1 - (weight**2).sum())
    assert float((summary["sd_sampling"] ** 2).mean()) == pytest.approx(expected, rel=0.02)
    assert expected == pytest.approx(1.0, abs=0.1)


def test_correlated_blocks_are_announced():
    rng = np.random.default_rng(shifted(0))
    noise = rng.normal(size=(16, 200, 30))
    frames = np.zeros_like(noise)
    for k in range(1, 200):
        frames[:, k] = 0.99 * frames[:, k - 1] + noise[:, k]
    short = xr.DataArray(frames.reshape(16, 20, 10, 30).mean(2), dims=("draw", "block", "r"), name="slow")
    with pytest.warns(UserWarning, match="slow: neighboring blocks correlate.*fewer blocks"):
        summary = obs.summarize(short)
    assert summary.attrs["sampling_reliable"] == 0
    assert summary.attrs["block_correlation"] > 0.25


def test_independent_blocks_raise_no_alarm():
    rng = np.random.default_rng(shifted(0))
    correlations = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(300):
            base = rng.normal(size=(10, 3)) @ rng.normal(size=(3, 40))
            summary = obs.summarize(xr.DataArray(base, dims=("block", "r")))
            correlations.append(summary.attrs["block_correlation"])
    # One in some hundred may cross three standard errors; the estimate is unbiased.
    assert np.mean(correlations) == pytest.approx(0, abs=0.04)


def test_one_draw_is_no_posterior():
    array = hierarchy(1, 10, 0.0, 1.0, bins=5)
    summary = obs.summarize(array)
    plain = obs.summarize(array.isel(draw=0))
    for name in ("mean", "sd", "lower", "upper"):
        np.testing.assert_allclose(summary[name], plain[name])
    # Unknown with one draw, absent where there are no draws.
    assert np.all(np.isnan(summary["sd_posterior"]))
    assert np.all(np.isnan(summary["sd_posterior_upper"]))
    assert np.all(plain["sd_posterior"] == 0)
    assert np.all(plain["sd_posterior_upper"] == 0)
    assert summary.attrs["interval_covers"] == plain.attrs["interval_covers"] == "sampling"


def test_scalar_observables_and_labels():
    array = hierarchy(3, 5, 1.0, 1.0, bins=1).isel(r=0, drop=True)
    assert obs.summarize(array)["mean"].dims == ()
    summary = obs.summarize(hierarchy(3, 5, 1.0, 1.0, bins=4))
    assert set(summary.data_vars) == {
        "mean",
        "sd_posterior",
        "sd_posterior_upper",
        "sd_sampling",
        "sd",
        "lower",
        "upper",
    }
    assert all(v.attrs["units"] == "1" for v in summary.data_vars.values())
    np.testing.assert_array_equal(summary["r"], np.arange(4))
    assert summary.attrs["n_draws"] == 3
    assert summary.attrs["n_blocks"] == 5


def test_zscore():
    first = obs.summarize(hierarchy(10, 10, 0.3, 1.0, bins=50))
    second = obs.summarize(hierarchy(10, 10, 0.3, 1.0, bins=60, seed=1))
    z = obs.zscore(first, second)
    assert z.sizes["r"] == 50
    sd = np.sqrt(first["sd"].values ** 2 + second["sd"].values[:50] ** 2)
    np.testing.assert_allclose(z, (first["mean"].values - second["mean"].values[:50]) / sd)
    never = first * 0
    assert np.isnan(obs.zscore(never, never)).all()
    with pytest.raises(ValueError, match="no bins in common"):
        obs.zscore(first, second.assign_coords(r=second["r"] + 0.5))
    with pytest.raises(ValueError, match="cannot be compared"):
        obs.zscore(first, second.rename(r="theta"))


def test_bad_input_is_refused():
    array = hierarchy(3, 5, 1.0, 1.0, bins=4)
    with pytest.raises(ValueError, match="ci_prob=90"):
        obs.summarize(array, ci_prob=90)
    with pytest.raises(ValueError, match="length two or more"):
        obs.summarize(array.isel(block=[0]))
    with pytest.raises(ValueError, match="length two or more"):
        obs.summarize(array.isel(block=0))
    with pytest.raises(ValueError, match="missing or infinite"):
        obs.summarize(array.where(array["r"] != 2))
    weighted = array.assign_coords(block_weight=("block", [1.0, 0, 0, 0, 0]))
    with pytest.raises(ValueError, match="all its weight in one block"):
        obs.summarize(weighted)
