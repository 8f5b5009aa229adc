"""Programs of functions within functions: the same values, and gone with their function."""

import gc
import weakref

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from bayescg._compiled import compiled


def test_values_and_static_parts():
    network = eqx.nn.MLP(2, 1, 4, 1, activation=jnp.tanh, key=jax.random.key(0))
    call = compiled(lambda m, x, power: jax.vmap(m)(x) ** power)
    x = np.random.default_rng(0).normal(size=(5, 2)).astype(np.float32)
    for power in (1, 2, 1):
        np.testing.assert_allclose(call(network, x, power), jax.vmap(network)(x) ** power, rtol=1e-6)
    other = eqx.tree_at(lambda m: m.layers[0].weight, network, 2 * network.layers[0].weight)
    np.testing.assert_allclose(call(other, jnp.asarray(x), 1), jax.vmap(other)(x), rtol=1e-6)


def test_programs_go_with_their_function():
    """Kept by `equinox.filter_jit`, they ended a process at its fifth `discover`."""

    def made():
        def function(x):
            return jnp.sin(x)

        call = compiled(function)
        call(jnp.ones(3))
        return weakref.ref(function)

    found = made()
    gc.collect()
    assert found() is None
