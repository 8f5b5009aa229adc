"""Structure matching: the posterior of a coarse-grained potential from positions alone, by linear equations."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import numpy as np
import xarray as xr
from jaxtyping import Array

from bayescg import posterior as posterior_room
from bayescg._runtime import double_precision
from bayescg.inference.linear import groups as linear_groups
from bayescg.inference.linear import scores
from bayescg.inference.linear.calibration import CALIBRATIONS
from bayescg.inference.linear.fit import METHODS, fit, kernels_by_name, stored_potential
from bayescg.inference.pilot import force_statistics
from bayescg.inference.statistics import files as statistics_files
from bayescg.inference.statistics import weights
from bayescg.inference.statistics.force_statistics import ForceStatistics
from bayescg.potentials import Potential
from bayescg.samplers import convergence
from bayescg.samplers.settings import Sampling

_DEFAULT = Sampling()

_MEANING = (
    "Error bars cover the best potential of this form, the same least-squares projection of the mean force that force "
    "matching looks for, and follow the measured scatter of the structure's scores. Model misfit, the difference "
    "between that potential and the true many-body free energy, is outside of them."
)


def structure_match(
    potential: Potential,
    cg: xr.Dataset | ForceStatistics | Iterable[xr.Dataset],
    *,
    kernels: Mapping[str, object] | None = None,
    method: str = "nuts",
    calibration: str = "godambe",
    settings: Sampling = _DEFAULT,
    key: Array,
) -> xr.DataTree:
    """Posterior of a CG potential from positions alone, in one linear pass: no forces, simulation or iteration.

    In a Boltzmann ensemble every field Phi = dF/dw of bead forces has E[Phi . f] = -kT E[div Phi], with f the mean
    force. The cross sums of force matching then follow from positions (generalized Yvon-Born-Green equations; Mullinax
    & Noid, doi:10.1103/PhysRevLett.103.198104; score matching, Hyvarinen, J. Mach. Learn. Res. 6, 695 (2005)). Gram
    matrix, prior, marginal likelihood and calibration are those of `force_match`, and so is the potential looked for,
    the projection of the mean force. For a pair potential that is not the one that reproduces g(r)
    (`relative_entropy`).

    Args:
        potential: terms to learn.
        cg: a CG dataset, whose forces are not looked at, at constant volume and without constraints between beads;
            chunks of one (`bayescg.stream`); or `ForceStatistics` made with `structure=`. Frames of a biased run need
            the variable `weight` (frame): the equations hold in the unbiased ensemble.
        kernels: GPJax kernel of each term by the term's name, as in `force_match`.
        method: how hyperparameters are sampled: "nuts", "vi" or "laplace", as in `force_match`.
        calibration: what the width of the posterior follows: "godambe" or "magnitude", as in `force_match`. There is no
            noise model by which it could be "none".
        settings: numbers of chains and draws.
        key: JAX random key.

    Returns:
        DataTree in the layout of `force_match`, without what needs forces. Attribute `held_out_structure`: what w from
        other blocks says of a block, (2 b.w - w.G w) / w.G w, which is 1 where G w = b, and below zero for a potential
        that is worse than none; `held_out_structure_se`, its standard error.

    Raises:
        ValueError: for an unknown option, frames for which the equations do not hold (a box that changes, constraints
            between beads, virtual sites), data that do not fit the potential, or statistics without structure.
    """
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}; got {method!r}")
    if calibration not in CALIBRATIONS:
        raise ValueError(f"calibration must be one of {', '.join(CALIBRATIONS)}; got {calibration!r}")
    statistics = cg
    if not isinstance(statistics, ForceStatistics):
        pilot = "first" if calibration != "none" else None  # `fit` says why it cannot be none
        statistics = force_statistics(potential, statistics, pilot=pilot, structure="only")
    statistics = statistics.of("structure")
    potential = stored_potential(potential, statistics, kernels)
    fit_key, prior_key = jax.random.split(key)
    with double_precision():
        fitted = fit(
            statistics,
            kernels_by_name(kernels),
            method=method,
            calibration=calibration,
            sampling=settings,
            key=fit_key,
        )
        found = fitted.found
        numbers, notes = convergence.judge(found)
        at_mode = {**fitted.target.constrain(fitted.mode.position), **fitted.fixed}
        score, error = scores.held_out_structure(fitted.prior, statistics.blocks, at_mode)
        groups = _groups(fitted, statistics, prior_key)
    if score < -2 * np.nan_to_num(error):
        notes.append(
            f"held-out structure is {score:.3g}: the fit says less of frames that it has not seen than no potential "
            "would, and must not be used. Take more frames, or wider knot spacings"
        )
    notes += weights.doubts(statistics.n_frames, statistics.effective_frames)
    for note in notes:
        warnings.warn(note, stacklevel=2)
    attrs: dict[str, Any] = {
        **numbers,
        **fitted.report,
        "held_out_structure": score,
        "held_out_structure_se": error,
        "temperature": statistics.temperature,
        "method": method,
        "calibration": calibration,
        "equations": "structure",
        "n_frames": statistics.n_frames,
        "effective_frames": statistics.effective_frames,
        "warnings": "; ".join(notes),
        "misfit": _MEANING,
    }
    return posterior_room.build(
        potential, fitted.coefficients, found.values, groups, ranges=statistics.ranges, attrs=attrs
    )


def _groups(fitted, statistics: ForceStatistics, key: Array) -> dict[str, xr.Dataset]:
    groups: dict[str, xr.Dataset] = {}
    if fitted.found.stats:
        groups["sample_stats"] = xr.Dataset({n: (("chain", "draw"), v) for n, v in fitted.found.stats.items()})
    groups |= linear_groups.priors(fitted, key)
    constants: dict = {"components": ("noise_class", statistics.total().components)}
    for name, counts in statistics.counts.items():
        constants[f"counts_{name}"] = (f"interval_{name}", counts)
    said = {"units": "kJ/mol/nm", "long_name": "rms mean force of a first fit, which weighs bead types"}
    constants["noise"] = ("noise_class", np.asarray(fitted.prior.noise), said)
    groups["constant_data"] = xr.Dataset(constants, {"noise_class": np.asarray(fitted.prior.noise_names, str)})
    if statistics.potential.n_basis <= statistics_files.COPIED:
        groups["statistics"] = statistics_files.to_dataset(statistics)
    return groups
