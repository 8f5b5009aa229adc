"""Modes of densities of one vector, and the curvature there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from bayescg.samplers.density import Density

_WALL = 1e15
"""In the place of an infinite minus log density: a line search that steps too far must find a wall, not a nan."""


class Mode(NamedTuple):
    """Posterior mode in unconstrained coordinates, with the inverse Hessian there."""

    position: Float[np.ndarray, " site"]
    covariance: Float[np.ndarray, "site site"]


def find_mode(target: Density) -> Mode:
    """Mode by trust-region Newton steps (SciPy) from the prior median; Hessian from differences of exact gradients.

    Raises:
        ValueError: if the search does not end at a mode.
    """
    from scipy.optimize import minimize

    def objective(z):
        value, gradient = target.value_and_gradient(jnp.asarray(z))
        if not np.isfinite(value) or not np.all(np.isfinite(gradient)):
            return np.inf, np.zeros_like(z)
        return float(value), np.asarray(gradient)

    def curvature(z, step=1e-3):
        rows = [(objective(z + step * e)[1] - objective(z - step * e)[1]) / (2 * step) for e in np.eye(len(z))]
        return 0.5 * (np.stack(rows) + np.stack(rows).T)

    start = target.center
    best = minimize(
        objective,
        start,
        jac=True,
        hess=curvature,
        method="trust-exact",
        options={"initial_trust_radius": 0.5, "max_trust_radius": 2.0, "gtol": 1e-3, "maxiter": 200},
    )
    # Flat or slightly concave directions (a hyperparameter that the data do not see) get the hyperprior's scale.
    eigenvalues, vectors = np.linalg.eigh(curvature(best.x))
    inverse = vectors / np.maximum(eigenvalues, 0.25)
    gradient = objective(best.x)[1]
    if not np.isfinite(best.fun) or gradient @ (inverse @ vectors.T) @ gradient > 0.01:
        raise ValueError(
            "the hyperparameters have no finite mode: check the forces (outliers, all of them zero, or none with any "
            "noise), and the cutoff"
        )
    return Mode(best.x, inverse @ vectors.T)


def climb(
    target: Density,
    starts: Iterable[Float[np.ndarray, " site"]],
    *,
    bounds: Sequence[tuple[float, float]] | None = None,
    steps: int = 300,
) -> Float[np.ndarray, " site"]:
    """The best end of several searches (L-BFGS, SciPy), for densities that may have several modes or none.

    Args:
        target: the density.
        starts: where the searches begin.
        bounds: lowest and highest value of every component.
        steps: most of each search.

    Raises:
        ValueError: if no search ends at a finite density.
    """
    from scipy.optimize import minimize

    best, options = None, {"maxiter": steps}
    for start in starts:
        found = minimize(
            partial(_walled, target), np.asarray(start), jac=True, method="L-BFGS-B", bounds=bounds, options=options
        )
        if best is None or found.fun < best.fun:
            best = found
    if best is None or not best.fun < 0.1 * _WALL:
        raise ValueError("the posterior is not finite anywhere: check the priors, and the model at the data's inputs")
    return best.x


def curvature(target: Density, position: Float[np.ndarray, " site"], step: float = 1e-3) -> np.ndarray:
    """Hessian of the minus log density, (site, site), by differences of exact gradients.

    Second derivatives would take longer to compile than to use.
    """
    ends = [[_walled(target, position + sign * e)[1] for sign in (step, -step)] for e in np.eye(len(position))]
    rows = np.stack([(up - down) / (2 * step) for up, down in ends])
    return 0.5 * (rows + rows.T)


def _walled(target: Density, z: Float[np.ndarray, " site"]) -> tuple[float, Float[np.ndarray, " site"]]:
    value, gradient = target.value_and_gradient(jnp.asarray(z))
    value, gradient = float(value), np.asarray(gradient)
    return (value, gradient) if np.isfinite(value) and np.all(np.isfinite(gradient)) else (_WALL, np.zeros_like(z))


def spread_at(
    target: Density, position: Float[np.ndarray, " site"], *, least: float = 0.5
) -> Float[np.ndarray, "site direction"]:
    """A root R of the covariance R R' of the Gaussian that has the density's curvature at a mode.

    Args:
        target: the density.
        position: its mode.
        least: curvature of directions that are flat, slightly concave or at a bound (a hyperparameter that the data do
            not see): they are no narrower than their prior.
    """
    values, vectors = np.linalg.eigh(curvature(target, position))
    return vectors / np.sqrt(np.maximum(values, least))
