"""`compare`: which of several potentials foretells forces best, and by how many standard errors. No refit."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from arviz_stats.loo import compare as compare_elpd
from arviz_stats.utils import ELPDData

from bayescg.inference.linear.predictive import coarsened, standard_error

_UNROUNDED: dict[str, Any] = {"round_to": "none"} if "round_to" in inspect.signature(compare_elpd).parameters else {}
"""Since arviz_stats 1.2 tables are rounded, unless one says so."""

_FEW_BLOCKS = 8
"""Below this many blocks a standard error of differences is a guess."""


def compare(posteriors: Mapping[str, xr.DataTree]) -> pd.DataFrame:
    """Compare fits to the same forces by how well they predict held-out time blocks.

    The trajectory is cut into eight folds. The elpd of a block is the log density of its forces, given the blocks of
    the other folds. Coefficients have the mean and the (calibrated) covariance that the other folds give, and
    hyperparameters are those of the whole fit. The noise is taken as independent and Gaussian, with the variance of the
    other folds' residuals. Fits of any `calibration` and any method can be compared. Since the real noise is not
    independent, a difference ranks potentials by squared error in units of the noise. It is no log odds.

    Differences are taken block by block, which removes what all models miss in a block. Their standard errors include
    the correlation of successive blocks (Newey & West, Econometrica 55, 703 (1987), doi:10.2307/1913610).

    Args:
        posteriors: from `force_match`, by name, all fitted to the same frames and beads.

    Returns:
        Table with one row for each model, the best first, and the columns of `arviz_stats.compare`: `rank`, `elpd`, `p`
        (effective number of coefficients), `elpd_diff` to the best (positive: worse), `weight` of stacking, `se`, `dse`
        (standard error of `elpd_diff`), `warning` (few blocks); then `r2` (held-out), `r2_diff` to the best and its
        standard error `r2_dse`, `noise_ceiling` (largest possible R^2, nan where unknown), `log_evidence` (calibration
        "none" only), `calibration` and `method`.

    Raises:
        ValueError: for fewer than two posteriors, one without block scores, or fits to different forces.
    """
    if len(posteriors) < 2:
        raise ValueError(f"give two posteriors at least, such as {{'pair': p1, 'pair+3': p2}}; got {list(posteriors)}")
    scores = _common({name: _scores(name, tree) for name, tree in posteriors.items()})
    elpd = {name: scores[name]["elpd"].values for name in scores}
    p = {name: float((found["lpd"] - found["elpd"]).sum()) for name, found in scores.items()}
    first = next(iter(scores.values()))
    count = first.sizes["block"]
    best = np.max(list(elpd.values()), axis=0)
    # Densities of whole blocks underflow; stacking weights do not change if a block's are all divided by the largest.
    kind: dict[str, Any] = (
        {"kind": "blocks"} if "kind" in inspect.signature(ELPDData).parameters else {}
    )  # until arviz_stats 1.2
    entries = {
        name: ELPDData(
            **kind,
            elpd=float(np.sum(values)),
            se=standard_error(values, first),
            p=p[name],
            n_samples=count,
            n_data_points=count,
            scale="log",
            warning=count < _FEW_BLOCKS,
            good_k=0.7,
            elpd_i=xr.DataArray(values - best, dims="block"),
        )
        for name, values in elpd.items()
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of pandas and of underflow within arviz_stats, harmless
        told = compare_elpd(entries, **_UNROUNDED)
    order = [str(name) for name in told.index]
    top = order[0]
    columns = {
        "rank": np.arange(len(order)),
        "elpd": [entries[name].elpd for name in order],
        "p": [p[name] for name in order],
        "elpd_diff": [entries[top].elpd - entries[name].elpd for name in order],
        "weight": told["weight"].astype(float).to_numpy(),
        "se": [entries[name].se for name in order],
        "dse": 0.0,
        "warning": count < _FEW_BLOCKS,
    }
    table = pd.DataFrame(columns, index=told.index)
    squares = float(first["square"].sum())
    errors = {name: found["squared_error"].values for name, found in scores.items()}
    for name in order:
        attrs = posteriors[name]["posterior"].attrs
        worse = (errors[name] - errors[top]) / squares
        ceiling = attrs.get("noise_ceiling_r2", "unknown")
        row = {
            "dse": 0.0 if name == top else standard_error(elpd[name] - elpd[top], first),
            "r2": 1 - float(np.sum(errors[name])) / squares,
            "r2_diff": float(np.sum(worse)),
            "r2_dse": 0.0 if name == top else standard_error(worse, first),
            "noise_ceiling": float("nan") if ceiling == "unknown" else float(ceiling),
            "log_evidence": float(attrs.get("log_evidence", float("nan"))),
        }
        for column, value in row.items():
            table.loc[name, column] = value
    for column in ("calibration", "method"):
        table[column] = [str(posteriors[str(name)]["posterior"].attrs[column]) for name in table.index]
    return table


def _scores(name: str, tree: xr.DataTree) -> xr.Dataset:
    if not isinstance(tree, xr.DataTree) or "posterior" not in tree.children:
        raise ValueError(f"{name!r} is not a bayescg posterior: it has no group 'posterior'")
    if "predictive" not in tree.children:
        raise ValueError(
            f"{name!r} has no scores of time blocks: they are made by force_match from two blocks of frames or more"
        )
    return tree["predictive"].to_dataset()


def _common(scores: Mapping[str, xr.Dataset]) -> dict[str, xr.Dataset]:
    """Scores of the same blocks, after a check that these hold the same forces."""
    levels: dict[str, int] = {}
    for found in scores.values():
        for source, level in zip(found["source"].values.astype(str), found["level"].values, strict=True):
            levels[source] = max(levels.get(source, 0), int(level))
    first_name = next(iter(scores))
    result: dict[str, xr.Dataset] = {}
    for name, found in scores.items():
        result[name] = coarsened(found, levels)
        first = result[first_name]
        same = all(
            np.array_equal(result[name][field].values, first[field].values) for field in ("source", "number")
        ) and all(
            np.allclose(result[name][field], first[field], rtol=rtol, atol=0)
            for field, rtol in (("components", 1e-12), ("square", 1e-6))  # components carry weights of frames
        )
        if not same:
            raise ValueError(
                f"{name!r} and {first_name!r} were not fitted to the same forces: fit both to the same frames, with "
                "potentials that name the same bead types"
            )
    return result
