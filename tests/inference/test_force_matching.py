"""`force_match` as a user meets it: methods agree, ArviZ works on the result, bad chains are said to be bad."""

import arviz_stats
import gpjax
import jax
import numpy as np
import pytest

import bayescg as bcg
from bayescg.inference import Sampling
from bayescg.posterior import curves
from bayescg.storage import load, save
from tests.inference import systems
from tests.seeds import shifted

POTENTIAL = bcg.Potential(bcg.Pair("A", "A", systems.CUTOFF))
PLAN = Sampling(chains=2, warmup=300, draws=800)


@pytest.fixture(scope="module")
def statistics():
    data = systems.lennard_jones(40, seed=5)
    noisy = systems.with_noise(data, float(data["forces"].std()), 0)
    return bcg.force_statistics(POTENTIAL, noisy, pilot=bcg.fit_pilot(POTENTIAL, noisy))


@pytest.fixture(scope="module")
def nuts(statistics):
    return plain_fit(statistics)


def plain_fit(statistics, **choices):
    """Noise is independent in these data, so that the plain posterior is exact and evidence means something."""
    choices = {"calibration": "none", "settings": PLAN, "key": jax.random.key(shifted(0)), **choices}
    return bcg.force_match(POTENTIAL, statistics, **choices)


def test_layout(nuts):
    assert set(nuts.children) == {
        *("posterior", "sample_stats", "log_likelihood", "predictive", "prior", "log_prior", "posterior_predictive"),
        *("observed_data", "constant_data", "statistics"),
    }
    group = nuts["posterior"]
    assert group["coefficients"].dims == ("chain", "draw", "basis")
    assert group["coefficients"].sizes == {"chain": 2, "draw": 800, "basis": POTENTIAL.n_basis}
    assert {"lengthscale_A-A", "amplitude_A-A", "warp_A-A", "noise_A", "u_A-A", "f_A-A"} <= set(group.data_vars)
    assert group["u_A-A"].attrs["units"] == "kJ/mol"
    for attrs in (nuts.attrs, group.attrs):
        assert attrs["noise_ceiling_r2"] == "unknown"
        assert "Model misfit" in attrs["misfit"]
        assert 0.4 < attrs["held_out_r2"] < 0.55  # noise as strong as the force
        assert attrs["rhat_max"] < 1.02
        assert attrs["divergences"] == 0


@pytest.mark.parametrize("method", ["laplace", "vi"])
def test_methods_agree_with_nuts(nuts, statistics, method):
    other = plain_fit(statistics, method=method, key=jax.random.key(shifted(1)))
    r = nuts["posterior"]["x_A-A"].values
    # Down to the smallest distance met: below it the grid shows the wall.
    inside = (r > statistics.ranges["A-A"][0]) & (r < 0.84)
    exact = nuts["posterior"]["f_A-A"].values[..., inside]
    approximate = other["posterior"]["f_A-A"].values[..., inside]
    shift = (approximate.mean((0, 1)) - exact.mean((0, 1))) / exact.std((0, 1))
    assert np.abs(shift).max() < 0.4
    ratio = approximate.std((0, 1)) / exact.std((0, 1))
    assert ratio.min() > 0.7
    assert ratio.max() < 1.4
    noise = "noise_A"
    assert abs(float(other["posterior"][noise].mean() - nuts["posterior"][noise].mean())) < 0.5


def test_same_key_same_posterior(nuts, statistics):
    again = plain_fit(statistics)
    np.testing.assert_array_equal(again["posterior"]["coefficients"], nuts["posterior"]["coefficients"])


@pytest.mark.filterwarnings("ignore:The inplace keyword", "ignore::RuntimeWarning")  # from within arviz_stats.compare
def test_arviz_takes_the_result_and_its_file(nuts, statistics, tmp_path):
    tree = load(save(nuts, tmp_path / "posterior.nc"))
    table = arviz_stats.summary(tree, var_names=["lengthscale_A-A", "noise_A"])
    assert list(table.index) == ["lengthscale_A-A", "noise_A"]
    score = arviz_stats.loo(tree)
    assert abs(score.elpd - nuts.attrs["elpd"]) < 0.01 * nuts.attrs["elpd_se"]
    rough = plain_fit(statistics, kernels={"A-A": gpjax.kernels.Matern12()}, method="laplace", settings=Sampling())
    ranking = arviz_stats.compare({"smooth": tree, "rough": rough})
    assert list(ranking.index) == ["smooth", "rough"]


def test_evidence_prefers_the_smoother_kernel(nuts, statistics):
    rough = plain_fit(statistics, kernels={"A-A": gpjax.kernels.Matern12()}, method="laplace", settings=Sampling())
    assert nuts.attrs["log_evidence"] > rough.attrs["log_evidence"] + 3


def test_independent_noise_needs_no_calibration(nuts, statistics):
    calibrated = bcg.force_match(POTENTIAL, statistics, settings=PLAN, key=jax.random.key(shifted(0)))
    r = nuts["posterior"]["x_A-A"].values
    inside = (r > statistics.ranges["A-A"][0]) & (r < 0.84)
    plain, other = (tree["posterior"]["f_A-A"].values[..., inside] for tree in (nuts, calibrated))
    assert np.abs((other.mean((0, 1)) - plain.mean((0, 1))) / plain.std((0, 1))).max() < 0.5
    ratio = other.std((0, 1)) / plain.std((0, 1))
    assert 0.8 < np.exp(np.mean(np.log(ratio))) < 1.25
    assert 0.85 < calibrated.attrs["score_variance"] < 1.2


@pytest.mark.filterwarnings("ignore:R-hat", "ignore:Pareto k")
def test_short_chains_warn(statistics):
    with pytest.warns(UserWarning, match="effective draws"):
        bcg.force_match(POTENTIAL, statistics, settings=Sampling(2, PLAN.warmup, 20), key=jax.random.key(0))


@pytest.mark.filterwarnings("ignore:Pareto k")
def test_several_bead_types_have_a_noise_each():
    data = systems.lennard_jones(20, seed=6)
    half = np.where(np.arange(125) % 2, "B", "A")
    data = data.assign_coords(bead_type=("bead", half))
    rng = np.random.default_rng(shifted(0))
    scale = np.where(half == "A", 20.0, 60.0)[None, :, None]
    noisy = data.assign(forces=data["forces"] + rng.normal(size=data["forces"].shape) * scale)
    potential = bcg.Potential(*(bcg.Pair(a, b, systems.CUTOFF, knot_spacing=0.02) for a, b in ("AA", "AB", "BB")))
    posterior = bcg.force_match(potential, noisy, method="laplace", calibration="none", key=jax.random.key(shifted(0)))
    posterior = posterior["posterior"]
    for bead, expected in (("A", 20.0), ("B", 60.0)):
        noise = posterior[f"noise_{bead}"]
        assert abs(float(noise.mean()) - expected) < 4 * float(noise.std()) + 0.01 * expected
    w = posterior["coefficients"].mean(("chain", "draw")).values
    r = np.linspace(0.33, 0.8, 30)
    for name in ("A-A", "A-B", "B-B"):
        assert np.abs(curves(potential, name, w, r)[1] - systems.true_force(systems.LJ, r)).max() < 12
