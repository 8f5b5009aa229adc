"""Figures: returned, labeled, finite, and honest about what they show."""

import matplotlib as mpl
import numpy as np
import pytest
import xarray as xr
from matplotlib import pyplot

import bayescg as bcg
from bayescg import plots, posterior

R = np.linspace(0.0, 0.9, 91)


@pytest.fixture(scope="module")
def tree():
    """A pair potential of known shape: a steep core, a well at 0.35 nm of depth 2, draws that differ by their depth."""
    potential = bcg.Potential(bcg.Pair("A", "B", cutoff=0.9))
    term = potential.terms[0]
    sites = term.spline.sites
    shape = 2.0 * ((0.32 / np.maximum(sites, 0.1)) ** 12 - 2 * (0.35 / np.maximum(sites, 0.1)) ** 6)
    w = np.linalg.solve(term.spline.matrix(sites), shape)[: term.n_basis]
    depth = 1 + 0.1 * np.random.default_rng(0).normal(size=40)
    return posterior.from_coefficients(potential, depth[:, None] * w, temperature=300.0, ranges={"A-B": (0.27, 0.9)})


def summary(n_draws, shift=0.0, seed=0):
    rng = np.random.default_rng(seed)
    g = np.where(R < 0.25, 0.0, 1 + np.sin(12 * R)) + shift
    dims, shape = (("draw", "block", "r"), (n_draws, 6, 91)) if n_draws else (("block", "r"), (6, 91))
    values = g + 0.05 * rng.normal(size=shape) + (0.1 * rng.normal(size=(n_draws, 1, 1)) if n_draws else 0)
    attrs = {"long_name": "g(r) A-B", "units": "1"}
    array = xr.DataArray(values, {"r": ("r", R, {"units": "nm"})}, dims, "rdf", attrs)
    return bcg.observables.summarize(array)


def check(figure):
    assert isinstance(figure, mpl.figure.Figure)
    assert not pyplot.get_fignums()
    for axes in figure.axes:
        assert np.all(np.isfinite([*axes.get_xlim(), *axes.get_ylim()]))
    figure.canvas.draw()


def test_potential_shows_the_well_not_the_core(tree):
    figure = plots.potential(tree)
    check(figure)
    energy, force = figure.axes
    assert "nm" in energy.get_xlabel()
    assert "kJ" in energy.get_ylabel()
    assert "nm" in force.get_ylabel()
    low, high = energy.get_ylim()
    # The core reaches 1e3 kJ/mol at 0.23 nm; the well is 1.7 to 4 deep.
    assert -8 < low < -1.5
    assert 0 < high < 8
    assert energy.get_xlim()[0] < 0.27 < energy.get_xlim()[1] <= 0.9 + 1e-9
    assert "never sampled" in [text.get_text() for text in figure.axes[1].get_legend().get_texts()]


def test_potential_bands_hold_the_draws(tree):
    axes = plots.potential(tree, "A-B").axes[0]
    outer = axes.collections[0].get_datalim(axes.transData)
    mean = axes.lines[-1]
    inside = (mean.get_xdata() >= outer.x0) & (mean.get_xdata() <= outer.x1)
    assert np.all(mean.get_ydata()[inside] >= outer.y0)


def test_potential_draws_the_reference(tree):
    reference = xr.Dataset({"force": ("r", np.ones(91)), "force_sd": ("r", 0.1 * np.ones(91))}, {"r": R})
    figure = plots.potential(tree, reference=reference.assign_attrs(label="another program"))
    check(figure)
    texts = [text.get_text() for axes in figure.axes if axes.get_legend() for text in axes.get_legend().get_texts()]
    assert "another program" in texts
    with pytest.raises(ValueError, match="unknown terms"):
        plots.potential(tree, reference={"C-C": reference})
    with pytest.raises(ValueError, match="`energy` or `force`"):
        plots.potential(tree, reference=reference.rename(force="pressure"))


def test_unknown_term(tree):
    with pytest.raises(ValueError, match="no term named"):
        plots.potential(tree, "C-C")


