"""Divergences of design rows: those written out equal automatic differentiation, for every kind of term."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import bayescg as bcg
from bayescg._runtime import double_precision
from bayescg.data.mapping.topology import Topology
from bayescg.potentials import (
    WCA,
    Angle,
    Bond,
    Dihedral,
    Harmonic,
    Interactions,
    LennardJones,
    Pair,
    Potential,
    SmoothOverlap,
    Term,
    fill_ranges,
)
from tests.potentials.test_many_body import BOX
from tests.potentials.test_many_body import TERMS as MANY_BODY

TERMS = {
    "pair": Pair("A", "B", 0.55, baseline=LennardJones(0.3, 1.0, 0.55)),
    "like pair": Pair("A", "A", 0.5, baseline=WCA(0.3, 1.0)),
    "bond": Bond("A", "B", start=0.1, stop=0.6, knot_spacing=0.05, baseline=Harmonic(0.3, 100.0)),
    "angle": Angle("A", "B", "A", knot_spacing=0.2, baseline=Harmonic(1.9, 10.0)),
    "dihedral": Dihedral("A", "B", "A", "B", knot_spacing=0.3),
    **MANY_BODY,
}


@pytest.fixture(autouse=True)
def _in_double_precision():
    with double_precision():
        yield


def frame(term):
    """A frame of 12 beads, in chains of four, and its interactions with one term."""
    rng = np.random.default_rng(5)
    steps = rng.normal(size=(3, 4, 3))
    steps *= 0.25 / np.linalg.norm(steps, axis=-1, keepdims=True)
    positions = (rng.uniform(0, 1.3, (3, 1, 3)) + np.cumsum(steps, axis=1)).reshape(-1, 3)
    types = np.array(["A", "B"])[np.arange(12) % 2]
    bonds = [(i, i + 1) for i in range(11) if i % 4 != 3]
    cg = bcg.from_arrays(positions[None], BOX[None], types, temperature=300.0, topology=Topology.from_bonds(12, bonds))
    potential = fill_ranges(Potential(term), cg)
    return potential, Interactions.of(potential, cg).configuration(positions, BOX)


@pytest.mark.filterwarnings("ignore:no pair term")
@pytest.mark.parametrize("name", TERMS)
def test_what_is_written_out_equals_automatic_differentiation(name):
    potential, configuration = frame(TERMS[name])
    (term,) = potential.terms
    moved = configuration._replace(positions=jnp.asarray(configuration.positions))
    plain = jax.jit(lambda c: (Term.divergence_rows(term, c), Term.baseline_divergence(term, c)))
    found = jax.jit(lambda c: (potential.divergence_rows(c), potential.baseline_divergence(c)))(moved)
    for mine, wanted in zip(found, plain(moved), strict=True):
        np.testing.assert_allclose(mine, wanted, rtol=1e-9, atol=1e-9 * max(np.abs(wanted).max(initial=0), 1e-3))
    assert np.abs(found[0]).max() > 1.0
    w = jnp.asarray(np.random.default_rng(1).normal(size=term.n_basis))
    total = -jnp.sum(found[0] @ w) - jnp.sum(found[1])
    np.testing.assert_allclose(total, term.laplacian(moved, w), rtol=1e-9)
    virial = jax.jit(lambda c: Term.virial(term, c, w))(moved)
    np.testing.assert_allclose(term.virial(moved, w), virial, rtol=1e-9, atol=1e-9 * np.abs(virial).max())


def test_any_other_term_takes_automatic_differentiation():
    potential, configuration = frame(SmoothOverlap("A", ("A", "B"), 0.5, degree=2, inducing=4))
    (term,) = potential.terms
    w = jnp.asarray(np.random.default_rng(1).normal(size=term.n_basis))
    moved = configuration._replace(positions=jnp.asarray(configuration.positions))
    total = -jnp.sum(jax.jit(term.divergence_rows)(moved) @ w)
    np.testing.assert_allclose(total, term.laplacian(moved, w), rtol=1e-8)
    assert potential.baseline_divergence(moved).shape == (12, 0)
