"""The path from one reference to the next, with references drawn exactly: many fits in no time."""

import dataclasses

import jax
import numpy as np
import pytest
from scipy.stats import norm

import bayescg as bcg
from bayescg._runtime import double_precision
from bayescg.inference import Sampling
from bayescg.inference.relative_entropy import _begin, relative_entropy
from bayescg.inference.structural import prior as structural_prior
from bayescg.inference.structural.iteration import advance
from bayescg.inference.structural.problem import Problem
from bayescg.inference.structural.refinement import Refinement
from bayescg.inference.structural.reweighting import Reference
from bayescg.inference.structural.structure import Frames
from tests.inference import dimers

MEMORY = 0.6
QUICK = Refinement(
    time=10.0,
    dynamics=bcg.Langevin(timestep=0.004, interval=0.1),
    engine="jax",
    sampling=Sampling(chains=1, warmup=1, draws=50),
)


@pytest.fixture(autouse=True)
def exact(monkeypatch):
    """Simulations are draws of the exact distribution of bond lengths, each frame correlated with the one before."""

    def simulated(self, coefficients, time, number):
        rng = np.random.default_rng([*np.asarray(jax.random.key_data(self.key)), number])
        count = max(round(time / self.settings.dynamics.interval), 10)
        z = rng.normal(size=(self.settings.runs, count, self.initial.sizes["bead"] // 2))
        for k in range(1, count):
            z[:, k] = MEMORY * z[:, k - 1] + np.sqrt(1 - MEMORY**2) * z[:, k]
        frames = _frames(self.potential.terms[0], _lengths(self.potential.terms[0].spline, coefficients, norm.cdf(z)))
        return Reference(frames, frames.basis @ coefficients, self.kT)

    monkeypatch.setattr(Problem, "simulated", simulated)


def _lengths(spline, coefficients, uniform):
    """Bond lengths at quantiles; beyond the spline the bond goes on along its tangent, as in the engines."""
    low, high = spline.knots[0], spline.knots[-1]
    x = np.linspace(max(0.01, low - 0.15), high + 0.15, 20001)
    slopes = spline.matrix(np.array([low, high]), 1) @ coefficients
    u = spline.matrix(np.clip(x, low, high)) @ coefficients
    u += slopes[0] * np.minimum(x - low, 0) + slopes[1] * np.maximum(x - high, 0)
    log = 2 * np.log(x) - u / dimers.kT
    density = np.exp(log - log.max())
    cumulative = np.concatenate([[0.0], np.cumsum(0.5 * (density[1:] + density[:-1]))])
    return np.interp(uniform, cumulative / cumulative[-1], x)


def _frames(term, x):
    counts = np.stack([[np.histogram(frame, term.spline.knots)[0] for frame in run] for run in x]).astype(float)
    basis, slopes = (term.spline.matrix(x.ravel(), order).reshape(*x.shape, -1) for order in (0, 1))
    ranges = {term.name: (float(x.min()), float(x.max()))}
    strained = (slopes * x[..., None]).sum(axis=2)
    return Frames(basis.sum(axis=2), strained, np.zeros((*x.shape[:2], 2)), {term.name: counts}, ranges)


def data(frames, seed):
    return dimers.dataset(dimers.sample(dimers.energy, frames, 40, seed))


@pytest.mark.filterwarnings("ignore:.*outside the trust region")
@pytest.mark.parametrize(("frames", "time", "longest"), [(200, 10.0, 2000.0), (40, 5.0, 40.0), (12, 5.0, 40.0)])
def test_fits_of_few_frames_converge_whatever_chance_gives(frames, time, longest):
    settings = dataclasses.replace(QUICK, time=time, longest=longest)
    for seed in range(12):
        fit = relative_entropy(dimers.potential(), data(frames, seed), settings=settings, key=jax.random.key(seed))
        assert fit["posterior"].attrs["converged"], seed
        assert fit["posterior"].attrs["iterations"] <= 4, seed


@pytest.mark.filterwarnings("ignore:.*outside the trust region")
@pytest.mark.parametrize("change", ["flat", "four times as stiff", "tilted", "shifted", "upside down"])
def test_starts_that_are_far_off(change, monkeypatch):
    """The walls of the prior, which follow the start, are wrong as well."""
    real = structural_prior.inverted

    def far(potential, frames, kT):
        u = real(potential, frames, kT)
        tilt = np.linspace(-40.0, 40.0, len(u))
        changed = {"flat": 0 * u, "four times as stiff": 4 * u, "tilted": u + tilt, "shifted": np.roll(u, 4)}
        return changed.get(change, -0.5 * u)

    monkeypatch.setitem(relative_entropy.__globals__, "inverted", far)
    settings = dataclasses.replace(QUICK, longest=200.0)
    for seed in range(4):
        fit = relative_entropy(dimers.potential(), data(100, seed), settings=settings, key=jax.random.key(seed))
        assert fit["posterior"].attrs["converged"], seed


def test_a_step_that_went_too_far_is_taken_back():
    """From the optimum of one fit ten steps beyond it: the slope there says so, and where to go back to."""
    problem, state = _begin(dimers.potential(), data(200, 0), {}, None, QUICK, "laplace", "none", jax.random.key(0))
    with double_precision():
        first = advance(problem, state)
        step = first.position - first.before
        far = advance(problem, dataclasses.replace(first, position=first.before + 10 * step, slope=10 * first.slope))
    assert first.slope < 0
    assert far.reference is first.reference
    kept = np.linalg.norm(far.position - first.before) / np.linalg.norm(10 * step)
    assert 0.1 - 1e-9 <= kept <= 0.5  # rounding apart
    np.testing.assert_allclose(far.position - first.before, 10 * kept * step, rtol=1e-9)
    assert far.slope == pytest.approx(10 * kept * first.slope)
    assert far.radius < first.radius
    assert far.records[-1].step == 0.0


def test_a_reference_that_is_too_short_is_made_longer():
    """Ten frames to begin with: the step is chance, and the remedy is time, not another step."""
    settings = dataclasses.replace(QUICK, time=1.0, longest=100.0)
    fit = relative_entropy(dimers.potential(), data(200, 0), settings=settings, key=jax.random.key(0))
    records = fit["iterations"].to_dataset()
    assert fit["posterior"].attrs["converged"]
    assert float(records["time"][-1]) > 5 * float(records["time"][0])
    assert float(records["noise"][-1]) < 0.5 * float(records["noise"][0])


def test_a_step_that_chance_explains_is_not_taken():
    settings = dataclasses.replace(QUICK, time=1.0, longest=50.0, overlap=0.95)
    problem, state = _begin(dimers.potential(), data(200, 0), {}, None, settings, "laplace", "none", jax.random.key(0))
    with double_precision():
        after = advance(problem, state)
    assert after.records[-1].length < 2 * after.records[-1].noise
    np.testing.assert_array_equal(after.position, state.position)
    assert 2.0 <= after.time <= 50.0
    assert after.last


@pytest.mark.filterwarnings("ignore:.*outside the trust region")
def test_what_would_help_is_told():
    few = dataclasses.replace(QUICK, iterations=1)
    with pytest.warns(UserWarning, match=r"not converged in 1 iterations.*chance .* explains.*iterations=2"):
        relative_entropy(dimers.potential(), data(200, 0), settings=few, key=jax.random.key(0))
    short = dataclasses.replace(few, time=1.0, longest=1.0)
    with pytest.warns(UserWarning, match=r"too short: Refinement\(longest=2\)"):
        relative_entropy(dimers.potential(), data(200, 0), settings=short, key=jax.random.key(0))
