"""Groups of a fit in ArviZ's layout, beside the posterior: what its functions ask for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import jax
import numpy as np
import xarray as xr
from jaxtyping import Array, Float

from bayescg.inference.linear import scores
from bayescg.inference.linear.fit import Fit
from bayescg.inference.statistics.sums.blocks import Sums

_SCORE_BUDGET = 2e11
"""Multiplications spent on leave-block-out scores, some ten seconds."""

_PRIOR_DRAWS, _FORESEEN = 500, 200


def log_likelihood(fitted: Fit, blocks: Sequence[Sums], total: Sums) -> xr.Dataset:
    """Predictive log likelihood of time blocks, for some of the draws of the hyperparameters.

    A few hundred draws of a handful of hyperparameters are plenty for PSIS: each costs a solve for every block.
    """
    prior, found = fitted.prior, fitted.found
    chains, draws = next(iter(found.values.values())).shape[:2]
    wanted = int(np.clip(_SCORE_BUDGET / (len(blocks) * prior.lift.shape[1] ** 3), 100, 400))
    chosen = np.arange(0, draws, max(1, chains * draws // wanted))
    flat = {n: v[:, chosen].reshape(chains * len(chosen), *v.shape[2:]) for n, v in found.values.items()}
    flat |= {name: np.full(chains * len(chosen), value) for name, value in fitted.fixed.items()}
    pointwise = scores.block_log_likelihood(prior, blocks, total, flat).reshape(chains, len(chosen), -1)
    kind = (
        "predictive: log p(block | other blocks, hyperparameters) under independent Gaussian noise, coefficients "
        "integrated out"
    )
    if fitted.fixed:
        kind += (
            "; the error bars of this fit are calibrated and do not follow this likelihood: leave-one-out scores "
            "compare predictions, they do not test the error bars"
        )
    return xr.Dataset(
        {"forces": (("chain", "draw", "block"), pointwise)},
        {
            "block": np.arange(len(blocks)),
            "chain": np.arange(chains),
            "draw": chosen,
            "components": ("block", [float(np.sum(block.components)) for block in blocks]),
        },
        {"kind": kind},
    )


def priors(fitted: Fit, key: Array) -> dict[str, xr.Dataset]:
    """`prior`: draws of the hyperparameters that are sampled; `log_prior`: its density at the posterior's draws."""
    free = {n: d for n, d in fitted.prior.distributions().items() if n not in fitted.fixed}
    keys = jax.random.split(key, len(free))
    sites = {n: np.asarray(d.sample(k, (_PRIOR_DRAWS,))) for (n, d), k in zip(free.items(), keys, strict=True)}
    densities = {n: np.asarray(d.log_prob(fitted.found.values[n])) for n, d in free.items()}
    return {
        "prior": xr.Dataset({name: (_dims(name, v[None]), v[None]) for name, v in sites.items()}),
        "log_prior": xr.Dataset({name: (_dims(name, v), v) for name, v in densities.items()}),
    }


def force_sizes(fitted: Fit, blocks: Sequence[Sums], key: Array) -> dict[str, xr.Dataset]:
    """`observed_data` and `posterior_predictive`: root mean square of the forces of each time block.

    The forces themselves are not kept; of their size the sums tell what a draw predicts: |J w|^2 and the noise.
    """
    coefficients = fitted.coefficients
    chains, draws = coefficients.shape[:2]
    chosen = np.arange(0, draws, max(1, chains * draws // _FORESEEN))
    w = coefficients[:, chosen]
    known = blocks[0].gram.shape[-1] - w.shape[-1]
    w = np.concatenate([w, np.ones((*w.shape[:2], known))], axis=-1)
    noise = _noises(fitted, chosen)
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)).astype(np.uint32).tolist())
    drawn, observed = [], []
    for block in blocks:
        count = block.components
        signal = np.maximum(np.einsum("cdk,tkl,cdl->cdt", w, block.gram, w, optimize=True), 0.0)
        # |J w + e|^2 of independent Gaussian noise e is noncentral chi-square, class by class.
        square = sum(
            noise[..., k] ** 2 * rng.noncentral_chisquare(count[k], signal[..., k] / noise[..., k] ** 2)
            for k in np.flatnonzero(count)
        )
        drawn.append(np.sqrt(square / count.sum()))
        observed.append(np.sqrt(block.square.sum() / count.sum()))
    units = {"units": "kJ/mol/nm", "long_name": "root mean square force of a time block"}
    coords = {"block": np.arange(len(blocks))}
    found = {"force_rms": (("chain", "draw", "block"), np.stack(drawn, axis=-1), units)}
    return {
        "posterior_predictive": xr.Dataset(found, {**coords, "chain": np.arange(chains), "draw": chosen}),
        "observed_data": xr.Dataset({"force_rms": ("block", np.array(observed), units)}, coords),
    }


def _noises(fitted: Fit, chosen: np.ndarray) -> Float[np.ndarray, "chain draw noise_class"]:
    """Noise of each class at some draws, sampled or held fixed [kJ/mol/nm]."""
    values: Mapping[str, np.ndarray] = fitted.found.values
    shape = (fitted.coefficients.shape[0], len(chosen))
    columns = [
        np.full(shape, fitted.fixed[f"noise_{name}"]) if fitted.fixed else values[f"noise_{name}"][:, chosen]
        for name in fitted.prior.noise_names
    ]
    return np.stack(columns, axis=-1)


def _dims(name: str, values: np.ndarray) -> tuple[str, ...]:
    return ("chain", "draw", *(f"{name}_dim_{k}" for k in range(values.ndim - 2)))
