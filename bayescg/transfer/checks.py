"""`leave_one_system_out`: each system against what all others say about it, in closed form."""

from __future__ import annotations

import json
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array
from scipy.stats import chi2, norm

from bayescg._runtime import double_precision
from bayescg.transfer import layout
from bayescg.transfer.aligned import distances
from bayescg.transfer.drawing import as_arrays
from bayescg.transfer.gaussian import cavity, eliminate
from bayescg.transfer.model import Problem, design_at

_DRAWS = 40
"""Draws of the hyperparameters that are averaged over."""

_SEEN = 1.0
"""Directions count of which the data know at least as much as the prediction does: others test nothing."""

_ODD = 1e-3


def leave_one_system_out(posterior: xr.DataTree) -> xr.Dataset:
    """Predict every system from all others, and compare with its own data: no refits, no trajectories.

    At given hyperparameters and distances of contact the prediction of a system's coefficients is Gaussian, in closed
    form: its share is taken off the sums of the others (equal to Q (m - C h), Q C with Q = (I - C G)^-1, C its
    posterior covariance, G and h its sums). Its data y, of known noise covariance, are then compared with the predicted
    ones in the directions of which they know more than the prediction. Hyperparameters are those of all systems,
    averaged over some of their draws: one system moves them little.

    Args:
        posterior: from `transfer.fit`.

    Returns:
        Dataset over `system`: `z` (system, direction), deviations in standard deviations, from the direction that the
        data know best to that which they know least (nan beyond the last); `coverage`, the share of directions within
        the 90 % interval; `elpd`, log density of the data in these directions; `chi_square`, `directions` and `p`, the
        probability of as large a deviation; `z_contact` (system, aligned), of the distance of contact; `extrapolated`,
        whether a descriptor is the smallest or largest of all; `odd`, p < 0.001 / number of systems.

    Raises:
        ValueError: if it is no posterior of `transfer.fit`.
    """
    stored = layout.read(posterior)
    count = len(stored.names)
    chosen = np.unique(np.linspace(0, len(stored.shared) - 1, _DRAWS).astype(int))
    with double_precision():
        problem = as_arrays(Problem(stored.model, stored.states, stored.sums, stored.measured))
        values = {name: jnp.asarray(v[chosen]) for name, v in stored.values.items()}
        mean, covariance, noise = (np.asarray(v) for v in _predicted(problem, values, stored.ratios[chosen]))
        contact = [
            np.asarray(_contact(name, jax.tree.map(jnp.asarray, m), values))
            for name, m in zip(stored.model.aligned, stored.measured, strict=True)
        ]
    size = stored.sums.target.shape[1]
    z, elpd = np.full((len(chosen), count, size), np.nan), np.zeros((len(chosen), count))
    square, p, number = np.zeros_like(elpd), np.zeros_like(elpd), np.zeros_like(elpd)
    for draw in range(len(chosen)):
        for system in range(count):
            own = _deviations(mean[draw, system], covariance[draw, system], noise[draw, system])
            z[draw, system, : len(own[0])] = own[0]
            elpd[draw, system] = own[1]
            square[draw, system], number[draw, system] = np.sum(own[0] ** 2), len(own[0])
            p[draw, system] = chi2.sf(square[draw, system], max(len(own[0]), 1))
    inside = np.abs(z) < norm.isf(0.05)
    p = p.mean(axis=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # directions that no draw knows are nan
        average = np.nanmean(z, axis=0)
    low, high = stored.axes.values.min(axis=0), stored.axes.values.max(axis=0)
    edge = np.any((stored.axes.values == low) | (stored.axes.values == high), axis=1)
    best = elpd.max(axis=0)
    return xr.Dataset(
        {
            "z": (("system", "direction"), average),
            "coverage": ("system", inside.sum(axis=(0, 2)) / np.maximum(np.isfinite(z).sum(axis=(0, 2)), 1)),
            "elpd": ("system", best + np.log(np.mean(np.exp(elpd - best), axis=0))),
            "chi_square": ("system", square.mean(axis=0)),
            "directions": ("system", number.mean(axis=0)),
            "p": ("system", p),
            "z_contact": (("system", "aligned"), np.stack(contact, axis=1) if contact else np.zeros((count, 0))),
            "extrapolated": ("system", edge),
            "odd": ("system", p < _ODD / count),
        },
        {"system": list(stored.names), "aligned": list(stored.model.aligned)},
        attrs={"descriptors": json.dumps(stored.axes.names), "draws": len(chosen)},
    )


def _predicted(problem: Problem, values: dict[str, Array], ratios):
    return _predicted_each(problem, values, jnp.asarray(ratios))


@jax.jit
def _predicted_each(problem: Problem, values, ratios):
    """Deviation of data from their prediction, its covariance without their noise, and that of their noise."""

    def one(item):
        value, over = item
        design = design_at(problem, value, over)
        left = eliminate(design)

        def system(number):
            said = cavity(design, left, number)
            seen = design.x[number] @ said.spread
            root = problem.sums.scatter[number]
            return design.y[number] - design.x[number] @ said.mean, seen @ seen.T, root @ root.T

        return jax.lax.map(system, jnp.arange(len(design.y)))

    return jax.lax.map(one, (values, ratios))


def _deviations(deviation: np.ndarray, predicted: np.ndarray, noise: np.ndarray) -> tuple[np.ndarray, float]:
    """Standardized deviations in directions that the data know, and their log density."""
    # Directions in which the working noise is one: predicted variance above it is where the data know more.
    size, turn = np.linalg.eigh(predicted)
    known = turn[:, size > _SEEN][:, ::-1]
    if not known.shape[1]:
        return np.zeros(0), 0.0
    covariance = known.T @ (predicted + noise) @ known
    root = np.linalg.cholesky(covariance)
    z = np.linalg.solve(root, known.T @ deviation)
    return z, float(-0.5 * z @ z - np.sum(np.log(np.diag(root))) - 0.5 * len(z) * np.log(2 * np.pi))


def _contact(name: str, measured: distances.Measured, values: dict[str, Array]) -> Array:
    """Mean over draws of the standardized deviation of the distance of contact."""
    each = {n: v for n, v in values.items() if n.startswith("contact_")}
    deviation, sd = jax.lax.map(lambda value: distances.left_out(name, measured, value), each)
    return jnp.mean(deviation / sd, axis=0)
