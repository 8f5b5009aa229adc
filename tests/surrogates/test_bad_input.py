"""Data, priors and inputs that cannot be used: refused by name, with a remedy."""

import warnings

import gpjax
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
import xarray as xr

from bayescg.samplers.settings import Sampling
from bayescg.surrogates import Mean, PhysicsGuidedGP, fit, nucleation_time, predict, traction_separation, zero

X = np.linspace(0.0, 1.0, 12)
Y = np.sin(X)
KEY = jax.random.key(0)


def cohesive(strength=None, opening=None):
    return traction_separation(strength or dist.LogNormal(0, 0.5), opening or dist.LogNormal(-1, 0.5))


def nucleation():
    return nucleation_time(
        dist.Normal(-2, 1), dist.LogNormal(4.6, 0.3), dist.LogNormal(1.1, 0.2), dist.LogNormal(0.4, 0.2)
    )


def at(values, place, value):
    values = np.array(values, float)
    values[place] = value
    return values


TWELVE = np.arange(12.0)
BAD_DATA = {
    "x is nan at (3, 0)|x is nan at (3,)": (at(X, 3, np.nan), Y),
    "y is inf": (X, at(Y, 5, np.inf)),
    "too few": (X[:4], Y[:4]),
    "y has shape": (X, Y[:-1]),
    "must be numbers": (X, ["a"] * 12),
    "takes (point, 1)": (np.stack([X, X], 1), Y),
    "never varies": (np.ones(12), Y),
    "nothing to learn": (X, np.ones(12)),
    "standard deviations": (X, Y, np.full(12, -0.1)),
    "no measurement error": (at(X, 4, X[3]), Y, at(np.full(12, 0.1), [3, 4], 0.0)),
    "are units of": (X, 1e6 * np.abs(Y)),
    "too many": (np.linspace(0, 1, 2001), np.sin(np.linspace(0, 1, 2001))),
    "must be (x, y)": (X,),
    "have no y": {"x": X},
    "got str": "curve.csv",
}


@pytest.mark.parametrize("message", BAD_DATA)
def test_bad_data(message):
    with pytest.raises(ValueError) as raised:  # noqa: PT011
        fit(PhysicsGuidedGP(cohesive()), BAD_DATA[message], key=KEY)
    assert any(part in str(raised.value) for part in message.split("|"))


def test_inputs_of_nucleation_are_two():
    with pytest.raises(ValueError, match=r"takes \(point, 2\)"):
        fit(PhysicsGuidedGP(nucleation()), (X, Y), key=KEY)


def test_laws_that_are_not_finite_at_the_data():
    with pytest.raises(ValueError, match=r"mean is (nan|inf|-inf) at x = \[0.0\]"):
        fit(PhysicsGuidedGP(Mean(lambda x, p: p["a"] * jnp.log(x[:, 0]), {"a": dist.Normal(0, 1)})), (X, Y), key=KEY)
    with pytest.raises(ValueError, match="mean returns shape"):
        fit(PhysicsGuidedGP(Mean(lambda x, p: p["a"] * x, {"a": dist.Normal(0, 1)})), (X, Y), key=KEY)


@pytest.mark.parametrize("prior", [dist.Normal(5, 0.1), dist.Uniform(-1, 2), dist.StudentT(3, 2, 1)])
def test_priors_outside_the_domain(prior):
    with pytest.raises(ValueError, match=r"prior of strength reaches outside \(0, inf\)"):
        cohesive(strength=prior)


def test_priors_inside_the_domain():
    for prior in (dist.HalfNormal(1), dist.Uniform(0, 2), dist.Gamma(2, 1), dist.TruncatedNormal(1, 1, low=0)):
        assert cohesive(strength=prior).priors["strength"] is prior


def test_priors_that_are_none():
    for prior in (1.0, dist.Normal(jnp.zeros(2), 1), dist.Poisson(2)):
        with pytest.raises(ValueError, match="prior of opening must be"):
            cohesive(opening=prior)
    with pytest.raises(ValueError, match="cannot name a parameter"):
        Mean(lambda x, p: x[:, 0], {"noise": dist.Normal(0, 1)})
    with pytest.raises(ValueError, match="must be callable"):
        Mean("sin", {})
    with pytest.raises(ValueError, match="which have no prior"):
        Mean(lambda x, p: x[:, 0], {}, domain={"a": (0, 1)})


def test_models():
    with pytest.raises(ValueError, match="mean must be"):
        PhysicsGuidedGP(lambda x: x)
    with pytest.raises(ValueError, match="GPJax kernel"):
        PhysicsGuidedGP(zero(), "RBF")
    with pytest.raises(ValueError, match=r"priors name \['length'\]"):
        PhysicsGuidedGP(zero(), priors={"length": dist.HalfNormal(1)})
    with pytest.raises(ValueError, match="allows negative"):
        PhysicsGuidedGP(zero(), priors={"noise": dist.Normal(1, 1)})
    with pytest.raises(ValueError, match="NumPyro distribution"):
        PhysicsGuidedGP(zero(), priors={"noise": 0.1})
    with pytest.raises(ValueError, match="must be a PhysicsGuidedGP"):
        fit(zero(), (X, Y), key=KEY)
    with pytest.raises(ValueError, match="at least 1"):
        fit(PhysicsGuidedGP(zero()), (X, Y), settings=Sampling(chains=0), key=KEY)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of five draws there is more to say
        few = fit(PhysicsGuidedGP(zero()), (X, Y), settings=Sampling(1, 10, 5), key=KEY)
    assert "5 draws are too few for a leave-one-out score" in few.attrs["warnings"]
    assert np.isnan(few.attrs["elpd"])
    two = (np.stack([X, X**2], 1), Y)
    with pytest.raises(ValueError, match=r"lengthscale=jnp\.ones"):
        fit(PhysicsGuidedGP(zero(), gpjax.kernels.RBF() + gpjax.kernels.Matern52()), two, key=KEY)
    with pytest.raises(ValueError, match="prior of lengthscale has shape"):
        fit(PhysicsGuidedGP(zero(), priors={"lengthscale": dist.HalfNormal(jnp.ones(3))}), two, key=KEY)


def test_predictions():
    with pytest.raises(ValueError, match="no posterior of"):
        predict(xr.DataTree(), X, key=KEY)
