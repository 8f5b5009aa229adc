"""From draws and blocks to error bars: what the posterior leaves open, and what finite sampling leaves open."""

from __future__ import annotations

import warnings

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy import stats

# A summary is said to be too certain when neighboring blocks correlate by more than this and by more than so many of
# the correlation's own standard errors: at 0.25 the error of long runs is about 1.3 times what blocks that
# were independent would give, and below three standard errors ten blocks cannot tell it from chance.
_CORRELATION = 0.25
_SIGNIFICANCE = 3.0

# Where draws scatter no more than their noise, the interval takes this one-sided limit of the spread of the posterior
# in place of zero. Of the limits tried on normal numbers (2 to 32 draws, noise of 0.3 to 4 times the spread), this one
# has 90 % intervals that cover 0.90 to 0.97, but 0.88 for two draws with little noise; zero itself 0.80 to 0.93.
_LIMIT = 0.75


def summarize(array: xr.DataArray, *, ci_prob: float = 0.9) -> xr.Dataset:
    """Mean of an observable with its two error bars, apart and together.

    O_db is the observable in block b of draw d, p_db the block's weight, O_d = sum_b p_db O_db the draw's average, and
    B the number of blocks. The squared error of O_d is v_d = sum_b (B p_db (O_db - O_d))^2 / (B (B - 1)); for equal
    blocks, their variance over B.

    - `mean`: mean of O_d over the draws.
    - `sd_posterior`: spread of the observable because coefficients are known only up to their posterior. It is what
      remains of the variance between draws after the sampling noise has been subtracted, at least zero. For independent
      runs it is sqrt(var_d O_d - mean_d v_d). For draws reweighted from shared frames (attribute `shared_reference`)
      the noise is the error of O_d - mean_d O_d. It is zero for data without draws, and nan for a single draw.
    - `sd_posterior_upper`: what that spread is below, with a probability of 0.75. (D - 1) var_d O_d / (true variance of
      O_d) has the chi-square distribution of D - 1 degrees of freedom; its quantile at 0.25 gives the limit, from which
      the noise is subtracted. An `sd_posterior` of zero is no knowledge of a small spread: it says that these few draws
      do not show one. Then this limit takes its place in `sd` and in the interval, and the attribute
      `posterior_clipped` is the share of bins where it does.
    - `sd_sampling`: standard error of `mean` from runs of finite length; for independent draws
      sqrt(mean_d v_d / n_draws). Longer runs make it smaller, more data for the fit do not.
    - `sd`: sqrt(sd_posterior^2 + sd_sampling^2), with the limit where `sd_posterior` is zero. It does not cover model
      misfit.
    - `lower`, `upper`: mean -+ t sqrt(sd^2 + sd_posterior^2 / n_draws), an equal-tailed interval, with the limit as in
      `sd`. The last part is the error of the mean from having few draws. t is Student's quantile with the degrees of
      freedom of Welch and Satterthwaite (doi:10.2307/3002019), because standard deviations from few blocks or draws
      are uncertain. For a single draw the interval covers sampling only.

    Blocks count as independent. Blocks that are shorter than the memory of the system are correlated, and the error
    bars are then too small. The lag-1 correlation, pooled over draws and bins, is in the attribute `block_correlation`,
    and a warning says if it is large and significant. Take longer runs, or fewer blocks.

    Args:
        array: observable, dims (draw, block, ...) or (block, ...), as returned by `rdf` and its like. Blocks have the
            weights of the coordinate `block_weight`; without it, equal ones.
        ci_prob: probability of the interval.

    Returns:
        `mean`, `sd_posterior`, `sd_posterior_upper`, `sd_sampling`, `sd`, `lower`, `upper` over the remaining dims, in
        the units of `array`.

    Raises:
        ValueError: if there are fewer than two blocks, `ci_prob` is no probability or values are missing.
    """
    if not 0.0 < ci_prob < 1.0:
        raise ValueError(f"ci_prob={ci_prob}: choose a probability between 0 and 1")
    values, weight = _draws_and_blocks(array)
    n_draws, n_blocks = weight.shape
    means = np.einsum("db,db...->d...", weight, values)
    influence = n_blocks * weight.reshape(*weight.shape, *(1,) * (values.ndim - 2)) * (values - means[:, None])
    mean = means.mean(axis=0)
    within = _error_of_blocks(influence).mean(axis=0)
    shared = bool(array.attrs.get("shared_reference", 0)) and n_draws > 1
    common = influence.mean(axis=0, keepdims=True)
    sampling = _error_of_blocks(common)[0] if shared else within / n_draws
    # What sampling contributes to the scatter between draws; shared frames move all draws alike.
    noise = _error_of_blocks(influence - common).sum(axis=0) / max(n_draws - 1, 1) if shared else within
    between = means.var(axis=0, ddof=1) if n_draws > 1 else np.zeros_like(mean)
    posterior = np.maximum(between - noise, 0.0) if n_draws > 1 else np.zeros_like(mean)
    limit = np.maximum(_upper(between, n_draws) - noise, posterior) if n_draws > 1 else np.zeros_like(mean)
    taken = np.where(posterior > 0, posterior, limit)
    spread = taken * (1 + 1 / n_draws) + sampling
    freedom_sampling = n_blocks - 1 if shared or n_draws == 1 else n_draws * (n_blocks - 1)
    # Of the spread, (1 + 1/D) between is known to D - 1 degrees of freedom, the rest to those of the blocks.
    from_draws = np.where(posterior > 0, between * (1 + 1 / n_draws), 0.0)
    uncertainty = from_draws**2 / max(n_draws - 1, 1) + (spread - from_draws) ** 2 / freedom_sampling
    freedom = np.divide(spread**2, uncertainty, out=np.full_like(spread, freedom_sampling), where=uncertainty > 0)
    half = stats.t.ppf((1 + ci_prob) / 2, np.maximum(freedom, 1.0)) * np.sqrt(spread)
    correlation, suspicious = _block_correlation(influence - common if shared else influence)
    if suspicious:
        warnings.warn(
            f"{array.name or 'observable'}: neighboring blocks correlate ({correlation:.2f}), so the error bars are "
            "too small; use fewer blocks, or longer runs",
            UserWarning,
            stacklevel=2,
        )
    # One draw says nothing of the spread over the posterior: unknown is not zero. Data without draws have none.
    single = "draw" in array.dims and n_draws == 1
    known, below = (np.full_like(mean, np.nan) if single else np.sqrt(part) for part in (posterior, limit))
    label = str(array.attrs.get("long_name", array.name or "observable"))
    units = {"units": array.attrs["units"]} if "units" in array.attrs else {}
    dims = [d for d in array.dims if d not in ("draw", "block")]
    fields = {
        "mean": (mean, label),
        "sd_posterior": (known, "standard deviation over the posterior"),
        "sd_posterior_upper": (below, f"below which the standard deviation over the posterior is, to {_LIMIT:.0%}"),
        "sd_sampling": (np.sqrt(sampling), "standard error of the mean from finite sampling"),
        "sd": (np.sqrt(taken + sampling), "posterior and sampling standard deviations together"),
        "lower": (mean - half, f"lower end of the {ci_prob:.0%} interval"),
        "upper": (mean + half, f"upper end of the {ci_prob:.0%} interval"),
    }
    coords = {name: c.variable for name, c in array.coords.items() if set(c.dims) <= set(dims)}
    attrs = {k: v for k, v in array.attrs.items() if k not in ("units", "shared_reference")}
    attrs |= {"observable": str(array.name or ""), "ci_prob": ci_prob, "ci_kind": "eti", "ci_method": "student_t"}
    attrs |= {"n_draws": n_draws if "draw" in array.dims else 0, "n_blocks": n_blocks}
    attrs |= {"interval_covers": "sampling" if single or "draw" not in array.dims else "posterior and sampling"}
    attrs |= {"posterior_clipped": float(np.mean((posterior == 0) & (limit > 0)))}
    attrs |= {"block_correlation": correlation, "sampling_reliable": int(not suspicious)}
    return xr.Dataset(
        {name: (dims, value, {"long_name": text, **units}) for name, (value, text) in fields.items()}, coords, attrs
    )


