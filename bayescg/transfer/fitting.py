"""`fit`: one posterior of the potentials of many systems."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax.flatten_util import ravel_pytree
from jaxtyping import Array

from bayescg._runtime import double_precision
from bayescg.inference import Sampling
from bayescg.inference.linear.calibration import CALIBRATIONS
from bayescg.inference.linear.fit import kernels_by_name
from bayescg.kernels.state_points import StateKernel
from bayescg.samplers import convergence
from bayescg.samplers.density import Density
from bayescg.samplers.laplace import laplace
from bayescg.samplers.mode import climb, find_mode
from bayescg.samplers.nuts import nuts
from bayescg.transfer import layout
from bayescg.transfer.assembly import Assembled, assemble, axes_of
from bayescg.transfer.drawing import as_arrays, draw_systems
from bayescg.transfer.model import Problem, hyperparameter_density
from bayescg.transfer.systems import System, check_systems, descriptors_of, joint_potential, names_of

_DEFAULT_KERNEL, _DEFAULT = StateKernel(), Sampling()
METHODS = ("laplace", "nuts")

_CLIMB = 150
"""Steps of the first search for the mode."""

_NOISY = 4.0
"""Ratio of a system's unexplained to explained forces, over the median one, from which it is suspected."""


def fit(
    systems: Sequence[System],
    *,
    kernel: StateKernel = _DEFAULT_KERNEL,
    kernels: Mapping[str, object] | None = None,
    method: str = "laplace",
    calibration: str = "godambe",
    settings: Sampling = _DEFAULT,
    key: Array,
) -> xr.DataTree:
    """Posterior of the potentials of many systems, which inform each other through their descriptors.

    Every system keeps its own calibrated sums, with its own pilot, noise and target. Pair potentials are compared at
    equal multiples of the distance of contact, and have the covariance of `StateKernel`: a part common to all systems
    (the extended ensemble of Mullinax & Noid, doi:10.1063/1.3220627, if it is the only one), one that changes smoothly
    with the descriptors, one of each system's own. Hyperparameters are sampled on the exact marginal likelihood, and
    with them the distances of contact; coefficients given both are Gaussian.

    Args:
        systems: two or more.
        kernel: over the systems.
        kernels: GPJax kernel of each term's curve, as in `force_match`.
        method: "laplace" or "nuts".
        calibration: what the width of the posterior follows, as in `force_match`.
        settings: numbers of chains and draws.
        key: JAX random key.

    Returns:
        DataTree in ArviZ layout. `posterior`: hyperparameters, `coefficients` (chain, draw, system, basis) [kJ/mol]
        (zero where a system lacks a term: `has_term`), `contact_TERM` (chain, draw, system) [nm]; `sample_stats`,
        `constant_data` (descriptors, measured distances of contact, sums). `predict` and `of_system` make of it
        posteriors in the layout of `force_match`.

    Raises:
        ValueError: for one system, descriptors that are constant or collinear, terms that differ between systems, pairs
            without a distance of contact, or whatever `force_match` refuses.
    """
    check_systems(systems)
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}; got {method!r}")
    if calibration not in CALIBRATIONS:
        raise ValueError(f"calibration must be one of {', '.join(CALIBRATIONS)}; got {calibration!r}")
    names, potential = names_of(systems), joint_potential(systems)
    axes = axes_of(kernel, *descriptors_of(systems))
    unknown = set(kernels or {}) - {term.name for term in potential.terms if term.n_basis}
    unknown |= set(kernel.aligned or ()) - {term.name for term in potential.terms}
    if unknown:
        raise ValueError(f"unknown terms {sorted(unknown)}; terms: {[t.name for t in potential.terms]}")
    fit_key, draw_key = jax.random.split(key)
    with double_precision():
        found = assemble(systems, potential, axes, kernel, kernels_by_name(kernels), calibration)
        problem = Problem(found.model, found.states, as_arrays(found.sums), as_arrays(found.measured))
        target = _near_its_mode(hyperparameter_density(problem))
        mode = find_mode(target)
        draws = settings.chains * settings.draws
        sampled = (
            nuts(target, mode, settings, key=fit_key) if method == "nuts" else laplace(target, mode, draws, key=fit_key)
        )
        flat = {name: v.reshape(-1, *v.shape[2:]) for name, v in sampled.values.items()}
        drawn = draw_systems(problem, flat, key=draw_key)
        at_mode = -float(target.value_and_gradient(jnp.asarray(mode.position))[0])
    numbers, notes = convergence.judge(sampled)
    notes += _suspicions(found, names)
    for note in notes:
        warnings.warn(note, stacklevel=2)
    attrs = {
        **numbers,
        "method": method,
        "calibration": calibration,
        "temperature": float(np.mean([s.statistics.temperature for s in systems])),
        "log_density_at_mode": at_mode,
        "warnings": "; ".join(notes),
    }
    return layout.build(systems, names, axes, kernel, found, sampled, drawn, attrs)


def _near_its_mode(target: Density) -> Density:
    """The density, starting where a search by gradients ends: Newton steps of many unknowns are for the rest."""
    position = climb(target, [target.center], steps=_CLIMB)
    start = ravel_pytree(target.problem.start)[1](jnp.asarray(position))
    return replace(target, problem=target.problem._replace(start=start))


def _suspicions(found: Assembled, names: Sequence[str]) -> list[str]:
    """Systems whose forces are far noisier than those of the others."""
    explained = np.clip([report["explained"] for report in found.reports], 1e-4, 1 - 1e-4)
    noise = 1 / explained - 1
    loud = noise > _NOISY * np.median(noise)
    return [
        f"the forces of system {name} are unusually noisy (the fit explains {share:.1%}, typically "
        f"{np.median(explained):.1%}): do they contain friction and random forces of a thermostat? Read them without "
        "one, by a rerun of the frames"
        for name, share, bad in zip(names, explained, loud, strict=True)
        if bad
    ]
