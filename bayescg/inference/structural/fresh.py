"""What a fit to structure says of itself: structure and pressure of the posterior mean, from a run of its own.

The last reference cannot say it. Steps were chosen by its frames, chance in them included, so that a fit agrees with
its own references better than with the next simulation.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from bayescg.inference.structural.pressure import pressure_at
from bayescg.inference.structural.problem import Problem
from bayescg.inference.structural.refinement import State
from bayescg.inference.structural.reweighting import Reference, structure_z

_KEY = 3_000_000
"""Makes the random key of the run, apart from those of the fit and of the ramp."""

UNKNOWN = dict.fromkeys(("structure_z", "pressure_sd_sampling", "pressure_sd_posterior"), float("nan"))
"""What nobody knows of a fit that has not converged."""


def with_fresh_run(problem: Problem, state: State, coefficients: Float[np.ndarray, " basis"]) -> State:
    """The state with a run of these coefficients, as long as the last reference; the run it has, if that one will do.

    A checkpoint may bring a run of slightly other coefficients, those of another number of draws.

    Raises:
        ValueError: if every run fails.
    """
    if state.fresh is not None and state.fresh.weights(coefficients)[1] >= problem.settings.overlap:
        return state
    return state.then(fresh=problem.simulated(coefficients, state.time, _KEY))


def verdict(problem: Problem, run: Reference, draws: Float[np.ndarray, "draw basis"]) -> dict[str, float]:
    """Mean |z| of the structure, and the pressure with its errors, of the mean of some draws.

    Args:
        problem: the fit.
        run: of that mean, not used by the fit.
        draws: of the coefficients.
    """
    center = draws.mean(axis=0)
    pressure = pressure_at(run, center, problem.initial.sizes["bead"], problem.volume)
    parts = structure_z(problem.data, run, center)
    return {
        "structure_z": float(np.nanmean(np.abs(np.concatenate(list(parts.values()))))),
        "pressure": pressure.value,
        "pressure_sd_sampling": pressure.sd,
        "pressure_sd_posterior": float(np.std((draws - center) @ pressure.slope)),
    }