def _upper(variance: NDArray, draws: int) -> NDArray:
    """One-sided limit of a variance that was estimated from so many independent normal numbers."""
    return variance * (draws - 1) / stats.chi2.ppf(1 - _LIMIT, draws - 1)


def zscore(predicted: xr.Dataset, reference: xr.Dataset) -> xr.DataArray:
    """Difference of two summaries in units of their combined standard deviation, `sd` of both in quadrature.

    Args:
        predicted: what `summarize` returned for the ensemble.
        reference: what it returned for the atomistic data, with the same bins; where their ranges differ, the bins
            that both have are compared.

    Returns:
        (predicted - reference) / sd over the common bins; NaN where both standard deviations are zero, as in bins that
        neither run ever visited.

    Raises:
        ValueError: if the two have other dims or no bins in common.
    """
    if predicted["mean"].dims != reference["mean"].dims:
        raise ValueError(f"summaries of {predicted['mean'].dims} and {reference['mean'].dims} cannot be compared")
    first, second = xr.align(predicted, reference, join="inner")
    if 0 in first["mean"].shape:
        raise ValueError("the summaries have no bins in common: compute both with the same bins and cutoff")
    combined = xr.ufuncs.sqrt(first["sd"] ** 2 + second["sd"] ** 2, keep_attrs=True)
    score = (first["mean"] - second["mean"]) / combined.where(combined > 0)
    return score.rename("z").assign_attrs(long_name="z score", units="1")


