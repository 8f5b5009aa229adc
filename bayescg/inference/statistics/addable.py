"""Which statistics can be added: those of one potential, and of frames that are different ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from bayescg.inference.statistics.force_statistics import ForceStatistics


def require_addable(a: ForceStatistics, b: ForceStatistics) -> None:
    """Refuse statistics that belong to different fits, or hold one frame twice.

    Raises:
        ValueError: with what differs, and the remedy.
    """
    if a.potential != b.potential:
        raise ValueError(
            "statistics of different potentials cannot be added; bonds without a range get one from their own "
            "data: call bayescg.fill_ranges(potential, cg) once and use the result for every trajectory"
        )
    if a.temperature != b.temperature:
        raise ValueError(
            f"temperatures differ: {a.temperature} K and {b.temperature} K; a CG potential is a free energy and holds "
            "at one temperature: fit each by itself"
        )
    if a.bead_types != b.bead_types:
        raise ValueError(f"bead types differ: {a.bead_types} and {b.bead_types}")
    if a.equations != b.equations:
        raise ValueError(
            f"one was made of {' and '.join(a.equations)}, the other of {' and '.join(b.equations)}: make both with "
            "the same structure="
        )
    if a.pilot != b.pilot:
        raise ValueError(
            f"pilots differ: {a.pilot} and {b.pilot}; products of scores add up about one point only: give the pilot "
            "of one to all others, as in force_statistics(potential, data, pilot=first.pilot), or that of "
            "fit_pilot(potential, cg)"
        )
    for system in set(a.weights) & set(b.weights):
        if a.weights[system] != b.weights[system]:
            raise ValueError(
                f"system {system!r} has the weights {a.weights[system]} and {b.weights[system]}: give all its "
                "statistics one weight, or the systems different names by force_statistics(..., system=)"
            )
    for source in set(a.frames) & set(b.frames):
        if a.systems[source] != b.systems[source]:
            raise ValueError(
                f"{source!r} belongs to two systems, {a.systems[source]!r} and {b.systems[source]!r}: a trajectory is "
                "of one"
            )
        twice = np.intersect1d(a.frames[source], b.frames[source])
        if len(twice):
            raise ValueError(f"{len(twice)} frames of {source!r} would count twice (first: {twice[0]})")
