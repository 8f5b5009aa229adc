"""Levels from outside: what they are worth, what they cover, what leaving out says, and bad input."""

import jax
import numpy as np
import numpyro.distributions as dist
import pytest
import xarray as xr

from bayescg.samplers.settings import Sampling
from bayescg.surrogates import leave_one_out, multi_fidelity, predict_levels
from tests.seeds import shifted

KEY = jax.random.key(shifted(0))
FAST = {"method": "laplace", "settings": Sampling(1, 1, 300), "key": KEY}
X = np.linspace(0, 1, 12)
Y = np.sin(5 * X)
LOW, HIGH = (X, Y), (X[::3], 2 * Y[::3] + 1)

pytestmark = pytest.mark.filterwarnings("ignore:.*Pareto k")


def test_a_cheap_level_helps_and_bands_hold():
    """Ten replicates of a 1-D law with noise: half the error of the best level alone, 90 % bands that cover."""
    errors, covered = [], []
    new = np.linspace(0, 1, 30)
    for seed in range(10):
        rng = np.random.default_rng(shifted(seed))
        phase, scale = rng.uniform(0, 6), rng.uniform(0.5, 2)
        low = lambda x, p=phase: np.sin(9 * x + p)  # noqa: E731
        best = lambda x, p=phase, s=scale: s * np.sin(9 * x + p) + 0.5 * x**2  # noqa: E731
        x, few = rng.uniform(0, 1, 30), rng.uniform(0, 1, 6)
        cheap = (x, low(x) + 0.1 * rng.normal(size=30), np.full(30, 0.1))
        dear = (few, best(few) + 0.1 * rng.normal(size=6), np.full(6, 0.1))
        row = []
        for levels in ([cheap, dear], [dear]):
            found = predict_levels(multi_fidelity(levels, **FAST), new, draws=100, key=KEY).isel(level=-1)
            row.append(np.sqrt(np.mean((found["mean"].values - best(new)) ** 2)))
            # The last one is of the best level alone.
            if len(levels) == 2:
                below, above = found["band"].sel(ci_prob=0.9).values
                covered.append(np.mean((below <= best(new)) & (best(new) <= above)))
        errors.append(row)
    both, alone = np.sqrt(np.mean(np.array(errors) ** 2, axis=0))
    assert both < 0.6 * alone
    assert 0.78 < np.mean(covered) < 0.99


@pytest.mark.filterwarnings("ignore:R-hat", "ignore:only", "ignore:.*divergent")
def test_the_scale_of_a_level_is_learned_and_chains_agree_with_laplace():
    data = {"cheap": (*LOW, np.full(12, 0.02)), "best": (*HIGH, np.full(4, 0.02))}
    fast = multi_fidelity(data, **FAST)
    slow = multi_fidelity(data, method="nuts", settings=Sampling(2, 200, 200), key=KEY)
    means = [float(tree["posterior"]["rho"].mean()) for tree in (fast, slow)]
    assert means[0] == pytest.approx(2.0, abs=0.3)
    assert means[0] == pytest.approx(means[1], abs=0.1)
    assert slow.attrs["rhat_max"] < 1.05
    found = leave_one_out(fast)
    assert np.sqrt(np.mean(found["z"] ** 2)) < 2
    assert set(found["point_level"].values) == {"cheap", "best"}


def test_curves_have_bins_and_joint_draws():
    rng = np.random.default_rng(shifted(9))
    bins, states = np.linspace(0, 1, 15), np.linspace(0, 1, 8)
    low = np.sin(4 * bins + states[:, None])
    high = 1.2 * low[::3] + 0.2 * bins
    data = [(states, low + 0.05 * rng.normal(size=low.shape), 0.05), (states[::3], high, 0.01)]
    tree = multi_fidelity(data, bins=bins, **FAST)
    found = predict_levels(tree, [0.5], draws=20, key=KEY)
    assert found["mean"].dims == ("level", "point", "bin")
    assert found["curve"].shape == (20, 2, 1, 15)
    truth = 1.2 * np.sin(4 * bins + 0.5) + 0.2 * bins
    np.testing.assert_allclose(found["mean"].sel(level="level 1")[0], truth, atol=0.12)
    z = leave_one_out(tree)["z"]
    assert z.dims == ("point", "bin")


BAD = {
    "there are no levels": ([], {}),
    "give [data]": ({"x": X, "y": Y}, {}),
    "must be a list": ("curve.csv", {}),
    "level 1: 1 points are too few": ([LOW, (X[:1], Y[:1])], {}),
    "level 0: y is nan at (2,)": ([(X, np.where(X[2] == X, np.nan, Y)), HIGH], {}),
    "level 1: x has shape": ([LOW, (np.stack([X, X], 1), Y)], {}),
    "level 1: y has shape": ([LOW, (X, Y[:3])], {}),
    "standard deviations": ([LOW, (X, Y, -np.ones(12))], {}),
    "nothing to learn": ([LOW, (X, np.ones(12))], {}),
    "never varies": ([(np.ones(12), Y), (np.ones(4), Y[:4])], {}),
    "no measurement error": ([(np.repeat(X, 2), np.repeat(Y, 2), np.zeros(24)), HIGH], {}),
    "too many for a dense": ([(np.linspace(0, 1, 2001), np.sin(np.arange(2001.0)))], {}),
    "link must be one of": ([LOW, HIGH], {"link": "cubic"}),
    "method must be one of": ([LOW, HIGH], {"method": "vi"}),
    "kernel must be of one part": ([LOW, HIGH], {"kernel": __import__("gpjax").kernels.Linear()}),
    "priors name ['rh']": ([LOW, HIGH], {"priors": {"rh": dist.Normal(1, 1)}}),
    "must allow all numbers": ([LOW, HIGH], {"priors": {"rho": dist.HalfNormal(1)}}),
    "allows negative": ([LOW, HIGH], {"priors": {"noise": dist.Normal(1, 1)}}),
    "numbers that rise": ([(X, np.stack([Y, Y], 1))], {"bins": [1.0, 1.0]}),
    "is for points": ([LOW], {"link": "nonlinear"}),
    "negative eigenvalue": (
        [(X, np.stack([Y, -Y], 1), np.tile([[1.0, 2.0], [2.0, 1.0]], (12, 1, 1)))],
        {"bins": [0.0, 1.0]},
    ),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_input(message):
    levels, options = BAD[message]
    with pytest.raises(ValueError) as raised:  # noqa: PT011
        multi_fidelity(levels, **{**FAST, **options})
    assert message in str(raised.value)


def test_predictions_that_cannot_be():
    with pytest.raises(ValueError, match="no posterior of"):
        predict_levels(xr.DataTree(), X, key=KEY)
    with pytest.raises(ValueError, match="no posterior of"):
        leave_one_out(xr.DataTree())
    tree = multi_fidelity([LOW], **FAST)
    with pytest.raises(ValueError, match="too many for joint draws"):
        predict_levels(tree, np.linspace(0, 1, 4001), key=KEY)
    with pytest.raises(ValueError, match="at least 1"):
        predict_levels(tree, X, draws=0, key=KEY)
    with pytest.raises(ValueError, match="inputs is nan"):
        predict_levels(tree, [np.nan], key=KEY)
