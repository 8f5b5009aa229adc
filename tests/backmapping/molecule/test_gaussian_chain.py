"""Draws, covariances and ln Z of a chain of springs, where all are known; and the wrong density, which must fail."""

import jax
import numpy as np
import pytest

from bayescg.backmapping.guides.guide import GaussianConditional
from bayescg.backmapping.molecule.frame import Tempering
from bayescg.backmapping.sampling import sample
from tests.backmapping.gaussian_chain import AnyAtoms, Unnormalized, beads, chain, ensemble, exact, guide, misses
from tests.seeds import shifted

WRONG = {"shift": 0.7, "widen": 1.4, "seed": 1}
EFFORT = {"draws": 2000, "tempering": Tempering(particles=500, moves=3)}  # one for all: compiled once


@pytest.fixture(scope="module")
def small():
    model = chain(8, 4)
    return model, beads(model), exact(model, beads(model))


def test_chain_of_24():
    model = chain()
    x = beads(model)
    data = sample(
        guide(model, x, **WRONG),
        ensemble(x),
        model.energy,
        draws=14336,
        tempering=Tempering(particles=3584),
        key=jax.random.key(shifted(0)),
    )
    found = misses(model, x, data)
    assert found.ess > 7000
    assert found.mean < 0.05
    assert found.covariance < 0.05
    assert abs(found.log_z) < 0.05
    assert abs(found.log_z) < 4 * float(data["log_z_se"][0])
    assert found.residual < 1e-12


def test_a_guide_that_multiplies_fails(small):
    model, x, truth = small
    perfect = GaussianConditional(model.fibre, truth.mean, truth.covariance)
    q = perfect.guide(x)

    def doubled(positions):
        return model.energy(positions) - q.log_density(positions)

    data = sample(perfect, ensemble(x), doubled, **EFFORT, key=jax.random.key(shifted(0)))
    found = misses(model, x, data)
    assert found.covariance > 0.4  # half of each covariance is missing: 0.5 in correlation units
    assert abs(found.log_z) > 0.5
    right = sample(perfect, ensemble(x), model.energy, **EFFORT, key=jax.random.key(shifted(0)))
    found = misses(model, x, right)
    assert found.covariance < 0.1
    assert abs(found.log_z) < 1e-6  # the guide is the target: no weights vary


@pytest.mark.parametrize("kind", ["narrow", "atoms", "unnormalized"])
def test_other_guides_same_ensemble(small, kind):
    model, x, _ = small
    conditional = {
        "narrow": guide(model, x, 1.0, 0.6, 5),
        "atoms": AnyAtoms(model.fibre, 0.05),
        "unnormalized": Unnormalized(guide(model, x, 0.5, 1.3, 2), model.fibre),
    }[kind]
    data = sample(conditional, ensemble(x, x + 0.5), model.energy, **EFFORT, key=jax.random.key(shifted(1)))
    assert np.all(data["reliable"])
    for frame, place in enumerate((x, x + 0.5)):
        found = misses(model, place, data, frame)
        assert found.mean < 4.0 / np.sqrt(found.ess)
        assert found.covariance < 5.5 / np.sqrt(found.ess)
        assert abs(found.log_z) < 4 * float(data["log_z_se"][frame])
        assert found.residual < 1e-12
    assert float(data["log_z_se"].max()) < 0.2


@pytest.mark.parametrize("method", ["nuts", "imh"])
def test_other_methods(small, method):
    model, x, truth = small
    center = truth.mean + 0.2 * np.sqrt(np.diagonal(truth.covariance))
    conditional = GaussianConditional(model.fibre, center, 1.2 * truth.covariance)
    effort = {**EFFORT, "draws": 6000}
    data = sample(conditional, ensemble(x), model.energy, **effort, method=method, key=jax.random.key(shifted(2)))
    found = misses(model, x, data)
    assert found.ess > 500
    assert found.mean < 4.0 / np.sqrt(found.ess)
    assert found.covariance < 5.5 / np.sqrt(found.ess)
    assert abs(found.log_z) < 4 * float(data["log_z_se"][0])


def test_the_guide_alone_is_labelled(small):
    model, x, _ = small
    conditional = guide(model, x, 0.0, 2.0, 3)
    data = sample(conditional, ensemble(x), model.energy, draws=2000, method="gp", key=jax.random.key(shifted(2)))
    assert data.attrs["exact"] == 0
    assert "approximate" in data.attrs["note"]
    assert not data["reliable"].any()
    assert np.isnan(data["log_z"]).all()
    free = np.einsum("ar,dfax->dfrx", model.fibre.basis, data["positions"].values)[:, 0].reshape(2000, -1)
    width = np.diagonal(conditional.factor)
    np.testing.assert_allclose(free.std(axis=0) / width, 1, atol=0.08)
