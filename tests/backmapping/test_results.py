"""Potentials of mean force, entropies and corrected ensembles of a chain whose Z(X) is known."""

import jax
import numpy as np
import pytest

from bayescg.backmapping import (
    GaussianConditional,
    correct_ensemble,
    mapping_entropy,
    potential_of_mean_force,
    sample,
)
from tests.backmapping.gaussian_chain import chain, ensemble, exact
from tests.seeds import shifted

KT = 8.31446261815324e-3 * 300


@pytest.fixture(scope="module")
def known():
    """Frames of two beads, drawn from a CG model of wrong stiffness; perfect draws and ln Z."""
    model = chain(4, 2)
    rng = np.random.default_rng(shifted(3))
    frames = [np.array([[0.0, 0, 0], 0.15 * rng.normal(size=3)]) for _ in range(150)]
    truth = exact(model, np.zeros((2, 3)))
    conditional = _Following(model, truth)
    data = sample(
        conditional,
        ensemble(*frames).assign_attrs(temperature=300.0),
        model.energy,
        draws=4,
        method="imh",
        key=jax.random.key(shifted(0)),
    )
    return model, frames, data


class _Following(GaussianConditional):
    """The exact conditional, whose mean is linear in the beads."""

    slope: np.ndarray

    def __init__(self, model, truth):
        super().__init__(model.fibre, truth.mean, truth.covariance)
        k, n, p = model.stiffness, model.fibre.basis, model.fibre.inverse
        self.slope = -np.linalg.solve(n.T @ k @ n, n.T @ k @ p)

    def guide(self, beads):
        import equinox as eqx
        import jax.numpy as jnp

        return eqx.tree_at(lambda g: g.mean, super().guide(beads), (jnp.asarray(self.slope) @ beads).reshape(-1))


def test_potential_of_mean_force(known):
    model, frames, data = known
    pmf = potential_of_mean_force(data)
    expected = [-KT * exact(model, x).log_z for x in frames]
    np.testing.assert_allclose(pmf["potential"], expected, atol=1e-6)
    assert pmf["potential"].attrs["units"] == "kJ/mol"
    assert float(pmf["potential_se"].max()) < 1e-6


def test_mapping_entropy(known):
    model, frames, data = known
    entropy = mapping_entropy(data)
    size = model.fibre.n_free
    truth = exact(model, frames[0])
    # A Gaussian's entropy, and the fibre's volume.
    expected = 0.5 * size * np.log(2 * np.pi * np.e) + 0.5 * np.linalg.slogdet(truth.covariance)[1]
    expected += model.fibre.log_volume
    z = (entropy["entropy"].values - expected) / entropy["entropy_se"].values
    assert abs(np.mean(entropy["entropy"].values) - expected) < 0.25
    assert np.median(np.abs(z)) < 1.5


def test_a_wrong_cg_model_is_corrected(known):
    _, frames, data = known
    apart = np.array([x[1] for x in frames])
    cg_energy = KT * 0.5 * np.sum(apart**2, axis=1) / 0.15**2
    found = correct_ensemble(data, cg_energy, steps=20_000, key=jax.random.key(shifted(1)))
    # The beads of the chain are Gaussian too; their spread comes from the curvature of ln Z.
    model = chain(4, 2)
    curvature = 2 * (exact(model, np.zeros((2, 3))).log_z - exact(model, np.eye(3)[:2] * [[0], [1]]).log_z)
    corrected = float(np.mean(apart[found.frame] ** 2))
    assert corrected == pytest.approx(1 / curvature, rel=4 * np.sqrt(2 / (3 * found.ess)))
    assert abs(float(np.mean(apart**2)) * curvature - 1) > 0.2
    assert 0.1 < found.acceptance < 1
    assert found.data.sizes["frame"] == 20_000


def test_what_cannot_be_corrected(known):
    _, _, data = known
    energy = np.zeros(data.sizes["frame"])
    noisy = data.assign(log_z_se=data["log_z_se"] + 1.5)
    with pytest.raises(ValueError, match=r"variance of ln Z is up to 2\.[23]"):
        correct_ensemble(noisy, energy, key=jax.random.key(0))
    with pytest.raises(ValueError, match="cg_energy has shape"):
        correct_ensemble(data, energy[:-1], key=jax.random.key(0))
    with pytest.raises(ValueError, match="'gp' has no ln Z"):
        potential_of_mean_force(data.assign(log_z=data["log_z"] * np.nan).assign_attrs(method="gp"))
