"""The fit itself: from statistics to draws of hyperparameters and coefficients, without what is reported around it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float

from bayescg import kernels as kernel_room
from bayescg._runtime import double_precision
from bayescg.inference.linear import exact, marginal, projection
from bayescg.inference.linear.calibration import force_calibration
from bayescg.inference.linear.combination import combined_calibration
from bayescg.inference.linear.draws import data_share, draw_repulsive
from bayescg.inference.linear.marginal import Prior, Reduced
from bayescg.inference.linear.priors import build_prior
from bayescg.inference.linear.structure import structure_calibration
from bayescg.inference.statistics.force_statistics import ForceStatistics
from bayescg.potentials import Potential
from bayescg.samplers.density import Density, Sampled
from bayescg.samplers.laplace import laplace
from bayescg.samplers.mode import Mode, find_mode
from bayescg.samplers.nuts import nuts
from bayescg.samplers.settings import Sampling
from bayescg.samplers.variational import variational

METHODS = ("nuts", "vi", "laplace")


class Fit(NamedTuple):
    """Draws, and what they were drawn from.

    Attributes:
        prior: with a noise for every class of beads.
        target: density of the hyperparameters.
        mode: its mode.
        found: draws of the hyperparameters.
        coefficients: (chain, draw, basis) [kJ/mol].
        fixed: noises that calibration holds fixed [kJ/mol/nm].
        report: numbers of the calibration.
        data: sums in the free coordinates of the prior.
        root: of the covariance of the scores, where calibration found one (`Calibrated.root`).
    """

    prior: Prior
    target: Density
    mode: Mode
    found: Sampled
    coefficients: Float[np.ndarray, "chain draw basis"]
    fixed: dict[str, float]
    report: dict[str, float]
    data: Reduced
    root: Float[Array, "free direction"] | None = None

    def data_share(self, rows: Float[np.ndarray, "row basis"]) -> Float[np.ndarray, " row"]:
        """`draws.data_share` of linear functions of the coefficients, at the mode of the hyperparameters."""
        prior = self.prior.without_noise() if self.fixed else self.prior
        with double_precision():
            return data_share(prior, self.data, self.target.constrain(self.mode.position), rows, root=self.root)


def fit(
    statistics: ForceStatistics,
    kernels: Mapping[str, object],
    *,
    method: str,
    calibration: str,
    sampling: Sampling,
    key: Array,
) -> Fit:
    """Sample hyperparameters and coefficients; to be called in double precision. Arguments as of `force_match`.

    Raises:
        ValueError: if the statistics hold no scores but calibration needs them, the noise of structure would have to
            be independent, or the density has no mode.
    """
    if calibration == "none" and "structure" in statistics.equations:
        raise ValueError(
            "calibration='none' needs a noise model, which structure equations do not have: choose 'godambe' or "
            "'magnitude'"
        )
    fit_key, draw_key = jax.random.split(key)
    first = statistics.of(statistics.equations[0])
    prior = build_prior(first, kernels)
    total = first.total()
    reduced = marginal.reduce(prior, total)
    share = exact.unexplained(total, prior) if statistics.equations == ("forces",) else 1.0
    noiseless = exact.is_exact(share)
    if noiseless:
        prior, reduced = exact.with_noise(prior, reduced, total)
    free, root, fixed, report = prior, None, {}, {}
    if calibration != "none":
        if len(statistics.equations) > 1:
            reduced, root, report = combined_calibration(prior, statistics, reduced, method=calibration)
        else:
            calibrated = force_calibration if first.equations == ("forces",) else structure_calibration
            if noiseless:
                calibrated = exact.exact_calibration
            reduced, root, report = calibrated(prior, first, reduced, method=calibration)
        free = prior.without_noise()
        fixed = {f"noise_{name}": value for name, value in zip(prior.noise_names, prior.noise, strict=True)}
    if noiseless:
        report = {**report, "unexplained": share}
    small = projection.project(free, reduced)
    while True:
        target, mode, found = sample_hyperparameters(
            small.prior, small.data, method=method, sampling=sampling, key=fit_key
        )
        if not small.references:
            break
        error = projection.error(free, reduced, small, found.values)
        if error <= projection.LARGEST_ERROR:
            report = {**report, "projection_error": error, "projection_directions": small.spread.shape[1]}
            break
        small = projection.finer(free, reduced, small, found.values)
    root = small.root(root)
    coefficients = draw_repulsive(small.prior, small.data, found.values, root=root, key=draw_key)
    with_noise = replace(small.prior, noise=prior.noise, noise_names=prior.noise_names)
    return Fit(with_noise, target, mode, found, coefficients, fixed, report, small.data, root)


def stored_potential(asked: Potential, statistics: ForceStatistics, kernels: Mapping[str, object] | None) -> Potential:
    """The statistics' potential, if it is the one asked for (ranges left open are filled from the statistics).

    Raises:
        ValueError: if it is another one, kernels name terms that it lacks, or nothing is to be learned.
    """
    potential = statistics.potential
    if not asked.filled_by(potential):
        raise ValueError(f"the statistics belong to another potential: {potential!r}, not {asked!r}")
    unknown = set(kernels or {}) - {term.name for term in potential.terms if term.n_basis}
    if unknown:
        raise ValueError(f"kernels name unknown terms {sorted(unknown)}; terms: {[t.name for t in potential.terms]}")
    if potential.n_basis == 0:
        raise ValueError("no term of this potential learns anything: every term has learn=False")
    return potential


def kernels_by_name(kernels: Mapping[str, object] | None) -> dict[str, object]:
    """Kernels of terms, those given by the names of their classes made into objects."""
    return {n: kernel_room.by_name(k) if isinstance(k, str) else k for n, k in (kernels or {}).items()}


def sample_hyperparameters(
    prior: Prior, data: Reduced, *, method: str, sampling: Sampling, key: Array
) -> tuple[Density, Mode, Sampled]:
    """Mode and draws of the marginal likelihood of the kernels (and of the noises that the prior has)."""
    target = marginal.hyperparameter_density(prior, data)
    mode = find_mode(target)
    if method == "nuts":
        return target, mode, nuts(target, mode, sampling, key=key)
    draws = sampling.chains * sampling.draws
    sample = variational if method == "vi" else laplace
    return target, mode, sample(target, mode, draws, key=key)
