"""`compare` and the block scores that it pairs: against a dense Gaussian, on planted models, and on bad input."""

import jax
import numpy as np
import pytest
import xarray as xr
from scipy import stats

import bayescg as bcg
from bayescg.inference.comparison import compare
from bayescg.inference.linear import predictive
from bayescg.inference.linear.predictive import Linear, block_scores
from bayescg.inference.statistics.sums.blocks import Sums
from bayescg.storage import load, save
from tests.inference import systems
from tests.seeds import shifted
from tests.studies.many_body import planted_library

BLOCKS, ROWS, SIZE = 8, 6, 3


class Dense:
    """Statistics of a small dense linear model, and the model itself."""

    def __init__(self, seed: int):
        rng = np.random.default_rng(seed)
        self.design = rng.normal(size=(BLOCKS, ROWS, SIZE))
        self.forces = self.design @ [1.0, -2.0, 0.5] + rng.normal(0, 0.7, (BLOCKS, ROWS))
        self.keys = [("run", k) for k in range(BLOCKS)]
        self.levels = {"run": 0}
        self.blocks = [
            Sums((j.T @ j)[None], (j.T @ f)[None], np.array([f @ f]), np.array([float(ROWS)]), 0.0 * (j.T @ f)[None])
            for j, f in zip(self.design, self.forces, strict=True)
        ]


@pytest.mark.parametrize("calibrated", [False, True])
def test_block_scores_are_those_of_a_dense_gaussian(calibrated):
    data = Dense(0)
    factor = np.linalg.cholesky(np.array([[2.0, 0.3, 0], [0.3, 1.0, 0], [0, 0, 0.5]]))
    mean, noise, temper = np.array([0.3, 0.0, 0.1]), 0.9, 1.7 if calibrated else 1.0
    scatter = np.array([[1.0, 0.2], [0.0, 2.0], [0.4, 0.1]]) if calibrated else None
    found = block_scores(Linear(mean, factor, np.array([noise]), temper, scatter), data)
    for b in range(BLOCKS):
        j, f = np.delete(data.design, b, 0).reshape(-1, SIZE), np.delete(data.forces, b, 0).ravel()
        a = np.linalg.inv(np.linalg.inv(factor @ factor.T) + j.T @ j / noise**2 / temper)
        w = mean + a @ j.T @ (f - j @ mean) / noise**2 / temper
        covariance = a
        if calibrated:
            half = np.linalg.inv(factor).T @ scatter  # scores of w are L^-T those of v
            variance = half @ half.T * (BLOCKS - 1) / BLOCKS
            covariance = a @ np.linalg.inv(factor @ factor.T) @ a + a @ variance @ a
        residual = np.mean((f - j @ w) ** 2)
        own = data.design[b]
        density = stats.multivariate_normal(own @ w, residual * np.eye(ROWS) + own @ covariance @ own.T)
        assert float(found["elpd"][b]) == pytest.approx(density.logpdf(data.forces[b]), abs=1e-9)
        assert float(found["squared_error"][b]) == pytest.approx(np.sum((data.forces[b] - own @ w) ** 2), rel=1e-9)


def test_standard_error_counts_memory():
    rng = np.random.default_rng(shifted(1))
    noise = rng.normal(size=(400, 65))
    kept = 0.5 ** np.arange(20)
    remembered = np.stack([np.convolve(row, kept)[1:65] for row in noise])
    blocks = xr.Dataset(
        {"components": ("block", np.ones(64))}, {"source": ("block", ["a"] * 64), "number": ("block", np.arange(64))}
    )
    independent = np.mean([predictive.standard_error(row[:64], blocks) for row in noise])
    found = np.mean([predictive.standard_error(row, blocks) for row in remembered])
    assert independent == pytest.approx(8.0, rel=0.1)
    true = np.std(remembered.sum(axis=1))
    assert 0.7 * true < found < 1.05 * true
    plain = np.mean(np.std(remembered, axis=1)) * 8
    assert plain < 0.65 * true


