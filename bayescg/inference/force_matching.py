"""Bayesian force matching: from statistics to the posterior of a coarse-grained potential."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array

from bayescg import posterior as posterior_room
from bayescg._runtime import double_precision
from bayescg.inference.linear import exact, predictive, scores
from bayescg.inference.linear import groups as linear_groups
from bayescg.inference.linear.calibration import CALIBRATIONS
from bayescg.inference.linear.consistency import consistency
from bayescg.inference.linear.fit import METHODS, Fit, fit, kernels_by_name, stored_potential
from bayescg.inference.linear.marginal import factor_at
from bayescg.inference.pilot import force_statistics
from bayescg.inference.sparse import match as sparse
from bayescg.inference.statistics import files as statistics_files
from bayescg.inference.statistics import weights
from bayescg.inference.statistics.force_statistics import ForceStatistics
from bayescg.inference.statistics.sums.blocks import Sums
from bayescg.potentials import Potential
from bayescg.samplers import convergence
from bayescg.samplers.density import Density
from bayescg.samplers.mode import Mode
from bayescg.samplers.settings import Sampling

_DEFAULT = Sampling()

_MISFIT = {
    "none": "Error bars cover the best potential of this form under independent Gaussian force noise, which liquids do "
    "not have: expect them to be too narrow at contact. ",
    "magnitude": "Error bars cover the best potential of this form, widened as a whole to the scatter of the scores. ",
    "godambe": "Error bars cover the best potential of this form, the least-squares projection of the mean force, and "
    "follow the measured scatter of the scores. ",
}
_OUTSIDE = "Model misfit, the difference between that potential and the true many-body free energy, is outside of them."


def force_match(
    potential: Potential,
    data: xr.Dataset | ForceStatistics | Iterable[xr.Dataset],
    *,
    kernels: Mapping[str, object] | None = None,
    method: str = "nuts",
    calibration: str = "godambe",
    settings: Sampling = _DEFAULT,
    noise_ceiling: float | None = None,
    structure: bool = False,
    key: Array,
) -> xr.DataTree:
    """Posterior of a CG potential from forces (multiscale coarse-graining with Gaussian-process priors).

    Hyperparameters (kernel lengthscales and amplitudes, one force noise for each bead type) are sampled on the exact
    marginal likelihood; coefficients given hyperparameters are exactly Gaussian and drawn for every hyperparameter
    draw. Sources: Noid et al., doi:10.1063/1.2938860; Rasmussen & Williams 2006.

    Args:
        potential: terms to learn.
        data: a CG dataset with forces, chunks of one (`bayescg.stream`), or `ForceStatistics` made earlier (with a
            pilot, unless calibration is "none"). A variable `weight` (frame) in them weighs frames: of a biased run,
            exp(bias / kT) up to a factor.
        kernels: GPJax kernel of each term by the term's name (an object or the name of its class), e.g.
            `{"W-W": gpjax.kernels.RBF()}`; Matern-5/2 where absent. Their lengthscales and variances are learned, not
            read from the object. For a sparse fit also shapes, `{"W-W": {"r^-6": lambda r: r**-6, ...}}`: candidates
            that take the place of the term's curve.
        method: how hyperparameters are sampled: "nuts" (exact), "vi" (full-rank Gaussian), "laplace" (Gaussian at the
            mode, corrected by importance resampling; fastest). Or a sparse fit, whose group `relevance` says which
            terms the data support: "rvm" (evidence maximization) or "horseshoe" (sampled by NUTS).
        calibration: what the width of the posterior follows. "godambe": the measured covariance of the scores, whatever
            the noise (`bayescg.inference.linear.calibration`). "magnitude": the mean of that covariance only, one
            factor on all variances. "none": independent Gaussian noise, learned together with the kernels; evidence,
            leave-one-out scores and simulation-based calibration are valid for "none" only.
        settings: numbers of chains and draws.
        noise_ceiling: largest R^2 that any function of the beads can reach, if known from replicate forces at fixed
            beads (`noise_ceiling`); otherwise it is reported as unknown.
        structure: learn from the structure equations as well (`structure_match`), which look for the same potential:
            forces and structure are combined by the covariance of their scores, and tested against each other. For
            frames at constant volume without constraints between beads; statistics are made with `structure=True`.
        key: JAX random key.

    Returns:
        DataTree in ArviZ layout: `posterior` (hyperparameters, `coefficients` (chain, draw, basis) [kJ/mol], curves
        `u_TERM` [kJ/mol] and `f_TERM` [kJ/mol/nm]), `sample_stats`, `log_likelihood` (method "nuts" or calibration
        "none"; predictive, per time block; for `arviz_stats.loo`), `prior`, `log_prior`, `posterior_predictive` and
        `observed_data` (root mean square force of each time block), `constant_data`, `statistics`. The attribute
        `effective_frames` says how many frames of equal weight the data are worth, `n_frames` how many have any. With
        structure the attributes `structure_share` (mean weight of structure), `consistency_p` (probability that forces
        and structure differ as much in the ensemble claimed), `consistency_ratio` and `consistency_ratio_se` (forces
        over structure along the fitted force). Held-out scores and predictions of blocks are those of the forces.

    Raises:
        ValueError: for an unknown method or kernel name, data that do not fit the potential, statistics without a
            pilot where scores are needed, or calibration "none" of frames with unequal weights.
    """
    if method not in METHODS + sparse.METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS + sparse.METHODS)}; got {method!r}")
    if calibration not in CALIBRATIONS:
        raise ValueError(f"calibration must be one of {', '.join(CALIBRATIONS)}; got {calibration!r}")
    if noise_ceiling is not None and not 0 < noise_ceiling <= 1:
        raise ValueError(f"noise_ceiling is a share of variance, in (0, 1]; got {noise_ceiling}")
    pilot = None if calibration == "none" else "first"
    statistics = data
    if not isinstance(statistics, ForceStatistics):
        statistics = force_statistics(potential, statistics, pilot=pilot, structure=bool(structure))
    agreement = consistency(statistics) if structure else None
    both, statistics = statistics, statistics.of("forces")
    potential = stored_potential(potential, statistics, kernels)
    if structure and (method in sparse.METHODS or calibration == "none"):
        raise ValueError(
            f"structure=True needs the scores' covariance, which method={method!r} with calibration={calibration!r} "
            "does not use: choose 'nuts', 'vi' or 'laplace', and 'godambe' or 'magnitude'"
        )
    size = statistics.n_frames, statistics.effective_frames
    if calibration == "none":
        weights.require_equal(*size, "calibration='none'", "take the default, calibration='godambe'")
    if method in sparse.METHODS:
        tree, notes = sparse.sparse_match(
            statistics,
            kernels,
            method=method,
            calibration=calibration,
            sampling=settings,
            noise_ceiling=noise_ceiling,
            key=key,
        )
        for note in notes + weights.doubts(*size):
            warnings.warn(note, stacklevel=2)
        tree.attrs["effective_frames"] = tree["posterior"].attrs["effective_frames"] = size[1]
        tree.attrs["misfit"] = tree["posterior"].attrs["misfit"] = _MISFIT[calibration] + _OUTSIDE
        return tree
    shaped = [name for name, kernel in (kernels or {}).items() if isinstance(kernel, Mapping)]
    if shaped:
        raise ValueError(f"shapes of {', '.join(shaped)} are candidates of a sparse fit: use method='rvm'")
    fit_key, prior_key = jax.random.split(key)
    chosen = kernels_by_name(kernels)
    with double_precision():
        learned = both if structure else statistics
        fitted = fit(learned, chosen, method=method, calibration=calibration, sampling=settings, key=fit_key)
        total, blocks, found = statistics.total(), statistics.blocks, fitted.found
        at_mode = fitted.target.constrain(fitted.mode.position)
        at_mode = {**at_mode, **{n: jnp.asarray(v) for n, v in fitted.fixed.items()}}
        groups, attrs, notes = _groups(fitted, learned, blocks, total, method=method, key=prior_key)
        if calibration == "none":
            attrs["log_evidence"] = _log_evidence(fitted.target, fitted.mode)
        attrs.update(_quality(fitted, blocks, total, at_mode, noise_ceiling), **fitted.report)
        notes += predictive.doubts(attrs["held_out_r2"], attrs["held_out_r2_se"]) + weights.doubts(*size)
        notes += exact.doubts(fitted.report)
        foretold = predictive.block_scores(_linear(fitted, at_mode), statistics)
        if foretold is not None:
            groups["predictive"] = foretold
    if agreement is not None:
        attrs.update(consistency_p=agreement.p, consistency_ratio=agreement.ratio)
        attrs.update(consistency_ratio_se=agreement.ratio_se, equations="forces and structure")
        notes += [agreement.doubt] if agreement.doubt else []
    for note in notes:
        warnings.warn(note, stacklevel=2)
    attrs.update(
        temperature=statistics.temperature,
        method=method,
        calibration=calibration,
        n_frames=size[0],
        effective_frames=size[1],
        warnings="; ".join(notes),
        misfit=_MISFIT[calibration] + _OUTSIDE,
    )
    return posterior_room.build(
        potential, fitted.coefficients, found.values, groups, ranges=statistics.ranges, attrs=attrs
    )


def _groups(fitted: Fit, statistics, blocks, total: Sums, *, method: str, key: Array):
    prior, found = fitted.prior, fitted.found
    numbers, notes = convergence.judge(found)
    attrs: dict[str, Any] = {**numbers}
    groups: dict[str, xr.Dataset] = {}
    if found.stats:
        groups["sample_stats"] = xr.Dataset({n: (("chain", "draw"), v) for n, v in found.stats.items()})
    # An approximate fit with calibrated error bars is for speed: its scores would take longer than itself.
    if len(blocks) > 1 and (method == "nuts" or not fitted.fixed):
        groups["log_likelihood"] = linear_groups.log_likelihood(fitted, blocks, total)
        if not fitted.fixed:
            scalars = {n: v for n, v in found.values.items() if v.ndim == 2}
            numbers, words = convergence.leave_one_out(
                groups["log_likelihood"], scalars, name="forces", unit="time block"
            )
            attrs.update(numbers)
            notes += words
    prior_key, size_key = jax.random.split(key)
    groups |= linear_groups.priors(fitted, prior_key) | linear_groups.force_sizes(fitted, blocks, size_key)
    constants: dict = {
        "components": ("noise_class", total.components),
        "force_variance": ("noise_class", total.square / np.maximum(total.components, 1)),
    }
    for name, counts in statistics.counts.items():
        constants[f"counts_{name}"] = (f"interval_{name}", counts)
    constants["noise"] = ("noise_class", np.asarray(prior.noise), {"units": "kJ/mol/nm", "long_name": "of a first fit"})
    groups["constant_data"] = xr.Dataset(constants, {"noise_class": np.asarray(prior.noise_names, str)})
    if statistics.potential.n_basis <= statistics_files.COPIED:
        groups["statistics"] = statistics_files.to_dataset(statistics)
    return groups, attrs, notes


def _log_evidence(target: Density, mode: Mode) -> float:
    """Laplace approximation of the evidence over hyperparameters (coefficients are integrated out exactly)."""
    _, logdet = np.linalg.slogdet(mode.covariance)
    at_mode = -float(target.value_and_gradient(jnp.asarray(mode.position))[0])
    return at_mode + 0.5 * len(mode.position) * math.log(2 * math.pi) + 0.5 * float(logdet)


def _linear(fitted: Fit, at_mode: Mapping[str, np.ndarray]) -> predictive.Linear:
    """The fit at the mode of its hyperparameters."""
    prior = fitted.prior
    factor = factor_at(prior, at_mode)
    noise = np.array([float(at_mode[f"noise_{name}"]) for name in prior.noise_names])
    scatter = None if fitted.root is None else factor.T @ np.asarray(fitted.root)
    return predictive.Linear(prior.mean, prior.lift @ factor, noise, fitted.report.get("score_variance", 1.0), scatter)


def _quality(fitted: Fit, blocks, total: Sums, at_mode, noise_ceiling) -> dict[str, Any]:
    prior, coefficients = fitted.prior, fitted.coefficients
    score, error = scores.held_out_r2(prior, blocks, at_mode)
    residual = scores.residual_variance(total, coefficients.mean(axis=(0, 1)))
    ceiling = "unknown" if noise_ceiling is None else float(noise_ceiling)
    return {
        "held_out_r2": score,
        "held_out_r2_se": error,
        "noise_ceiling_r2": ceiling,
        "residual_variance": json.dumps(dict(zip(prior.noise_names, residual.tolist(), strict=True))),
    }
