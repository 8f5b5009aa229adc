"""Several models in one figure: every curve, its band, and its difference from the atomistic one."""

import numpy as np
import pytest
import xarray as xr

import bayescg as bcg
from bayescg import plots


def summary(level, bins=20, draws=4, seed=0):
    rng = np.random.default_rng(seed)
    r = np.linspace(0.1, 0.8, bins)
    values = level + 0.1 * rng.normal(size=(draws, 5, bins))
    array = xr.DataArray(values, dims=("draw", "block", "r"), coords={"r": ("r", r, {"units": "nm"})}, name="rdf")
    return bcg.observables.summarize(array.assign_attrs(long_name="g(r) A-A", units="1"))


def number(level, seed=0):
    array = xr.DataArray(level + 0.1 * np.random.default_rng(seed).normal(size=(4, 5)), dims=("draw", "block"))
    return bcg.observables.summarize(array.rename("n").assign_attrs(long_name="neighbors", units="1"))


def test_curves_and_their_differences():
    models, reference = {"one": summary(1.0), "two": summary(1.2, seed=1)}, summary(1.1, seed=2)
    top, below = plots.side_by_side(models, reference).axes
    labels = [text.get_text() for text in top.get_legend().get_texts()]
    assert labels == ["one", "two", "atomistic"]
    lines = {line.get_label(): line.get_ydata() for line in top.get_lines()}
    for name, model in models.items():
        np.testing.assert_array_equal(lines[name], model["mean"])
    shown = [line.get_ydata() for line in below.get_lines() if len(line.get_ydata()) == 20]
    for line, model in zip(shown, models.values(), strict=True):
        np.testing.assert_allclose(line, model["mean"] - reference["mean"], atol=1e-12)
    assert below.get_xlabel() == "$r$ (nm)"


def test_models_of_other_bins_are_compared_where_bins_are_the_same():
    reference = summary(1.0)
    part = summary(1.3, seed=1).isel(r=slice(5, None))
    _, below = plots.side_by_side({"part": part}, reference).axes
    line = below.get_lines()[-1]
    np.testing.assert_array_equal(line.get_xdata(), reference["r"].values[5:])


def test_no_model_is_cut_off():
    """Distributions of bonds cover only the bins where something was seen."""
    short = summary(1.0).isel(r=slice(5))
    top, _ = plots.side_by_side({"short": short, "long": summary(2.0, seed=1)}, summary(1.5, seed=2)).axes
    assert top.get_xlim()[1] >= 0.8
    assert top.get_ylim()[1] > 2.0
    (top, *_) = plots.observable(short, summary(2.0, seed=2)).axes
    assert top.get_xlim()[1] >= 0.8


def test_numbers_have_a_row_each():
    (axes,) = plots.side_by_side({"one": number(4.0), "two": number(5.0)}, number(4.5)).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["one", "two", "atomistic"]
    assert axes.get_xlabel() == "neighbors"


def test_nothing_to_draw():
    with pytest.raises(ValueError, match="no model to draw"):
        plots.side_by_side({})
