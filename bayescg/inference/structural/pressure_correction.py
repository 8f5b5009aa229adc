"""The linear ramp that moves the pressure of a structure-based model to a wanted value.

A pair potential that reproduces the structure of a liquid has as a rule a pressure of thousands of bar. A weak ramp
dU = a (1 - r / r_c) on the pairs changes the pressure much and the structure little (Wang, Junghans & Kremer,
doi:10.1140/epje/i2008-10413-5).
"""

from __future__ import annotations

import numpy as np
import xarray as xr
from jaxtyping import Float

from bayescg import posterior as posterior_room
from bayescg.inference.structural.fresh import UNKNOWN, verdict
from bayescg.inference.structural.pressure import pressure_at
from bayescg.inference.structural.problem import Problem
from bayescg.inference.structural.refinement import State
from bayescg.inference.structural.reweighting import Reference
from bayescg.potentials import Pair, Potential

_MOST = 6
_FIRST_KEY = 1_000_000
"""Random keys of these simulations, apart from those of the fit."""


def corrected(problem: Problem, state: State, posterior: xr.DataTree, wanted: float, notes: list[str]) -> xr.DataTree:
    """The posterior with a ramp added to every draw, such that its mean has the wanted pressure.

    The strength is found by Newton's method on P(a), reweighted as far as references overlap, with a new reference
    where they do not. Pressure and structure are then those of one more run, which that search has not used.

    Args:
        problem: the fit.
        state: with its last reference, and the fresh run if the fit has converged.
        posterior: of the structure alone.
        wanted: pressure [bar].
        notes: warnings, added to.

    Returns:
        The shifted posterior, with attributes `ramp` (a) [kJ/mol], `pressure`, its errors, and the cost in structure:
        `structure_z` (nan, as the errors, where the fit has not converged), and for each pair term `ramp_dg_NAME`, the
        mean |dg| against the data, with `plain_dg_NAME` before the correction.
    """
    potential, settings = problem.potential, problem.settings
    direction = ramp(potential)
    assert state.reference is not None
    beads, volume = problem.initial.sizes["bead"], problem.volume
    coefficients = posterior["posterior"].dataset["coefficients"].values
    center = coefficients.mean(axis=(0, 1))
    before = _mean_dg(problem, state.fresh or state.reference, center)
    longest = max(state.time, settings.time)
    reference, strength, settled = state.reference, 0.0, False
    for number in range(_MOST):
        strength, reached = _within(reference, center, direction, strength, wanted, settings.overlap, beads, volume)
        if reached and number:
            settled = True
            break
        reference = problem.simulated(center + strength * direction, longest, _FIRST_KEY + number)
    shifted = center + strength * direction
    moved = coefficients + strength * direction
    found = {"pressure": pressure_at(reference, shifted, beads, volume).value, **UNKNOWN}
    if state.done:
        reference = problem.simulated(shifted, longest, _FIRST_KEY + _MOST)
        found = verdict(problem, reference, moved.reshape(-1, len(center)))
    if not settled:
        notes.append(
            f"the ramp has not reached {wanted:g} bar after {_MOST} simulations (now {found['pressure']:.0f} bar): a "
            "target nearer to the uncorrected pressure costs less structure"
        )
    attrs = {
        **posterior.attrs,
        "ramp": strength,
        "target_pressure": wanted,
        "pressure_uncorrected": posterior.attrs["pressure"],
        "structure_z_uncorrected": posterior.attrs["structure_z"],
        **found,
        "warnings": "; ".join(notes),
        **{f"plain_dg_{name}": value for name, value in before.items()},
        **{f"ramp_dg_{name}": value for name, value in _mean_dg(problem, reference, shifted).items()},
    }
    attrs = {k: v for k, v in attrs.items() if k not in _OF_BUILD}
    inner = posterior["posterior"]
    hyper = {
        str(n): v.values
        for n, v in inner.data_vars.items()
        if n != "coefficients" and not any(str(d).startswith("x_") for d in v.dims)
    }
    groups = {name: node.to_dataset() for name, node in posterior.children.items() if name != "posterior"}
    return posterior_room.build(potential, moved, hyper, groups, ranges=problem.data.ranges, attrs=attrs)


_OF_BUILD = ("format", "bayescg_version", "potential", "exclude_bonds", "sampled_ranges", "creation_library")


def _within(
    reference: Reference, center, direction, strength: float, wanted: float, overlap: float, beads: int, volume: float
) -> tuple[float, bool]:
    """Strength of the ramp by Newton's method within reach of a reference, or the border of its reach."""
    for _ in range(30):
        now = pressure_at(reference, center + strength * direction, beads, volume)
        step = (wanted - now.value) / float(now.slope @ direction)
        if abs(wanted - now.value) < max(0.05 * now.sd, 1e-3):
            return strength, True
        share = 1.0
        while share > 0.02 and reference.weights(center + (strength + share * step) * direction)[1] < overlap:
            share *= 0.5
        if share <= 0.02:
            # Beyond reach: linear response says where to look next.
            return strength + step, False
        strength += share * step
    return strength, False


def _mean_dg(problem: Problem, reference: Reference, coefficients) -> dict[str, float]:
    """Mean |g - g of the data| of every pair term over its knot intervals from the first contact to the cutoff."""
    result = {}
    for term in problem.potential.terms:
        if not isinstance(term, Pair):
            continue
        data = problem.data.counts[term.name].mean(axis=(0, 1))
        weight, _ = reference.weights(coefficients)
        model = np.einsum("rf,rfk->k", weight, reference.frames.counts[term.name])
        shells = np.diff(term.spline.knots**3)
        ideal = _ideal(problem, term) * shells
        used = (data > 0) | (model > 0)
        result[term.name] = float(np.mean(np.abs(model - data)[used] / ideal[used]))
    return result


def _ideal(problem: Problem, term) -> float:
    """Pairs of a term in a shell of unit r^3 difference, were the beads an ideal gas."""
    types = problem.initial["bead_type"].values.astype(str)
    a, b = (int(np.sum(types == name)) for name in term.types)
    pairs = a * b / 2 if term.types[0] == term.types[1] else a * b
    return pairs * 4 / 3 * np.pi / problem.volume


def ramp(potential: Potential) -> Float[np.ndarray, " basis"]:
    """Coefficients of 1 - r / r_c on every pair term that learns.

    The nearest curve of the term's own splines: value, slope and curvature vanish at the cutoff, where the ramp itself
    would leave a jump in the force.
    """
    coefficients = np.zeros(potential.n_basis)
    for term in potential.terms:
        if not isinstance(term, Pair) or not term.n_basis:
            continue
        spline = term.spline
        r = np.linspace(spline.start, spline.stop, 10 * spline.size)
        matrix = spline.matrix(r)[:, : term.n_basis]
        coefficients[potential.slices[term.name]] = np.linalg.lstsq(matrix, 1 - r / spline.stop, rcond=None)[0]
    return coefficients
