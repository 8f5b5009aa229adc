"""Both published laws: their known points, and recovery of what made the data."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
import xarray as xr
from scipy.integrate import quad

from bayescg._runtime import write_netcdf
from bayescg.plots.surrogates import surrogate
from bayescg.samplers.settings import Sampling
from bayescg.surrogates import PhysicsGuidedGP, fit, nucleation_time, predict, traction_separation, zero
from bayescg.surrogates.means import nucleation_curve, traction_curve
from tests.seeds import shifted

K = 8.314462618e-3
TIMES = {"log_attempt_time": -2.0, "barrier": 100.0, "athermal_stress": 3.0, "exponent": 1.5}


def cohesive():
    return traction_separation(dist.LogNormal(0, 0.5), dist.LogNormal(np.log(0.2), 0.5), units=("nm", "GPa"))


def thermal():
    return nucleation_time(
        *(dist.Normal(-2, 1), dist.LogNormal(np.log(100), 0.3), dist.LogNormal(np.log(3), 0.2)),
        dist.LogNormal(np.log(1.5), 0.2),
        units=("GPa", "kJ/mol"),
    )


def test_cohesive_law():
    values = {"strength": 2.0, "opening": 0.15}

    def traction(x):
        return float(traction_curve(jnp.asarray([[x]]), values)[0])

    assert traction(0.15) == pytest.approx(2.0)
    assert traction(0.14) < 2.0 > traction(0.16)
    assert traction(0.0) == 0
    # The work of separation is e strength opening.
    assert quad(traction, 0, 6)[0] == pytest.approx(np.e * 0.3, rel=1e-4)


def test_nucleation_law():
    x = jnp.asarray([[0.0, 300.0], [1.5, 300.0], [1.5, 600.0], [3.0, 300.0], [4.0, 300.0]])
    found = np.asarray(nucleation_curve(x, TIMES, boltzmann=K))
    barrier = 100 * 0.5**1.5
    expected = [-2 + 100 / (300 * K), -2 + barrier / (300 * K), -2 + barrier / (600 * K), -2, -2]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    # At and beyond the athermal stress too the sampler needs a gradient.
    slope = jax.grad(lambda s: nucleation_curve(x, {**TIMES, "athermal_stress": s}, boltzmann=K).sum())(3.0)
    assert np.isfinite(slope)


@pytest.fixture(scope="module")
def traction_fit():
    rng = np.random.default_rng(shifted(5))
    x = np.linspace(0.01, 0.45, 30)
    law = np.asarray(traction_curve(x[:, None], {"strength": 1.4, "opening": 0.16}))
    y = law + 0.05 * np.sin(15 * x) + 0.03 * rng.normal(size=30)
    data = xr.Dataset({"x": (("point", "input"), x[:, None]), "y": ("point", y)})
    return x, fit(PhysicsGuidedGP(cohesive()), data, settings=Sampling(4, 500, 1000), key=jax.random.key(shifted(1)))


def test_traction_is_recovered(traction_fit):
    _, tree = traction_fit
    for name, truth in (("strength", 1.4), ("opening", 0.16), ("noise", 0.03)):
        values = tree["posterior"][name].values
        assert abs(values.mean() - truth) < 3 * values.std()
    assert tree["posterior"]["strength"].attrs["units"] == "GPa"
    assert tree["posterior"]["lengthscale"].attrs["units"] == "nm"
    assert set(tree.children) == {"posterior", "sample_stats", "log_likelihood", "prior", "constant_data"}
    assert tree.attrs["rhat_max"] < 1.02
    # The data have narrowed what the prior said.
    assert tree["posterior"]["strength"].std() < 0.3 * tree["prior"]["strength"].std()


def test_discrepancy_fades_and_the_law_goes_on(traction_fit):
    _, tree = traction_fit
    found = predict(tree, [0.2, 5.0], key=jax.random.key(shifted(0)))
    near, far = found["sd"].sel(part="discrepancy").values
    amplitude = tree["posterior"]["amplitude"].values
    assert far == pytest.approx(np.sqrt(np.mean(amplitude**2)), rel=0.1)
    assert near < far
    assert found["mean"].sel(part="discrepancy").values[1] == pytest.approx(0.0, abs=1e-3)
    assert found["mean"].sel(part="latent").values[1] == pytest.approx(0.0, abs=1e-3)
    total = found["mean"].sel(part="physics") + found["mean"].sel(part="discrepancy")
    np.testing.assert_allclose(total, found["mean"].sel(part="latent"), atol=1e-12)
    # Physics and discrepancy make up for each other: their sum is known better than either.
    assert found["sd"].sel(part="latent").values[0] < near


def test_file_and_back(traction_fit, tmp_path):
    x, tree = traction_fit
    write_netcdf(tree, tmp_path / "fit.nc")
    back = xr.load_datatree(tmp_path / "fit.nc", engine="h5netcdf")
    xr.testing.assert_allclose(predict(back, x, key=jax.random.key(0)), predict(tree, x, key=jax.random.key(0)))


def test_what_cannot_be_predicted(traction_fit):
    _, tree = traction_fit
    key = jax.random.key(0)
    with pytest.raises(ValueError, match=r"takes \(point, 1\)"):
        predict(tree, np.ones((3, 2)), key=key)
    with pytest.raises(ValueError, match="inputs must be finite"):
        predict(tree, [np.nan], key=key)
    with pytest.raises(ValueError, match="error must be a standard deviation"):
        predict(tree, [0.1], error=-1.0, key=key)
    with pytest.raises(ValueError, match="error has shape"):
        predict(tree, [0.1], error=[0.1, 0.2], key=key)
    with pytest.raises(ValueError, match="this model has the parameters"):
        predict(tree, [0.1], model=PhysicsGuidedGP(zero()), key=key)
    own = tree.copy()
    own["posterior"].attrs["law"] = ""
    with pytest.raises(ValueError, match="law of this posterior is your own"):
        predict(own, [0.1], key=key)
    # A file names a law of the module, never anything else that lives there.
    own["posterior"].attrs["law"] = "law_by_name"
    with pytest.raises(ValueError, match="law of this posterior is your own"):
        predict(own, [0.1], key=key)


def test_figure(traction_fit):
    x, tree = traction_fit
    found = predict(tree, np.linspace(0, 0.8, 50), key=jax.random.key(0))
    figure = surrogate(found, tree["constant_data"], reference=(x, x))
    figure.canvas.draw()
    above, below = figure.axes
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert {"data", "the law", "mean curve", "curve, 95 %", "new data, 95 %", "no data fitted", "reference"} == set(
        labels
    )
    line = next(line for line in above.lines if line.get_label() == "the law")
    np.testing.assert_allclose(line.get_ydata(), found["mean"].sel(part="physics"))
    band = next(c for c in above.collections if c.get_label() == "curve, 95 %").get_paths()[0].vertices
    upper = found["band"].sel(part="latent", ci_prob=0.95, bound="upper").values
    assert np.abs(band[:, 1] - upper.max()).min() < 1e-12
    assert below.get_xlabel() == "separation (nm)"
    assert above.get_ylabel() == "$y$ (GPa)"
    with pytest.raises(ValueError, match="no input 'stress'"):
        surrogate(found, column="stress")
    with pytest.raises(ValueError, match="no prediction"):
        surrogate(tree["constant_data"].to_dataset())
    with pytest.raises(ValueError, match="does not vary"):
        surrogate(predict(tree, [0.3, 0.3], key=jax.random.key(0)))


def test_nucleation_extrapolates_to_long_times():
    rng = np.random.default_rng(shifted(0))
    x = np.stack(np.meshgrid(np.linspace(1.0, 2.0, 5), np.linspace(500, 800, 5)), axis=-1).reshape(-1, 2)
    y = np.asarray(nucleation_curve(x, TIMES, boltzmann=K)) + 0.3 * rng.normal(size=25)
    tree = fit(
        PhysicsGuidedGP(thermal()),
        (x, y, np.full(25, 0.3)),
        settings=Sampling(4, 500, 1000),
        key=jax.random.key(shifted(0)),
    )
    assert tree["posterior"]["lengthscale"].dims == ("chain", "draw", "input")
    assert list(tree["posterior"]["input"].values) == ["stress", "temperature"]
    new = np.array([[0.6, 350.0], [0.6, 600.0], [1.5, 350.0]])
    found = predict(tree, new, key=jax.random.key(shifted(0)))
    truth = np.asarray(nucleation_curve(new, TIMES, boltzmann=K))
    z = (found["mean"].sel(part="latent").values - truth) / found["sd"].sel(part="latent").values
    assert np.abs(z).max() < 3
    # Ten and more decades beyond the longest time in the data, known to a few.
    assert truth[0] - y.max() > 5
    assert found["sd"].sel(part="latent").values.max() < 5
    assert bool(found["outside"].all())
