"""Levels of fidelity at new inputs, and how well they foretell data that were left out."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Float
from scipy.special import ndtr

from bayescg._runtime import double_precision
from bayescg.samplers.importance import smoothed
from bayescg.surrogates.data import check_inputs, numbers
from bayescg.surrogates.levels import density, tree
from bayescg.surrogates.levels.data import Levels
from bayescg.surrogates.levels.model import joint
from bayescg.surrogates.levels.particles import Particles, predict_particles
from bayescg.surrogates.prediction import CI_PROBS, mixture_quantile

_MOST = 4000
"""Values of one joint draw: levels times points times bins."""


def predict_levels(
    posterior: xr.DataTree,
    inputs: Float[np.ndarray, "point d"] | Float[np.ndarray, " point"] | Sequence,
    *,
    draws: int = 400,
    key: Array,
) -> xr.Dataset:
    """All levels at new inputs, with their uncertainty.

    Bands are quantiles of the mixture over posterior draws, each of which is Gaussian given its parameters; only which
    draws are used is random. They are of the levels themselves; add the error of a measurement in quadrature to
    compare with one.

    Args:
        posterior: from `multi_fidelity`.
        inputs: (point, d), or (point,) for one column.
        draws: how many posterior draws are used; also the number of joint curves returned.
        key: JAX random key.

    Returns:
        Dataset with `mean`, `sd` (level, point), `band` (level, ci_prob, bound, point), `curve` (draw, level, point),
        joint draws of all levels and points, `outside` (point): beyond the box of the fitted inputs. For curves all but
        `outside` have the dimension `bin` last. Units are those of the data.

    Raises:
        ValueError: if the inputs do not fit, or are too many for joint draws.
    """
    levels, means, kernel, link = tree.restored(posterior)
    x = check_inputs(numbers("inputs", inputs), levels.x.shape[1])
    bins = 1 if levels.bins is None else len(levels.bins)
    if not len(x):
        raise ValueError("inputs must be at least one point")
    if len(x) * bins * len(means) > _MOST:
        raise ValueError(
            f"{len(x)} inputs x {bins} bins x {len(means)} levels are too many for joint draws (at most {_MOST} "
            "values): predict in parts"
        )
    if draws < 1:
        raise ValueError(f"draws must be at least 1; got {draws}")
    if link == "nonlinear":
        particles = _particles(posterior, levels)
        with double_precision():
            found = predict_particles(levels, particles, kernel, x, key=key)
        mean, sd, curve = (value[..., None] for value in found)
        return dataset(levels, x, mean + means[:, None, None], sd, curve + means[:, None, None])
    pick_key, curve_key = jax.random.split(key)
    values = tree.flat_draws(posterior)
    total = len(next(iter(values.values())))
    chosen = np.sort(np.asarray(jax.random.permutation(pick_key, total))[: min(draws, total)])
    with double_precision():
        problem = density.build(levels, means, {}, kernel)
        arrays = {name: jnp.asarray(v[chosen]) for name, v in values.items()}
        keys = jax.random.split(curve_key, len(chosen))
        mean, sd, curve = (np.asarray(v) for v in _conditionals(problem, arrays, jnp.asarray(x), keys))
    return dataset(levels, x, mean + means[:, None, None], sd, curve + means[:, None, None])


def _particles(posterior: xr.DataTree, levels: Levels) -> Particles:
    values = tree.by_level(levels, tree.flat_draws(posterior))
    known = posterior["posterior"].dataset["level_at_sites"].values
    sites = posterior["constant_data"].dataset["sites"].values
    return Particles(values, known.reshape(-1, *known.shape[2:]), sites, [], 0)


@jax.jit
def _conditionals(problem, values, x, keys):
    """For each draw: mean, sd and a joint draw of all levels, (draw, level, point, bin)."""
    count, points, size = problem.count, len(x), problem.y.shape[1]
    new = (jnp.tile(x, (count, 1)), jnp.repeat(jnp.arange(count), points))

    def one(item):
        value, key = item
        found = density.factored(problem, value)
        cross = joint(problem.kernel, value, (problem.x, problem.level), new, problem.box)
        mean = cross.T @ found.weights @ found.columns
        half = found.whiten(jnp.kron(cross, found.columns))
        prior = joint(problem.kernel, value, new, new, problem.box)
        scatter = jnp.kron(prior, found.columns) - half.T @ half
        # Rounding may leave a conditional variance slightly negative at the data.
        sd = jnp.sqrt(jnp.maximum(jnp.diag(scatter), 0.0))
        # A draw's own jitter: levels of equal values at one input make the covariance singular.
        root = jnp.linalg.cholesky(scatter + 1e-8 * jnp.mean(jnp.diag(prior)) * jnp.eye(len(scatter)))
        curve = mean.reshape(-1) + root @ jax.random.normal(key, (len(scatter),), float)
        shape = (count, points, size)
        return mean.reshape(shape), sd.reshape(shape), curve.reshape(shape)

    return jax.lax.map(one, (values, keys))


def dataset(levels: Levels, x: np.ndarray, mean: np.ndarray, sd: np.ndarray, curve: np.ndarray) -> xr.Dataset:
    """Mixtures over draws as a dataset.

    Args:
        levels: what was fitted.
        x: (point, d) new inputs.
        mean: (draw, level, point, bin) of each draw's Gaussian.
        sd: of the same.
        curve: joint draws.
    """
    shape = mean.shape[1:]
    tails = [(0.5 * (1 - p), 0.5 * (1 + p)) for p in CI_PROBS]
    flat_mean, flat_sd = (v.reshape(len(mean), -1) for v in (mean, sd))
    band = [[mixture_quantile(p, flat_mean, flat_sd).reshape(shape) for p in pair] for pair in tails]
    total = np.sqrt((sd**2).mean(axis=0) + mean.var(axis=0))
    dims: tuple[str, ...] = ("level", "point", "bin")
    parts = {"mean": mean.mean(axis=0), "sd": total, "band": np.asarray(band), "curve": curve}
    lead = {"band": ("ci_prob", "bound"), "curve": ("draw",)}
    if levels.bins is None:
        dims, parts = dims[:2], {name: value[..., 0] for name, value in parts.items()}
    low, high = levels.x.min(axis=0), levels.x.max(axis=0)
    coords = {"level": levels.names, "ci_prob": list(CI_PROBS), "bound": ["lower", "upper"]}
    coords["input"] = tree.coordinates(levels)["input"]
    out = xr.Dataset(
        {
            **{name: ((*lead.get(name, ()), *dims), value) for name, value in parts.items()},
            "outside": ("point", np.any((x < low) | (x > high), axis=1)),
            "x": (("point", "input"), x),
        },
        coords if levels.bins is None else {**coords, "bin": levels.bins},
    )
    out["band"] = out["band"].transpose("level", "ci_prob", "bound", "point", ...)
    return out


def leave_one_out(posterior: xr.DataTree) -> xr.Dataset:
    """Each point, or each curve, foretold from all others at its level and at the other levels.

    In closed form given the unknowns, and their draws are weighted as if the point had not been seen (PSIS), so that
    nothing is fitted again.

    Args:
        posterior: from `multi_fidelity`.

    Returns:
        Dataset with `mean` and `sd` of a measurement, its `z`, (y - mean) / sd, `probability`, that of values below the
        measured one (all point, or point and bin), `pareto_k` (point): above 0.7 the point decides so much that it
        should be left out by a fit of its own; `point_level` (point).

    Raises:
        ValueError: if this is no posterior of levels.
    """
    levels, means, kernel, link = tree.restored(posterior)
    if link == "nonlinear":
        raise ValueError(
            "nonlinear links have no closed form of leaving out: fit again without the points, and predict"
        )
    values = tree.flat_draws(posterior)
    with double_precision():
        problem = density.build(levels, means, {}, kernel)
        arrays = {name: jnp.asarray(v) for name, v in values.items()}
        mean, variance, log_density = (np.asarray(v) for v in _left_out(problem, arrays))
    found = [smoothed(-log_density[:, point]) for point in range(log_density.shape[1])]
    weights = np.stack([np.exp(w - w.max()) for w, _ in found], axis=1)
    weights = (weights / weights.sum(axis=0))[:, :, None]
    center = np.sum(weights * mean, axis=0)
    sd = np.sqrt(np.sum(weights * (variance + (mean - center) ** 2), axis=0))
    y = levels.y - means[levels.level][:, None]
    below = np.sum(weights * ndtr((y - mean) / np.sqrt(variance)), axis=0)
    parts = {"mean": center + means[levels.level][:, None], "sd": sd, "z": (y - center) / sd, "probability": below}
    dims, coords = ("point", "bin"), {"bin": levels.bins}
    if levels.bins is None:
        dims, coords, parts = ("point",), {}, {name: v[:, 0] for name, v in parts.items()}
    names = np.asarray(levels.names, str)[levels.level]
    extra = {"pareto_k": ("point", np.array([k for _, k in found])), "point_level": ("point", names)}
    return xr.Dataset({**{name: (dims, v) for name, v in parts.items()}, **extra}, coords)


@jax.jit
def _left_out(problem, values):
    return jax.lax.map(lambda value: density.left_out(problem, value), values)
