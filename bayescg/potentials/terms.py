"""The terms of a potential: pairs, bonds, angles and dihedrals of bead types, each a spline of its descriptor."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp

from bayescg.potentials import geometry
from bayescg.potentials.baselines import Baseline, value_and_slope
from bayescg.potentials.local_density import LocalDensity
from bayescg.potentials.smooth_overlap import SmoothOverlap
from bayescg.potentials.spline_term import SplineTerm, real_tuples
from bayescg.potentials.splines import UniformSpline
from bayescg.potentials.three_body import ThreeBody


def _checked(term: SplineTerm, **numbers: float | None):
    for field, value in numbers.items():
        if value is not None and not (math.isfinite(value) and value > 0):
            raise ValueError(f"{term.kind} {'-'.join(term.types)}: {field} must be positive and finite; got {value}")
    for bead in term.types:
        if not isinstance(bead, str) or not bead:
            raise ValueError(f"{term.kind}: bead types are names such as 'W'; got {bead!r}")
    if not term.learn and term.baseline is None:
        raise ValueError(f"{term.kind} {'-'.join(term.types)}: a term with learn=False needs a baseline")


def _vanishing(term: Pair) -> None:
    """A baseline that is cut off where it still acts would make energy and force jump."""
    with jax.enable_x64(True):
        edge = jnp.asarray(term.cutoff * (1 - 1e-9))
        energy, slope = (abs(float(part)) for part in value_and_slope(term.baseline, edge))
    if energy > 1e-3 or slope > 1e-2:
        raise ValueError(
            f"pair {term.name}: the baseline does not vanish at the cutoff {term.cutoff:g} nm (energy {energy:.3g} "
            f"kJ/mol, force {slope:.3g} kJ/mol/nm): shift it, or give both the same cutoff"
        )


def _label(kind: str, types: tuple[str, ...], group: str | None) -> str:
    return f"{kind}_{group or '-'.join(types)}"


@dataclass(frozen=True)
class Pair(SplineTerm):
    """Pair potential between two bead types; u, u' and u'' vanish at the cutoff.

    Attributes:
        a: bead type.
        b: bead type.
        cutoff: where the potential ends [nm].
        start: first knot [nm]. Below the sampled distances the prior's repulsive wall takes over.
        knot_spacing: knot spacing [nm]; the Gaussian-process prior, not the grid, sets the smoothness.
        baseline: fixed curve below the learnt one; must vanish at the cutoff.
        learn: False for a term that is its baseline only.
    """

    a: str
    b: str
    cutoff: float
    start: float = 0.0
    knot_spacing: float = 0.01
    baseline: Baseline | None = None
    learn: bool = True

    body: ClassVar[int] = 2
    unit: ClassVar[str] = "nm"
    kind: ClassVar[str] = "pair"

    def __post_init__(self):
        _checked(self, cutoff=self.cutoff, knot_spacing=self.knot_spacing)
        if not 0 <= self.start < self.cutoff:
            raise ValueError(f"pair {self.name}: start must lie in [0, cutoff); got {self.start} with {self.cutoff}")
        if self.baseline is not None:
            _vanishing(self)

    @property
    def types(self):
        return (self.a, self.b)

    @property
    def name(self):
        return f"{self.a}-{self.b}"

    @property
    def spline(self):
        return UniformSpline(self.start, self.cutoff, _count(self.start, self.cutoff, self.knot_spacing))

    @property
    def n_basis(self):
        # The last three functions alone carry u, u' and u'' at the cutoff: all three vanish there.
        return self.spline.size - 3 if self.learn else 0

    def baseline_curve(self, x):
        # A longer-ranged term's pairs may lie beyond this one's cutoff.
        energy, slope = super().baseline_curve(x)
        return jnp.where(x < self.cutoff, energy, 0.0), jnp.where(x < self.cutoff, slope, 0.0)

    def descriptor(self, configuration):
        tuples = configuration.tuples[self.name]
        return geometry.distance(
            configuration.positions[tuples], configuration.box, (~real_tuples(tuples), 2 * float(self.cutoff))
        )


@dataclass(frozen=True)
class Bond(SplineTerm):
    """Potential of the distance of bonded beads.

    Attributes:
        a: bead type.
        b: bead type.
        group: tells bonds of equal bead types apart; None takes all of them.
        start: first knot [nm]; None: from the data (`Potential.with_ranges`).
        stop: last knot [nm]; None: from the data.
        knot_spacing: knot spacing [nm].
        baseline: fixed curve below the learnt one.
        learn: False for a term that is its baseline only.
    """

    a: str
    b: str
    group: str | None = None
    start: float | None = None
    stop: float | None = None
    knot_spacing: float = 0.0025
    baseline: Baseline | None = None
    learn: bool = True

    body: ClassVar[int] = 2
    unit: ClassVar[str] = "nm"
    kind: ClassVar[str] = "bond"
    cutoff: ClassVar[float] = 0.0  # its beads are listed, not searched

    def __post_init__(self):
        _checked(self, stop=self.stop, knot_spacing=self.knot_spacing)
        if self.start is not None and not 0 <= self.start < (self.stop or math.inf):
            raise ValueError(f"{self.name}: start must lie in [0, stop); got {self.start} with stop {self.stop}")

    @property
    def types(self):
        return (self.a, self.b)

    @property
    def name(self):
        return _label(self.kind, self.types, self.group)

    @property
    def spline(self):
        if self.start is None or self.stop is None:
            raise ValueError(
                f"{self.name} has no range yet: give start= and stop= [nm], or call potential.with_ranges(cg)"
            )
        return UniformSpline(self.start, self.stop, _count(self.start, self.stop, self.knot_spacing))

    def with_range(self, lowest: float, highest: float) -> Bond:
        """The same term on a grid around the sampled bond lengths [nm], with half their span as margin."""
        margin = max(0.5 * (highest - lowest), 4 * self.knot_spacing)
        h = self.knot_spacing
        start = self.start if self.start is not None else max(0.0, math.floor((lowest - margin) / h) * h)
        stop = self.stop if self.stop is not None else math.ceil((highest + margin) / h) * h
        return dataclasses.replace(self, start=round(start, 10), stop=round(stop, 10))

    def descriptor(self, configuration):
        return geometry.distance(configuration.positions[configuration.tuples[self.name]], configuration.box)


@dataclass(frozen=True)
class Angle(SplineTerm):
    """Potential of the angle a-b-c of bonded beads; u' = 0 at 0 and pi.

    Attributes:
        a: bead type of one end.
        b: bead type of the middle.
        c: bead type of the other end.
        group: tells angles of equal bead types apart; None takes all of them.
        knot_spacing: knot spacing [rad].
        baseline: fixed curve below the learnt one.
        learn: False for a term that is its baseline only.
    """

    a: str
    b: str
    c: str
    group: str | None = None
    knot_spacing: float = math.pi / 90
    baseline: Baseline | None = None
    learn: bool = True

    body: ClassVar[int] = 3
    unit: ClassVar[str] = "rad"
    kind: ClassVar[str] = "angle"
    cutoff: ClassVar[float] = 0.0  # its beads are listed, not searched

    def __post_init__(self):
        _checked(self, knot_spacing=self.knot_spacing)

    @property
    def types(self):
        return (self.a, self.b, self.c)

    @property
    def name(self):
        return _label(self.kind, self.types, self.group)

    @property
    def spline(self):
        return UniformSpline(0.0, math.pi, _count(0.0, math.pi, self.knot_spacing))

    def descriptor(self, configuration):
        return geometry.angle(configuration.positions[configuration.tuples[self.name]], configuration.box)


@dataclass(frozen=True)
class Dihedral(SplineTerm):
    """Periodic potential of the dihedral angle a-b-c-d of bonded beads.

    Attributes:
        a: bead type of one end.
        b: second bead type.
        c: third bead type.
        d: bead type of the other end.
        group: tells dihedrals of equal bead types apart; None takes all of them.
        knot_spacing: knot spacing [rad].
        baseline: fixed curve below the learnt one.
        learn: False for a term that is its baseline only.
    """

    a: str
    b: str
    c: str
    d: str
    group: str | None = None
    knot_spacing: float = math.pi / 30
    baseline: Baseline | None = None
    learn: bool = True

    body: ClassVar[int] = 4
    unit: ClassVar[str] = "rad"
    kind: ClassVar[str] = "dihedral"
    cutoff: ClassVar[float] = 0.0  # its beads are listed, not searched

    def __post_init__(self):
        _checked(self, knot_spacing=self.knot_spacing)

    @property
    def types(self):
        return (self.a, self.b, self.c, self.d)

    @property
    def name(self):
        return _label(self.kind, self.types, self.group)

    @property
    def spline(self):
        return UniformSpline(-math.pi, math.pi, _count(-math.pi, math.pi, self.knot_spacing), periodic=True)

    def descriptor(self, configuration):
        return geometry.dihedral(configuration.positions[configuration.tuples[self.name]], configuration.box)


def _count(start: float, stop: float, spacing: float) -> int:
    """Intervals of at most `spacing` (tolerating rounding)."""
    return math.ceil((stop - start) / spacing - 1e-9)


Term = Pair | Bond | Angle | Dihedral | ThreeBody | LocalDensity | SmoothOverlap
