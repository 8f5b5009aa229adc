"""Curves of the terms: where they are drawn, and their values."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from bayescg._runtime import double_precision
from bayescg.potentials import Potential, Term

_GRID_POINTS = 200


def curve_grid(
    potential: Potential, name: str, sampled: tuple[float, float] | None, points: int = _GRID_POINTS
) -> Float[np.ndarray, " x"]:
    """Abscissae for plotting a term: its sampled range with a margin, or the whole knot range."""
    _require_curve(potential.term(name))
    spline = potential.term(name).spline
    start, stop = spline.start, spline.stop
    if sampled is not None:
        margin = 0.15 * (sampled[1] - sampled[0])
        start = max(start, sampled[0] - margin)
        if potential.term(name).kind != "pair":
            stop = min(stop, sampled[1] + margin)
    return np.linspace(start, stop, points)


def curves(
    potential: Potential, name: str, coefficients: Float[np.ndarray, "*draw basis"], x: Float[np.ndarray, " x"]
) -> tuple[Float[np.ndarray, "*draw x"], Float[np.ndarray, "*draw x"]]:
    """Energy [kJ/mol] and force (minus slope) of one term at x for every coefficient vector, baseline included.

    The energy of a bonded term is defined up to a constant: its mean over the grid of the spline is zero.
    """
    term = potential.term(name)
    _require_curve(term)
    x = np.asarray(x, float)
    part = np.asarray(coefficients, float)[..., potential.slices[name]]
    energy = part @ term.spline.matrix(x)[:, : term.n_basis].T
    slope = part @ term.spline.matrix(x, 1)[:, : term.n_basis].T
    if term.baseline is not None:
        with double_precision():
            base, base_slope = term.curve(jnp.zeros(term.n_basis), jnp.asarray(x))
            energy, slope = energy + np.asarray(base), slope + np.asarray(base_slope)
    return energy, -slope


def _require_curve(term: Term) -> None:
    if not term.has_curve:
        raise ValueError(
            f"{term.name} depends on three distances and has no curve: evaluate term.surface(coefficients, sides)"
        )
