"""Sparse force matching: which terms, or which shapes of a term, the data support. `force_match(method="rvm")`."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Float
from scipy.linalg import cho_solve, cholesky, solve_triangular

from bayescg import posterior as posterior_room
from bayescg._runtime import double_precision
from bayescg.inference.linear import predictive
from bayescg.inference.linear.fit import kernels_by_name
from bayescg.inference.linear.predictive import Linear
from bayescg.inference.sparse import horseshoe, library, relevance, supports
from bayescg.inference.sparse.library import Library, Problem
from bayescg.inference.statistics.force_statistics import ForceStatistics
from bayescg.samplers import convergence
from bayescg.samplers.mode import find_mode
from bayescg.samplers.nuts import nuts
from bayescg.samplers.settings import Sampling

METHODS = ("rvm", "horseshoe")


def sparse_match(
    statistics: ForceStatistics,
    kernels: Mapping[str, object] | None,
    *,
    method: str,
    calibration: str,
    sampling: Sampling,
    noise_ceiling: float | None,
    key: Array,
) -> tuple[xr.DataTree, list[str]]:
    """Sparse fit; arguments and result as of `force_match`, and what there is to warn of.

    The group `relevance` of the result has, for every `candidate`, with method "rvm": `kept` in the most probable
    choice; `inclusion`, the approximate probability of all choices that keep it; `log_evidence_gain`, of the fit with
    the candidate over that without it, all other scales adapted; `scale` s, the root of its signal-to-noise ratio at
    the maximum of the evidence; `effective` number of coefficients. The group `choices` has, for every `choice` in
    Occam's window (`bayescg.inference.sparse.supports`), the most probable first: `probability`, `log_evidence` over
    that of no candidate, and `keeps` (choice, candidate). Draws are of all of them, so that bands contain the doubt
    about what to keep; `choice` (chain, draw) in the group `posterior` says which, and `bayescg.posterior.only_choice`
    leaves those of one, where all that it leaves out is exactly zero.

    With method "horseshoe": `probability`, P(1 - kappa > 1/2) that the data rather than the prior set the candidate;
    quantiles of 1 - kappa and of the scale. With both: `coefficient` and `coefficient_sd` of shapes over all draws,
    and `force_share`, the variance of the candidate's own forces over that of all forces (shares need not add up).

    `scale`, `effective`, `force_share`, the held-out scores and R^2 are those of the most probable choice with "rvm",
    of the geometric means of the sampled scales with "horseshoe". Attributes with "rvm": `threshold` of `relevance`,
    the log evidence that a candidate must add; `complete` of `choices`, 0 if there were too many to be followed.
    """
    if calibration != "none" and statistics.pilot is None:
        statistics.score_covariance(np.ones(len(statistics.noise_classes)))  # says what is missing
    whole, shapes = library.split_kernels(kernels)
    sample_key, draw_key = jax.random.split(key)
    notes: list[str] = []
    with double_precision():
        found = library.build(statistics, kernels_by_name(whole), shapes, calibration)
        problem = library.problem(found, statistics, calibration)
        fit = _evidence if method == "rvm" else _sampled
        scales, groups, values, attrs = fit(problem, sampling, sample_key, notes)
        coefficients, amounts = _draw(found, problem, scales, draw_key)
        described = groups["relevance"]
        if method == "rvm":
            center = described["scale"].values
        else:
            center = np.exp(np.mean(np.log(np.maximum(scales, 1e-300)), axis=(0, 1)))
        groups["relevance"] = _described(described, found, problem, amounts, method)
        if "choices" in groups:
            groups["choices"] = groups["choices"].assign_coords(candidate=list(found.names))
        scores = predictive.block_scores(_linear(found, problem, center), statistics)
    attrs.update(_quality(scores, noise_ceiling), **problem.report)
    if scores is not None:
        notes += predictive.doubts(*predictive.held_out_r2(scores))
    if scores is not None:
        groups["predictive"] = scores
    groups["constant_data"] = xr.Dataset({"noise": ("noise_class", found.noise, {"units": "kJ/mol/nm"})})
    groups["constant_data"] = groups["constant_data"].assign_coords(noise_class=list(statistics.noise_names))
    attrs.update(
        temperature=statistics.temperature,
        method=method,
        calibration=calibration,
        n_frames=statistics.n_frames,
        warnings="; ".join(notes),
    )
    tree = posterior_room.build(
        statistics.potential, coefficients, values, groups, ranges=statistics.ranges, attrs=attrs
    )
    labeled = tree["posterior"].to_dataset().assign(candidate_coefficient=(("chain", "draw", "candidate"), amounts))
    renamed = {d: "candidate" for d in labeled.dims if str(d).endswith("scale_dim_0") or d == "kappa_dim_0"}
    tree["posterior"] = labeled.rename(renamed).assign_coords(candidate=list(found.names))
    return tree, notes


def _evidence(problem: Problem, sampling: Sampling, key: Array, notes: list[str]):
    choices = supports.explore(problem, relevance.select(problem))
    if not choices.complete:
        notes.append(
            f"the data do not choose: {len(choices.probabilities)} choices of candidates, and more that were not "
            f"looked for, are within a factor of {np.exp(supports.WINDOW):.0f} of the most probable one, which has "
            f"{choices.probabilities[0]:.2f} of them; inclusion and bands rest on those found"
        )
    best = choices.best
    if not np.any(best.scales > 0):
        notes.append("no candidate adds enough to the evidence: in the most probable choice all forces are zero")
    described = xr.Dataset(
        {
            "kept": ("candidate", best.scales > 0),
            "inclusion": ("candidate", supports.inclusion(choices)),
            "log_evidence_gain": ("candidate", relevance.gains(problem, best)),
            "scale": ("candidate", best.scales),
            "effective": ("candidate", relevance.effective(problem, best.scales)),
        },
        attrs={"threshold": relevance.STRONG},
    )
    table = xr.Dataset(
        {
            "probability": ("choice", choices.probabilities),
            "log_evidence": ("choice", choices.log_evidences),
            "keeps": (("choice", "candidate"), choices.scales > 0),
        },
        {"choice": np.arange(len(choices.probabilities))},
        {"complete": int(choices.complete)},
    )
    drawn = supports.draw(choices, sampling.chains * sampling.draws, key=key)[None]
    return choices.scales[drawn], {"relevance": described, "choices": table}, {"choice": drawn}, {}


def _sampled(problem: Problem, sampling: Sampling, key: Array, notes: list[str]):
    target = horseshoe.density(problem)
    found = nuts(target, find_mode(target), sampling, key=key)
    numbers, words = convergence.judge(found)
    notes += words
    scales = np.asarray(horseshoe.scales(**{name: jnp.asarray(v) for name, v in found.values.items()}))
    kappa = np.array([[relevance.shrinkage(problem, s) for s in chain] for chain in scales])
    described = xr.Dataset(
        {
            "probability": ("candidate", np.mean(kappa < 0.5, axis=(0, 1))),
            "one_minus_kappa": (("quantile", "candidate"), np.quantile(1 - kappa, [0.05, 0.5, 0.95], axis=(0, 1))),
            "scale": (("quantile", "candidate"), np.quantile(scales, [0.05, 0.5, 0.95], axis=(0, 1))),
        },
        {"quantile": [0.05, 0.5, 0.95]},
    )
    stats = xr.Dataset({name: (("chain", "draw"), v) for name, v in found.stats.items()})
    values = {**found.values, "scale": scales, "kappa": kappa}
    return scales, {"relevance": described, "sample_stats": stats}, values, numbers


def _draw(found: Library, problem: Problem, scales: Float[np.ndarray, "chain draw candidate"], key: Array):
    """Coefficients (chain, draw, basis), and those of the shapes (chain, draw, candidate); nan for whole terms."""
    chains, draws, _ = scales.shape
    flat = scales.reshape(chains * draws, -1)
    width = len(problem.cross) + (0 if problem.root is None else problem.root.shape[1])
    noise = np.asarray(jax.random.normal(key, (len(flat), width)))
    whitened = np.empty((len(flat), len(problem.cross)))
    # Equal scales, one factor: by far the most draws are of a few choices.
    order = np.lexsort(flat.T)
    for _, alike in groupby(order.tolist(), key=lambda k: flat[k].tobytes()):
        rows = list(alike)
        d = flat[rows[0]][problem.group]
        lower = cholesky(np.eye(len(d)) + d[:, None] * problem.gram * d, lower=True)
        mean = cho_solve((lower, True), d * problem.cross)
        for k in rows:
            own, score = noise[k, : len(d)], noise[k, len(d) :]
            if problem.root is None:
                deviation = solve_triangular(lower, own, lower=True, trans=1)
            else:
                deviation = cho_solve((lower, True), own + d * (problem.root @ score))
            whitened[k] = d * (mean + deviation)
    single = ~np.isnan(found.units)
    amounts = np.full((len(flat), len(found.names)), np.nan)
    first = np.searchsorted(found.group, np.arange(len(found.names)))
    amounts[:, single] = whitened[:, first[single]] * found.units[single]
    return (whitened @ found.columns.T).reshape(chains, draws, -1), amounts.reshape(chains, draws, -1)


def _described(described: xr.Dataset, found: Library, problem: Problem, amounts, method: str) -> xr.Dataset:
    """What both methods tell of the candidates."""
    scales = described["scale"].values if method == "rvm" else described["scale"].sel(quantile=0.5).values
    d = scales[problem.group]
    mean = d * np.linalg.solve(np.eye(len(d)) + d[:, None] * problem.gram * d, d * problem.cross)
    same = problem.group[:, None] == problem.group
    own = np.bincount(problem.group, mean * (np.where(same, problem.gram, 0.0) @ mean))
    described = described.assign(
        coefficient=("candidate", amounts.mean(axis=(0, 1))),
        coefficient_sd=("candidate", amounts.std(axis=(0, 1))),
        force_share=("candidate", own / (problem.components * problem.signal)),
    )
    return described.assign_coords(candidate=list(found.names), term=("candidate", list(found.terms)))


def _linear(found: Library, problem: Problem, scales: Float[np.ndarray, " candidate"]) -> Linear:
    """The fit at fixed scales, candidates that are off left out."""
    d = scales[problem.group]
    on = d > 0
    scatter = None if problem.root is None else d[on, None] * problem.root[on]
    return Linear(np.zeros(len(found.columns)), found.columns[:, on] * d[on], found.noise, problem.temper, scatter)


def _quality(scores: xr.Dataset | None, noise_ceiling: float | None) -> dict[str, object]:
    ceiling = "unknown" if noise_ceiling is None else float(noise_ceiling)
    if scores is None:
        return {"held_out_r2": float("nan"), "held_out_r2_se": float("nan"), "noise_ceiling_r2": ceiling}
    value, error = predictive.held_out_r2(scores)
    return {"held_out_r2": value, "held_out_r2_se": error, "noise_ceiling_r2": ceiling}
