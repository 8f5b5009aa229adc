"""The figure of three-body terms shows their energies, and nothing where no triangle was."""

import numpy as np
import pytest

import bayescg as bcg
from bayescg._runtime import double_precision
from bayescg.plots import potential, three_body
from bayescg.posterior import from_coefficients

TERM = bcg.ThreeBody("A", "A", "B", cutoff=0.5, start=0.1, knot_spacing=0.05, opposite_spacing=0.1)
LOW = 0.2


@pytest.fixture(scope="module")
def posterior():
    model = bcg.Potential(bcg.Pair("A", "B", 0.6), TERM)
    coefficients = np.random.default_rng(0).normal(size=(5, model.n_basis))
    return from_coefficients(model, coefficients, temperature=300.0, ranges={TERM.name: (LOW, 0.5)})


def test_lines_are_energies_of_triangles(posterior):
    figure = three_body(posterior)
    figure.canvas.draw()
    left, right, _ = figure.axes
    assert left.get_title(loc="left") == "A-A-B"
    coefficients = posterior["posterior"]["coefficients"].values.reshape(5, -1)[:, -TERM.n_basis :]
    lines = [line for line in left.lines if line.get_label().startswith("r =")]
    assert [line.get_label() for line in lines] == ["r = 0.275 nm", "r = 0.35 nm", "r = 0.425 nm"]
    for line, r in zip(lines, (0.275, 0.35, 0.425), strict=True):
        angle, energy = np.radians(line.get_xdata()), line.get_ydata()
        opposite = np.sqrt(2 * r**2 * (1 - np.cos(angle)))
        assert opposite.min() >= LOW
        assert opposite.min() < LOW + 0.02
        sides = np.stack([np.full(len(angle), r), np.full(len(angle), r), opposite], axis=-1)
        with double_precision():
            exact = np.array([TERM.surface(w, sides)[0] for w in coefficients])
        np.testing.assert_allclose(energy, exact.mean(axis=0), atol=1e-9)
    assert right.get_xlabel() == "angle (°)"


def test_what_has_no_such_figure(posterior):
    with pytest.raises(ValueError, match=r"A-B is no three-body term: see plots\.potential"):
        three_body(posterior, "A-B")
    pairs = bcg.Potential(bcg.Pair("A", "B", 0.6))
    with pytest.raises(ValueError, match="there is no three-body term"):
        three_body(from_coefficients(pairs, np.zeros(pairs.n_basis), temperature=300.0))
    with pytest.raises(ValueError, match=r"see plots\.three_body"):
        potential(posterior, TERM.name)
    alone = bcg.Potential(TERM)
    with pytest.raises(ValueError, match=r"see plots\.three_body"):
        potential(from_coefficients(alone, np.zeros(alone.n_basis), temperature=300.0))
