"""Curves with bands, at new inputs: physics, discrepancy, their sum, and new data."""

from __future__ import annotations

import json
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Float
from scipy.special import ndtr, ndtri

from bayescg._runtime import double_precision
from bayescg.kernels import by_name
from bayescg.kernels.covariance import covariance
from bayescg.surrogates import density
from bayescg.surrogates.data import check_inputs
from bayescg.surrogates.density import Problem
from bayescg.surrogates.means import law_by_name
from bayescg.surrogates.model import FORMAT, PhysicsGuidedGP

PARTS = ("physics", "discrepancy", "latent", "observation")
CI_PROBS = (0.90, 0.95)


def predict(
    posterior: xr.DataTree,
    inputs: Float[np.ndarray, "point d"] | Float[np.ndarray, " point"] | Sequence,
    *,
    model: PhysicsGuidedGP | None = None,
    error: float | Float[np.ndarray, " point"] | Sequence[float] | None = None,
    draws: int = 400,
    key: Array,
) -> xr.Dataset:
    """The curve at new inputs, with its uncertainty and what it is made of.

    Bands are quantiles of the mixture over posterior draws, each of which is Gaussian given its parameters; only which
    draws are used is random.

    Args:
        posterior: from `fit`.
        inputs: (point, d), or (point,) for one column.
        model: what was fitted; needed if its law is your own function or its kernel has several parts, which no file
            can hold.
        error: known standard deviation of the new data's measurement; None: root mean square of the errors that
            were fitted, if any. Noise that was learned adds to it.
        draws: how many posterior draws are used; also the number of joint curves returned.
        key: JAX random key.

    Returns:
        Dataset with `mean`, `sd` (part, point) and `band` (part, ci_prob, bound, point) for the parts "physics" (the
        law alone), "discrepancy", "latent" (their sum) and "observation" (new data); `curve` (draw, point), joint draws
        of the latent curve, and `law` (draw, point), the law in the same draws; `outside` (point): beyond the box of
        the fitted inputs.

    Raises:
        ValueError: if the inputs do not fit, or the law cannot be found.
    """
    problem = _problem(posterior, model)
    x = check_inputs(np.asarray(inputs, float), problem.x.shape[1])
    if not len(x) or not np.all(np.isfinite(x)):
        raise ValueError("inputs must be finite numbers, and at least one point")
    constants = posterior["constant_data"].dataset
    known = np.sqrt(np.mean(constants["error"].values ** 2)) if error is None else np.asarray(error, float)
    if np.any(known < 0) or not np.all(np.isfinite(known)):
        raise ValueError(f"error must be a standard deviation, finite and not negative; got {error}")
    if known.shape not in ((), (len(x),)):
        raise ValueError(f"error has shape {known.shape}; there are {len(x)} points")
    pick_key, curve_key = jax.random.split(key)
    flat = posterior["posterior"].dataset.stack(sample=("chain", "draw")).transpose("sample", ...)
    total = flat.sizes["sample"]
    if draws < 1:
        raise ValueError(f"draws must be at least 1; got {draws}")
    draws = min(draws, total)
    chosen = np.sort(np.asarray(jax.random.permutation(pick_key, total))[:draws])
    values = {str(name): flat[name].values[chosen] for name in flat.data_vars}
    with double_precision():
        problem = jax.tree.map(jnp.asarray, problem)
        arrays = {name: jnp.asarray(v) for name, v in values.items()}
        out = _conditionals(problem, arrays, jnp.asarray(x), jax.random.split(curve_key, draws))
        law, shift, spread, curve = (np.asarray(v) for v in out)
    if not np.all(np.isfinite(law)):
        at = x[np.argwhere(~np.isfinite(law))[0, 1]]
        raise ValueError(f"the law is not finite at x = {at.tolist()} for some draws: it has no meaning there")
    noise = np.sqrt(known**2 + values.get("noise", np.zeros(draws))[:, None] ** 2)
    still = np.zeros_like(law)
    mixtures = ((law, still), (shift, spread), (law + shift, spread), (law + shift, np.hypot(spread, noise)))
    return _dataset(posterior, x, mixtures, law, curve)


def check(posterior: xr.DataTree, what: str) -> None:
    """Refuse what is no posterior of `fit` of this version.

    Args:
        posterior: anything.
        what: its name in the message, such as its file.

    Raises:
        ValueError: saying what it lacks.
    """
    missing = {"posterior", "constant_data"} - set(getattr(posterior, "children", ()))
    if missing or "law" not in posterior["posterior"].attrs:
        raise ValueError(f"{what} is no posterior of bayescg.surrogates.fit: it lacks the law or the groups of one")
    found = posterior["posterior"].attrs.get("format")
    if found != FORMAT:
        raise ValueError(f"{what} has format {found}; this version reads format {FORMAT}: fit again")


