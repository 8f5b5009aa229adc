"""Modes, importance sampling and evidence, of densities that are known."""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest

from bayescg._runtime import double_precision
from bayescg.samplers.settings import Sampling
from bayescg.surrogates.levels.sampling import draw
from tests.seeds import shifted


@partial(jax.tree_util.register_dataclass, data_fields=("priors", "means"), meta_fields=())
@dataclass(frozen=True)
class Peaks:
    """Peaks of equal height and width 0.2 over a standard normal prior."""

    priors: dict
    means: jax.Array


def model(problem):
    at = numpyro.sample("at", problem.priors["at"])
    numpyro.factor("peaks", jax.scipy.special.logsumexp(-0.5 * jnp.sum((at - problem.means) ** 2, axis=1) / 0.2**2))


@pytest.mark.parametrize("means", [[[0.5, -0.3]], [[1.0, 1.0], [-1.2, 0.5]]])
def test_evidence_and_modes(means):
    means = np.array(means)
    with double_precision():
        problem = Peaks({"at": dist.Normal(jnp.zeros(2), 1.0)}, jnp.asarray(means))
        found = draw(model, problem, "laplace", Sampling(1, 1, 2000), key=jax.random.key(shifted(0)))
    # Each peak over the prior: N(mean; 0, 1 + 0.04) times the peak's own integral, in two dimensions.
    parts = np.exp(-0.5 * np.sum(means**2, axis=1) / 1.04) / 1.04 * 0.2**2
    assert found.log_evidence_se < 0.05
    assert found.log_evidence == pytest.approx(np.log(parts.sum()), abs=4 * found.log_evidence_se)
    at = found.sampled.values["at"][0]
    nearest = np.argmin(np.sum((at[:, None] - means) ** 2, axis=-1), axis=1)
    shares = np.bincount(nearest, minlength=len(means)) / len(at)
    np.testing.assert_allclose(shares, parts / parts.sum(), atol=0.05)
    assert found.sampled.attrs["laplace_pareto_k"] < 0.7
