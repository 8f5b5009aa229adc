"""How much a model could differ: a Gibbs posterior over its decoder's weights.

There is no data, so this is no posterior of a likelihood: p(phi) exp(-lambda KL(q_phi || p)) says which weights are as
good as the trained ones up to 1/lambda in divergence. What its draws differ in is *model variability*. It is not an
error bar: errors come from importance weights, and weighted estimates of all draws must agree.
"""

from __future__ import annotations

from collections.abc import Mapping

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from bayescg._compiled import compiled
from bayescg.atomistic.target import Target
from bayescg.generative.model.latent_model import LatentModel
from bayescg.generative.sampling import Observable, average, sample

_PRIOR_PRECISION = 1.0


def weight_draws(
    model: LatentModel, *, draws: int = 8, sharpness: float, samples: int = 2048, key
) -> list[LatentModel]:
    """Models with decoder weights drawn from a Laplace approximation of the Gibbs posterior exp(-lambda KL).

    Near its minimum the divergence is half a square in the Fisher information F of q(y | z). With a standard normal
    prior around the trained weights, the posterior is a Gaussian of precision lambda F + 1, of which the diagonal is
    taken. The expected divergence from the trained model is then the number of informed weights over 2 lambda.

    Args:
        model: the trained model.
        draws: number of models.
        sharpness: lambda, in units of samples: the larger, the closer to the trained model.
        samples: of the model, for the Fisher information. No evaluation of the target is needed.
        key: JAX random key.

    Returns:
        The models.

    Raises:
        ValueError: if lambda is not positive.
    """
    if not sharpness > 0:
        raise ValueError(f"sharpness is {sharpness}; lambda must be positive")
    first, second = jax.random.split(key)
    spec = jax.tree.map(lambda _: False, model)
    spec = eqx.tree_at(lambda m: m.decoder, spec, jax.tree.map(eqx.is_inexact_array, model.decoder))
    weights, rest = eqx.partition(model, spec)

    @compiled
    def information(weights, keys):
        def one(total, key):
            y, z, _ = eqx.combine(weights, rest).sample(key=key)
            score = jax.grad(lambda w: eqx.combine(w, rest).log_decoder(y, z))(weights)
            return jax.tree.map(lambda t, g: t + jnp.where(jnp.isfinite(g), g, 0.0) ** 2, total, score), None

        zero = jax.tree.map(jnp.zeros_like, weights)
        return jax.lax.scan(one, zero, keys)[0]

    @compiled
    def moved(weights, total, key):
        def one(w, t, k):
            fisher = t / samples
            # Weights on which the density does not depend at all (F = 0) stay: their prior says nothing of the model.
            width = jnp.where(fisher > 0, 1 / jnp.sqrt(sharpness * fisher + _PRIOR_PRECISION), 0.0)
            return w + width * jax.random.normal(k, w.shape, w.dtype)

        leaves, structure = jax.tree.flatten(weights)
        keys = jax.tree.unflatten(structure, list(jax.random.split(key, len(leaves))))
        return jax.tree.map(one, weights, total, keys)

    total = information(weights, jax.random.split(first, samples))
    return [eqx.combine(moved(weights, total, k), rest) for k in jax.random.split(second, draws)]


def model_variability(
    models: list[LatentModel],
    target: Target,
    observables: Mapping[str, Observable],
    *,
    draws: int = 5000,
    key,
) -> xr.Dataset:
    """Observables of each model, as it is and weighted by the target.

    Args:
        models: from `weight_draws`.
        target: what they were made for.
        observables: name -> function of samples, one number for each sample.
        draws: of each model, each one evaluation of the target.
        key: JAX random key.

    Returns:
        Over `model`, for each observable: `NAME_model` (unweighted; its spread is the model variability), `NAME`
        (weighted) and `NAME_se`; and `ess_share`. The attribute `NAME_agreement` is the mean squared deviation of the
        weighted estimates from their mean in units of their errors, about one if they agree. Models without an error
        are left out of it.

    Raises:
        ValueError: as `sample`.
    """
    trees = [
        sample(m, target, draws=draws, observables=observables, key=k)
        for m, k in zip(models, jax.random.split(key, len(models)), strict=True)
    ]
    found = xr.Dataset({"ess_share": ("model", [tree.attrs["ess_share"] for tree in trees])})
    for name, observable in observables.items():
        plain = [np.mean(np.asarray(observable(tree["samples"].to_dataset()), float)) for tree in trees]
        pairs = np.array([average(tree["samples"].to_dataset(), observable) for tree in trees])
        sure = pairs[np.isfinite(pairs[:, 1])]  # of the others, errors are withheld
        found[f"{name}_model"] = ("model", plain, {"long_name": "of the model itself: its spread is no error bar"})
        found[name], found[f"{name}_se"] = ("model", pairs[:, 0]), ("model", pairs[:, 1])
        if len(sure) > 1:
            precision = 1 / np.maximum(sure[:, 1], 1e-300) ** 2
            best = np.average(sure[:, 0], weights=precision)
            found.attrs[f"{name}_agreement"] = float(np.sum(precision * (sure[:, 0] - best) ** 2) / (len(sure) - 1))
    return found
