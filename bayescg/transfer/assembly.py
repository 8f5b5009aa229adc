"""From systems to the model and its data: first fits, distances of contact, common curves, calibrated sums."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from bayescg import kernels as kernel_room
from bayescg._runtime import progress
from bayescg.kernels.covariance import kernel_name
from bayescg.kernels.pairs import Wall, pair_prior
from bayescg.kernels.state_points import StateKernel, States, farthest
from bayescg.potentials import Pair, Potential
from bayescg.transfer.aligned import distances
from bayescg.transfer.aligned.alignment import aligned_prior, reference_of, wall_between
from bayescg.transfer.aligned.contact import contact_distance
from bayescg.transfer.model import Model, Problem, Sums
from bayescg.transfer.sums import First, calibrated_sums, first_fit, stacked
from bayescg.transfer.systems import System
from bayescg.transfer.walls import common_walls
from bayescg.units import BOLTZMANN

_LOOKS = 4
"""Models made one after the other, each with the walls that the mean curve of the one before shows."""


class Axes(NamedTuple):
    """Descriptors, and how they are standardized.

    Attributes:
        names: of the descriptors.
        values: (system, descriptor).
        center: (descriptor,) mean over systems.
        scale: (descriptor,) standard deviation over systems.
        linear: which of them enter linearly.
        smooth: which of them the smooth kernel sees.
    """

    names: tuple[str, ...]
    values: Float[np.ndarray, "system descriptor"]
    center: Float[np.ndarray, " descriptor"]
    scale: Float[np.ndarray, " descriptor"]
    linear: tuple[str, ...]
    smooth: tuple[str, ...]

    def standardized(self, values: Float[np.ndarray, "*one descriptor"]) -> Float[np.ndarray, "*one descriptor"]:
        """Values in standard deviations from the mean over systems."""
        return (values - self.center) / self.scale

    def columns(self, values: Float[np.ndarray, "system descriptor"], names: Sequence[str]):
        """Standardized columns of some descriptors."""
        return self.standardized(values)[:, [self.names.index(name) for name in names]]


class Assembled(NamedTuple):
    """The model and its data.

    Attributes:
        model: the model.
        states: of the systems.
        sums: of the systems.
        measured: distances of contact of each aligned term.
        ratios: (system, aligned) typical distance over the system's, as histograms say.
        reports: numbers of each system's calibration.
    """

    model: Model
    states: States
    sums: Sums
    measured: tuple[distances.Measured, ...]
    ratios: Float[np.ndarray, "system aligned"]
    reports: list[dict[str, float]]


def axes_of(kernel: StateKernel, names: tuple[str, ...], values: Float[np.ndarray, "system descriptor"]) -> Axes:
    """Descriptors as the kernel takes them."""
    linear, smooth = kernel.split(names)
    return Axes(names, values, values.mean(axis=0), values.std(axis=0), linear, smooth)


def states_of(kernel: StateKernel, axes: Axes, values: Float[np.ndarray, "system descriptor"]) -> States:
    """States as the kernel sees them; inducing states are some of those that were learned from."""
    seen = () if kernel.change == 0 else (*axes.linear, *axes.smooth)
    inducing = farthest(axes.columns(axes.values, seen), kernel.rank)
    linear = () if kernel.change == 0 else axes.linear
    return States(axes.columns(values, linear), axes.columns(values, seen), inducing, kernel.shape)


def assemble(
    systems: Sequence[System],
    potential: Potential,
    axes: Axes,
    kernel: StateKernel,
    kernels: Mapping[str, Any],
    calibration: str,
) -> Assembled:
    """The model and its data; in double precision. Arguments as of `fit`."""
    learning = [term for term in potential.terms if term.n_basis]
    chosen = {term.name: kernels.get(term.name, kernel_room.default_kernel()) for term in learning}
    for name, one in chosen.items():
        if kernel_name(one) is None:
            raise ValueError(f"kernels[{name!r}] has parts or settings of its own, which files cannot hold: name one")
    with progress("First fits", len(systems)) as advance:
        firsts = []
        for system in systems:
            firsts.append(first_fit(system.statistics, chosen))
            advance(1)
    aligned = [t for t in learning if isinstance(t, Pair) and (kernel.aligned is None or t.name in kernel.aligned)]
    measured = tuple(_measured(term, systems, axes) for term in aligned)
    true = [_first_distance(term.name, m) for term, m in zip(aligned, measured, strict=True)]
    states = states_of(kernel, axes, axes.values)
    kT = BOLTZMANN * float(np.mean([s.statistics.temperature for s in systems]))

    def look(walls: Mapping[str, Wall]):
        model, ratios = _model(systems, firsts, potential, learning, aligned, true, chosen, kernel, walls)
        each = [
            calibrated_sums(model, system.statistics, first, ratio, calibration)
            for system, first, ratio in zip(systems, firsts, ratios, strict=True)
        ]
        return model, ratios, each

    model, ratios, each = look({})
    for _ in range(_LOOKS - 1):
        problem = Problem(model, states, stacked(each), measured)
        model, ratios, each = look(common_walls(problem, systems, ratios, kT))
    return Assembled(model, states, stacked(each), measured, ratios, [c.report for c in each])


def _measured(term: Pair, systems: Sequence[System], axes: Axes) -> distances.Measured:
    found, errors = np.full(len(systems), np.nan), np.full(len(systems), distances.UNKNOWN)
    for k, system in enumerate(systems):
        if term.name not in system.statistics.potential.slices:
            continue
        try:
            one = contact_distance(term, system.statistics.counts[term.name])
        except ValueError as error:
            raise ValueError(f"system {k if system.name is None else system.name}: {error}") from None
        found[k], errors[k] = np.log(one.distance), one.error / one.distance
    center = float(np.nanmean(found))
    x = axes.standardized(axes.values)
    return distances.Measured(
        x, farthest(x, distances.MOST_NODES), np.nan_to_num(found - center, nan=0.0), errors, center
    )


def _first_distance(name: str, measured: distances.Measured) -> Float[np.ndarray, " system"]:
    """Distances of contact as histograms say, smoothed [nm]."""
    values = {n: jnp.exp(jnp.asarray(d.loc)) for n, d in distances.contact_priors(name, measured).items()}
    values[f"contact_nodes_{name}"] = distances.first_nodes(name, measured)
    return np.exp(measured.center + np.asarray(distances.along(name, measured, values, measured.x).mean))


def _model(
    systems,
    firsts: list[First],
    potential,
    learning,
    aligned,
    true,
    chosen,
    kernel: StateKernel,
    common: Mapping[str, Wall],
):
    kT = BOLTZMANN * float(np.mean([s.statistics.temperature for s in systems]))
    distance = dict(zip([t.name for t in aligned], true, strict=True))
    curves, references, ratios = [], [], []
    for term in learning:
        those = [k for k, s in enumerate(systems) if term.name in s.statistics.potential.slices]
        ranges = [systems[k].statistics.ranges[term.name] for k in those]
        walls = [firsts[k].walls[term.name] for k in those] if isinstance(term, Pair) else []
        if term.name in distance:
            own = distance[term.name]
            reference = reference_of(term, own[those])
            ratio = reference.distance / own
            wall = common.get(term.name) or wall_between(walls, ratio[those], reference.distance)
            smallest = min(low * ratio[k] for k, (low, _) in zip(those, ranges, strict=True))
            curve = aligned_prior(reference, smallest, kT, wall)
            ratios.append(ratio)
        else:
            reference = None
            sampled = min(low for low, _ in ranges), max(high for _, high in ranges)
            counts = np.sum([systems[k].statistics.counts[term.name] for k in those], axis=0)
            first = np.mean(
                [firsts[k].coefficients[systems[k].statistics.potential.slices[term.name]] for k in those], axis=0
            )
            curve = (
                pair_prior(
                    term, counts, sampled, kT, common.get(term.name) or wall_between(walls, np.ones(len(those)), 1.0)
                )
                if isinstance(term, Pair)
                else kernel_room.prior_of(term, counts, sampled, kT=kT, first=first)
            )
        curves.append(curve)
        references.append(reference)
    model = Model(potential, tuple(curves), chosen, tuple(references), kernel.parts)
    return model, np.stack(ratios, axis=1) if ratios else np.zeros((len(systems), 0))
