"""GPJax kernels as priors of spline coefficients: which curves are plausible before the forces are seen.

A liquid's pair force falls from thousands at contact to tens in the tail, which no stationary kernel describes. The
prior mean therefore has a repulsive power law fitted at contact, and the prior's *force* standard deviation is raised
in proportion to it: both act on coefficient differences, which are the coefficients of the slope.

Outside the sampled range data say nothing. There every draw follows the prior mean, which confines: pairs a repulsive
power law, bonds and angles their harmonic mean on both sides.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from bayescg.kernels.priors import CurvePrior
from bayescg.potentials import SplineTerm


class Edges(NamedTuple):
    """Edge conditions of a spline.

    Attributes:
        conditions: (condition, raw) what is zero, as functions of the raw coefficients.
        embedding: (raw, free) raw coefficients of the free ones.
        free: which raw coefficients are free.
    """

    conditions: Float[np.ndarray, "condition raw"]
    embedding: Float[np.ndarray, "raw free"]
    free: Int[np.ndarray, " free"]


def spline_prior(
    term: SplineTerm,
    edges: Edges,
    slope: Float[np.ndarray, " difference"],
    spread: Float[np.ndarray, "difference difference"],
    integrate: Callable[[Float[np.ndarray, "difference k"]], Float[np.ndarray, "basis k"]],
    *,
    lengthscale: float,
    amplitude: float,
    warp: Float[np.ndarray, "site dimension"] | None = None,
    drift: Float[np.ndarray, "raw shape"] | None = None,
) -> CurvePrior:
    """Prior of a spline term.

    Args:
        term: the term.
        edges: its edge conditions.
        slope: of the prior mean at the midpoints.
        spread: maps coefficient differences of the stationary process to those of the term: where forces vary how much.
        integrate: coefficients of the term from their differences.
        lengthscale: prior median.
        amplitude: prior median [kJ/mol].
        warp: of the sites, see `CurvePrior`.
        drift: raw coefficients of smooth shapes that obey the edge conditions, see `CurvePrior`.
    """
    spline, sites = term.spline, term.sites
    # Coefficients that no free difference touches carry no freedom: leaving them out is the marginal.
    moving = np.any(spread != 0, axis=0)
    kept = _round_out(
        np.flatnonzero((np.append(moving, False) | np.append(False, moving))[edges.free]), len(edges.free)
    )
    transform = np.vstack([edges.conditions, np.eye(spline.size)[edges.free[kept]]]) @ np.linalg.inv(
        spline.matrix(sites)
    )
    lift = integrate(spread @ np.diff(edges.embedding[:, kept], axis=0))
    mean = integrate(spline.spacing * slope[:, None])[:, 0]
    # On the circle any kernel is periodic and stays positive definite.
    inputs = np.stack([np.cos(sites), np.sin(sites)], axis=1) if spline.periodic else sites[:, None]
    shapes = None if drift is None else spline.matrix(sites) @ drift
    return CurvePrior(term.name, inputs, warp, transform, lift, mean, lengthscale, amplitude, None, shapes)


def midpoints(term: SplineTerm) -> Float[np.ndarray, " difference"]:
    """Where the coefficients of the slope sit: halfway between the centers of neighboring basis functions."""
    spline = term.spline
    return spline.start + (np.arange(spline.size - 1) - 0.5) * spline.spacing


def damping(
    term: SplineTerm, x: Float[np.ndarray, " difference"], sampled: tuple[float, float]
) -> Float[np.ndarray, " difference"]:
    """Factor on the slopes' spread at x: one where they are felt by what was sampled, falling to zero beyond."""
    # The slope at a sampled point depends on the differences up to one and a half knots away: all of these are free.
    reach = 1.5 * term.spline.spacing
    beyond = np.clip(sampled[0] - reach - x, 0, None) + np.clip(x - sampled[1] - reach, 0, None)
    return np.exp(-0.5 * (beyond / term.spline.spacing) ** 2)


def _round_out(kept: np.ndarray, count: int) -> np.ndarray:
    """Round a run of kept coefficients out to multiples of eight: fits of similar data then share compiled code."""
    return np.arange(kept[0] // 8 * 8, min(-(-(kept[-1] + 1) // 8) * 8, count))
