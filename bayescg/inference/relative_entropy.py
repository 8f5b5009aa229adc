"""Relative entropy: the coarse-grained potential whose ensemble is nearest to the data's, as a posterior.

Positions alone are needed. With n frames, the posterior is proportional to exp(-n S(w)) times the prior of force
matching; S is the relative entropy per frame (Shell, doi:10.1063/1.2992060). For pair potentials its minimum is the
potential that reproduces g(r), the one that iterative Boltzmann inversion and inverse Monte Carlo look for
(Henderson's theorem, doi:10.1016/0375-9601(74)90847-0).
"""

from __future__ import annotations

import dataclasses
import json
import warnings
from collections.abc import Mapping
from pathlib import Path

import jax
import numpy as np
import xarray as xr
from jaxtyping import Array

from bayescg import kernels as kernel_room
from bayescg._runtime import double_precision, progress
from bayescg.data.dataset import check_temperature, fingerprint
from bayescg.data.trajectories.vacuum import refuse_open
from bayescg.inference.linear.calibration import CALIBRATIONS
from bayescg.inference.linear.fit import METHODS
from bayescg.inference.statistics.weights import refuse_weights
from bayescg.inference.structural.fresh import verdict, with_fresh_run
from bayescg.inference.structural.iteration import advance
from bayescg.inference.structural.newton import target_of
from bayescg.inference.structural.posterior import finish
from bayescg.inference.structural.pressure_correction import corrected
from bayescg.inference.structural.prior import build_prior, given_start, into_free, inverted
from bayescg.inference.structural.problem import Problem
from bayescg.inference.structural.refinement import Refinement, State, load, save
from bayescg.inference.structural.structure import structure
from bayescg.potentials import Pair, Potential, fill_ranges
from bayescg.units import BOLTZMANN

_FEWEST_FRAMES = 10
_SETTINGS = Refinement()
_WITHOUT = "structure_z and the errors of the pressure are unknown (nan)"


