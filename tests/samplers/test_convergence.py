"""Verdicts on draws and traces that are good, and on such that are not."""

import arviz_stats
import numpy as np
import pytest
import xarray as xr

from bayescg.samplers.convergence import judge, leave_one_out, pooled_rhat, trace_mixing
from bayescg.samplers.density import Sampled
from tests.seeds import shifted


def chains(values, diverging=None) -> Sampled:
    return Sampled(values, {"diverging": np.zeros((4, 500), bool) if diverging is None else diverging}, {})


def autoregressive(rho, shape, rng):
    """Chains with the autocorrelation rho^t."""
    x = rng.normal(size=shape)
    for t in range(1, shape[-1]):
        x[..., t] = rho * x[..., t - 1] + np.sqrt(1 - rho**2) * x[..., t]
    return x


def test_bad_chains_are_named():
    rng = np.random.default_rng(shifted(0))
    apart = {"a": rng.normal(size=(4, 500)) + np.arange(4)[:, None]}
    numbers, notes = judge(chains(apart, np.eye(4, 500, dtype=bool)))
    assert any("chains disagree" in note for note in notes)
    assert any("effective draws" in note for note in notes)
    assert any("4 divergent" in note for note in notes)
    assert numbers["rhat_max"] > 1.1
    assert numbers["divergences"] == 4


def test_good_chains_are_let_pass():
    rng = np.random.default_rng(shifted(0))
    values = {"a": rng.normal(size=(4, 500)), "b": rng.normal(size=(4, 500, 2))}
    numbers, notes = judge(chains(values))
    assert notes == []
    assert numbers["ess_bulk_min"] > 1000
    assert set(numbers) == {"rhat_max", "ess_bulk_min", "ess_tail_min", "divergences"}


def test_the_worst_site_counts():
    rng = np.random.default_rng(shifted(0))
    slow = autoregressive(0.95, (4, 500), rng)
    numbers, notes = judge(
        chains({"a": rng.normal(size=(4, 500)), "b": np.stack([rng.normal(size=(4, 500)), slow], -1)})
    )
    assert numbers["ess_bulk_min"] == pytest.approx(2000 * 0.05 / 1.95, rel=0.7)
    assert any("effective draws" in note for note in notes)


def test_few_divergences_can_be_tolerated():
    rng = np.random.default_rng(shifted(0))
    few = chains({"a": rng.normal(size=(4, 500))}, np.arange(2000).reshape(4, 500) < 8)
    assert any("8 divergent" in note for note in judge(few).notes)
    assert judge(few, tolerated=0.005).notes == []
    assert any("8 divergent" in note for note in judge(few, tolerated=0.003).notes)


def test_verdicts_on_the_other_methods():
    one = {"a": np.zeros((1, 10))}
    numbers, notes = judge(Sampled(one, {}, {"laplace_pareto_k": 0.83}))
    assert numbers == {"laplace_pareto_k": 0.83}
    assert notes == []  # a number to look at: it does not foretell bands that are wrong
    numbers, notes = judge(Sampled(one, {}, {"elbo": -3.0, "converged": False}))
    assert numbers == {"elbo": -3.0}
    assert "not converged" in notes[0]
    assert judge(Sampled(one, {}, {"elbo": -3.0, "converged": True})).notes == []


def test_few_draws_have_no_leave_one_out_score():
    rng = np.random.default_rng(shifted(0))
    values = {"noise": rng.normal(size=(2, 40))}
    size = np.array([1.0, 2.0, 3.0, 1.0, 2.0, 3.0, 1.0, 2.0])
    everything = xr.Dataset(
        {"forces": (("chain", "draw", "block"), -100 * size + 0.1 * rng.normal(size=(2, 40, 8)))},
        {"components": ("block", size)},
    )
    options = {"name": "forces", "unit": "time block"}
    score, notes = leave_one_out(everything, values, **options)
    assert score["elpd"] == pytest.approx(-1500, abs=1)
    assert score["elpd_se"] < 1  # every component has the same density: blocks differ in size only
    assert notes == []
    alike = leave_one_out(everything.drop_vars("components"), values, **options).numbers
    fewer = int(not arviz_stats.__version__.startswith("0."))  # since version 1 they divide by one block less
    assert alike["elpd_se"] == pytest.approx(np.sqrt(8) * 100 * size.std(ddof=fewer), rel=0.01)
    few, notes = leave_one_out(everything.isel(draw=slice(0, 12)), {"noise": values["noise"][:, :12]}, **options)
    assert np.isnan(few["elpd"])
    assert "24 draws are too few" in notes[0]


def test_a_unit_that_decides_is_named():
    rng = np.random.default_rng(shifted(0))
    pointwise = rng.normal(size=(2, 500, 5))
    pointwise[..., 3] *= 20
    data = xr.Dataset({"y": (("chain", "draw", "point"), pointwise)})
    score, notes = leave_one_out(data, {"a": rng.normal(size=(2, 500))}, name="y", unit="point")
    assert score["pareto_k_max"] > 0.7
    assert "Pareto k of a point" in notes[0]


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.8])
def test_mixing_of_traces(rho):
    traces = autoregressive(rho, (1, 8, 2000), np.random.default_rng(shifted(0)))
    ess, rhat = trace_mixing(traces)
    assert ess == pytest.approx(16_000 * (1 - rho) / (1 + rho), rel=0.2)
    assert rhat < 1.01


def test_the_worst_trace_counts():
    rng = np.random.default_rng(shifted(0))
    traces = rng.normal(size=(2, 4, 200))
    traces[1] += 3 * np.arange(4)[:, None]
    ess, rhat = trace_mixing(traces)
    assert rhat > 1.5
    assert ess < 20
    assert trace_mixing(traces[..., :3]) == (4.0, pytest.approx(np.nan, nan_ok=True))


def test_chains_that_are_stuck_are_seen():
    rng = np.random.default_rng(shifted(0))
    moving = rng.normal(size=(4, 100, 50, 3))
    assert pooled_rhat(moving) < 1.02
    stuck = moving.copy()
    # Each of ten parts stays where its chain began.
    stuck[:, :, :10] = rng.normal(size=(4, 1, 10, 3)) + 0.1 * moving[:, :, :10]
    assert pooled_rhat(stuck) > 1.05
    assert np.isnan(pooled_rhat(moving[:, :3]))
