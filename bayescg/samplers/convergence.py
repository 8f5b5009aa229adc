"""Are the draws good enough? Verdicts as numbers, which results keep as attributes, and words, which warn."""

# pyright: reportPrivateImportUsage=false
# arviz_stats does not mark which of its names are public.

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import NamedTuple

import arviz_stats
import blackjax.diagnostics
import jax.numpy as jnp
import numpy as np
import xarray as xr
from arviz_stats.utils import ELPDData
from jaxtyping import Float

from bayescg.samplers.density import Sampled
from bayescg.samplers.importance import FEWEST_DRAWS, PARETO_LIMIT

_RHAT = 1.01
_ESS_OF_A_CHAIN = 100


class Verdict(NamedTuple):
    """What diagnostics say.

    Attributes:
        numbers: by name, to be kept as attributes.
        notes: plain words for what is bad, and what to do about it.
    """

    numbers: dict[str, float]
    notes: list[str]


def judge(found: Sampled, *, tolerated: float = 0.0) -> Verdict:
    """The verdict on draws by any of the methods.

    Of chains `rhat_max`, `ess_bulk_min`, `ess_tail_min` and `divergences`, over all sites, with the thresholds of
    Vehtari et al. (doi:10.1214/20-BA1221): R-hat below 1.01, 100 effective draws a chain. Of variational inference
    `elbo`, bad where it has not converged. Of Laplace's method `laplace_pareto_k`, a number without a verdict: it was
    above 0.7 in 8 of 8 fits of a ramp whose bands were right, and in none of mW water and methanol whose bands were too
    narrow.

    Args:
        found: draws, their statistics and the method's own numbers.
        tolerated: share of divergent transitions that is no reason for a warning.
    """
    numbers = {name: value for name, value in found.attrs.items() if name != "converged"}
    notes = []
    if found.stats:
        mixed = _mixing(found.values)
        divergent = np.asarray(found.stats.get("diverging", np.zeros(1)))
        numbers = {**mixed, "divergences": int(divergent.sum()), **numbers}
        ess, wanted = min(mixed["ess_bulk_min"], mixed["ess_tail_min"]), _ESS_OF_A_CHAIN * _chains(found.values)
        if not mixed["rhat_max"] < _RHAT:
            notes.append(
                f"R-hat is {mixed['rhat_max']:.3f} (should be below {_RHAT:g}): chains disagree; run longer chains"
            )
        if not ess >= wanted:
            notes.append(f"only {ess:.0f} effective draws of some parameter (should be {wanted}): run longer")
        if divergent.sum() > tolerated * divergent.size:
            notes.append(
                f"{int(divergent.sum())} divergent transitions: the sampler missed a corner of the posterior; run "
                "longer chains, or narrow the priors"
            )
    if not found.attrs.get("converged", True):
        notes.append("variational inference has not converged: compare with method='nuts'")
    return Verdict(numbers, notes)


def _chains(values: Mapping[str, np.ndarray]) -> int:
    return next(iter(values.values())).shape[0]


def _mixing(values: Mapping[str, np.ndarray]) -> dict[str, float]:
    data = _dataset(values)
    return {
        "rhat_max": max(float(v.max()) for v in arviz_stats.rhat(data).data_vars.values()),
        "ess_bulk_min": min(float(v.min()) for v in arviz_stats.ess(data, method="bulk").data_vars.values()),
        "ess_tail_min": min(float(v.min()) for v in arviz_stats.ess(data, method="tail").data_vars.values()),
    }


def _dataset(values: Mapping[str, np.ndarray]) -> xr.Dataset:
    return xr.Dataset({n: (("chain", "draw", *(f"{n}_{k}" for k in range(v.ndim - 2))), v) for n, v in values.items()})


def leave_one_out(log_likelihood: xr.Dataset, values: Mapping[str, np.ndarray], *, name: str, unit: str) -> Verdict:
    """Leave-one-out `elpd` by PSIS, its standard error `elpd_se`, and `pareto_k_max`; words where its weights fail.

    Args:
        log_likelihood: `name` (chain, draw, unit). A coordinate `components` says how large each unit is, if they
            differ: the standard error is then that of densities per component.
        values: draws of the same length, by which their efficiency is known.
        name: of the variable.
        unit: what is left out, in words.
    """
    draws = log_likelihood.sizes["chain"] * log_likelihood.sizes["draw"]
    if draws < FEWEST_DRAWS:
        nothing: dict[str, float] = dict.fromkeys(("elpd", "elpd_se", "pareto_k_max"), float("nan"))
        word = f"{draws} draws are too few for a leave-one-out score, which takes {FEWEST_DRAWS}: elpd is nan"
        return Verdict(nothing, [word])
    tree = xr.DataTree.from_dict({"posterior": _dataset(values), "log_likelihood": log_likelihood})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # said below, in terms of units
        loo = arviz_stats.loo(tree, pointwise=True, var_name=name)
    assert isinstance(loo, ELPDData)
    error, worst = float(loo.se), float(np.max(loo.pareto_k))
    if "components" in log_likelihood.coords:
        share = log_likelihood["components"].values / log_likelihood["components"].values.sum()
        scatter = loo.elpd_i.values - float(loo.elpd) * share
        error = float(np.sqrt(np.sum(scatter**2) * len(share) / (len(share) - 1)))
    notes = []
    if worst > PARETO_LIMIT:
        notes.append(f"Pareto k of a {unit} is {worst:.2f} (should be below {PARETO_LIMIT:g}): elpd rests on few draws")
    return Verdict({"elpd": float(loo.elpd), "elpd_se": error, "pareto_k_max": worst}, notes)


def trace_mixing(traces: Float[np.ndarray, "trace chain step"]) -> tuple[float, float]:
    """Effective samples of the mean and split R-hat of traces of chains, the worst of them.

    By blackjax: of traces as short as these may be, ArviZ's estimator of effective samples sees too few lags. Of fewer
    than four steps nothing can be told: as many samples as chains, and an R-hat of NaN.
    """
    half = traces.shape[-1] // 2
    if half < 2:
        return float(traces.shape[1]), np.nan
    parts = np.concatenate([traces[..., :half], traces[..., -half:]], axis=1)
    ess = [float(blackjax.diagnostics.effective_sample_size(jnp.asarray(v))) for v in parts]
    rhat = [float(blackjax.diagnostics.potential_scale_reduction(jnp.asarray(v))) for v in parts]
    return float(np.nanmin(ess)), float(np.nanmax(rhat))


def pooled_rhat(values: Float[np.ndarray, "chain step ..."]) -> float:
    """Split R-hat of many traces as one: variances between and within chains are summed over all of them.

    The means of chains may agree though parts of a large system are stuck, differently in each chain. One part's R-hat
    would be too noisy, the largest of many more so.
    """
    half = values.shape[1] // 2
    if half < 2:
        return float("nan")
    parts = np.concatenate([values[:, :half], values[:, -half:]])
    within = parts.var(axis=1, ddof=1).mean(axis=0).sum()
    between = parts.mean(axis=1).var(axis=0, ddof=1).sum()
    return float(np.sqrt((half - 1) / half + between / within))
