"""How well a fit foretells the forces of each time block from the blocks outside of its fold: what `compare` pairs.

Under any calibration a fit is a Gaussian for coefficients w given sums of frames. The blocks of one contiguous fold are
left out of the sums; the remaining ones give mean and covariance of w, and the variance sigma_t^2 of their residuals,
and every block of the fold is scored by the log density of its forces

    f_b ~ N(J_b w^, sigma^2 + J_b C J_b'),

which needs J_b'J_b, J_b'f_b and |f_b|^2 only. Folds rather than single blocks, since neighboring blocks resemble each
other (h-block cross-validation; Burman, Chow & Nolan, Biometrika 81, 351 (1994), doi:10.1093/biomet/81.2.351).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Float
from scipy.linalg import cho_solve, cholesky, solve_triangular

from bayescg.inference.statistics.force_statistics import ForceStatistics
from bayescg.inference.statistics.sums.blocks import Key, Sums, add, merge_to_level

FOLDS = 8
"""Contiguous parts that are left out in turn, as in the held-out R^2 of a fit."""

_BUDGET = 2e11
"""Multiplications spent, some ten seconds: above it blocks are merged."""


class Linear(NamedTuple):
    """A fit at fixed hyperparameters: w = mean + factor v, v ~ N(0, 1).

    Attributes:
        mean: (basis,) prior mean [kJ/mol].
        factor: (basis, free) factor of the prior covariance.
        noise: (noise_class,) working noise, the weights of the least squares [kJ/mol/nm].
        temper: mean whitened variance of the scores, by which all sums are divided; 1 without calibration.
        scatter: (free, direction) root of the covariance of the tempered scores of *all* blocks in the coordinates v;
            None: what the tempered sums say.
    """

    mean: Float[np.ndarray, " basis"]
    factor: Float[np.ndarray, "basis free"]
    noise: Float[np.ndarray, " noise_class"]
    temper: float = 1.0
    scatter: Float[np.ndarray, "free direction"] | None = None


class _Gaussian(NamedTuple):
    """Coefficients in the coordinates v, and the variance of the residuals that they leave."""

    mean: Float[np.ndarray, " free"]
    root: Float[np.ndarray, "free free"]
    variance: Float[np.ndarray, " noise_class"]


def block_scores(model: Linear, statistics: ForceStatistics) -> xr.Dataset | None:
    """Scores of every block given the blocks of the other folds; hyperparameters are those of all blocks.

    Args:
        model: the fit.
        statistics: its sums.

    Returns:
        Dataset over `block`, with coordinates `source`, `number` and `level` (log2 of its frames): `elpd`, log density
        of its forces; `lpd`, the same from a fit that has seen them; `squared_error` of the held-out mean and `square`
        [(kJ/mol/nm)^2], both summed over components; `components`. None with fewer than two blocks.
    """
    blocks = _affordable(statistics, model.factor.shape[1])
    if len(blocks) < 2:
        return None
    keys = sorted(blocks)
    sums = [_whitened(model, blocks[key][1]) for key in keys]
    total = _total(sums)
    whole = _condition(model, total, 1.0)
    rows: list[dict[str, float]] = [{} for _ in keys]
    for part in np.array_split(np.arange(len(keys)), min(FOLDS, len(keys))):
        left = _total([sums[k] for k in part])
        rest = Sums(*(a - b for a, b in zip(total, left, strict=True)))
        share = float(np.sum(rest.components) / np.sum(total.components))
        given = _condition(model, rest, share)
        for k in part:
            rows[k] = {
                "elpd": _log_density(sums[k], given),
                "lpd": _log_density(sums[k], whole),
                "squared_error": float(np.sum(_residual(sums[k], given.mean))),
                "square": float(np.sum(blocks[keys[k]][1].square)),
                "components": float(np.sum(sums[k].components)),
            }
    return xr.Dataset(
        {name: ("block", np.array([row[name] for row in rows])) for name in rows[0]},
        {
            "block": np.arange(len(keys)),
            "source": ("block", np.array([source for source, _ in keys], str)),
            "number": ("block", np.array([number for _, number in keys])),
            "level": ("block", np.array([blocks[key][0] for key in keys])),
        },
        {
            "folds": min(FOLDS, len(keys)),
            "kind": "log density of a block's forces given the blocks of the other folds, coefficients integrated out, "
            "Gaussian noise with the variance of the others' residuals, hyperparameters those of all blocks",
        },
    )


def _affordable(statistics: ForceStatistics, free: int) -> dict[Key, tuple[int, Sums]]:
    """(level, sums) of each block, merged until their scores cost little."""
    blocks = dict(zip(statistics.keys, statistics.blocks, strict=True))
    levels = dict(statistics.levels)
    while len(blocks) > FOLDS * len(levels) and 6.0 * len(blocks) * free**3 > _BUDGET:
        merged: dict[Key, Sums] = {}
        for source, level in levels.items():
            own = {key: sums for key, sums in blocks.items() if key[0] == source}
            merged |= merge_to_level(own, level, level + 1)
            levels[source] = level + 1
        blocks = merged
    return {key: (levels[key[0]], sums) for key, sums in blocks.items()}


def _whitened(model: Linear, sums: Sums) -> Sums:
    """Sums of the residual force about baselines and prior mean, in the coordinates v."""
    n_basis = len(model.mean)
    known = np.concatenate([model.mean, np.ones(sums.gram.shape[-1] - n_basis)])
    cross = (sums.cross - sums.gram @ known)[:, :n_basis] @ model.factor
    square = sums.square - 2 * sums.cross @ known + np.einsum("k,tkl,l->t", known, sums.gram, known)
    gram = np.stack([model.factor.T @ g[:n_basis, :n_basis] @ model.factor for g in sums.gram])
    return sums._replace(gram=gram, cross=cross, square=square, divergence=np.zeros_like(cross))


def _condition(model: Linear, sums: Sums, share: float) -> _Gaussian:
    """Coefficients given these sums, which are this share of all."""
    weight = np.asarray(model.noise, float) ** -2 / model.temper
    free = sums.gram.shape[-1]
    b = np.eye(free) + np.einsum("t,tfg->fg", weight, sums.gram)
    lower = cholesky(b, lower=True)
    mean = cho_solve((lower, True), weight @ sums.cross)
    inverse = cho_solve((lower, True), np.eye(free))
    if model.scatter is None:
        root = solve_triangular(lower, np.eye(free), lower=True).T
    else:
        wide = inverse @ np.concatenate([np.eye(free), math.sqrt(share) * model.scatter], axis=1)
        root = np.asarray(np.linalg.qr(wide.T, mode="r")).T
    variance = _residual(sums, mean) / np.maximum(sums.components, 1)
    # Forces without any noise would have infinite density.
    return _Gaussian(mean, root, np.maximum(variance, 1e-12 * np.asarray(model.noise) ** 2))


def _log_density(block: Sums, given: _Gaussian) -> float:
    precision = 1 / given.variance
    inner = given.root.T @ np.einsum("t,tfg->fg", precision, block.gram) @ given.root
    lower = cholesky(np.eye(len(inner)) + inner, lower=True)
    score = precision @ (block.cross - block.gram @ given.mean)
    projected = solve_triangular(lower, given.root.T @ score, lower=True)
    fit = np.sum(block.components * np.log(2 * math.pi * given.variance) + _residual(block, given.mean) * precision)
    return float(-0.5 * fit - np.sum(np.log(np.diag(lower))) + 0.5 * projected @ projected)


def _residual(sums: Sums, mean) -> Float[np.ndarray, " noise_class"]:
    return sums.square - 2 * sums.cross @ mean + np.einsum("f,tfg,g->t", mean, sums.gram, mean)


def _total(parts: list[Sums]) -> Sums:
    result = parts[0]
    for part in parts[1:]:
        result = add(result, part)
    return result


def held_out_r2(scores: xr.Dataset) -> tuple[float, float]:
    """1 - sum |f - J w^|^2 / sum |f|^2 over held-out blocks, and its standard error."""
    square = scores["square"].values
    ratio = float(scores["squared_error"].sum() / square.sum())
    return 1 - ratio, standard_error((scores["squared_error"].values - ratio * square) / square.sum(), scores)


def doubts(r2: float, error: float) -> list[str]:
    """What a held-out R^2 must not be, in words for the warnings of a fit.

    Args:
        r2: held-out R^2.
        error: its standard error; may be nan.
    """
    if np.isnan(r2):
        return ["held-out R² is unknown: all frames are in one block, so that the fit cannot be tried on others"]
    if r2 < -2 * np.nan_to_num(error):
        return [
            f"held-out R² is {r2:.3g}: the fit predicts forces that it has not seen worse than zero would, and must "
            "not be used. Look for outliers in the forces, take more frames, or wider knot spacings"
        ]
    return []


def standard_error(values: Float[np.ndarray, " block"], scores: xr.Dataset) -> float:
    """Standard error of a sum over blocks, with the correlation of successive ones where it is positive.

    Blocks differ in size (frames that were left out leave gaps, and the last one is cut off): a block scatters about
    its share of the sum by force components, not about the mean of all blocks.
    """
    count = len(values)
    share = scores["components"].values / scores["components"].values.sum()
    z = values - values.sum() * share
    plain = total = float(z @ z)
    source, number = scores["source"].values, scores["number"].values
    reach = int(count ** (1 / 3))
    for lag in range(1, reach + 1):
        follows = (source[lag:] == source[:-lag]) & (number[lag:] - number[:-lag] == lag)
        total += 2 * (1 - lag / (reach + 1)) * float(np.sum((z[lag:] * z[:-lag])[follows]))
    return float(np.sqrt(max(total, plain) * count / max(count - 1, 1)))


def coarsened(scores: xr.Dataset, levels: Mapping[str, int]) -> xr.Dataset:
    """The same scores with blocks added up to those of coarser levels, by source."""
    sources = scores["source"].values.astype(str)
    target = np.array([levels[source] for source in sources])
    number = scores["number"].values >> (target - scores["level"].values)
    keys = sorted(set(zip(sources.tolist(), number.tolist(), strict=True)))
    place = np.array([keys.index(key) for key in zip(sources.tolist(), number.tolist(), strict=True)])
    values = {
        name: ("block", np.bincount(place, weights=variable.values, minlength=len(keys)))
        for name, variable in scores.data_vars.items()
    }
    coords = {
        "block": np.arange(len(keys)),
        "source": ("block", np.array([source for source, _ in keys], str)),
        "number": ("block", np.array([n for _, n in keys])),
        "level": ("block", np.array([levels[source] for source, _ in keys])),
    }
    return xr.Dataset(values, coords, scores.attrs)
