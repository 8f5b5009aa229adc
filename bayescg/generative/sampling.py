"""`sample`: draws of a model with importance weights, and what follows from them."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Float
from scipy.special import logsumexp

from bayescg._compiled import batched, compiled
from bayescg._runtime import double_precision, progress
from bayescg._version import ORIGIN
from bayescg.atomistic.target import MoleculeTarget, Target
from bayescg.generative.model.latent_model import LatentModel
from bayescg.generative.particles.smc import refuse_nan
from bayescg.generative.training.replay import DEFENSIVE
from bayescg.samplers.importance import PARETO_LIMIT, kish, log_mean, pareto_k

_BATCH = 512
_FEWEST = 10.0
"""Effective samples that a bin needs for an error bar."""

Observable = Callable[[xr.Dataset], Float[np.ndarray, "sample ..."]]


def sample(
    model: LatentModel,
    target: Target,
    *,
    draws: int = 20_000,
    observables: Mapping[str, Observable] | None = None,
    defensive: float = DEFENSIVE,
    key,
) -> xr.DataTree:
    """Draw from a model and weight each draw by the target.

    The weight of a draw (z, y) is w = p(y) r(z | y) / (q(z) q(y | z)). Weighted averages converge to those of the
    target with more draws, whatever the model, as long as it reaches everywhere. The mean of w estimates Z without
    bias. Weights cannot show what the model never reaches; `check_modes` can.

    Args:
        model: from `discover`.
        target: what it was made for.
        draws: number of draws, each one evaluation of the target; made in batches of 512.
        observables: name -> function of the `samples` group that returns one value (or array) for each sample.
        defensive: share of draws with z from the model's defensive density, in which rare states are frequent; 0: none.
        key: JAX random key.

    Returns:
        DataTree with `samples` (`coordinates`, `latent`, `log_weight`, `log_target`, and for molecules `positions`
        [nm]) and `estimates` (each observable as mean and `_se`, `log_z`, `log_z_se`); attrs of the root hold
        effective sample size, Pareto k and the number of evaluations. At a Pareto k of 0.7 or more errors are NaN.

    Raises:
        ValueError: if the model belongs to another target, there are fewer than 100 draws, `defensive` is outside [0,
            1), an observable is named `log_z`, or no draw has a finite weight.
    """
    if model.whitening.dimension != target.dimension:
        raise ValueError(
            f"the model has {model.whitening.dimension} coordinates and the target {target.dimension}: they do not "
            "belong together"
        )
    taken = {"log_z", "log_z_se"} & {name for given in observables or () for name in (given, f"{given}_se")}
    if taken:
        raise ValueError(f"an observable is called {min(taken)!r}, which is what sample itself returns: rename it")
    if draws < 100:
        raise ValueError(f"draws is {draws}: weights of fewer than 100 draws say nothing about their own tail")
    if not 0 <= defensive < 1:
        raise ValueError(f"defensive is {defensive}: give a share of the draws, from 0 to less than 1")
    y, z, log_q, log_p, log_r = _draw(model, target, draws, defensive, key)
    refuse_nan(target, y, log_p)
    raw = log_p + log_r - log_q
    if not np.any(np.isfinite(raw)):
        raise ValueError("no draw has a finite density under the target: the model does not describe it")
    raw = np.where(np.isfinite(raw), raw, -np.inf)
    (log_z, log_z_se), weights = log_mean(raw), np.exp(raw - logsumexp(raw))
    k = pareto_k(raw)
    samples = _samples(target, y, z, np.log(np.maximum(weights, 1e-300)), log_p)
    withheld = not k < PARETO_LIMIT
    if withheld:
        warnings.warn(
            f"Pareto k of the weights is {k:.2f}, not below {PARETO_LIMIT}: few draws carry all the weight, and error "
            "bars are withheld; train longer (a larger budget), or draw more",
            stacklevel=2,
        )
    attrs = {
        "draws": draws,
        "defensive_share": 0.0 if model.defensive is None else defensive,
        "ess": float(kish(weights)),
        "ess_share": float(kish(weights) / draws),
        "pareto_k": k,
        "reliable": int(not withheld),
        "evaluations": -(-draws // _BATCH) * _BATCH,
        "evaluations_training": int(json.loads(model.report).get("evaluations", 0)),
        **ORIGIN,
        "note": "Weights cannot see regions that the model never reaches; check_modes compares with tempered SMC.",
    }
    samples.attrs.update(attrs)
    variables = {"log_z": log_z, "log_z_se": np.nan if withheld else log_z_se}
    dataset = xr.Dataset({name: ((), value) for name, value in variables.items()}, attrs=attrs)
    for name, observable in (observables or {}).items():
        mean, error = average(samples, observable)
        shape = tuple(f"{name}_dim_{axis}" for axis in range(np.ndim(mean)))
        dataset[name], dataset[f"{name}_se"] = (shape, mean), (shape, error)
    return xr.DataTree.from_dict({"/": xr.Dataset(attrs=attrs), "samples": samples, "estimates": dataset})


def average(samples: xr.Dataset, observable: Observable) -> tuple[np.ndarray, np.ndarray]:
    """Weighted mean of an observable over samples, and its standard error (delta method for normalized weights).

    Args:
        samples: the group `samples` of what `sample` returned.
        observable: function of it that returns an array with samples first.

    Returns:
        Mean and error, of the shape of one sample's value; the error is NaN where the weights do not allow one (a
        Pareto k of 0.7 or more).

    Raises:
        ValueError: if the observable does not return one value for each sample.
    """
    values = np.asarray(observable(samples), float)
    weights = np.exp(samples["log_weight"].values)
    weights = weights / weights.sum()
    if values.shape[:1] != weights.shape:
        raise ValueError(f"the observable returned shape {values.shape} for {len(weights)} samples: samples come first")
    mean = np.tensordot(weights, values, axes=1)
    error = np.sqrt(np.tensordot(weights**2, (values - mean) ** 2, axes=1))
    return mean, error if samples.attrs.get("reliable", 0) else np.full_like(error, np.nan)


def free_energy(
    samples: xr.Dataset,
    values: Float[np.ndarray, " sample"] | xr.DataArray,
    edges: Float[np.ndarray, " edge"] | Sequence[float],
) -> xr.Dataset:
    """Free energy -ln p of one variable in bins, zero at its minimum, with standard errors.

    Args:
        samples: the group `samples` of what `sample` returned.
        values: (sample,) of the variable.
        edges: (bin + 1,) of the bins, ascending.

    Returns:
        `free_energy` and `free_energy_se` (bin,) [kT], with the centers of the bins as coordinate `bin`. Both are NaN
        where no sample fell. The error is NaN where the weights do not allow one, and in bins with fewer than ten
        effective samples: there the free energy itself is a guess.

    Raises:
        ValueError: if edges do not grow, there is not one value for each sample, or none falls into a bin.
    """
    values, edges = np.asarray(values, float), np.asarray(edges, float)
    if edges.ndim != 1 or len(edges) < 2 or not np.all(np.diff(edges) > 0):
        raise ValueError(f"edges are {edges}: give at least two numbers that grow")
    if values.ndim != 1:
        raise ValueError(f"values have shape {values.shape}: give one number for each sample")
    inside = (values[:, None] >= edges[:-1]) & (values[:, None] < edges[1:])
    share, error = average(samples, lambda _: inside.astype(float))
    if not np.any(share > 0):
        raise ValueError(f"no sample falls between {edges[0]:g} and {edges[-1]:g}: give edges around the values")
    with np.errstate(divide="ignore", invalid="ignore"):
        energy = np.where(share > 0, -np.log(share / np.diff(edges)), np.nan)
        # A few heavy samples can rule a bin though the weights as a whole are good.
        effective = kish(np.exp(samples["log_weight"].values) * inside.T)
        relative = np.where(effective >= _FEWEST, error / share, np.nan)
    centers = 0.5 * (edges[1:] + edges[:-1])
    return xr.Dataset(
        {
            "free_energy": ("bin", energy - np.nanmin(energy), {"units": "kT"}),
            "free_energy_se": ("bin", relative, {"units": "kT"}),
        },
        {"bin": centers},
    )


def _draw(model: LatentModel, target: Target, draws: int, defensive: float, key):
    """Draws in single precision, which the networks have; the target's density in double."""

    @compiled
    def batch(model, keys):
        def one(key):
            y, z, log_q = model.sample(defensive=defensive, key=key)
            return y, z, log_q, model.log_encoder(z, y)

        return jax.vmap(one)(keys)

    @jax.jit
    def density(y):
        return jax.vmap(target.log_density)(y)

    parts = []
    with progress("Sampling", draws) as advance:
        for begin in range(0, draws, _BATCH):
            key, subkey = jax.random.split(key)
            y, z, log_q, log_r = (np.asarray(a) for a in batch(model, jax.random.split(subkey, _BATCH)))
            with double_precision():
                log_p = np.asarray(density(jnp.asarray(y, float)))
            parts.append((y, z, log_q, log_p, log_r))
            advance(min(_BATCH, draws - begin))
    return tuple(np.concatenate([part[k] for part in parts])[:draws].astype(float) for k in range(5))


def _samples(target: Target, y, z, log_weight, log_p) -> xr.Dataset:
    variables: dict[str, object] = {
        "coordinates": (("sample", "coordinate"), y),
        "latent": (("sample", "latent_dim"), z),
        "log_weight": ("sample", log_weight, {"long_name": "log of normalized weight"}),
        "log_target": ("sample", log_p, {"long_name": "unnormalized log density of the target"}),
    }
    if isinstance(target, MoleculeTarget):
        with double_precision():
            positions = np.asarray(batched(target.to_positions, jnp.asarray(y)))
        variables["positions"] = (("sample", "atom", "xyz"), positions, {"units": "nm"})
    return xr.Dataset(variables, {"coordinate": list(target.names), "xyz": ["x", "y", "z"]})