def _draws_and_blocks(array: xr.DataArray) -> tuple[NDArray, NDArray]:
    """Values (draw, block, ...) and weights (draw, block) that sum to one over blocks; one draw if there is none."""
    if array.sizes.get("block", 0) < 2:
        raise ValueError(
            "errors come from the scatter over blocks: give an array with the dimension 'block' of length two or more"
        )
    lead = ("draw", "block") if "draw" in array.dims else ("block",)
    values = array.transpose(*lead, ...).values.astype(np.float64)
    if "block_weight" in array.coords:
        weight = np.broadcast_to(array["block_weight"].transpose(..., "block").values, values.shape[: len(lead)])
    else:
        weight = np.full(values.shape[: len(lead)], 1.0)
    if "draw" not in array.dims:
        values, weight = values[None], weight[None]
    empty = weight == 0
    if not np.all(np.isfinite(values[~empty])):
        raise ValueError(f"{array.name or 'the array'} has values that are missing or infinite: leave them out first")
    if np.any((~empty).sum(axis=1) < 2):
        raise ValueError("a draw has all its weight in one block: its error cannot be told; use more blocks")
    values = np.where(empty.reshape(*empty.shape, *(1,) * (values.ndim - 2)), 0.0, values)
    return values, weight / weight.sum(axis=1, keepdims=True)


def _error_of_blocks(influence: NDArray) -> NDArray:
    """Squared standard error of each draw's average from the influence (draw, block, ...) of its blocks."""
    n_blocks = influence.shape[1]
    return (influence**2).sum(axis=1) / (n_blocks * (n_blocks - 1))


def _block_correlation(influence: NDArray) -> tuple[float, bool]:
    """Lag-1 correlation of blocks pooled over draws and bins, and whether it is large and significant."""
    n_draws, n_blocks = influence.shape[:2]
    flat = influence.reshape(n_draws, n_blocks, -1)
    total = (flat**2).sum()
    if n_blocks < 4 or total == 0:
        return 0.0, False
    lagged = (flat[:, 1:] * flat[:, :-1]).sum() / total * n_blocks / (n_blocks - 1)
    # Deviations from the mean of the blocks anticorrelate by 1/B even when blocks are independent.
    correlation = float(lagged + 1 / n_blocks)
    # Bins move together, so they count as fewer: the participation ratio of the eigenvalues of their covariance.
    rows = flat.reshape(n_draws * n_blocks, -1)
    gram = rows @ rows.T if len(rows) < rows.shape[1] else rows.T @ rows
    independent = np.trace(gram) ** 2 / (gram**2).sum()
    error = 1 / np.sqrt(n_draws * n_blocks * max(1.0, independent))
    return correlation, bool(correlation > _CORRELATION and correlation > _SIGNIFICANCE * error)
