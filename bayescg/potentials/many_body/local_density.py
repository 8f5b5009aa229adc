"""Local-density potentials: the energy of a bead as a function of how many beads are around it."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from bayescg._arrays import AnyArray
from bayescg.geometry.descriptors import distance
from bayescg.potentials.configuration import Configuration, real_tuples
from bayescg.potentials.many_body.many_body_term import ManyBodyTerm
from bayescg.potentials.splines import UniformSpline, add_windows, spline_energy
from bayescg.potentials.term import Graph

_INTERVALS = 12


@dataclass(frozen=True)
class LocalDensity(ManyBodyTerm):
    """U = sum_i F(rho_i) - F(0) over beads i of type a, with rho_i = sum_j phi(r_ij) over beads j of type b.

    rho counts neighbors: phi is 1 up to `inner`, 0 from `outer` on, and c0 + c2 r^2 + c4 r^4 + c6 r^6 between, with phi
    and phi' continuous (Sanyal & Shell, J. Chem. Phys. 145, 034109 (2016), doi:10.1063/1.4958629). F is a cubic spline,
    continued linearly beyond `stop`. The prior leaves out the constant of F, which exerts no force, and its linear
    part, which is a pair potential proportional to phi: a pair term between a and b has this part to itself. That term
    should reach at least to `outer`.

    Attributes:
        a: bead type of the center.
        b: bead type of the beads that are counted. (a, b) and (b, a) are different terms.
        inner: distance up to which a bead counts as one [nm].
        outer: distance from which on it does not count [nm].
        stop: last knot of F, in neighbors; None: from the data (`fill_ranges`).
        knot_spacing: of F, in neighbors; None: a twelfth of `stop`.

    Raises:
        ValueError: unless 0 < inner < outer, and `stop` and `knot_spacing` are positive.
    """

    a: str
    b: str
    inner: float
    outer: float
    stop: float | None = None
    knot_spacing: float | None = None

    kind: ClassVar[str] = "local density"
    unit: ClassVar[str] = "1"
    body: ClassVar[int] = 2

    def __post_init__(self):
        self.check_types()
        if not (math.isfinite(self.outer) and 0 < self.inner < self.outer):
            raise ValueError(f"{self.name}: give 0 < inner < outer [nm]; got {self.inner} and {self.outer}")
        for field in ("stop", "knot_spacing"):
            value = getattr(self, field)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise ValueError(f"{self.name}: {field} must be positive and finite; got {value}")

    @property
    def types(self):
        return (self.a, self.b)

    @property
    def name(self):
        return f"density_{self.a}-{self.b}"

    @property
    def cutoff(self) -> float:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Distance from which on neighbors do not count [nm]."""
        return self.outer

    @property
    def spline(self):
        """The spline space of F."""
        if self.stop is None:
            raise ValueError(f"{self.name} has no range yet: give stop=, or call bayescg.fill_ranges(potential, cg)")
        intervals = _INTERVALS if self.knot_spacing is None else math.ceil(self.stop / self.knot_spacing - 1e-9)
        return UniformSpline(0.0, self.stop, max(intervals, 4))

    @property
    def n_basis(self):
        # As many for any range, where the spacing follows from it.
        return _INTERVALS + 3 if self.stop is None and self.knot_spacing is None else self.spline.size

    @property
    def open_fields(self):
        return ("stop",) if self.stop is None else ()

    def fill(self, sample):
        """The same term with knots up to a tenth more than the highest density of any bead in any frame.

        Args:
            sample: frames of the system.

        Returns:
            The term.

        Raises:
            ValueError: if no bead has a neighbor.
        """
        if self.stop is not None:
            return self
        measure, highest = jax.jit(self.densities), 0.0
        for frame in sample.frames:
            highest = max(highest, float(jnp.max(measure(frame))))
        if not highest > 0:
            raise ValueError(
                f"{self.name}: no {self.b} within {self.outer:g} nm of a {self.a} in {len(sample.frames)} frames; "
                "check types and distances"
            )
        return dataclasses.replace(self, stop=math.ceil(11 * highest + 1) / 10)

    @property
    def sites(self):
        """Greville sites of F."""
        return self.spline.sites

    @property
    def graph(self):
        return Graph("ρ", "local density", f"local density {self.a}-{self.b}", self._basis)

    def _basis(self, x):
        return self.spline.matrix(x), self.spline.matrix(x, 1)

    def find_tuples(self, neighbors):
        return {self.name: neighbors.within(self.cutoff).around(self.a, self.b).astype(np.int32)}

    def curve(
        self, coefficients: Float[AnyArray, " basis"], rho: Float[Array, "*point"]
    ) -> tuple[Float[Array, "*point"], Float[Array, "*point"]]:
        """F and its slope.

        Args:
            coefficients: (basis,) [kJ/mol].
            rho: (...) densities, in neighbors.

        Returns:
            F and dF/drho, each (...) [kJ/mol].
        """
        return spline_energy(self.spline, coefficients, jnp.asarray(rho))

    def weight(self, r: Float[Array, "*point"]) -> tuple[Float[Array, "*point"], Float[Array, "*point"]]:
        """Weight of a neighbor, phi, and its slope.

        Args:
            r: (...) distances [nm].

        Returns:
            phi (...), and dphi/dr (...) [1/nm].
        """
        x, end = self.inner**2 / self.outer**2, self.outer**2
        scale = (1 - x) ** 3
        c0, c2, c4, c6 = (1 - 3 * x) / scale, 6 * x / scale, -3 * (1 + x) / scale, 2 / scale
        s = jnp.clip(r, self.inner, self.outer) ** 2 / end
        value = c0 + s * (c2 + s * (c4 + s * c6))
        slope = (c2 + s * (2 * c4 + 3 * s * c6)) * 2 * r / end
        return value, jnp.where((r > self.inner) & (r < self.outer), slope, 0.0)

    def densities(self, configuration: Configuration) -> Float[Array, " bead"]:
        """Density around every bead.

        Args:
            configuration: one frame.

        Returns:
            (bead,) in neighbors; zero for beads of types other than a.
        """
        phi = self._sides(configuration)[0]
        count = jnp.zeros(configuration.positions.shape[0], phi.dtype)
        return count.at[configuration.tuples[self.name][:, 0]].add(phi)

    def energy(self, configuration, coefficients):
        rho = self.densities(configuration)
        return jnp.sum(self.curve(coefficients, rho)[0] - self.curve(coefficients, jnp.zeros_like(rho))[0])

    def forces(self, configuration, coefficients):
        _, slope, gradient = self._sides(configuration)
        tuples = configuration.tuples[self.name]
        driving = self.curve(coefficients, self.densities(configuration))[1][tuples[:, 0]]
        zero = jnp.zeros_like(configuration.positions)
        return zero.at[tuples].add((-(driving * slope)[:, None, None] * gradient).astype(zero.dtype))

    def basis_energies(self, configuration):
        rho = self.densities(configuration)
        total = jnp.zeros(self.spline.size, rho.dtype)
        for x, sign in ((rho, 1.0), (jnp.zeros_like(rho), -1.0)):
            first, values, _ = self.spline.windows(x)
            total = total.at[first[:, None] + jnp.arange(4)].add(sign * values)
        return total

    def design_rows(self, configuration):
        _, slope, gradient = jax.lax.optimization_barrier(self._sides(configuration))
        tuples = configuration.tuples[self.name]
        first, _, slopes = self.spline.windows(self.densities(configuration))
        first, slopes = first[tuples[:, 0]], slopes[tuples[:, 0]] * slope[:, None]
        rows = jnp.zeros((configuration.positions.shape[0], self.spline.size, 3), slopes.dtype)
        for body in range(2):
            window = -slopes[:, :, None] * gradient[:, body, None, :]
            rows = add_windows(rows, jnp.stack([tuples[:, body], first], axis=-1), window, (2,))
        return rows

    def divergence_rows(self, configuration):
        tuples = configuration.tuples[self.name]
        center, beads = tuples[:, 0], configuration.positions.shape[0]
        r, gradient = self._distance(configuration)
        slope, curvature = jax.jvp(lambda x: self.weight(x)[1], (r,), (jnp.ones_like(r),))
        real = real_tuples(tuples)
        slope, spread = jnp.where(real, slope, 0.0), jnp.where(real, curvature + 2 * slope / r, 0.0)
        rho = self.densities(configuration)
        first, _, slopes = self.spline.windows(rho)
        bends = self.spline.curvatures(rho)
        # A center feels the gradient of its own density, a neighbor that of one weight.
        own = jnp.sum(jnp.zeros((beads, 3), r.dtype).at[center].add(slope[:, None] * gradient[:, 0]) ** 2, -1)
        whole = jnp.zeros(beads, r.dtype).at[center].add(spread)
        here = -bends * own[:, None] - slopes * whole[:, None]
        there = -bends[center] * (slope**2)[:, None] - slopes[center] * spread[:, None]
        rows = jnp.zeros((beads, self.spline.size), r.dtype)
        rows = add_windows(rows, jnp.stack([jnp.arange(beads, dtype=first.dtype), first], axis=-1), here)
        return add_windows(rows, jnp.stack([tuples[:, 1], first[center]], axis=-1), there)

    def visits(self, configuration):
        rho = self.densities(configuration)
        return self.spline.histogram(rho, rho > 0)

    def laplacian(self, configuration, coefficients):
        tuples = configuration.tuples[self.name]
        r, gradient = self._distance(configuration)
        slope, curvature = jax.jvp(lambda x: self.weight(x)[1], (r,), (jnp.ones_like(r),))
        real = real_tuples(tuples)
        slope, curvature = jnp.where(real, slope, 0.0), jnp.where(real, curvature, 0.0)
        rho = self.densities(configuration)
        _, driving = self.curve(coefficients, rho)
        _, bending = jax.jvp(lambda x: self.curve(coefficients, x)[1], (rho,), (jnp.ones_like(rho),))
        own = jnp.zeros_like(configuration.positions).at[tuples[:, 0]].add(slope[:, None] * gradient[:, 0])
        spread = jnp.sum(own**2, -1).at[tuples[:, 0]].add(slope**2)
        return jnp.sum(bending * spread) + jnp.sum(driving[tuples[:, 0]] * (2 * curvature + 4 * slope / r))

    def _distance(self, configuration: Configuration):
        tuples = configuration.tuples[self.name]
        ends, padding = configuration.positions[tuples], (~real_tuples(tuples), 2 * float(self.outer))
        return distance(ends, configuration.box, padding)

    def _sides(self, configuration: Configuration):
        """phi, its slope, and the gradient of the distance of every neighbor from its center."""
        r, gradient = self._distance(configuration)
        value, slope = self.weight(r)
        return value, slope, gradient
