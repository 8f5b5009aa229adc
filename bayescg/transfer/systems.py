"""`System`: what is known of one system, and what makes several of them a set that can be learned from."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from bayescg.inference import ForceStatistics
from bayescg.potentials import Potential, Term

_COLLINEAR = 1e-6
"""Smallest singular value of standardized descriptors, relative to the largest, below which they say the same."""


@dataclass(frozen=True, eq=False)
class System:
    """One system, at one state: its sums and where it stands.

    Attributes:
        statistics: from `force_statistics`, with a pilot of its own.
        temperature: [K]; None: that of the statistics. A descriptor named "temperature" is filled in from it.
        descriptors: numbers that say which system it is: temperature, density, mole fractions, parameters of a force
            field, fidelity; in any units, the same for all systems.
        name: of the system; None: its number.

    Raises:
        ValueError: if a descriptor is not a finite number, the temperature is not that of the statistics, or the
            statistics are of several systems.
    """

    statistics: ForceStatistics
    temperature: float | None = None
    descriptors: Mapping[str, float] | None = None
    name: str | None = None

    def __post_init__(self):
        if not isinstance(self.statistics, ForceStatistics):
            raise ValueError(f"a System needs ForceStatistics (force_statistics(...)); got {type(self.statistics)}")
        if len(self.statistics.weights) > 1:
            raise ValueError(
                f"these statistics are of several systems, {', '.join(self.statistics.weights)}: every system needs "
                "statistics of its own, which keep its own pilot, noise and target"
            )
        own = self.statistics.temperature
        if self.temperature is None:
            object.__setattr__(self, "temperature", own)
        elif not abs(self.temperature - own) < 1e-6 * own:
            raise ValueError(f"temperature={self.temperature} K, but its statistics are of a run at {own} K")
        found = {name: float(value) for name, value in (self.descriptors or {}).items()}
        for name, value in found.items():
            if not math.isfinite(value):
                raise ValueError(f"descriptor {name} must be a finite number; got {value}")
        if "temperature" in found and not abs(found["temperature"] - own) < 1e-6 * own:
            raise ValueError(f"descriptor temperature={found['temperature']}, but the statistics are of {own} K")
        object.__setattr__(self, "descriptors", found)


def names_of(systems: Sequence[System]) -> tuple[str, ...]:
    """A name for each system.

    Raises:
        ValueError: if two have the same.
    """
    names = tuple(str(k) if s.name is None else s.name for k, s in enumerate(systems))
    if len(set(names)) < len(names):
        raise ValueError(f"systems need different names; got {', '.join(names)}")
    return names


def descriptors_of(systems: Sequence[System]) -> tuple[tuple[str, ...], Float[np.ndarray, "system descriptor"]]:
    """Names of the descriptors, and their values.

    Raises:
        ValueError: if systems have different ones, one is the same for all, or some say the same.
    """
    names = tuple(systems[0].descriptors or {})
    for number, system in enumerate(systems):
        if set(system.descriptors or {}) != set(names):
            raise ValueError(
                f"system {number} has the descriptors {sorted(system.descriptors or {})}, the first one "
                f"{sorted(names)}: give all systems the same"
            )
    if not names:
        raise ValueError("systems have no descriptors: say by descriptors={...} how they differ")
    values = np.array([[(s.descriptors or {})[n] for n in names] for s in systems], float).reshape(-1, len(names))
    constant = [n for n, column in zip(names, values.T, strict=True) if np.ptp(column) <= 1e-9 * np.abs(column).max()]
    if constant:
        raise ValueError(f"descriptor {constant[0]} is the same for all systems: nothing is learned about it; drop it")
    scaled = (values - values.mean(axis=0)) / values.std(axis=0)
    if len(names) > 1:
        _, sizes, turn = np.linalg.svd(scaled, full_matrices=False)
        if len(sizes) < len(names) or sizes[-1] < _COLLINEAR * sizes[0]:
            several = [n for n, weight in zip(names, turn[-1], strict=True) if abs(weight) > 0.1]
            raise ValueError(
                f"the descriptors {', '.join(several)} are collinear over these {len(systems)} systems: what one "
                "changes cannot be told from what the others change; drop one, or add systems"
            )
    return names, values


def values_of(names: Sequence[str], state: Mapping[str, float]) -> Float[np.ndarray, " descriptor"]:
    """Descriptors of a state in the order of their names.

    Raises:
        ValueError: if some are missing, unknown or not finite.
    """
    if set(state) != set(names):
        raise ValueError(f"descriptors must be {', '.join(names)}; got {', '.join(state) or 'none'}")
    values = np.array([float(state[name]) for name in names])
    if not np.all(np.isfinite(values)):
        raise ValueError(f"descriptors must be finite numbers; got {dict(state)}")
    return values


def joint_potential(systems: Sequence[System]) -> Potential:
    """All terms of all systems; some may lack some.

    Raises:
        ValueError: if one term has different cutoffs, knots or baselines in different systems, or is never learned.
    """
    terms: dict[str, Term] = {}
    excluded = {s.statistics.potential.exclude_bonds for s in systems}
    if len(excluded) > 1:
        raise ValueError(f"potentials exclude different numbers of bonds: {sorted(excluded)}; choose one")
    for number, system in enumerate(systems):
        for term in system.statistics.potential.terms:
            before = terms.setdefault(term.name, term)
            if before == term:
                continue
            cutoffs = {getattr(before, "cutoff", None), getattr(term, "cutoff", None)}
            what = f"cutoffs {' and '.join(f'{c:g} nm' for c in cutoffs)}" if len(cutoffs) > 1 else "knots or baselines"
            raise ValueError(
                f"{term.name} has different {what} in system {number} and before it ({term!r}, {before!r}): make all "
                "statistics with one and the same term, so that its coefficients mean the same"
            )
    potential = Potential(*terms.values(), exclude_bonds=excluded.pop())
    if potential.n_basis == 0:
        raise ValueError("no term learns anything: every term has learn=False")
    return potential


def check_systems(systems: Sequence[System]) -> None:
    """Refuse what is no set of systems.

    Raises:
        ValueError: if there are fewer than two, or something else among them.
    """
    for number, system in enumerate(systems):
        if not isinstance(system, System):
            raise ValueError(f"systems[{number}] is a {type(system).__name__}: make it by System(statistics, ...)")
    if len(systems) < 2:
        raise ValueError(
            f"{len(systems)} system: transfer learns from differences between systems and needs two or more; for one, "
            "use force_match"
        )
