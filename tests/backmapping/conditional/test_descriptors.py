"""Invariants of beads."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bayescg.backmapping.conditional.descriptors import choose_descriptors
from bayescg.data.mapping.topology import Topology
from tests.atomistic.molecules import rotation

_CHAIN = [(0, 1), (1, 2), (2, 3), (3, 4)]


@pytest.mark.parametrize("bonds", [_CHAIN, [(0, 1), (1, 2), (1, 3), (3, 4)], []])
def test_invariance_and_mirror(bonds):
    rng = np.random.default_rng(0)
    descriptors = choose_descriptors(Topology.from_bonds(5, bonds))
    x = rng.normal(size=(5, 3))
    with jax.enable_x64(True):
        value = np.asarray(descriptors(jnp.asarray(x)))
        moved = np.asarray(descriptors(jnp.asarray(x @ rotation(rng).T + rng.normal(size=3))))
        mirrored = np.asarray(descriptors(jnp.asarray(x * [1, 1, -1])))
    assert len(value) == len(descriptors.names) == len(descriptors.bases)
    np.testing.assert_allclose(moved, value, atol=1e-12)
    odd = np.array([name.startswith("sin") for name in descriptors.names])
    np.testing.assert_allclose(mirrored[odd], -value[odd], atol=1e-12)
    np.testing.assert_allclose(mirrored[~odd], value[~odd], atol=1e-12)
    assert odd.any()


def test_values_are_the_named_ones():
    x = np.array([[0.1, 0, 0.2], [0, 0, 0], [0, 0.3, 0], [0.2, 0.4, 0.1]])
    descriptors = choose_descriptors(Topology.from_bonds(4, _CHAIN[:3]))
    with jax.enable_x64(True):
        value = dict(zip(descriptors.names, np.asarray(descriptors(jnp.asarray(x))), strict=True))
    assert value["distance 0-3"] == pytest.approx(np.linalg.norm(x[0] - x[3]))
    left, right = np.array([0.1, 0.2]), np.array([0.2, 0.1])  # across the axis y
    cosine = left @ right / 0.05
    assert value["cos1 0-1-2-3"] == pytest.approx(cosine)
    assert value["cos2 0-1-2-3"] == pytest.approx(2 * cosine**2 - 1)


def test_long_chains_have_local_descriptors():
    long = choose_descriptors(Topology.from_bonds(30, [(k, k + 1) for k in range(29)]))
    assert max(j - i for i, j in long.pairs) == 4
    assert len(long.angles) == 28
    assert choose_descriptors(Topology.from_bonds(1, ())).names == ()
