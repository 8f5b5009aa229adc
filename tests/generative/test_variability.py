"""Draws of weights: their widths against Fisher information by hand, divergences as promised, and agreement."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bayescg.atomistic import gaussian_mixture
from bayescg.generative import model_variability, weight_draws
from bayescg.generative.model.latent_model import LatentModel, build_model
from bayescg.generative.model.whitening import Whitening
from tests.seeds import shifted

from .models import written


class Constant(eqx.Module):
    """A decoder's network that ignores z: weights are the mean, the log width, and one without effect."""

    mean: jax.Array
    width: jax.Array
    idle: jax.Array

    def __call__(self, z):
        return jnp.concatenate([self.mean, 0 * self.mean, self.width])


def constant(mean, width) -> LatentModel:
    """q(y | z) = N(mean, width^2), r(z | y) = q(z): weights are p / q."""
    d = len(mean)
    model = written(lambda u: (jnp.zeros(1), jnp.zeros(1)), lambda z: (jnp.zeros(d), jnp.zeros(d)), d)
    network = Constant(jnp.asarray(mean, jnp.float32), jnp.log(jnp.asarray(width, jnp.float32)), jnp.ones(3))
    return eqx.tree_at(lambda m: m.decoder.network, model, network)


def test_widths_of_weights():
    """Of a Gaussian: F = 1 / width^2 for the mean, 2 for the log width; what has no effect does not move."""
    model = constant([0.7], [0.5])
    made = weight_draws(model, draws=600, sharpness=0.5, key=jax.random.key(shifted(0)))
    networks = [m.decoder.network for m in made]
    for name, fisher in (("mean", 4.0), ("width", 2.0)):
        moved = np.array([getattr(n, name)[0] for n in networks]) - getattr(model.decoder.network, name)[0]
        # 600 draws know a variance to 6 %, 2048 samples the information to 3 %.
        assert np.var(moved) == pytest.approx(1 / (0.5 * fisher + 1), rel=0.25), name
        assert abs(np.mean(moved)) < 4 * moved.std() / np.sqrt(600)
    assert all(np.all(n.idle == 1) for n in networks)
    assert all(eqx.tree_equal(m.encoder, model.encoder) for m in made[:3])
    with pytest.raises(ValueError, match="sharpness is 0"):
        weight_draws(model, sharpness=0, key=jax.random.key(shifted(0)))


def test_divergence_is_half_a_weight_over_lambda():
    """Of a small network: mean KL(q || q') over draws, by closed form, is informed weights / (2 lambda)."""
    whitening = Whitening.of(np.zeros(2), np.eye(2), [False, False])
    model = build_model(whitening, latents=1, key=jax.random.key(shifted(0)))
    small = eqx.nn.MLP(1, 6, 4, 2, activation=jnp.tanh, key=jax.random.key(shifted(3)))
    model = eqx.tree_at(lambda m: m.decoder.network, model, small)
    sharpness = 1e4
    made = weight_draws(model, draws=40, sharpness=sharpness, key=jax.random.key(shifted(1)))
    z = np.random.default_rng(shifted(0)).normal(size=(2000, 1))
    moments = eqx.filter_jit(lambda m, z: jax.vmap(m.decoder.moments)(z))
    mean, width = (np.asarray(a, float) for a in moments(model, jnp.asarray(z, jnp.float32)))
    divergence = []
    for other in made:
        m, s = (np.asarray(a, float) for a in moments(other, jnp.asarray(z, jnp.float32)))
        divergence.append(np.mean(np.sum(np.log(s / width) + (width**2 + (mean - m) ** 2) / (2 * s**2) - 0.5, axis=1)))
    # 1-4-4-6, of whose outputs two are the directions of torsions, which these coordinates are not.
    informed = (4 + 4) + (16 + 4) + 4 * (4 + 1)
    assert np.mean(divergence) * 2 * sharpness / informed == pytest.approx(1.0, abs=0.25)


MIXTURE = gaussian_mixture([[0.0, 0.0], [1.5, 1.0]], [np.eye(2), 0.5 * np.eye(2)], [0.6, 0.4])
FIRST = {"x": lambda s: s["coordinates"].values[:, 0]}


def test_weighted_estimates_of_different_models_agree():
    """Models differ by much more than their weighted estimates, which agree with each other and with the truth."""
    made = weight_draws(constant([0.6, 0.4], [1.8, 1.6]), draws=12, sharpness=50.0, key=jax.random.key(shifted(2)))
    found = model_variability(made, MIXTURE, FIRST, draws=2048, key=jax.random.key(shifted(3)))
    away = (found["x"] - 0.6) / found["x_se"]
    assert np.abs(away).max() < 4
    assert 0.3 < found.attrs["x_agreement"] < 2.5
    assert found["x_model"].std() > 4 * found["x_se"].mean()
    assert np.all((found["ess_share"] > 0.05) & (found["ess_share"] < 0.95))


def test_models_without_errors_are_left_out_of_the_agreement():
    models = [constant([0.6, 0.4], [1.8, 1.6])] * 3 + [constant([0.0, 0.0], [0.1, 0.1])]
    with pytest.warns(UserWarning, match="Pareto k"):
        found = model_variability(models, MIXTURE, FIRST, draws=4096, key=jax.random.key(shifted(3)))
    assert np.isfinite(found["x_se"]).values.tolist() == [True, True, True, False]
    values, errors = found["x"].values[:3], found["x_se"].values[:3]
    best = np.average(values, weights=errors**-2)
    assert found.attrs["x_agreement"] == pytest.approx(np.sum(((values - best) / errors) ** 2) / 2)