def relative_entropy(
    potential: Potential,
    cg: xr.Dataset,
    *,
    kernels: Mapping[str, object] | None = None,
    method: str = "laplace",
    calibration: str = "godambe",
    start: xr.DataTree | xr.Dataset | None = None,
    settings: Refinement = _SETTINGS,
    key: Array,
) -> xr.DataTree:
    """Posterior of a CG potential from structure, by simulation at the data's number of beads, volume and temperature.

    The likelihood of n frames is exp(-n S). S is the relative entropy (Shell, doi:10.1063/1.2992060), with the gradient
    beta (<dU/dw>_data - <dU/dw>_model). The fit alternates between reference simulations and Newton steps, which
    reweight the reference as far as ensembles overlap. The last reference is long enough for its noise to be small
    beside that of the data, and the posterior is made from it. What it is worth is told by one more simulation, of the
    posterior mean, which no step has seen.

    Args:
        potential: terms to learn.
        cg: a CG dataset in a constant box; forces are not needed.
        kernels: GPJax kernel of each term by the term's name, as in `force_match`.
        method: how hyperparameters are sampled: "laplace", "nuts" or "vi", as in `force_match`.
        calibration: what the width of the posterior follows: "godambe", "magnitude" or "none" (independent frames,
            endless simulation).
        start: where to begin: a posterior of the same potential (`force_match`), an ensemble of one draw that was
            simulated with it (saves the first simulation), or None for Boltzmann inversion.
        settings: numbers of iterations, lengths of simulations, trust; a wanted pressure, and a file to go on from.
        key: JAX random key.

    Returns:
        DataTree in the layout of `force_match`, with the group `iterations`: coefficients, gradient, z-scores of the
        basis energies, length of the Newton step and what was taken of it, overlap, mean |z| of the structure, virial
        pressure and simulated time of every reference. Attributes `pressure` [bar], `pressure_sd_sampling`,
        `pressure_sd_posterior` and `structure_z`, all of a run that the fit has not seen; `converged`, `interrupted`.
        Where the fit has not converged, or no such run was finished, `pressure` is that of the last reference, and the
        other three are nan.

    Raises:
        ValueError: if frames have unequal weights, the box changes, the temperature is missing, there are too few
            frames, kernels name unknown terms, `start` does not fit, a pressure is wanted of a potential without pairs,
            the checkpoint belongs to another fit, or the first simulation fails.
    """
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}; got {method!r}")
    if calibration not in CALIBRATIONS:
        raise ValueError(f"calibration must be one of {', '.join(CALIBRATIONS)}; got {calibration!r}")
    problem, state = _begin(potential, cg, kernels or {}, start, settings, method, calibration, key)
    identity = _identity(problem, state)
    path = None if settings.checkpoint is None else Path(settings.checkpoint)
    if path is not None and path.exists():
        state = load(path, identity)
    notes: list[str] = []
    interrupted = False
    with double_precision(), progress("Relative entropy", settings.iterations + 1) as advanced:
        advanced(len(state.records))
        try:
            while not state.done and len(state.records) < settings.iterations:
                state = advance(problem, state)
                if path is not None:
                    save(state, path, identity)
                advanced(1)
        except KeyboardInterrupt:
            if state.reference is None:
                raise
            interrupted = True
            notes.append(
                f"interrupted after {len(state.records)} iterations: the posterior rests on the last of them, and "
                f"{_WITHOUT}"
            )
        if not state.done and not notes:
            notes.append(_not_converged(state, settings))
        result = finish(problem, state, notes)
        if state.done and not interrupted:
            try:
                state = _checked(problem, state, result, notes)
                if path is not None:
                    save(state, path, identity)
                advanced(1)
            except KeyboardInterrupt:
                interrupted = True
                notes.append(f"interrupted in the run that checks the converged fit: {_WITHOUT}")
        if settings.target_pressure is not None:
            if interrupted:
                notes.append("interrupted before the ramp: the pressure is not the wanted one")
            else:
                result = corrected(problem, state, result, float(settings.target_pressure), notes)
    for attrs in (result.attrs, result["posterior"].attrs):
        attrs["warnings"] = "; ".join(notes)
    result["posterior"].attrs["interrupted"] = int(interrupted)
    for note in notes:
        warnings.warn(note, stacklevel=2)
    return result


def _checked(problem: Problem, state: State, result: xr.DataTree, notes: list[str]) -> State:
    """The state with a fresh run of the posterior mean; what it says is written into the result."""
    coefficients = result["posterior"].dataset["coefficients"].values
    draws = coefficients.reshape(-1, coefficients.shape[-1])
    try:
        state = with_fresh_run(problem, state, draws.mean(axis=0))
    except ValueError as error:
        if "simulation failed" not in str(error):
            raise
        notes.append(f"the run that checks the posterior mean failed ({error}): {_WITHOUT}")
        return state
    assert state.fresh is not None
    found: dict[str, float] = verdict(problem, state.fresh, draws)
    time = problem.settings.runs * state.time
    for attrs in (result.attrs, result["posterior"].attrs):
        attrs.update(found, simulated_time=attrs["simulated_time"] + time)
    return state


def _not_converged(state: State, settings: Refinement) -> str:
    """What is missing, and what would help."""
    told = [record for record in state.records if np.isfinite(record.length)]
    length, noise = (told[-1].length, told[-1].noise) if told else (np.nan, np.nan)
    if length < 2 * noise and state.time >= settings.longest:
        remedy = f"the last reference is too short: Refinement(longest={2 * settings.longest:g}) or more runs"
    else:
        remedy = (
            f"allow more iterations, Refinement(iterations={2 * settings.iterations}), or begin nearer, with "
            "start=force_match(...)"
        )
    return (
        f"not converged in {settings.iterations} iterations (the Newton step still is {length:.2g} standard "
        f"deviations of beta U, of which chance in the simulation explains {noise:.2g}), so that {_WITHOUT}: {remedy}"
    )