def _problem(posterior: xr.DataTree, model: PhysicsGuidedGP | None) -> Problem:
    check(posterior, "this object")
    attrs, data = posterior["posterior"].attrs, posterior["constant_data"].dataset
    names = tuple(json.loads(attrs["physics"]))
    if model is None:
        law = law_by_name(attrs["law"])
        if law is None or not attrs["kernel"]:
            what = "law" if law is None else "kernel"
            raise ValueError(f"the {what} of this posterior is your own: give predict(..., model=...) what was fitted")
        kernel, constants = by_name(attrs["kernel"]), json.loads(attrs["constants"])
    else:
        law, kernel, constants = model.mean.function, model.kernel, dict(model.mean.constants)
        if set(model.mean.priors) != set(names):
            raise ValueError(
                f"this model has the parameters {sorted(model.mean.priors)}, the posterior {sorted(names)}"
            )
    x, y, error = (data[name].values for name in ("x", "y", "error"))
    return Problem(x, y, error, {}, constants, kernel, law, names)


@jax.jit
def _conditionals(problem, values, x, keys):
    """For each draw: law, mean and sd of the discrepancy, and one joint draw of the latent curve, all (draw, point)."""

    def one(item):
        value, key = item
        found = density.factored(problem, value)
        law = density.physics(problem, value, x)
        cross = covariance(problem.kernel, value, problem.x, x)
        half = jax.scipy.linalg.solve_triangular(found.cholesky, cross, lower=True)
        prior = covariance(problem.kernel, value, x, x)
        scatter = prior - half.T @ half
        shift = cross.T @ found.weights
        # Rounding may leave a conditional variance slightly negative at the data.
        variance = jnp.maximum(jnp.diag(scatter), 0.0)
        size = jnp.trace(prior) / len(x)
        root = jnp.linalg.cholesky(scatter + 1e-8 * size * jnp.eye(len(x)))
        curve = law + shift + root @ jax.random.normal(key, (len(x),), float)
        return law, shift, jnp.sqrt(variance), curve

    return jax.lax.map(one, (values, keys))


def mixture_quantile(
    p: float, means: Float[np.ndarray, "draw point"], sds: Float[np.ndarray, "draw point"]
) -> Float[np.ndarray, " point"]:
    """Quantile of an equal mixture of normal distributions at each point, (point,), by bisection.

    Args:
        p: probability.
        means: of the components.
        sds: of the components; zeros are allowed.
    """
    reach = ndtri(max(p, 1 - p)) + 1e-9
    low, high = (means - reach * sds).min(axis=0), (means + reach * sds).max(axis=0)
    width = np.maximum(sds, 1e-12 * (np.abs(means) + 1e-300))
    for _ in range(60):
        middle = 0.5 * (low + high)
        below = ndtr((middle - means) / width).mean(axis=0) < p
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return 0.5 * (low + high)


def _dataset(posterior: xr.DataTree, x, mixtures, law, curve) -> xr.Dataset:
    data = posterior["constant_data"].dataset
    unit = {"units": data["y"].attrs["units"]} if "units" in data["y"].attrs else {}
    tails = [(0.5 * (1 - ci_prob), 0.5 * (1 + ci_prob)) for ci_prob in CI_PROBS]
    band = [[[mixture_quantile(p, *mixture) for p in pair] for pair in tails] for mixture in mixtures]
    mean = [means.mean(axis=0) for means, _ in mixtures]
    sd = [np.sqrt((sds**2).mean(axis=0) + means.var(axis=0)) for means, sds in mixtures]
    fitted = data["x"].values
    outside = np.any((x < fitted.min(axis=0)) | (x > fitted.max(axis=0)), axis=1)
    return xr.Dataset(
        {
            "mean": (("part", "point"), np.stack(mean), unit),
            "sd": (("part", "point"), np.stack(sd), unit),
            "band": (("part", "ci_prob", "bound", "point"), np.asarray(band), unit),
            "curve": (("draw", "point"), curve, unit),
            "law": (("draw", "point"), law, unit),
            "outside": ("point", outside),
            "x": (("point", "input"), x),
        },
        {
            "part": list(PARTS),
            "ci_prob": list(CI_PROBS),
            "bound": ["lower", "upper"],
            "input": data["input"].values,
        },
        {"input_units": data.attrs.get("input_units", "[]")},
    )
