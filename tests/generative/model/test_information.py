"""Information of latents against closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad

from bayescg.generative import latent_information, state_information
from tests.generative.models import written

NOISE = (0.5, 2.0)


def channel(noise=NOISE, weights=(1.0, 1.0)):
    """z_j = w_j x_j + noise_j."""

    def encoder(u):
        return jnp.asarray(weights) * u, jnp.log(jnp.asarray(noise))

    return written(encoder, lambda z: (z, jnp.zeros(2)), 2, latents=2)


@pytest.mark.parametrize("count", [2000, 5000])
def test_gaussian_channels(count):
    """I = log(1 + signal / noise) / 2; latents that do not look have none."""
    x = np.random.default_rng(0).normal(size=(count, 2))
    found = latent_information(channel(), x, key=jax.random.key(0))
    np.testing.assert_allclose(found, 0.5 * np.log(1 + 1 / np.square(NOISE)), atol=0.05)
    found = latent_information(channel(weights=(1.0, 0.0)), x, key=jax.random.key(0))
    assert found[1] == pytest.approx(0.0, abs=1e-9)


def test_sharp_latents_have_finite_information():
    """A thousandth wide: no sample has a neighbor that its encoder could reach; no more than log n can be told."""
    x = np.random.default_rng(1).standard_t(2, size=(500, 2))
    found = latent_information(channel(noise=(1e-3, 1e-3)), x, key=jax.random.key(0))
    assert np.all((found > 0.8 * np.log(500)) & (found <= np.log(500)))
    states = (x[:, 0] > 0).astype(int)
    assert state_information(channel(noise=(1e-3, 0.1)), x, states, key=jax.random.key(0)) == pytest.approx(
        np.log(2), abs=0.15
    )


def test_information_about_states():
    """z = +-1 + noise: against quadrature; states that z does not see share nothing; ones that it tells, all."""
    rng = np.random.default_rng(2)
    states = rng.integers(0, 2, 2000)
    x = np.stack([2.0 * states - 1, rng.normal(size=2000)], axis=1)

    def term(z):
        p = [np.exp(-0.5 * (z - m) ** 2) / np.sqrt(2 * np.pi) for m in (-1, 1)]
        return sum(0.5 * q * np.log(q / (0.5 * sum(p))) for q in p)

    exact = quad(term, -8, 8)[0]
    found = state_information(channel(noise=(1.0, 1.0), weights=(1.0, 0.0)), x, states, key=jax.random.key(0))
    assert found == pytest.approx(exact, abs=0.05)
    model = channel(noise=(0.1, 1.0))
    assert state_information(model, x, states, key=jax.random.key(0)) == pytest.approx(np.log(2), abs=0.01)
    assert state_information(model, x, rng.integers(0, 3, 2000), key=jax.random.key(0)) < 0.02
    # One sample alone in its state has no neighbor to be told by.
    states[7] = 5
    assert state_information(model, x, states, key=jax.random.key(0)) == pytest.approx(np.log(2), abs=0.01)


def test_what_cannot_be_used_is_refused():
    with pytest.raises(ValueError, match=r"states has shape \(3,\) for 4 samples"):
        state_information(channel(), np.zeros((4, 2)), np.zeros(3), key=jax.random.key(0))
    with pytest.raises(ValueError, match="at least two"):
        latent_information(channel(), np.zeros((1, 2)), key=jax.random.key(0))