def test_standard_error_knows_that_blocks_differ_in_size():
    size = np.tile([1.0, 3.0, 4.0, 2.0], 16)
    blocks = xr.Dataset(
        {"components": ("block", size)}, {"source": ("block", ["a"] * 64), "number": ("block", np.arange(64))}
    )
    assert predictive.standard_error(-1000.0 * size, blocks) == pytest.approx(0.0, abs=1e-6)
    rng = np.random.default_rng(shifted(0))
    scatter = rng.normal(size=(400, 64)) * np.sqrt(size)
    found = np.mean([predictive.standard_error(row - 1000 * size, blocks) for row in scatter])
    assert found == pytest.approx(np.std(scatter.sum(axis=1)), rel=0.1)


PAIR = bcg.Potential(bcg.Pair("A", "A", systems.CUTOFF))
BLIND = bcg.Potential(bcg.Pair("A", "A", 0.36))


@pytest.fixture(scope="module")
def fits():
    data = planted_library.liquid(40).isel(frame=slice(0, 32))
    noisy = systems.with_noise(data, float(data["forces"].std()), 0)
    options = {"method": "laplace", "key": jax.random.key(shifted(0))}
    found = {
        "pair": bcg.force_match(PAIR, noisy, noise_ceiling=0.5, **options),
        "short": bcg.force_match(BLIND, noisy, calibration="none", **options),
    }
    return found, noisy


@pytest.mark.filterwarnings("ignore:Pareto k")
def test_compare_tells_a_blind_potential(fits, tmp_path):
    found, _ = fits
    found = {**found, "pair": load(save(found["pair"], tmp_path / "pair.nc"))}
    table = compare(found)
    assert list(table.index) == ["pair", "short"]
    assert list(table.columns[:8]) == ["rank", "elpd", "p", "elpd_diff", "weight", "se", "dse", "warning"]
    assert table["elpd_diff"]["pair"] == 0
    assert table["elpd_diff"]["short"] > 10 * table["dse"]["short"] > 0
    assert table["dse"]["short"] < 0.5 * table["se"]["short"]
    assert table["weight"]["pair"] > 0.99
    assert 3 < table["p"]["pair"] < 40
    # Half of the force is noise: at best 0.5, less what cannot be learned from 32 frames.
    assert 0.45 < table["r2"]["pair"] < 0.52
    assert table["r2"]["pair"] - table["r2"]["short"] == pytest.approx(table["r2_diff"]["short"], abs=1e-12)
    assert table["noise_ceiling"]["pair"] == 0.5
    assert np.isnan(table["noise_ceiling"]["short"])
    assert np.isnan(table["log_evidence"]["pair"])
    assert np.isfinite(table["log_evidence"]["short"])
    assert list(table["calibration"]) == ["godambe", "none"]
    # A gain in squared error is a gain in density, 1/2 n log of the ratio of residuals.
    components = float(found["pair"]["predictive"]["components"].sum())
    ratio = (1 - table["r2"]["short"]) / (1 - table["r2"]["pair"])
    assert table["elpd_diff"]["short"] == pytest.approx(0.5 * components * np.log(ratio), rel=0.1)


@pytest.mark.filterwarnings("ignore:Pareto k")
def test_equal_models_do_not_differ(fits):
    found, noisy = fits
    pilot = bcg.fit_pilot(PAIR, noisy)
    again = bcg.force_match(
        PAIR,
        bcg.force_statistics(PAIR, noisy.isel(frame=slice(0, 11)), pilot=pilot)
        + bcg.force_statistics(PAIR, noisy.isel(frame=slice(11, 32)), pilot=pilot),
        method="laplace",
        key=jax.random.key(9),
    )
    table = compare({"one": found["pair"], "other": again})
    assert table["elpd_diff"].max() < 1e-3
    assert table["r2_diff"].abs().max() < 1e-6


def test_bad_input(fits):
    found, _ = fits
    with pytest.raises(ValueError, match="two posteriors at least"):
        compare({"pair": found["pair"]})
    bare = found["pair"].filter(lambda node: node.name != "predictive")
    with pytest.raises(ValueError, match="'bare' has no scores of time blocks"):
        compare({"pair": found["pair"], "bare": bare})
    other = found["short"].copy()
    other["predictive"] = (
        found["short"]["predictive"].to_dataset().assign(square=found["short"]["predictive"]["square"] * 2)
    )
    with pytest.raises(ValueError, match="not fitted to the same forces"):
        compare({"pair": found["pair"], "other": other})
