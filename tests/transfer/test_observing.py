"""Observables of atoms at states where only coarse models were run: a law and a misfit that are known."""

import jax
import numpy as np
import pytest
import xarray as xr

from bayescg.inference import Sampling
from bayescg.surrogates.levels.data import read_levels
from bayescg.transfer import observe, observing

QUICK = Sampling(chains=1, warmup=1, draws=200)
R = np.linspace(0.2, 1.0, 17)
COARSE = [{"temperature": t} for t in (280.0, 290.0, 300.0, 310.0, 320.0, 330.0, 340.0)]
ATOMS = [{"temperature": t} for t in (280.0, 300.0, 340.0)]
LEFT_OUT = [{"temperature": 320.0}]


def coarse_law(state, r=R):
    return (r > 0.3) * (1 + np.exp(-4 * r) * 300 / state["temperature"] * 4 * np.cos(20 * (r - 0.35)))


def misfit(state, r=R):
    return (r > 0.3) * 0.3 * np.exp(-(((r - 0.5) / 0.15) ** 2)) * state["temperature"] / 300


def atoms_law(state):
    return coarse_law(state) + misfit(state)


def blocks(mean, error, rng, draws=None, dims=("r",)):
    """An observable whose mean has this standard error."""
    shape = ((draws,) if draws else ()) + (10,) + np.shape(mean)
    noise = rng.normal(size=shape) * error * np.sqrt(10) * (np.asarray(mean) != 0)
    lead = ("draw", "block") if draws else ("block",)
    coords = {"r": R} if dims else {}
    return xr.DataArray(mean + noise, dims=lead + dims, coords=coords, name="g", attrs={"units": "1"})


def measured(law, states, error, seed, draws=None, dims=("r",)):
    rng = np.random.default_rng(seed)
    return [(state, blocks(law(state), error, rng, draws, dims)) for state in states]


@pytest.fixture(scope="module")
def found():
    coarse = measured(coarse_law, COARSE, 0.004, 0, draws=8)
    atoms = measured(atoms_law, ATOMS, 0.01, 1)
    return observe(coarse, atoms, LEFT_OUT, settings=QUICK, key=jax.random.key(0))


def test_the_misfit_is_learned_and_within_the_interval(found):
    truth, met = atoms_law(LEFT_OUT[0]), R > 0.3
    inside = (found["lower"].values[0] <= truth) & (truth <= found["upper"].values[0])
    assert 0.8 <= inside[met].mean() <= 1.0
    error = np.abs(found["mean"].values[0] - truth)[met]
    assert error.mean() < 0.2 * np.abs(misfit(LEFT_OUT[0]))[met].mean()
    # The coarse model alone is far outside of its own error bars.
    assert np.abs(found["coarse"].values[0] - truth)[met].max() > 0.2
    assert found.attrs["linked"] > 0.5


def test_bins_that_nothing_met_stay(found):
    empty = R <= 0.3
    assert np.all(found["sd"].values[0, empty] == 0)
    assert np.all(found["mean"].values[0, empty] == 0)
    assert found["mean"].dims == ("state", "r")
    assert found.attrs["observable"] == "g"
    assert float(found["temperature"][0]) == 320.0
    assert not bool(found["outside"][0])


def test_numbers_and_how_much_a_coarse_model_is_worth():
    """A number of each state: the interval is narrower than one that does without the coarse model."""

    def low(state):
        return np.sin(state["temperature"] / 12)

    def high(state):
        return 1.5 * low(state) + 0.002 * state["temperature"]

    coarse = measured(low, [{"temperature": t} for t in np.linspace(280.0, 340.0, 16)], 0.01, 2, dims=())
    atoms = measured(high, [{"temperature": t} for t in (280.0, 295.0, 310.0, 325.0, 340.0)], 0.01, 3, dims=())
    asked = [{"temperature": 302.0}]
    found = observe(coarse, atoms, asked, settings=QUICK, key=jax.random.key(0))
    assert found["mean"].dims == ("state",)
    assert abs(float(found["mean"][0]) - high(asked[0])) < 3 * float(found["sd"][0])
    useless = measured(lambda s: np.cos(7 * s["temperature"]), [s for s, _ in coarse], 0.01, 4, dims=())
    alone = observe(useless, atoms, asked, settings=QUICK, key=jax.random.key(0))
    assert float(found["sd"][0]) < 0.5 * float(alone["sd"][0])


def test_errors_of_many_bins_become_one_covariance_times_a_number():
    """More values than a dense covariance takes: `multi_fidelity` accepts them, and mean variances stay."""
    fine = np.linspace(0.31, 1.0, 241)

    def many(states, error, seed):
        rng = np.random.default_rng(seed)
        noise = error * (1 + np.arange(len(states)))[:, None, None] * rng.normal(size=(len(states), 10, 241))
        return [
            (s, xr.DataArray(coarse_law(s, fine) + each, dims=("block", "r"), coords={"r": fine}))
            for s, each in zip(states, noise, strict=True)
        ]

    levels = [observing._level(many(s, 0.01, k), ("temperature",)) for k, s in enumerate((COARSE, ATOMS))]
    data = observing._data(levels, np.full(241, True), ("r", fine))
    common = read_levels(data, fine).common_error()
    assert common is not None
    wanted = np.concatenate([np.mean(level.sd**2, axis=1) for level in levels])
    np.testing.assert_allclose(common[0] * np.trace(common[1]) / 241, wanted, rtol=1e-9)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c, a, s: (c[:2], a, s, {}), "2 coarse states are too few"),
        (lambda c, a, s: (c, a[:1], s, {}), "1 atomistic states are too few"),
        (lambda c, a, s: (c, a, [], {}), "no states are asked for"),
        (lambda c, a, s: (c, a, [{"density": 1.0}], {}), "descriptors must be temperature; got density"),
        (lambda c, a, s: (c, a, s, {"link": "nonlinear"}), "use 'constant' or 'varying'"),
        (lambda c, a, s: (c, [(a[0][0], a[0][1].isel(r=slice(5))), *a[1:]], s, {}), "bins differ between states"),
    ],
)
def test_refused(change, message):
    coarse, atoms = measured(coarse_law, COARSE, 0.01, 0), measured(atoms_law, ATOMS, 0.01, 1)
    coarse, atoms, states, choices = change(coarse, atoms, LEFT_OUT)
    with pytest.raises(ValueError, match=message):
        observe(coarse, atoms, states, settings=QUICK, key=jax.random.key(0), **choices)