def test_bonded_terms_have_their_own_axes():
    potential = bcg.Potential(bcg.Bond("A", "B", start=0.2, stop=0.4), bcg.Angle("A", "B", "A"))
    bond, angle = potential.terms
    w = np.concatenate(
        [
            np.linalg.solve(bond.spline.matrix(bond.sites), 2e4 * (bond.sites - 0.3) ** 2),
            np.linalg.solve(angle.spline.matrix(angle.sites), 50 * (np.cos(angle.sites) + 0.5) ** 2),
        ]
    )
    tree = posterior.from_coefficients(potential, np.stack([w, 1.1 * w]), temperature=300.0)
    figure = plots.potential(tree)
    check(figure)
    assert len(figure.axes) == 4
    assert "rad" in figure.axes[2].get_xlabel()
    # Energies are drawn from their minimum, whatever constant a draw has, and a reference is moved there, too.
    shifted = potential.n_basis - angle.n_basis
    w_high = np.concatenate([w[:shifted] + 500.0, w[shifted:]])
    raised = posterior.from_coefficients(potential, np.stack([w, w_high]), temperature=300.0)
    x = np.linspace(0.22, 0.38, 50)
    reference = xr.Dataset({"energy": ("r", 2e4 * (x - 0.3) ** 2 - 77.0)}, {"r": x}, {"label": "exact"})
    axes = plots.potential(raised, bond.name, reference).axes[0]
    mean, exact = (
        next(line for line in axes.lines if line.get_label() == name).get_xydata() for name in ("mean", "exact")
    )
    assert mean[:, 1].min() == pytest.approx(0.0, abs=1e-9)
    np.testing.assert_allclose(np.interp(x, *mean.T), exact[:, 1], atol=0.2)
    # Within 8 kT = 20 kJ/mol, not the 200 kJ/mol at the ends of the grid.
    assert figure.axes[0].get_ylim()[1] - figure.axes[0].get_ylim()[0] < 60


def test_observable_shows_both_error_bars_and_z():
    figure = plots.rdf(summary(8), summary(0, shift=0.4, seed=1))
    check(figure)
    top, strip = figure.axes
    assert top.get_ylabel() == "$g(r)$"
    assert "nm" in strip.get_xlabel()
    texts = [text.get_text() for text in top.get_legend().get_texts()]
    assert {"coarse-grained", "atomistic", "90 % posterior alone", "90 % posterior and sampling"} <= set(texts)
    # Predicted is 0.4 below the reference everywhere: all bars point down, and most are beyond -2.
    heights = np.array([bar.get_height() for bar in strip.patches[1:]])
    assert np.all(heights[np.abs(heights) > 1] < 0)
    assert "beyond ±2" in strip.get_title(loc="left")


def test_observable_without_reference_and_scalar():
    check(plots.rdf(summary(8)))
    number = xr.DataArray(5 + np.random.default_rng(0).normal(size=(8, 6)), dims=("draw", "block"), name="n")
    figure = plots.observable(bcg.observables.summarize(number.assign_attrs(long_name="neighbors", units="1")))
    check(figure)
    assert "neighbors" in figure.axes[0].get_xlabel()


def test_two_dimensional_observables_are_refused():
    flat = xr.Dataset({"mean": (("r", "theta"), np.zeros((3, 3)))})
    with pytest.raises(ValueError, match="one dimension"):
        plots.observable(flat)


def sampled_tree(chains):
    rng = np.random.default_rng(0)
    potential = bcg.Potential(bcg.Pair("A", "A", cutoff=0.9))
    values = {
        "lengthscale_A-A": rng.lognormal(-2, 0.3, size=(chains, 200)),
        "noise_A": rng.lognormal(3, 0.1, size=(chains, 200)),
    }
    prior = xr.Dataset({name: (("chain", "draw"), v[:1] ** 2) for name, v in values.items()})
    w = rng.normal(size=(chains, 200, potential.n_basis))
    return posterior.build(potential, w, values, {"prior": prior}, attrs={"temperature": 300.0})


@pytest.mark.parametrize("chains", [1, 4])
@pytest.mark.parametrize("plot", [plots.trace, plots.pairs, plots.prior_posterior])
def test_sampler_figures(plot, chains):
    tree = sampled_tree(chains)
    assert plots.hyperparameters(tree) == ["lengthscale_A-A", "noise_A"]
    figure = plot(tree)
    check(figure)
    labels = " ".join(axes.get_xlabel() + axes.get_ylabel() for axes in figure.axes)
    assert "lengthscale" in labels
    assert "noise" in labels


def test_no_hyperparameters(tree):
    with pytest.raises(ValueError, match="given coefficients"):
        plots.trace(tree)
    with pytest.raises(ValueError, match="no variable sigma"):
        plots.trace(sampled_tree(1), ["sigma"])


def test_style_does_not_leak(tree):
    before = dict(mpl.rcParams)
    plots.potential(tree)
    assert dict(mpl.rcParams) == before
