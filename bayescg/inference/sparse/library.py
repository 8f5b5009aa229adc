"""A library of candidates for sparse fits: whole terms, or named shapes of a term, as columns of one linear model.

A candidate is a group of columns C_g of coefficients w = sum_g s_g C_g v_g, v_g ~ N(0, 1), with one scale s_g, which
is what the data decide about. A whole term has the factor of its Gaussian-process prior as columns, hyperparameters at
the mode of the usual fit to all terms, and its prior mean (the wall of a pair, the harmonic mean of a bond) as one more
column, so that a term that is left out leaves nothing behind. A shape is one column: the spline through it.

Columns are scaled so that at s_g = 1 a candidate makes forces as large as the noise before the data are seen: s_g^2 is
a signal-to-noise ratio of variances, and candidates of any unit are treated alike.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from bayescg.inference.linear import marginal
from bayescg.inference.linear.calibration import Calibrated, calibrate, force_calibration
from bayescg.inference.linear.long_run import LongRun
from bayescg.inference.linear.marginal import Prior
from bayescg.inference.linear.priors import build_prior
from bayescg.inference.statistics.force_statistics import ForceStatistics
from bayescg.inference.statistics.sums.blocks import Sums
from bayescg.potentials import SplineTerm, Term
from bayescg.samplers.mode import find_mode

Shapes = Mapping[str, Callable[[np.ndarray], np.ndarray]]
"""Energies [kJ/mol per unit of the coefficient] as functions of a term's descriptor, by name."""


@dataclasses.dataclass(frozen=True, eq=False)
class Library:
    """Candidates of a sparse fit.

    Attributes:
        names: of the candidates: the term's, with the shape's after a colon.
        terms: the term of each.
        columns: (basis, column) of all candidates, one after another [kJ/mol].
        group: (column,) the candidate that each column belongs to.
        units: (candidate,) coefficient of a shape at v = s = 1; nan for whole terms.
        noise: (noise_class,) of a first fit, held fixed [kJ/mol/nm].
    """

    names: tuple[str, ...]
    terms: tuple[str, ...]
    columns: Float[np.ndarray, "basis column"]
    group: Int[np.ndarray, " column"]
    units: Float[np.ndarray, " candidate"]
    noise: Float[np.ndarray, " noise_class"]


class Problem(NamedTuple):
    """The library's least squares in units of the noise.

    Attributes:
        gram: (column, column) C'H C, tempered where calibrated.
        cross: (column,) C'b.
        group: (column,) candidate of each column.
        root: (column, direction) of the covariance of `cross`; None: `gram`.
        temper: what H and b were divided by.
        components: number of force components over `temper`.
        signal: variance of the forces in units of the noise's.
        report: numbers of the calibration.
    """

    gram: Float[np.ndarray, "column column"]
    cross: Float[np.ndarray, " column"]
    group: Int[np.ndarray, " column"]
    root: Float[np.ndarray, "column direction"] | None
    temper: float
    components: float
    signal: float
    report: dict[str, float]

    @property
    def candidates(self) -> int:
        """Number of candidates."""
        return int(self.group.max()) + 1


def split_kernels(kernels: Mapping[str, object] | None) -> tuple[dict[str, object], dict[str, Shapes]]:
    """Kernels of whole terms, and shapes of the terms that are given by a mapping.

    Raises:
        ValueError: if a term has no shape, or a shape is no function.
    """
    whole, shapes = {}, {}
    for term, given in (kernels or {}).items():
        if not isinstance(given, Mapping):
            whole[term] = given
            continue
        wrong = [name for name, shape in given.items() if not callable(shape)]
        if wrong or not given:
            raise ValueError(f"shapes of {term} are functions of its descriptor by name; got {wrong or 'none'}")
        shapes[term] = given
    return whole, shapes


def build(
    statistics: ForceStatistics, kernels: Mapping[str, object], shapes: Mapping[str, Shapes], calibration: str
) -> Library:
    """The library of all terms of the statistics' potential.

    Raises:
        ValueError: if a shape is not finite or makes no force where the data are, or its term is no curve.
    """
    potential = statistics.potential
    prior = build_prior(statistics, kernels)
    factors = _factors(prior, statistics, calibration, [t.name for t in prior.terms if t.name not in shapes])
    names, terms, parts, units = [], [], [], []
    for own in prior.terms:
        term, rows = potential.term(own.name), potential.slices[own.name]
        if own.name in shapes:
            found = {
                f"{own.name}: {name}": _through(term, statistics.ranges[own.name], shape, name)[:, None]
                for name, shape in shapes[own.name].items()
            }
        else:
            mean = own.mean[:, None] if np.any(own.mean) else np.zeros((len(own.mean), 0))
            found = {own.name: np.concatenate([mean, own.lift @ factors[own.name]], axis=1)}
        for name, part in found.items():
            columns = np.zeros((potential.n_basis, part.shape[1]))
            columns[rows] = part
            names.append(name)
            terms.append(own.name)
            parts.append(columns)
            units.append(1.0 if own.name in shapes else np.nan)
    noise = np.asarray(prior.noise)
    total = statistics.total()
    precision = _precision(total, noise, potential.n_basis)
    lengths = [np.sqrt(np.sum(total.components) / max(np.sum(c * (precision @ c)), 1e-300)) for c in parts]
    silent = [name for name, length in zip(names, lengths, strict=True) if not length < 1e100]
    if silent:
        raise ValueError(f"{', '.join(silent)}: no force within the sampled range; leave it out")
    return Library(
        tuple(names),
        tuple(terms),
        np.concatenate([c * length for c, length in zip(parts, lengths, strict=True)], axis=1),
        np.repeat(np.arange(len(parts)), [c.shape[1] for c in parts]),
        np.array(units) * np.array(lengths),
        noise,
    )


