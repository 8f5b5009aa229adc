"""One-dimensional terms: pair, bond, angle and dihedral potentials, u(x) = baseline(x) + B(x) w.

A term knows its descriptor, its spline and its baseline. It holds no coefficients and no kernel: coefficients w are
passed in, kernels are chosen when a posterior is computed.
"""

from __future__ import annotations

import abc
import dataclasses
import math
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from bayescg.potentials import geometry
from bayescg.potentials.baselines import Baseline, value_and_slope
from bayescg.potentials.splines import UniformSpline, spline_energy


class Configuration(NamedTuple):
    """One frame as terms see it.

    Attributes:
        positions: (bead, 3) [nm], wrapped or not.
        box: (3, 3) lattice vectors as rows [nm].
        tuples: for each term's name the beads of each interaction (interaction, body). A row that names the same bead
            twice is padding and counts for nothing.
    """

    positions: Float[Array, "bead 3"]
    box: Float[Array, "3 3"]
    tuples: dict[str, Int[Array, "interaction body"]]


class SplineTerm(abc.ABC):
    """A potential of one scalar descriptor, expanded in cubic B-splines. Concrete: Pair, Bond, Angle, Dihedral."""

    body: ClassVar[int]
    unit: ClassVar[str]
    kind: ClassVar[str]
    cutoff: float
    baseline: Baseline | None
    learn: bool

    @property
    @abc.abstractmethod
    def types(self) -> tuple[str, ...]:
        """Bead types in order."""

    @property
    @abc.abstractmethod
    def spline(self) -> UniformSpline:
        """The raw spline space, before edges are conditioned."""

    @property
    @abc.abstractmethod
    def name(self) -> str:
        """Name by which kernels, variables and files refer to the term."""

    @abc.abstractmethod
    def descriptor(self, configuration: Configuration) -> tuple[Float[Array, " tuple"], Float[Array, "tuple body 3"]]:
        """Descriptor of each interaction and its gradient with respect to each of its beads."""

    @property
    def n_basis(self) -> int:
        """Number of coefficients."""
        return self.spline.size if self.learn else 0

    @property
    def sites(self) -> Float[np.ndarray, " site"]:
        """Points where the Gaussian-process prior acts (Greville sites)."""
        return self.spline.sites

    def expand(self, coefficients: Float[Array, " basis"]) -> Float[Array, " raw"]:
        """Coefficients of the raw spline: those that the edge conditions fix are appended."""
        if not self.learn:
            return jnp.zeros(self.spline.size, coefficients.dtype)
        return jnp.concatenate([coefficients, jnp.zeros(self.spline.size - self.n_basis, coefficients.dtype)])

    def curve(
        self, coefficients: Float[Array, " basis"], x: Float[Array, "*point"]
    ) -> tuple[Float[Array, "*point"], Float[Array, "*point"]]:
        """Energy [kJ/mol] and slope du/dx of the whole term, baseline included, at x."""
        x = jnp.asarray(x)
        energy, slope = spline_energy(self.spline, self.expand(coefficients), x)
        base, base_slope = self.baseline_curve(x)
        return energy + base, slope + base_slope

    def baseline_curve(self, x: Float[Array, "*point"]) -> tuple[Float[Array, "*point"], Float[Array, "*point"]]:
        """Energy [kJ/mol] and slope of the baseline alone; zero where there is none."""
        if self.baseline is None:
            return jnp.zeros_like(x), jnp.zeros_like(x)
        return value_and_slope(self.baseline, x)

    def energy(self, configuration: Configuration, coefficients: Float[Array, " basis"]) -> Float[Array, ""]:
        """Energy of all interactions of this term [kJ/mol]."""
        x, _ = self.descriptor(configuration)
        mask = _real(configuration.tuples[self.name])
        return jnp.sum(jnp.where(mask, self.curve(coefficients, x)[0], 0.0))

    def forces(self, configuration: Configuration, coefficients: Float[Array, " basis"]) -> Float[Array, "bead 3"]:
        """Bead forces of this term [kJ/mol/nm]."""
        x, gradient = self.descriptor(configuration)
        tuples = configuration.tuples[self.name]
        slope = jnp.where(_real(tuples), self.curve(coefficients, x)[1], 0.0)
        forces = -slope[:, None, None] * gradient
        return jnp.zeros_like(configuration.positions).at[tuples].add(forces.astype(configuration.positions.dtype))

    def basis_energies(self, configuration: Configuration) -> Float[Array, " basis"]:
        """dU/dw: the energy is baseline + basis_energies . w, linear in the coefficients."""
        spline = self.spline
        x, _ = self.descriptor(configuration)
        first, values, _ = spline.windows(x)
        values = jnp.where(_real(configuration.tuples[self.name])[:, None], values, 0.0)
        columns = (first[:, None] + jnp.arange(4)) % spline.size
        return jnp.zeros(spline.size, values.dtype).at[columns].add(values)[: self.n_basis]

    def design_rows(self, configuration: Configuration) -> Float[Array, "bead basis 3"]:
        """dF/dw for every bead: forces are baseline forces + design_rows . w."""
        spline = self.spline
        x, gradient = self.descriptor(configuration)
        tuples = configuration.tuples[self.name]
        first, _, slopes = spline.windows(x)
        slopes = jnp.where(_real(tuples)[:, None], slopes, 0.0)
        # A periodic spline's windows run from -1: three extra columns take what wraps and are folded back below.
        width = spline.size + (3 if spline.periodic else 0)
        first = first + 1 if spline.periodic else first
        rows = jnp.zeros((configuration.positions.shape[0], width, 3), slopes.dtype)
        # One [4 functions, 3] window a bead: a contiguous add, 15 times faster than elementwise scattering.
        numbers = jax.lax.ScatterDimensionNumbers(
            update_window_dims=(1, 2), inserted_window_dims=(0,), scatter_dims_to_operand_dims=(0, 1)
        )
        for body in range(self.body):
            window = -slopes[:, :, None] * gradient[:, body, None, :]
            target = jnp.stack([tuples[:, body], first], axis=-1)
            rows = jax.lax.scatter_add(rows, target, window, numbers, mode="promise_in_bounds")
        if spline.periodic:
            folded = rows[:, 1 : spline.size + 1]
            rows = folded.at[:, -1].add(rows[:, 0]).at[:, :2].add(rows[:, spline.size + 1 :])
        return rows[:, : self.n_basis]


def _real(tuples: Int[Array, "interaction body"]):
    return tuples[:, 0] != tuples[:, 1]


def _checked(term: SplineTerm, **numbers: float | None):
    for field, value in numbers.items():
        if value is not None and not (math.isfinite(value) and value > 0):
            raise ValueError(f"{term.kind} {'-'.join(term.types)}: {field} must be positive and finite; got {value}")
    if not term.learn and term.baseline is None:
        raise ValueError(f"{term.kind} {'-'.join(term.types)}: a term with learn=False needs a baseline")


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
            configuration.positions[tuples], configuration.box, (~_real(tuples), 2 * float(self.cutoff))
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


Term = Pair | Bond | Angle | Dihedral
