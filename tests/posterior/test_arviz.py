"""ArviZ's functions take what `force_match` returns by default, as it is."""

import arviz_plots
import arviz_stats
import jax
import numpy as np
import pytest

import bayescg as bcg
from tests.inference.systems import lennard_jones, with_noise


@pytest.fixture(scope="module")
def fits():
    """Two potentials fitted to one liquid with the default method and calibration."""
    cg = with_noise(lennard_jones(16), 100.0, 0)
    sampling = bcg.Sampling(2, 200, 300)
    return {
        name: bcg.force_match(
            bcg.Potential(bcg.Pair("A", "A", cutoff, knot_spacing=0.05)), cg, settings=sampling, key=jax.random.key(1)
        )
        for name, cutoff in (("long", 0.75), ("short", 0.5))
    }


pytestmark = pytest.mark.filterwarnings("ignore")  # of so few draws, and ArviZ's own


def test_summary(fits):
    table = arviz_stats.summary(fits["long"], var_names=["lengthscale_A-A", "coefficients"])
    assert np.all(np.isfinite(table["mean"].astype(float)))
    assert len(arviz_stats.summary(fits["long"])) > len(table)


def test_loo_and_its_diagnostics(fits):
    found = arviz_stats.loo(fits["long"], pointwise=True)
    assert found.n_data_points == fits["long"]["log_likelihood"].sizes["block"]
    assert np.all(found.pareto_k.values < 0.7)
    arviz_plots.plot_khat(found)


def test_compare(fits):
    """The short one misses attractive forces: ArviZ says so, as `compare` does."""
    assert arviz_stats.compare(fits).index[0] == "long"


def test_sensitivity_to_the_prior(fits):
    table = arviz_stats.psense_summary(fits["long"], var_names=["lengthscale_A-A", "amplitude_A-A"])
    assert np.all(np.isfinite(table[["prior", "likelihood"]].astype(float)))


@pytest.mark.parametrize("name", ["plot_ppc_dist", "plot_forest", "plot_trace_dist"])
def test_plots(fits, name):
    names = None if name == "plot_ppc_dist" else ["lengthscale_A-A", "amplitude_A-A", "coefficients"]
    drawn = getattr(arviz_plots, name)(fits["long"], **({} if names is None else {"var_names": names}))
    assert len(drawn.viz["figure"].item().axes) > 0


def test_pairs(fits):
    drawn = arviz_plots.plot_pair(fits["long"], var_names=["lengthscale_A-A", "amplitude_A-A"])
    assert len(drawn.viz["figure"].item().axes) > 0


def test_what_is_foreseen_is_what_is_there(fits):
    """The size of forces: a fit to them foresees it within a few standard deviations."""
    tree = fits["long"]
    drawn = tree["posterior_predictive"]["force_rms"]
    z = (tree["observed_data"]["force_rms"] - drawn.mean(("chain", "draw"))) / drawn.std(("chain", "draw"))
    assert np.abs(z.values).max() < 6
    assert 0.3 < np.sqrt(np.mean(z.values**2)) < 2.5


def test_the_density_of_the_prior(fits):
    """That of a log-normal distribution, with the center and width of its draws."""
    tree = fits["long"]
    logs = np.log(tree["prior"]["lengthscale_A-A"].values)
    x = np.log(tree["posterior"]["lengthscale_A-A"].values).ravel()
    curvature, slope, _ = np.polyfit(x, tree["log_prior"]["lengthscale_A-A"].values.ravel() + x, 2)
    width = np.sqrt(-0.5 / curvature)
    assert width == pytest.approx(logs.std(), rel=0.15)
    assert slope * width**2 == pytest.approx(logs.mean(), abs=5 * width / np.sqrt(logs.size))
