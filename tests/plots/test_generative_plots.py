"""Figures of generative models: what is drawn is what the weights say, and missing errors are seen."""

import matplotlib as mpl
import numpy as np
import pytest
import xarray as xr
from matplotlib import pyplot

from bayescg import plots
from bayescg.generative import free_energy

EDGES = np.linspace(-3, 3, 31)


@pytest.fixture(scope="module")
def samples():
    """Two states as often as each other; the weights make the second one three times as likely."""
    rng = np.random.default_rng(0)
    state = np.repeat([0, 1], 5000)
    z = np.stack([np.where(state == 1, 1.2, -1.2), np.zeros(10_000)], axis=1) + 0.3 * rng.normal(size=(10_000, 2))
    phi = np.where(state == 1, 1.0, -1.5) + 0.3 * rng.normal(size=10_000)
    psi = np.where(state == 1, 0.7, 2.9) + 0.3 * rng.normal(size=10_000)
    log_weight = np.log(np.where(state == 1, 0.75, 0.25) / 5000)
    variables = {"latent": (("sample", "latent_dim"), z), "log_weight": ("sample", log_weight)}
    variables |= {"phi": ("sample", phi), "psi": ("sample", psi), "state": ("sample", state)}
    return xr.Dataset(variables, attrs={"reliable": 1})


def check(figure):
    assert isinstance(figure, mpl.figure.Figure)
    assert not pyplot.get_fignums()
    figure.canvas.draw()
    for axes in figure.axes:
        assert np.all(np.isfinite([*axes.get_xlim(), *axes.get_ylim()]))


