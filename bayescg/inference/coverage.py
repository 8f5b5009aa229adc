"""`coverage`: do the error bars hold? Disjoint segments of a trajectory are refitted and compared with the rest."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial, reduce
from itertools import pairwise
from operator import add

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Float, Int
from scipy import stats

from bayescg import posterior as posterior_room
from bayescg._runtime import double_precision, map_threads, progress
from bayescg.inference.linear import marginal
from bayescg.inference.linear.calibration import CALIBRATIONS
from bayescg.inference.linear.fit import METHODS, fit, kernels_by_name
from bayescg.inference.linear.priors import build_prior
from bayescg.inference.pilot import pilot_of
from bayescg.inference.statistics.force_statistics import ForceStatistics
from bayescg.inference.statistics.streaming import statistics_of
from bayescg.inference.statistics.weights import counted
from bayescg.potentials import Interactions, Potential, Term, fill_ranges
from bayescg.potentials.configuration import Configuration
from bayescg.potentials.spline_term import SplineTerm
from bayescg.samplers.importance import PARETO_LIMIT
from bayescg.samplers.mode import find_mode
from bayescg.samplers.settings import Sampling

_FEWEST_SEGMENTS, _FEWEST_FRAMES = 4, 8
_POINTS = 400
_RANGES = (0.0, 0.02, 0.05, 0.1, 0.2, 0.4, 1.0)


def coverage(
    potential: Potential,
    cg: xr.Dataset,
    *,
    segments: int,
    kernels: Mapping[str, object] | None = None,
    method: str = "laplace",
    calibration: str = "godambe",
    ranges: Mapping[str, Sequence[float]] | None = None,
    ci_prob: float = 0.9,
    key: Array,
) -> xr.Dataset:
    """Check error bars: refit disjoint segments of a trajectory, and compare their force curves with the other frames.

    All of a fit (hyperparameters, prior mean, pilot, score covariance) comes from the segment alone. With the mean
    f_seg and standard deviation sd of the segment's force, the force f_rest fitted to the other frames, n frames in the
    segment and N in all,

        z = (f_seg - f_rest) / sd * sqrt(1 - n / N)

    has a standard normal distribution if the error bars are right. With weights of frames, n and N - n are effective
    numbers of frames.

    Args:
        potential: what to fit.
        cg: a CG dataset with forces.
        segments: number of segments of equal length; frames left over at the end are in no segment.
        kernels: as in `force_match`.
        method: how hyperparameters are sampled, as in `force_match`. "laplace" is accurate enough, and checks thousands
            of intervals in a minute.
        calibration: as in `force_match`.
        ranges: for each term, edges of the ranges of its descriptor over which z is pooled [nm or rad]; None: six
            ranges over what every segment has sampled, finer at contact.
        ci_prob: probability of the interval whose coverage is counted.
        key: JAX random key.

    Returns:
        For each term NAME, by point (segment, x_NAME): `z_NAME`, and of the forces [kJ/mol/nm or kJ/mol/rad]
        `mean_NAME` and `sd_NAME` of the segment and `rest_NAME` of the other frames. By range (range_NAME): `rms_NAME`
        of z and `covered_NAME`, the share of intervals that hold the other frames' force, with their standard errors
        `rms_se_NAME` and `covered_se_NAME` (jackknife over segments), and `count_NAME` (segment, range_NAME), how many
        interactions of each segment lie there: a range that holds a handful, or none in some segments, tests the prior
        more than the data. `data_share_NAME` is the share of an error bar's variance that is scatter of the data; the
        rest is doubt that the prior leaves. Where it is small, segments agree with each other and with the other
        frames, because the same prior decides: rms is then below one and coverage near 1 or 0, whatever the error bars
        are worth. The attribute `covered` of `covered_NAME` is the share over all points.

    Raises:
        ValueError: if there are fewer than 4 segments or 8 frames in each, an option is unknown, or a range reaches
            where the force is zero by construction.
    """
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}; got {method!r}")
    if calibration not in CALIBRATIONS:
        raise ValueError(f"calibration must be one of {', '.join(CALIBRATIONS)}; got {calibration!r}")
    if not 0 < ci_prob < 1:
        raise ValueError(f"ci_prob={ci_prob}: choose one between 0 and 1")
    learning = [term.name for term in potential.terms if term.learn]
    unknown = sorted(set(ranges or {}) - set(learning))
    if unknown:
        raise ValueError(f"ranges name unknown terms {unknown}; terms that learn: {learning}")
    for name, edges in (ranges or {}).items():
        if len(edges) < 2:
            raise ValueError(f"ranges of {name}: at least two edges make a range; got {list(edges)}")
    frames = cg.sizes.get("frame", 1)
    if "frame" not in cg.coords and "frame" in cg.dims:
        cg = cg.assign_coords(frame=np.arange(frames))
    length = frames // max(segments, 1)
    if segments < _FEWEST_SEGMENTS or length < _FEWEST_FRAMES:
        raise ValueError(
            f"segments={segments} of {frames} frames: at least {_FEWEST_SEGMENTS} segments of {_FEWEST_FRAMES} frames "
            "are needed to tell scatter from error bars; take fewer segments or a longer trajectory"
        )
    potential = fill_ranges(potential, cg)
    parts = [cg.isel(frame=slice(k * length, (k + 1) * length)) for k in range(segments)]
    statistics = [statistics_of(potential, part) for part in parts]
    remainder = cg.isel(frame=slice(segments * length, None))
    left = [statistics_of(potential, remainder)] if remainder.sizes["frame"] else []
    whole = reduce(add, statistics + left)
    grids = {t.name: _grid(t, statistics, (ranges or {}).get(t.name)) for t in potential.terms if t.n_basis}
    chosen = kernels_by_name(kernels)
    for name, x in grids.items():
        (low, high), graph = potential.term(name).span, potential.term(name).graph
        if x[0] < low or (graph is not None and graph.vanishes and x[-1] >= high):
            raise ValueError(
                f"ranges of {name} must lie between its knots, {low:g} and {high:g}; got {x[0]:g} to {x[-1]:g}"
            )
    rest = _rest(whole, statistics, grids, chosen)
    keys = jax.random.split(key, segments)
    plan = Sampling(chains=1, warmup=500, draws=400)

    def refit(k: int) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
        found = statistics[k]
        if calibration != "none":
            found = statistics_of(potential, parts[k], pilot=pilot_of(found))
        fitted = fit(found, chosen, method=method, calibration=calibration, sampling=plan, key=keys[k])
        poor.append(fitted.found.attrs.get("laplace_pareto_k", 0.0) > PARETO_LIMIT)
        draws = fitted.coefficients[0]
        curves = {n: posterior_room.curves(potential, n, draws, x)[1] for n, x in grids.items()}
        scatter = {n: fitted.data_share(_rows(potential, n, x)) for n, x in grids.items()}
        return {name: (f.mean(axis=0), f.std(axis=0, ddof=1), scatter[name]) for name, f in curves.items()}

    poor: list[bool] = []
    with double_precision():
        fits = map_threads(refit, range(segments), "Coverage by segments")
    limits = {name: _edges(x, (ranges or {}).get(name)) for name, x in grids.items()}
    counts = _counts(potential, parts, statistics, limits)
    share = np.array([_share(whole, part) for part in statistics])
    z_limit = float(stats.norm.ppf((1 + ci_prob) / 2))
    result = xr.Dataset(attrs={"segments": segments, "frames_per_segment": length, "ci_prob": ci_prob})
    result.attrs.update(method=method, calibration=calibration, poor_laplace=sum(poor))
    for name, x in grids.items():
        mean, sd, scatter = (np.stack([f[name][k] for f in fits]) for k in range(3))
        if not np.all(sd > 0):
            raise ValueError(
                f"{name}: the force has no error bar at {x[np.argmin(sd.min(axis=0))]:.4g}; narrow the ranges"
            )
        z = (mean - rest[name]) / sd * np.sqrt(1 - share)[:, None]
        pooled = _pooled(name, potential.term(name), x, z, scatter, limits[name], z_limit)
        result = result.merge(pooled, combine_attrs="override")
        result[f"count_{name}"] = ("segment", f"range_{name}"), counts[name], {"long_name": "interactions"}
        dims = ("segment", f"x_{name}")
        result = result.assign(
            {f"mean_{name}": (dims, mean), f"sd_{name}": (dims, sd), f"rest_{name}": (dims, rest[name])}
        )
    return result


def _rows(potential: Potential, name: str, x: Float[np.ndarray, " x"]) -> Float[np.ndarray, "x basis"]:
    """Maps all coefficients to the learned force of a term."""
    rows = np.zeros((len(x), potential.n_basis))
    graph = potential.term(name).graph
    assert graph is not None
    rows[:, potential.slices[name]] = -graph.basis(x)[1]
    return rows


def _share(whole: ForceStatistics, part: ForceStatistics) -> float:
    """Share n / N, with n and N - n effective frames of the segment and of the others: without weights, frames."""
    (one,), (all_,) = part.weighed.values(), whole.weighed.values()
    rest = (all_[0] - one[0]) ** 2 / (all_[1] - one[1])
    return part.effective_frames / (part.effective_frames + rest)


def _grid(term: Term, statistics: list[ForceStatistics], edges: Sequence[float] | None) -> Float[np.ndarray, " x"]:
    """Where forces are compared: what most segments have sampled, or what the user asks for.

    Were it what all of them have sampled, the one that came least near would leave out the sliver at contact.
    """
    if edges is not None:
        return np.linspace(min(edges), max(edges), _POINTS + 1)[:-1] + 0.5 * (max(edges) - min(edges)) / _POINTS
    most = len(statistics) // 2
    low = sorted(s.ranges[term.name][0] for s in statistics)[most]
    high = sorted((s.ranges[term.name][1] for s in statistics), reverse=True)[most]
    # Within two knots of the cutoff the force is zero by construction.
    start, stop = term.span
    return np.linspace(low, min(high, stop - 2 * (stop - start) / term.bins), _POINTS)


def _edges(x: Float[np.ndarray, " x"], asked: Sequence[float] | None) -> Float[np.ndarray, " edge"]:
    return np.sort(np.asarray(asked, float)) if asked is not None else x[0] + (x[-1] - x[0]) * np.asarray(_RANGES)


def _counts(
    potential: Potential, parts: list[xr.Dataset], statistics: list[ForceStatistics], limits: Mapping[str, np.ndarray]
) -> dict[str, Float[np.ndarray, "segment range"]]:
    """Interactions of each segment by range.

    Distances and angles are counted one by one: knot intervals are wider than the ranges at contact. Where one
    interaction is a whole neighborhood, the histogram over knot intervals is read between them.
    """
    below = {name: np.zeros((len(parts), len(edges))) for name, edges in limits.items()}
    simple = [term for term in potential.terms if term.name in limits and isinstance(term, SplineTerm)]
    for term in potential.terms:
        if term.name in limits and term not in simple:
            knots = np.linspace(*term.span, term.bins + 1)
            for row, found in zip(below[term.name], statistics, strict=True):
                row[:] = np.interp(limits[term.name], knots, np.append(0.0, np.cumsum(found.counts[term.name])))
    if simple:
        alone = Potential(*simple, exclude_bonds=potential.exclude_bonds)
        edges = tuple(jnp.asarray(limits[term.name]) for term in simple)
        with double_precision(), progress("Interactions by range", len(parts)) as advance:
            sizes: dict[str, int] = {}
            for k, part in enumerate(parts):
                # Terms without the one of charges say nothing of charges.
                cg = counted(part).drop_vars("charge", errors="ignore")
                interactions = Interactions.of(alone, cg)
                boxes = np.broadcast_to(cg["box"].values, (cg.sizes["frame"], 3, 3))
                for positions, box in zip(cg["positions"].values.astype(float), boxes.astype(float), strict=True):
                    found = _below(alone, interactions.configuration(positions, box, sizes=sizes), edges)
                    for term, numbers in zip(simple, found, strict=True):
                        below[term.name][k] += np.asarray(numbers)
                advance(1)
    return {name: np.diff(numbers) for name, numbers in below.items()}


@partial(jax.jit, static_argnums=0)
def _below(
    potential: Potential, configuration: Configuration, edges: tuple[Float[Array, " edge"], ...]
) -> list[Int[Array, " edge"]]:
    """How many interactions of each term lie below each edge."""
    return [
        jax.vmap(lambda edge, term=term: term.count_strays(configuration, edge, jnp.inf)[0][0])(own)
        for term, own in zip(potential.terms, edges, strict=True)
    ]


def _rest(
    whole: ForceStatistics, parts: list[ForceStatistics], grids: Mapping[str, np.ndarray], kernels: Mapping[str, object]
) -> dict[str, Float[np.ndarray, "segment x"]]:
    """Force of the fit to all frames outside of each segment, hyperparameters at the mode of all frames."""
    potential = whole.potential
    with double_precision():
        prior = build_prior(whole, kernels)
        total = whole.total()
        target = marginal.hyperparameter_density(prior, marginal.reduce(prior, total))
        values = target.constrain(find_mode(target).position)
        coefficients = []
        for part in parts:
            # Weights of frames on the scale of all frames.
            inside = replace(part, weighed=whole.weighed).total()
            others = jax.tree.map(np.subtract, total, inside)
            mean, _ = marginal.mean_at(prior, marginal.reduce(prior, others), values)
            coefficients.append(prior.mean + prior.lift @ np.asarray(mean))
    return {n: posterior_room.curves(potential, n, np.stack(coefficients), x)[1] for n, x in grids.items()}


def _pooled(name: str, term: Term, x, z, scatter, edges, z_limit: float) -> xr.Dataset:
    inside = [(x >= a) & (x <= b) for a, b in pairwise(edges)]
    empty = [f"{a:g}-{b:g}" for a, b, m in zip(edges[:-1], edges[1:], inside, strict=True) if not m.any()]
    if empty:
        raise ValueError(f"{name}: no grid point in the ranges {', '.join(empty)} {term.unit}; make them wider")

    def rms(values):
        return np.sqrt(np.mean(values**2))

    def share(values):
        return np.mean(np.abs(values) < z_limit)

    by_range = {
        kind: np.array([_jackknife(function, z[:, m]) for m in inside]).T
        for kind, function in (("rms", rms), ("covered", share))
    }
    overall, error = _jackknife(share, z)
    dims = (f"range_{name}",)
    return xr.Dataset(
        {
            f"z_{name}": (("segment", f"x_{name}"), z, {"long_name": "(segment - rest) / sd"}),
            f"rms_{name}": (dims, by_range["rms"][0], {"long_name": "root mean square of z"}),
            f"rms_se_{name}": (dims, by_range["rms"][1]),
            f"covered_{name}": (dims, by_range["covered"][0], {"covered": overall, "covered_se": error}),
            f"covered_se_{name}": (dims, by_range["covered"][1]),
            f"data_share_{name}": (
                dims,
                np.array([scatter[:, m].mean() for m in inside]),
                {"long_name": "share of the variance that is scatter of the data"},
            ),
        },
        {
            f"x_{name}": (f"x_{name}", x, {"units": term.unit}),
            f"low_{name}": (dims, edges[:-1], {"units": term.unit}),
            f"high_{name}": (dims, edges[1:], {"units": term.unit}),
        },
    )


def _jackknife(function: Callable, z: Float[np.ndarray, "segment x"]) -> tuple[float, float]:
    """Estimate and standard error over segments."""
    count = len(z)
    without = np.array([function(np.delete(z, k, axis=0)) for k in range(count)])
    return float(function(z)), float(np.sqrt((count - 1) / count * np.sum((without - without.mean()) ** 2)))
