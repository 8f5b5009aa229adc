"""What one frame adds to the sums: design rows, their products with themselves and with the forces, histograms."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from bayescg.inference.blocks import Sums
from bayescg.potentials import Configuration, Potential


@partial(jax.jit, static_argnums=(0, 1))
def zeros(types: int, columns: int) -> Sums:
    """Empty sums."""
    return Sums(jnp.zeros((types, columns, columns)), jnp.zeros((types, columns)), jnp.zeros(types), jnp.zeros(types))


@partial(jax.jit, static_argnums=0, donate_argnums=1)
def accumulate(
    potential: Potential,
    sums: Sums,
    configuration: Configuration,
    forces: Float[Array, "bead 3"],
    rows: list[Array] | None,
) -> tuple[Sums, dict]:
    """Add one frame to a block's sums; also histogram each descriptor on its knot intervals."""
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
    return jax.tree.map(jnp.add, sums, added), found