def _begin(potential: Potential, cg: xr.Dataset, kernels, start, settings: Refinement, method, calibration, key: Array):
    temperature = _check(potential, cg, settings)
    unknown = set(kernels) - {term.name for term in potential.terms if term.n_basis}
    if unknown:
        raise ValueError(f"kernels name unknown terms {sorted(unknown)}; terms: {[t.name for t in potential.terms]}")
    chosen = {n: kernel_room.by_name(k) if isinstance(k, str) else k for n, k in kernels.items()}
    potential = fill_ranges(potential, cg)
    kT = BOLTZMANN * temperature
    begin = None
    if isinstance(start, xr.DataTree):
        begin = given_start(potential, start)
    elif start is not None and not isinstance(start, xr.Dataset):
        raise ValueError(f"start is a posterior, an ensemble or None; got {type(start).__name__}")
    data = structure(potential, cg, "Structure of the data")
    with double_precision():
        if begin is None:
            begin = inverted(potential, data, kT)
        prior = build_prior(potential, data, begin, kT=kT, kernels=chosen)
        position = into_free(prior, data, begin)
        target = target_of(data, prior)
    initial = cg.isel(frame=-1)
    problem = Problem(potential, prior, data, target, initial, temperature, settings, method, calibration, key)
    state = State(position, position, settings.time, last=False, done=False, radius=problem.farthest)
    if isinstance(start, xr.Dataset):
        with double_precision():
            state = advance(problem, state, problem.adopt(start))
    return problem, state


def _check(potential: Potential, cg: xr.Dataset, settings: Refinement) -> float:
    """Refuse data that this method cannot use; returns the temperature [K]."""
    if "frame" not in cg.dims:
        raise ValueError("the data have no dimension 'frame': give a trajectory, not a single frame")
    if cg.sizes["frame"] < _FEWEST_FRAMES:
        raise ValueError(
            f"{cg.sizes['frame']} frames are too few for averages with errors: give at least {_FEWEST_FRAMES}"
        )
    refuse_weights(
        cg, "relative_entropy", "give it frames of the unbiased ensemble, or fit forces, with weights, by force_match"
    )
    if "temperature" not in cg.attrs:
        raise ValueError("the data have no temperature: give temperature= [K] when mapping")
    if all(not term.learn for term in potential.terms):
        raise ValueError("no term of this potential learns anything: every term has learn=False")
    pairs = [term for term in potential.terms if isinstance(term, Pair) and term.learn]
    if settings.target_pressure is not None and not pairs:
        raise ValueError("target_pressure needs a pair term that learns: the ramp is one of pairs")
    if settings.target_pressure is not None:
        refuse_open(cg, "there is no volume that could have a pressure", "leave target_pressure out")
    boxes = np.asarray(cg["box"].values, float).reshape(-1, 3, 3)
    volumes = np.abs(np.linalg.det(boxes))
    if np.ptp(boxes, axis=0).max() > 1e-4 * np.abs(boxes).max():
        raise ValueError(
            f"the box changes (volume {volumes.min():.4g} to {volumes.max():.4g} nm^3): relative entropy compares "
            "ensembles at one volume, and the model's pressure is not the data's, so that at constant pressure it "
            "would have another density. Give a trajectory at constant volume (NVT)"
        )
    return check_temperature(cg.attrs["temperature"])


def _identity(problem: Problem, state: State) -> str:
    """What a checkpoint must share with the fit that goes on from it: all but iterations, draws and wanted pressure."""
    chosen = problem.settings
    settings = dataclasses.replace(
        chosen, iterations=1, sampling=type(chosen.sampling)(), target_pressure=None, checkpoint=None
    )
    words = [
        problem.potential.to_json(),
        repr(problem.temperature),
        repr(settings),
        problem.calibration,
        repr(sorted((name, type(kernel).__name__) for name, kernel in problem.prior.kernels.items())),
    ]
    key = np.asarray(jax.random.key_data(problem.key))
    return fingerprint(problem.data.basis, state.position, key, np.frombuffer(json.dumps(words).encode(), np.uint8))
