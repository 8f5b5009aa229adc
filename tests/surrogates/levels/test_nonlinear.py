"""Nonlinear links: the density given particles, limits, and a curve that no linear link explains."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from bayescg._runtime import double_precision
from bayescg.kernels import default_kernel
from bayescg.samplers.settings import Sampling
from bayescg.surrogates import leave_one_out, multi_fidelity, predict_levels
from bayescg.surrogates.levels import nonlinear
from bayescg.surrogates.levels.data import read_levels
from bayescg.surrogates.levels.model import default_priors
from tests.seeds import shifted
from tests.surrogates.levels.written_out import matern, process

KEY = jax.random.key(shifted(0))


def test_density_given_particles_is_that_of_the_kernel_written_out():
    rng = np.random.default_rng(shifted(6))
    x = [rng.uniform(0, 2, (7, 1)), rng.uniform(0, 2, (5, 1))]
    levels = read_levels([(a, rng.normal(size=len(a)), np.full(len(a), 0.3)) for a in x], None)
    below = rng.normal(size=(3, 5))
    values = {"amplitude": 0.7, "constant": 0.4, "slope": 0.3, "lengthscale": [0.5], "link_slope": 1.2}
    values |= {"link_amplitude": 0.6, "link_length": 0.8, "link_range": [1.5]}
    box = np.stack([levels.x.min(axis=0), levels.x.max(axis=0)])
    here, y = levels.levels[1].x, levels.levels[1].y[:, 0]
    one = {name: np.asarray(v)[None] for name, v in values.items()}
    expected = []
    for f in below:
        curved = matern(f[:, None], f[:, None], 0.6, 0.8)
        gram = process(one, 0, here, here, box) + matern(here, here, 1.0, 1.5) * (1.44 * np.outer(f, f) + curved)
        gram += (0.09 + nonlinear.JITTER * np.trace(gram) / 5) * np.eye(5)
        expected.append(stats.multivariate_normal(cov=gram).logpdf(y))
    with double_precision():
        priors = nonlinear.level_priors(levels, 1, default_priors(levels, "nonlinear"))
        problem = nonlinear.level_problem(levels, 1, 0.0, below, priors, default_kernel())
        found = nonlinear.densities(problem, {name: jnp.asarray(v, float) for name, v in values.items()})
    np.testing.assert_allclose(found, expected, atol=1e-8)


@pytest.mark.filterwarnings("ignore:.*Pareto k")
def test_a_link_that_is_no_line_is_found_and_evidence_says_so():
    """Perdikaris et al.: the best level is (x - sqrt 2) times the square of the cheap one."""
    rng = np.random.default_rng(shifted(7))
    low, high = np.linspace(0, 1, 40), np.sort(rng.uniform(0, 1, 16))
    sine = lambda x: np.sin(6 * np.pi * x)  # noqa: E731
    data = [
        (x, f(x) + 0.03 * rng.normal(size=len(x)), np.full(len(x), 0.03))
        for x, f in ((low, sine), (high, lambda x: (x - np.sqrt(2)) * sine(x) ** 2))
    ]
    x = np.linspace(0, 1, 60)
    truth, found, evidence = (x - np.sqrt(2)) * sine(x) ** 2, {}, {}
    for link in ("constant", "nonlinear"):
        tree = multi_fidelity(data, link=link, method="laplace", settings=Sampling(1, 1, 300), key=KEY)
        found[link] = predict_levels(tree, x, key=KEY).sel(level="level 1")
        evidence[link] = tree.attrs["log_evidence"]
    error = {link: np.sqrt(np.mean((each["mean"].values - truth) ** 2)) for link, each in found.items()}
    assert error["nonlinear"] < 0.5 * error["constant"]
    assert evidence["nonlinear"] > evidence["constant"] + 3
    low, high = found["nonlinear"]["band"].sel(ci_prob=0.95).values
    assert np.mean((low <= truth) & (truth <= high)) > 0.8
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(ValueError, match="no closed form"):
            leave_one_out(tree)
