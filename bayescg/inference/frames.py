"""What one frame adds to the sums: design rows, their products with themselves and with the forces, histograms.

With a pilot w~ also the products of bead scores s_i = J_i' (f_i - J_i w~). The noise of beads in contact is
anti-correlated by Newton's third law, so that scores of neighbors are multiplied with each other as well: the sum over
i of s_i s_i' plus, over neighbors i and j, s_i s_j' + s_j s_i' estimates the covariance of the total score whatever
the correlation within that distance (Conley, J. Econometrics 92, 1 (1999), doi:10.1016/S0304-4076(98)00084-0).
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from bayescg.inference.blocks import Sums, type_pairs
from bayescg.potentials import Configuration, Potential


class Scoring(NamedTuple):
    """What the scores of one frame need.

    Attributes:
        coefficients: of the pilot.
        neighbors: pairs of beads whose noise may correlate, each once; padded with bead numbers beyond the last.
    """

    coefficients: Float[Array, " basis"]
    neighbors: Int[Array, "pair 2"]


@partial(jax.jit, static_argnums=(0, 1))
def zeros(types: int, columns: int) -> Sums:
    """Empty sums."""
    return Sums(jnp.zeros((types, columns, columns)), jnp.zeros((types, columns)), jnp.zeros(types), jnp.zeros(types))


@partial(jax.jit, static_argnums=0, donate_argnums=(1, 6))
def accumulate(
    potential: Potential,
    sums: Sums,
    configuration: Configuration,
    forces: Float[Array, "bead 3"],
    rows: list[Array] | None,
    scoring: Scoring | None = None,
    scores: Float[Array, "pair basis basis"] | None = None,
) -> tuple[Sums, Float[Array, "pair basis basis"] | None, dict]:
    """Add one frame to a block's sums and a source's scores; histogram each descriptor on its knot intervals."""
    design = jnp.concatenate([potential.design_rows(configuration), potential.baseline_forces(configuration)], axis=1)
    gram, cross, square, components = [], [], [], []
    for chosen in rows if rows is not None else [None]:
        j = design if chosen is None else design[chosen]
        f = forces if chosen is None else forces[chosen]
        gram.append(jnp.einsum("nkx,nlx->kl", j, j))
        cross.append(jnp.einsum("nkx,nx->k", j, f))
        square.append(jnp.sum(f**2))
        components.append(jnp.asarray(float(f.size)))
    found = {}
    for term in potential.terms:
        x, _ = term.descriptor(configuration)
        tuples = configuration.tuples[term.name]
        real = tuples[:, 0] != tuples[:, 1]
        spline = term.spline
        interval = jnp.clip(jnp.floor((x - spline.start) / spline.spacing).astype(jnp.int32), 0, spline.intervals - 1)
        within = real & (x <= spline.stop) if term.kind == "pair" else real
        histogram = jnp.zeros(spline.intervals).at[interval].add(jnp.where(within, 1.0, 0.0))
        found[term.name] = (
            histogram,
            jnp.min(x, where=within, initial=jnp.inf),
            jnp.max(x, where=within, initial=-jnp.inf),
        )
    added = Sums(jnp.stack(gram), jnp.stack(cross), jnp.stack(square), jnp.stack(components))
    if scoring is not None and scores is not None:
        scores = scores + _score_products(potential, design, forces, rows, scoring)
    return jax.tree.map(jnp.add, sums, added), scores, found


def _score_products(potential: Potential, design, forces, rows, scoring: Scoring) -> Float[Array, "pair basis basis"]:
    n_basis = potential.n_basis
    known = jnp.concatenate([scoring.coefficients, jnp.ones(design.shape[1] - n_basis)])
    residual = forces - jnp.einsum("nkx,k->nx", design, known)
    scores = jnp.einsum("nkx,nx->nk", design[:, :n_basis], residual)
    first, second = scoring.neighbors[:, 0], scoring.neighbors[:, 1]

    def around(s):
        """Sum of the neighbors' scores."""
        return jnp.zeros_like(s).at[first].add(s[second], mode="drop").at[second].add(s[first], mode="drop")

    own = [scores] if rows is None else [jnp.zeros_like(scores).at[chosen].set(scores[chosen]) for chosen in rows]
    products = []
    for a, b in type_pairs(len(own)):
        cross = own[a].T @ around(own[b])
        products.append(own[a].T @ own[a] + 0.5 * (cross + cross.T) if a == b else cross + cross.T)
    return jnp.stack(products)
