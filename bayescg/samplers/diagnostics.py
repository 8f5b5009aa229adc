"""Is the sample good enough? R-hat, effective sample size, divergences, and the predictive score with its Pareto k."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import arviz_stats
import numpy as np
import xarray as xr


def convergence(
    values: Mapping[str, np.ndarray], stats: Mapping[str, np.ndarray]
) -> tuple[dict[str, float], list[str]]:
    """R-hat, effective sample sizes and divergences of sampled hyperparameters; plain words for what is bad.

    Thresholds of Vehtari et al. (doi:10.1214/20-BA1221): R-hat below 1.01, 100 effective draws a chain.
    """
    data = xr.Dataset({n: (("chain", "draw", *(f"{n}_{k}" for k in range(v.ndim - 2))), v) for n, v in values.items()})
    chains = next(iter(values.values())).shape[0]
    rhat = max(float(v.max()) for v in arviz_stats.rhat(data).data_vars.values())
    bulk = min(float(v.min()) for v in arviz_stats.ess(data, method="bulk").data_vars.values())
    tail = min(float(v.min()) for v in arviz_stats.ess(data, method="tail").data_vars.values())
    divergences = int(np.sum(stats.get("diverging", 0)))
    numbers = {"rhat_max": rhat, "ess_bulk_min": bulk, "ess_tail_min": tail, "divergences": divergences}
    warnings = []
    if not rhat < 1.01:
        warnings.append(f"R-hat is {rhat:.3f} (should be below 1.01): chains disagree; run longer chains")
    if not min(bulk, tail) >= 100 * chains:
        warnings.append(
            f"only {min(bulk, tail):.0f} effective draws of some hyperparameter (should be {100 * chains}): run longer"
        )
    if divergences:
        warnings.append(f"{divergences} divergent transitions: the sampler missed a corner of the posterior")
    return numbers, warnings


FEWEST_DRAWS = 25
"""For a leave-one-out score: of fewer, importance weights have no tail to judge them by."""


def predictive_score(log_likelihood: xr.Dataset, values, notes: list[str]) -> dict[str, float]:
    """Leave-one-block-out elpd by PSIS, with a plain warning where its weights fail.

    The standard error is that of blocks which differ in size (the coordinate `components`).
    """
    draws = log_likelihood.sizes["chain"] * log_likelihood.sizes["draw"]
    if draws < FEWEST_DRAWS:
        notes.append(f"{draws} draws are too few for a leave-one-out score, which takes {FEWEST_DRAWS}: elpd is nan")
        return {"elpd": float("nan"), "elpd_se": float("nan"), "pareto_k_max": float("nan")}
    posterior = xr.Dataset({n: (("chain", "draw"), v) for n, v in values.items() if v.ndim == 2})
    tree = xr.DataTree.from_dict({"posterior": posterior, "log_likelihood": log_likelihood})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # said below, in terms of time blocks
        loo = arviz_stats.loo(tree, pointwise=True, var_name="forces")
    worst = float(np.max(loo.pareto_k))
    if worst > 0.7:
        notes.append(f"Pareto k of a time block is {worst:.2f} (should be below 0.7): elpd rests on few draws")
    share = log_likelihood["components"].values / log_likelihood["components"].values.sum()
    scatter = loo.elpd_i.values - float(loo.elpd) * share
    error = float(np.sqrt(np.sum(scatter**2) * len(share) / (len(share) - 1)))
    return {"elpd": float(loo.elpd), "elpd_se": error, "pareto_k_max": worst}
