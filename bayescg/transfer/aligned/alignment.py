"""Curves of several systems on one axis: pair potentials at equal multiples of the distance of contact.

The pair potential of system s is u_s(r) = U_s(r d / d_s), force-shifted at the cutoff, with d_s the distance of contact
and d a typical one. U_s has the coefficients c on knots at least as fine as those of the systems, and

    w_s = T_s c,   T_s = Q [B(a r) - B(a r_c) - (r - r_c) a B'(a r_c)],   a = d / d_s,

with B the basis of U, r the centers of the functions of the system's own spline, and Q a local quasi-interpolant. Other
terms need no alignment.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from bayescg._arrays import AnyArray
from bayescg.kernels.pairs import Wall, pair_prior
from bayescg.kernels.priors import TermPrior
from bayescg.potentials import Pair
from bayescg.potentials.splines import UniformSpline

_STENCIL = (1 / 36, -10 / 36, 54 / 36, -10 / 36, 1 / 36)
"""Coefficients of a cubic spline from values at the centers of its functions, 1 - d^2/6 + d^4/36 with d the central
difference: accurate to sixth order, and local. Interpolation is not local: of its errors deep in the core, where
energies are a million times larger, a quarter is left one knot further out, and the data saw it."""

_MARGIN = 1.08
"""How much nearer contact may be in a system to come than in those that were learned from."""


@dataclass(frozen=True)
class Reference:
    """The axis of one aligned pair term.

    Attributes:
        term: pair term on the common axis; its knots are those of U.
        distance: the typical distance of contact [nm].
    """

    term: Pair
    distance: float


def reference_of(term: Pair, distances: Float[np.ndarray, " system"]) -> Reference:
    """The axis of a pair term, long and fine enough for all systems.

    Args:
        term: as the systems have it.
        distances: of contact [nm].
    """
    typical = float(np.median(distances))
    longest = _MARGIN * typical / float(distances.min())
    finest = typical / float(distances.max())
    axis = Pair(
        term.a,
        term.b,
        cutoff=term.cutoff * longest,
        start=term.start * finest / _MARGIN,
        knot_spacing=term.spline.spacing * finest,
        baseline=None,
    )
    return Reference(axis, typical)


def wall_between(walls: Sequence[Wall], ratios: Float[np.ndarray, " system"], distance: float) -> Wall:
    """The prior's wall on the common axis: the typical one of the systems' own.

    Args:
        walls: of the systems, on their own axes.
        ratios: typical distance of contact over each system's.
        distance: the typical distance of contact [nm].
    """
    known = [(w, a) for w, a in zip(walls, ratios, strict=True) if w.seen and w.edge > 0]
    if not known:
        return Wall(0.0, 0.0, 10.0, seen=False)
    edge = float(np.median([w.edge * a for w, a in known]))
    power = float(np.median([w.power for w, _ in known]))
    # Each wall is read at the common edge; forces scale inversely with the axis.
    force = float(np.median([w.force * (w.edge * a / edge) ** w.power / a for w, a in known]))
    return Wall(edge, force, power)


def aligned_prior(reference: Reference, smallest: float, kT: float, wall: Wall) -> TermPrior:
    """Prior of a curve on the common axis: that of a pair term (`bayescg.kernels.pairs`) with the common wall.

    Args:
        reference: the axis.
        smallest: distance met, on the common axis [nm].
        kT: thermal energy [kJ/mol].
        wall: on the common axis.
    """
    term = reference.term
    return pair_prior(term, np.zeros(term.bins), (smallest, term.cutoff), kT, wall)


@partial(jax.jit, static_argnums=(0, 1))
def transfer_matrix(
    common: UniformSpline, own: UniformSpline, ratio: Float[AnyArray, ""] | float
) -> Float[Array, "basis common"]:
    """T_s of the equation at the head of this file.

    Args:
        common: spline of U.
        own: spline of the systems' term.
        ratio: typical distance of contact over the system's; may be traced.
    """
    size, reach = own.size, len(_STENCIL) // 2
    centers = own.start + (jnp.arange(-reach, size + reach) - 1) * own.spacing
    values, _ = _rows(common, centers * ratio)
    edge, slope = _rows(common, jnp.asarray([own.stop]) * ratio)
    shifted = values - edge - (centers - own.stop)[:, None] * ratio * slope
    rows = [c * shifted[k : k + size - 3, : common.size - 3] for k, c in enumerate(_STENCIL)]
    return jnp.sum(jnp.stack(rows), axis=0)


def _rows(spline: UniformSpline, x: Float[Array, " point"]) -> tuple[Array, Array]:
    """Values and slopes of all basis functions, dense."""
    first, values, slopes = spline.windows(x)
    columns = first[:, None] + jnp.arange(4)
    at = (jnp.arange(len(x))[:, None], columns)
    zero = jnp.zeros((len(x), spline.size), values.dtype)
    return zero.at[at].add(values), zero.at[at].add(slopes)
