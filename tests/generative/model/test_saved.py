"""A saved model is the same model: its coupling layers must not depend on a key that is lost."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bayescg.generative.model.files import read_model, write_model
from bayescg.generative.model.latent_model import build_model
from bayescg.generative.model.whitening import Whitening


def shaken(model, key):
    """The model with other weights: layers that do nothing yet would hide wrong ones."""
    leaves, structure = jax.tree.flatten(model.decoder)
    keys = jax.random.split(key, len(leaves))
    moved = [
        leaf + 0.1 * jax.random.normal(k, leaf.shape) if hasattr(leaf, "shape") else leaf
        for leaf, k in zip(leaves, keys, strict=True)
    ]
    return eqx.tree_at(lambda m: m.decoder, model, jax.tree.unflatten(structure, moved))


@pytest.mark.parametrize("dimension", [2, 7])
def test_densities_survive_a_file(dimension, tmp_path):
    periodic = np.arange(dimension) % 3 == 1
    whitening = Whitening.of(np.zeros(dimension), np.eye(dimension), periodic)
    key = jax.random.key(1)
    model = shaken(build_model(whitening, latents=2, decoder="spline", flexible_prior=True, key=key), key)
    loaded = read_model(write_model(model, tmp_path / "model.npz"))
    y, z = jax.random.normal(key, (dimension,)), jnp.asarray([0.3, -0.7])
    density = eqx.filter_jit(lambda m, y, z: m.log_joint(y, z))
    np.testing.assert_allclose(density(loaded, y, z), density(model, y, z), rtol=1e-6)
