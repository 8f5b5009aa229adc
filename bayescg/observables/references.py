"""Reference ensembles of a propagation: checked, put into one sequence of frames, and extended by further runs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Array, Float, Int

from bayescg import posterior as posteriors
from bayescg.potentials import Potential
from bayescg.simulation import Langevin, simulate

_NEEDED = ("positions", "box", "basis_energy", "potential_energy")
_FRAME_VARIABLES = ("positions", "basis_energy", "potential_energy", "virial")
_FEWEST = 25
"""Frames below which a Pareto tail cannot be fitted: the guard could say nothing."""


class References(NamedTuple):
    """Frames of all reference ensembles in one sequence.

    Attributes:
        frames: Dataset without dimension `draw`. Frames of several references alternate in the order of their relative
            time: any contiguous block of frames is then a slice of time of *every* reference, so that block averages
            of a mixture scatter by sampling, not because blocks come from different references.
        member: (frame,) the reference that each frame comes from.
        coefficients: (reference, basis) what each reference was simulated with [kJ/mol].
        runs: each reference as one draw of an ensemble, for restarts.
        potential: of all of them.
        temperature: of all of them [K].
    """

    frames: xr.Dataset
    member: Int[np.ndarray, " frame"]
    coefficients: Float[np.ndarray, "reference basis"]
    runs: tuple[xr.Dataset, ...]
    potential: Potential
    temperature: float


def gather(reference: xr.Dataset | Iterable[xr.Dataset], posterior: xr.DataTree) -> References:
    """Check reference ensembles and put their frames into one sequence.

    Args:
        reference: an ensemble of one or several draws, or several ensembles.
        posterior: what they are to be reweighted to.

    Returns:
        The references.

    Raises:
        ValueError: if there is none, an ensemble lacks what reweighting needs, has failed frames or too few, or
            potential, temperature, box or beads differ.
    """
    potential = posteriors.potential_of(posterior)
    ensembles = [reference] if isinstance(reference, xr.Dataset) else list(reference)
    if not ensembles:
        raise ValueError("there is no reference: simulate(posterior, initial, time=..., key=...) makes one")
    for ensemble in ensembles:
        _check(ensemble, potential, posteriors.temperature_of(posterior))
    first = ensembles[0]
    for ensemble in ensembles[1:]:
        _check_same(first, ensemble)
    runs = _different([run for ensemble in ensembles for run in _each_draw(ensemble)])
    frames, member = _in_one_sequence(runs)
    if len(member) < _FEWEST:
        raise ValueError(
            f"the reference has {len(member)} frames: the guard needs at least {_FEWEST} to judge "
            "weights; simulate longer"
        )
    coefficients = np.stack([run["coefficients"].values for run in runs]).astype(float)
    return References(frames, member, coefficients, runs, potential, float(first.attrs["temperature"]))


def simulate_more(
    references: References,
    coefficients: Float[np.ndarray, "draw basis"],
    nearest: int,
    posterior: xr.DataTree,
    *,
    key: Array,
) -> xr.Dataset:
    """Simulate coefficients as a reference was: its dynamics, engine and time, from its last frame.

    Args:
        references: those that there are.
        coefficients: (draw, basis) [kJ/mol].
        nearest: number of the reference to start from.
        posterior: for the sampled ranges.
        key: JAX random key.

    Returns:
        The ensemble, one draw for each row; fewer if interrupted.
    """
    run = references.runs[nearest]
    settings = json.loads(run.attrs["dynamics"])
    dynamics = Langevin(**{name: settings[name] for name in ("timestep", "friction", "equilibration", "interval")})
    given = posteriors.from_coefficients(
        references.potential,
        coefficients,
        temperature=references.temperature,
        ranges=posteriors.ranges_of(posterior),
    )
    return simulate(
        given,
        run.isel(frame=-1),
        time=dynamics.interval * run.sizes["frame"],
        draws=len(coefficients),
        dynamics=dynamics,
        engine=run.attrs["engine"],
        key=key,
    )


def _check(ensemble: xr.Dataset, potential: Potential, temperature: float) -> None:
    missing = [name for name in _NEEDED if name not in ensemble]
    if missing or "potential" not in ensemble.attrs:
        raise ValueError(
            f"the reference lacks {', '.join(missing) or 'its potential'}: it must be an ensemble from simulate"
        )
    if "coefficients" not in ensemble:
        raise ValueError(
            "the reference does not say which coefficients it was simulated with (variable 'coefficients'): simulate "
            "it again with this version"
        )
    if Potential.from_json(ensemble.attrs["potential"]) != potential:
        raise ValueError(
            "reference and posterior have different potentials (terms, knots, cutoffs, baselines or exclusions): "
            "simulate the reference with a posterior of the same potential"
        )
    theirs = float(ensemble.attrs["temperature"])
    if abs(theirs - temperature) > 1e-6 * temperature:
        raise ValueError(
            f"the reference was simulated at {theirs:g} K, the posterior belongs to {temperature:g} K: a reference "
            "must have the temperature of the posterior"
        )
    if "frame" in ensemble["box"].dims or "draw" in ensemble["box"].dims:
        raise ValueError("the reference's box changes: references are simulated at constant volume, in one box")
    failed = np.atleast_1d(ensemble["failed"].values) if "failed" in ensemble else np.zeros(1, bool)
    if failed.any() or not all(np.all(np.isfinite(ensemble[name].values)) for name in _NEEDED):
        raise ValueError(
            "the reference has frames that are NaN, from a simulation that failed: leave such draws out, "
            "reference.sel(draw=~reference.failed), or simulate again with a shorter timestep"
        )


def _check_same(first: xr.Dataset, other: xr.Dataset) -> None:
    if not np.allclose(first["box"].values, other["box"].values, rtol=1e-6, atol=1e-9):
        raise ValueError("the references have different boxes: reweighting holds in the box that a run was made for")
    types = [each["bead_type"].values.astype(str).tolist() for each in (first, other)]
    if types[0] != types[1]:
        raise ValueError("the references have different beads: they must be simulations of one system")


def _each_draw(ensemble: xr.Dataset) -> list[xr.Dataset]:
    if "draw" not in ensemble["positions"].dims:
        return [ensemble]
    return [ensemble.isel(draw=k) for k in range(ensemble.sizes["draw"])]


def _in_one_sequence(runs: Sequence[xr.Dataset]) -> tuple[xr.Dataset, Int[np.ndarray, " frame"]]:
    lengths = [run.sizes["frame"] for run in runs]
    member = np.repeat(np.arange(len(runs)), lengths)
    relative = np.concatenate([(np.arange(n) + 0.5) / n for n in lengths])
    order = np.argsort(relative, kind="stable")
    variables = {}
    for name in _FRAME_VARIABLES:
        if all(name in run for run in runs):
            parts = [run[name].transpose("frame", ...) for run in runs]
            values = np.concatenate([part.values for part in parts])[order] if len(runs) > 1 else parts[0].values
            variables[name] = (parts[0].dims, values, parts[0].attrs)
    kept = runs[0].drop_vars([name for name, v in runs[0].variables.items() if "frame" in v.dims or not v.dims])
    kept = kept.drop_vars(["coefficients", "out_of_range"], errors="ignore")
    return kept.assign(variables).assign_coords(frame=np.arange(len(member))), member[order]


def _different(runs: list[xr.Dataset]) -> tuple[xr.Dataset, ...]:
    """The runs without those that were given before: frames that count twice would look like twice the evidence."""
    kept: list[xr.Dataset] = []
    for run in runs:
        twice = any(
            run["positions"].shape == other["positions"].shape
            and np.array_equal(run["positions"].values, other["positions"].values)
            for other in kept
        )
        if not twice:
            kept.append(run)
    return tuple(kept)
