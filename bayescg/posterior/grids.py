"""Curves of the terms: where they are drawn, and their values."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from bayescg._runtime import double_precision
from bayescg.potentials import Potential, Term
from bayescg.potentials.term import Graph

_GRID_POINTS = 200


def curve_grid(
    potential: Potential, name: str, sampled: tuple[float, float] | None, points: int = _GRID_POINTS
) -> Float[np.ndarray, " x"]:
    """Where to evaluate the curve of a term: its sampled range with a margin, or the whole range of its knots.

    Args:
        potential: the potential.
        name: of the term.
        sampled: smallest and largest descriptor that was sampled [nm or rad]; None: unknown.
        points: number of values.

    Returns:
        (points,) equally spaced [nm or rad].

    Raises:
        ValueError: if there is no such term, or it has no curve.
    """
    term = potential.term(name)
    (start, stop), graph = term.span, _graph_of(term)
    if sampled is not None:
        margin = 0.15 * (sampled[1] - sampled[0])
        start = max(start, sampled[0] - margin)
        if not graph.vanishes:
            stop = min(stop, sampled[1] + margin)
    return np.linspace(start, stop, points)


def curves(
    potential: Potential, name: str, coefficients: Float[np.ndarray, "*draw basis"], x: Float[np.ndarray, " x"]
) -> tuple[Float[np.ndarray, "*draw x"], Float[np.ndarray, "*draw x"]]:
    """Energy and force of one term for every coefficient vector, baseline included.

    The energy of a bonded term is defined up to a constant: its mean over the grid of the spline is zero.

    Args:
        potential: the potential.
        name: of the term.
        coefficients: (..., basis) those of the whole potential [kJ/mol].
        x: (x,) values of the descriptor [nm or rad].

    Returns:
        Energy [kJ/mol] and force, minus the slope [kJ/mol/nm or kJ/mol/rad], each (..., x).

    Raises:
        ValueError: if there is no such term, or it has no curve.
    """
    graph, x = _graph_of(potential.term(name)), np.asarray(x, float)
    part = np.asarray(coefficients, float)[..., potential.slices[name]]
    energy, slope = (part @ rows.T for rows in graph.basis(x))
    if graph.baseline is not None:
        with double_precision():
            base, base_slope = graph.baseline(jnp.asarray(x))
            energy, slope = energy + np.asarray(base), slope + np.asarray(base_slope)
    return energy, -slope


def _graph_of(term: Term) -> Graph:
    if term.graph is None:
        raise ValueError(f"{term.name} is no function of one variable and has no curve")
    return term.graph