def labels(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


def test_latent_space_shows_the_target_not_the_model(samples):
    figure = plots.latent_space(samples, {"phi": samples["phi"].values, "psi": samples["psi"].values})
    check(figure)
    left, right = figure.axes[:2]
    for panel, name in ((left, "phi"), (right, "psi")):
        # The second collection: the first holds points without a value.
        points = panel.collections[1]
        z = points.get_offsets()
        assert len(z) == 4000
        # Points in proportion to weights; the model itself has them half and half.
        assert np.mean(z[:, 0] > 0) == pytest.approx(0.75, abs=0.001)
        degrees = np.asarray(points.get_array())
        assert degrees.min() >= -180
        assert degrees.max() <= 180
        expected = np.degrees(samples[name].values[samples["state"] == 1])
        assert np.median(degrees[z[:, 0] > 0]) == pytest.approx(np.median(expected), abs=2)
        assert np.allclose(points.get_cmap()(0.0), points.get_cmap()(1.0))
        assert points.get_clim() == (-180, 180)
    assert left.get_xlabel() == "$z_{1}$"
    assert left.get_ylabel() == "$z_{2}$"
    # 1 / sum w^2 = 10000 / (0.5 * (0.5^2 + 1.5^2)) = 8000
    assert left.get_title(loc="left") == "8,000 effective of 10,000 samples"


def test_latent_space_of_other_values(samples):
    values = np.where(samples["state"] == 1, np.nan, samples["latent"][:, 1])
    figure = plots.latent_space(samples, {"x": values}, latents=(1, 0), angles=False)
    check(figure)
    gray, colored = figure.axes[0].collections
    assert len(gray.get_offsets()) == pytest.approx(3000, abs=4)
    assert np.allclose(colored.get_array(), colored.get_offsets()[:, 0])
    plain = plots.latent_space(samples.drop_vars("log_weight"))
    check(plain)
    assert len(plain.axes) == 1
    assert np.mean(plain.axes[0].collections[0].get_offsets()[:, 0] > 0) == pytest.approx(0.5, abs=0.001)
    with pytest.raises(ValueError, match=r"latents are \(0, 2\)"):
        plots.latent_space(samples, latents=(0, 2))
    with pytest.raises(ValueError, match="x has shape"):
        plots.latent_space(samples, {"x": values[:5]})


def drawn(axes, name):
    return next(line for line in axes.lines if line.get_label() == name).get_xydata()


def test_free_energy_band_is_ninety_percent(samples):
    surface = free_energy(samples, samples["latent"].values[:, 0], EDGES)
    figure = plots.free_energy(surface, unit="nm")
    check(figure)
    axes = figure.axes[0]
    curve = drawn(axes, "model")
    known = np.isfinite(surface["free_energy"].values)
    trusted = np.isfinite(surface["free_energy_se"].values)
    np.testing.assert_allclose(curve[trusted], np.stack([surface["bin"], surface["free_energy"]], 1)[trusted])
    band = next(c for c in axes.collections if c.get_label() == "90 % interval")
    vertices = np.concatenate([path.vertices for path in band.get_paths()])
    k = int(np.nanargmin(surface["free_energy"].values))
    at = vertices[np.isclose(vertices[:, 0], float(surface["bin"][k]))][:, 1]
    assert np.ptp(at) == pytest.approx(2 * 1.6449 * float(surface["free_energy_se"][k]), rel=1e-3)
    # States differ by ln 3, up to the difference of bins' counts.
    low, high = (np.min(curve[trusted & (np.sign(curve[:, 0]) == sign), 1]) for sign in (-1, 1))
    assert low - high == pytest.approx(np.log(3), abs=0.1)
    assert "(nm)" in axes.get_xlabel()
    assert axes.get_ylabel() == "$F$ (kT)"
    # The outermost bins and those between the states hold no sample, those beside them a few.
    assert "no samples" in labels(axes)
    assert "error bars withheld" in labels(axes)
    assert 0 < np.sum(known & ~trusted) < 5
    spans = [patch.get_extents().transformed(axes.transData.inverted()) for patch in axes.patches if patch.get_hatch()]
    hatched = np.zeros(30, bool)
    for span in spans:
        hatched |= (surface["bin"].values > span.x0) & (surface["bin"].values < span.x1)
    np.testing.assert_array_equal(hatched, ~known)
    assert 2 < hatched.sum() < 20


def test_withheld_errors_are_seen(samples):
    unreliable = samples.assign_attrs(reliable=0)
    surface = free_energy(unreliable, samples["latent"].values[:, 0], EDGES)
    figure = plots.free_energy(surface)
    check(figure)
    axes = figure.axes[0]
    assert "error bars withheld" in labels(axes)
    assert not {"model", "90 % interval"} & set(labels(axes))
    known = np.isfinite(surface["free_energy"].values)
    np.testing.assert_array_equal(np.isfinite(drawn(axes, "error bars withheld")[:, 1]), known)
    # Some of them only: both curves, and no band where the error is not known.
    some = free_energy(samples, samples["latent"].values[:, 0], EDGES).copy(deep=True)
    some["free_energy_se"][20:24] = np.nan
    axes = plots.free_energy(some).axes[0]
    assert {"model", "error bars withheld", "90 % interval"} <= set(labels(axes))
    assert np.all(np.isnan(drawn(axes, "model")[20:24, 1]))
    assert np.all(np.isfinite(drawn(axes, "error bars withheld")[20:24, 1]))
    # A guess far above all else does not flatten the rest.
    top = axes.get_ylim()[1]
    some["free_energy"][22] = 500.0
    assert plots.free_energy(some).axes[0].get_ylim()[1] == pytest.approx(top, rel=0.3)
    with pytest.raises(ValueError, match="no bin has"):
        plots.free_energy(free_energy_without_samples())


def free_energy_without_samples():
    nothing = ("bin", np.full(5, np.nan))
    return xr.Dataset({"free_energy": nothing, "free_energy_se": nothing}, {"bin": np.arange(5.0)})


def test_reference_is_shifted_not_scaled(samples):
    surface = free_energy(samples, samples["latent"].values[:, 0], EDGES)
    reference = surface.copy(deep=True)
    reference["free_energy"] += 4.0
    axes = plots.free_energy(surface, reference).axes[0]
    trusted = np.isfinite(surface["free_energy_se"].values)
    np.testing.assert_allclose(drawn(axes, "reference")[trusted], drawn(axes, "model")[trusted], atol=1e-10)


def histogram(samples, weights, bins=24):
    edges = np.linspace(-np.pi, np.pi, bins + 1)
    turned = [(samples[name].values + np.pi) % (2 * np.pi) - np.pi for name in ("phi", "psi")]
    return np.histogram2d(*turned, bins=[edges, edges], weights=weights)[0]


def test_ramachandran_is_minus_log_of_the_weighted_histogram(samples):
    # Angles beyond pi are turned back.
    assert samples["psi"].max() > np.pi
    figure = plots.ramachandran(samples)
    check(figure)
    axes = figure.axes[0]
    shown = axes.collections[0].get_array()
    share = histogram(samples, np.exp(samples["log_weight"]))
    empty = share.T == 0
    np.testing.assert_array_equal(np.ma.getmaskarray(shown), empty)
    np.testing.assert_allclose(shown[~empty], -np.log((share.T / share.max())[~empty]))
    # phi runs to the right: the likelier state stands at phi = 57, psi = 40 degrees.
    row, column = np.unravel_index(np.ma.argmin(shown), (24, 24))
    assert 30 < -180 + 15 * (column + 0.5) < 90
    assert 10 < -180 + 15 * (row + 0.5) < 75
    assert axes.get_xlabel() == "$φ$ (degrees)"


def test_ramachandran_total_variation(samples):
    # The reference is what the samples are without weights: 1/4 of the mass stands elsewhere.
    reference = xr.DataArray(histogram(samples, None, 36).T, dims=("psi", "phi"))
    figure = plots.ramachandran(samples, reference)
    check(figure)
    assert [axes.get_title(loc="left") for axes in figure.axes[:2]] == ["model", "reference"]
    title = figure.get_suptitle()
    assert "total variation 0.250 (by sampling alone 0.0" in title
    assert figure.axes[0].collections[0].get_array().shape == (36, 36)
    # The floor: the mean distance between a histogram of 8000 draws of the reference and itself.
    p = histogram(samples, None, 36).ravel() / 10_000
    rng = np.random.default_rng(1)
    found = [0.5 * np.abs(rng.multinomial(8000, p) / 8000 - p).sum() for _ in range(200)]
    floor = float(title.split("alone ")[1].split(")")[0])
    assert floor == pytest.approx(np.mean(found), rel=0.1)


def test_ramachandran_errors(samples):
    with pytest.raises(ValueError, match="no phi"):
        plots.ramachandran(samples.drop_vars("phi"))
    with pytest.raises(ValueError, match="radians"):
        plots.ramachandran(samples.assign(phi=np.degrees(samples["phi"])))
    with pytest.raises(ValueError, match="needs phi and psi"):
        plots.ramachandran(samples, xr.DataArray(np.ones((3, 3)), dims=("x", "y")))
