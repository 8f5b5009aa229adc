"""The figure of three-body terms shows their energies, and nothing where neighbors were never so close."""

import jax
import numpy as np
import pytest

import bayescg as bcg
from bayescg._runtime import double_precision
from bayescg.plots import potential, three_body
from bayescg.posterior import from_coefficients
from bayescg.report import Results, draw

TERM = bcg.ThreeBody("A", "A", "B", cutoff=0.5, start=0.1, knot_spacing=0.05, opposite_spacing=0.1)
LOW, CLOSEST = 0.2, 0.24


@pytest.fixture(scope="module")
def posterior():
    model = bcg.Potential(bcg.Pair("A", "B", 0.6), bcg.Pair("A", "A", 0.6), TERM)
    coefficients = np.random.default_rng(0).normal(size=(50, model.n_basis))
    ranges = {TERM.name: (LOW, 0.5), "A-B": (CLOSEST, 0.6), "A-A": (0.1, 0.6)}
    return from_coefficients(model, coefficients, temperature=300.0, ranges=ranges)


def energies(posterior, sides):
    own = posterior["posterior"]["coefficients"].values.reshape(50, -1)[:, -TERM.n_basis :]
    surface = jax.jit(TERM.surface)
    with double_precision():
        return np.array([surface(w, sides)[0] for w in own])


def test_lines_are_energies_of_triangles(posterior):
    figure = three_body(posterior)
    figure.canvas.draw()
    left, right, _ = figure.axes
    assert left.get_title(loc="left") == "A-A-B"
    lines = [line for line in left.lines if line.get_label().startswith("r =")]
    assert [line.get_label() for line in lines] == ["r = 0.275 nm", "r = 0.35 nm", "r = 0.425 nm"]
    for line, band, r in zip(lines, left.collections, (0.275, 0.35, 0.425), strict=True):
        angle, energy = np.radians(line.get_xdata()), line.get_ydata()
        opposite = np.sqrt(2 * r**2 * (1 - np.cos(angle)))
        # Neighbors are an A and a B: those were never closer than the pair term saw.
        assert CLOSEST <= opposite.min() < CLOSEST + 0.02
        exact = energies(posterior, np.stack([np.full(len(angle), r), np.full(len(angle), r), opposite], axis=-1))
        np.testing.assert_allclose(energy, exact.mean(axis=0), atol=1e-9)
        low, high = np.quantile(exact, [0.05, 0.95], axis=0)
        x, y = band.get_paths()[0].vertices.T
        np.testing.assert_allclose(y[1 : len(angle) + 1], low, atol=1e-9)
        np.testing.assert_allclose(y.max(), high.max(), atol=1e-9)
        np.testing.assert_allclose(x.min(), np.degrees(angle.min()))
    assert right.get_xlabel() == "angle (°)"


def test_map_is_the_mean_energy(posterior):
    figure = three_body(posterior)
    right = figure.axes[1]
    (mesh,) = right.collections
    theta, r = np.moveaxis(np.asarray(mesh.get_coordinates()), -1, 0)
    values = np.ma.filled(np.ma.asarray(mesh.get_array()), np.nan).reshape(r.shape)
    opposite = 2 * r * np.sin(np.radians(theta) / 2)
    np.testing.assert_array_equal(np.isnan(values), opposite < CLOSEST)
    sides = np.stack([r, r, opposite], axis=-1)[opposite >= CLOSEST][::50]
    np.testing.assert_allclose(values[opposite >= CLOSEST][::50], energies(posterior, sides).mean(axis=0), atol=1e-9)


def test_what_was_never_sampled_is_unknown_without_ranges(posterior):
    model = bcg.Potential(TERM)
    one = from_coefficients(model, np.ones(model.n_basis), temperature=300.0)
    left = three_body(one).axes[0]
    assert not left.collections  # one draw has no band
    r = np.linspace(0.1, 0.5, 5)[1]
    angle = np.radians(left.lines[0].get_xdata().min())
    assert 2 * r * np.sin(angle / 2) == pytest.approx(0.1, abs=0.005)
    assert "three_body" in draw(Results(posterior=one))


def test_what_has_no_such_figure(posterior):
    with pytest.raises(ValueError, match=r"A-B is no three-body term: see plots\.potential"):
        three_body(posterior, "A-B")
    pairs = bcg.Potential(bcg.Pair("A", "B", 0.6))
    with pytest.raises(ValueError, match="there is no three-body term"):
        three_body(from_coefficients(pairs, np.zeros(pairs.n_basis), temperature=300.0))
    with pytest.raises(ValueError, match=r"no curve .*three_A-A-B; plots\.three_body"):
        potential(posterior, TERM.name)
    alone = bcg.Potential(TERM)
    with pytest.raises(ValueError, match=r"no curve .*three_A-A-B; plots\.three_body"):
        potential(from_coefficients(alone, np.zeros(alone.n_basis), temperature=300.0))