def problem(library: Library, statistics: ForceStatistics, calibration: str) -> Problem:
    """The least squares of a library, calibrated in the coordinates of its columns.

    Raises:
        ValueError: if the statistics hold no scores but calibration needs them.
    """
    total, c = statistics.total(), library.columns
    weight = library.noise**-2.0
    components = float(np.sum(total.components))
    signal = float(np.sum(total.square * weight)) / components
    gram = c.T @ _precision(total, library.noise, len(c)) @ c
    cross = c.T @ _score(total, weight, np.zeros(len(c)))
    if calibration == "none":
        return Problem(gram, cross, library.group, None, 1.0, components, signal, {})
    solution = c @ np.linalg.solve(gram + np.eye(len(gram)), cross)
    found: Calibrated = calibrate(
        gram,
        cross,
        c.T @ statistics.score_covariance(weight) @ c,
        np.eye(len(gram)),
        method=calibration,
        memories=[
            (c.T @ statistics.score_covariance(weight, source) @ c, run)
            for source, run in _long_runs(statistics, weight, c, solution).items()
        ],
    )
    level = found.report["score_variance"]
    root = None if found.root is None else np.asarray(found.root)
    return Problem(gram / level, cross / level, library.group, root, level, components / level, signal, found.report)


def _factors(prior: Prior, statistics: ForceStatistics, calibration: str, wanted: list[str]) -> dict[str, np.ndarray]:
    """Prior factors of whole terms at the mode of the usual fit."""
    if not wanted:
        return {}
    data, free = marginal.reduce(prior, statistics.total()), prior
    if calibration != "none":
        data, _, _ = force_calibration(prior, statistics, data, method=calibration)
        free = prior.without_noise()
    target = marginal.hyperparameter_density(free, data)
    values = target.constrain(find_mode(target).position)
    joint = marginal.factor_at(free, values)
    edges = np.cumsum([0, *(term.lift.shape[1] for term in prior.terms)])
    spans = {t.name: slice(a, b) for t, a, b in zip(prior.terms, edges[:-1], edges[1:], strict=True)}
    return {name: joint[spans[name], spans[name]] for name in wanted}


def _through(term: Term, sampled: tuple[float, float], shape: Callable, name: str) -> Float[np.ndarray, " basis"]:
    """Spline coefficients of a shape, continued linearly beyond the sampled range, where it may diverge."""
    if not isinstance(term, SplineTerm):
        raise ValueError(f"{term.name}: shapes are for terms of one distance or angle; give it a kernel")
    h = term.spline.spacing
    low, high = sampled[0] - 2 * h, np.inf if term.vanishes else sampled[1] + 2 * h
    sites = term.sites
    inside = np.clip(sites, max(low, term.spline.start), min(high, term.spline.stop))
    step = 1e-4 * h
    with np.errstate(all="ignore"):
        ends = [np.asarray(shape(inside + d), float) * np.ones(len(sites)) for d in (0.0, -step, step)]
    value, slope = ends[0], np.where(sites == inside, 0.0, (ends[2] - ends[1]) / (2 * step))
    values = value + slope * (sites - inside)
    if not np.all(np.isfinite(values)):
        raise ValueError(f"{term.name}: the shape {name!r} is not finite at {inside[~np.isfinite(values)][0]:.4g}")
    return term.spline.interpolate(values)[: term.n_basis]


def _precision(total: Sums, noise, n_basis: int) -> Float[np.ndarray, "basis basis"]:
    return np.einsum("t,tkl->kl", noise**-2.0, total.gram[:, :n_basis, :n_basis])


def _score(sums: Sums, weight, coefficients) -> Float[np.ndarray, " basis"]:
    """J'(f - J w) in units of the noise, baselines taken off."""
    known = np.concatenate([coefficients, np.ones(sums.gram.shape[-1] - len(coefficients))])
    return weight @ (sums.cross - sums.gram @ known)[:, : len(coefficients)]


def _long_runs(statistics: ForceStatistics, weight, columns, coefficients) -> dict[str, LongRun]:
    rows: dict[str, list] = {}
    for (source, number), block in zip(statistics.keys, statistics.blocks, strict=True):
        score = columns.T @ _score(block, weight, coefficients)
        rows.setdefault(source, []).append((score, float(np.sum(block.components)), number))
    return {
        source: LongRun(
            np.stack([score for score, _, _ in found]),
            np.array([size for _, size, _ in found]) / sum(size for _, size, _ in found),
            np.array([number for _, _, number in found]),
        )
        for source, found in rows.items()
    }
