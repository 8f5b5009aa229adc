"""The posterior of a fit to structure, from its last reference: draws and diagnostics."""

from __future__ import annotations

import jax
import numpy as np
import xarray as xr

from bayescg import posterior as posterior_room
from bayescg.inference.linear.draws import draw_repulsive
from bayescg.inference.linear.fit import sample_hyperparameters
from bayescg.inference.structural.fresh import UNKNOWN
from bayescg.inference.structural.newton import Model
from bayescg.inference.structural.pressure import pressure_at
from bayescg.inference.structural.problem import Problem
from bayescg.inference.structural.refinement import State, table
from bayescg.inference.structural.settle import settle
from bayescg.samplers import convergence

_CHECKED_DRAWS = 64
_PRIOR_DRAWS = 500
_DRAWS_KEY = 2_000_000

_MISFIT = (
    "Error bars cover the potential of this form that is nearest in relative entropy to an endless trajectory of the "
    "same simulation. Model misfit, what such a potential cannot reproduce, is outside all of them."
)


def finish(problem: Problem, state: State, notes: list[str]) -> xr.DataTree:
    """Draws about the optimum next to the last reference; what only a fresh run can say is unknown.

    Args:
        problem: the fit.
        state: with a reference.
        notes: warnings, added to.

    Returns:
        The posterior.
    """
    assert state.reference is not None
    settings, prior, reference = problem.settings, problem.prior, state.reference
    fit_key, draw_key, prior_key = jax.random.split(jax.random.fold_in(problem.key, _DRAWS_KEY), 3)
    model = Model(prior, problem.target, reference)
    settled = settle(prior, model, state.before, settings, problem.calibration)
    data, root, report = settled.likelihood
    _, _, found = sample_hyperparameters(prior, data, method=problem.method, sampling=settings.sampling, key=fit_key)
    coefficients = draw_repulsive(prior, data, found.values, root=root, key=draw_key)
    numbers, words = convergence.judge(found)
    attrs: dict[str, object] = {**numbers}
    notes += words
    groups = {"iterations": table(state.records)}
    if found.stats:
        groups["sample_stats"] = xr.Dataset({n: (("chain", "draw"), v) for n, v in found.stats.items()})
    keys = jax.random.split(prior_key, max(len(prior.distributions()), 1))
    sites = {
        name: np.asarray(distribution.sample(each, (1, _PRIOR_DRAWS)))
        for each, (name, distribution) in zip(keys, prior.distributions().items(), strict=True)
    }
    groups["prior"] = xr.Dataset(
        {n: (("chain", "draw", *(f"{n}_dim_{k}" for k in range(v.ndim - 2))), v) for n, v in sites.items()}
    )
    center = coefficients.mean(axis=(0, 1))
    groups["constant_data"] = _constants(problem, reference, center)
    flat = coefficients.reshape(-1, coefficients.shape[-1])
    some = flat[np.linspace(0, len(flat) - 1, min(_CHECKED_DRAWS, len(flat))).astype(int)]
    overlaps = np.array([reference.weights(w)[1] for w in some])
    outside = float(np.mean(overlaps < settings.overlap))
    if outside > 0.1:
        notes.append(
            f"{outside:.0%} of the draws lie outside the trust region of the last reference (overlap below "
            f"{settings.overlap:g}): their likelihood is extrapolated; use more frames or a stiffer kernel"
        )
    beads, volume = problem.initial.sizes["bead"], problem.volume
    attrs.update(
        temperature=problem.temperature,
        method=f"relative entropy, {problem.method}",
        calibration=problem.calibration,
        n_frames=problem.data.size,
        iterations=len(state.records),
        converged=int(state.done),
        simulated_time=float(sum(record.time for record in state.records)),
        draw_overlap=float(np.median(overlaps)),
        pressure=pressure_at(reference, center, beads, volume).value,
        **UNKNOWN,
        warnings="; ".join(notes),
        misfit=_MISFIT,
        **{name: float(value) for name, value in report.items()},
    )
    return posterior_room.build(
        problem.potential, coefficients, found.values, groups, ranges=problem.data.ranges, attrs=attrs
    )


def _constants(problem: Problem, reference, center) -> xr.Dataset:
    moments = reference.moments(center, reference.frames.basis)
    variables: dict = {
        "basis_energy_data": ("basis", problem.data.basis.mean(axis=(0, 1)), {"long_name": "<dU/dw> of the data"}),
        "basis_energy_model": ("basis", moments.mean, {"long_name": "<dU/dw> of the model, reweighted"}),
    }
    for name in problem.data.counts:
        variables[f"counts_{name}"] = (f"interval_{name}", problem.data.histogram(name))
    return xr.Dataset(variables)
