"""Three-body potentials of the sides of a triangle of beads, u(r_ij, r_ik, r_jk)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from bayescg._arrays import AnyArray
from bayescg.geometry.descriptors import minimum_image
from bayescg.potentials.configuration import Configuration, real_tuples
from bayescg.potentials.many_body.many_body_term import ManyBodyTerm
from bayescg.potentials.many_body.tensor_grid import TensorGrid, bends, cell_of, opposite_windows, side_windows
from bayescg.potentials.many_body.triplets import triplets_of
from bayescg.potentials.splines import UniformSpline, add_windows


@dataclass(frozen=True)
class ThreeBody(ManyBodyTerm):
    """Potential of a center and two of its neighbors, a function of the three sides of their triangle.

    Each center counts each unordered pair of its neighbors within the cutoff once. A triplet is left out if the center
    and one of the neighbors are excluded from each other (`Potential.exclude_bonds`), but not if the two neighbors are.
    The energy and its first two derivatives vanish where a side of the center reaches the cutoff, and where any side
    falls to `start`. The basis is the product of cubic B-splines of the three sides, as in UF3
    (doi:10.1038/s41524-023-01092-7).

    Attributes:
        center: bead type of the center.
        a: bead type of one neighbor; a and b are put in alphabetical order.
        b: bead type of the other.
        cutoff: of both sides that meet in the center [nm]. The opposite side reaches up to twice as far.
        start: first knot of all sides [nm], where the energy vanishes too; it must be below what is ever sampled. None:
            a third of the cutoff.
        knot_spacing: of the sides that meet in the center [nm].
        opposite_spacing: of the opposite side [nm].

    Raises:
        ValueError: if a length is not positive, `start` is outside [0, cutoff), or a spacing leaves too few intervals.
    """

    center: str
    a: str
    b: str
    cutoff: float
    start: float | None = None
    knot_spacing: float = 0.03
    opposite_spacing: float = 0.06

    kind: ClassVar[str] = "three-body"
    unit: ClassVar[str] = "nm"
    body: ClassVar[int] = 3

    def __post_init__(self):
        self.check_types()
        first, second = sorted((self.a, self.b))
        object.__setattr__(self, "a", first)
        object.__setattr__(self, "b", second)
        for field in ("cutoff", "knot_spacing", "opposite_spacing"):
            value = getattr(self, field)
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"{self.name}: {field} must be positive and finite; got {value}")
        if self.start is None:
            object.__setattr__(self, "start", round(self.cutoff / 3, 10))
        if not 0 <= self._first < self.cutoff:
            raise ValueError(f"{self.name}: start must lie in [0, cutoff); got {self.start} with {self.cutoff}")
        for spline, field, fewest in ((self.spline, "knot_spacing", 7), (self._opposite, "opposite_spacing", 4)):
            if spline.intervals < fewest:
                raise ValueError(
                    f"{self.name}: {field}={getattr(self, field):g} nm leaves {spline.intervals} knot intervals "
                    f"between {spline.start:g} and {spline.stop:g} nm; it takes {fewest}: lower it"
                )

    @property
    def types(self):
        return (self.center, self.a, self.b)

    @property
    def name(self):
        return f"three_{self.center}-{self.a}-{self.b}"

    @property
    def _first(self) -> float:
        return float(self.start or 0.0)

    @property
    def spline(self):
        """The spline space of the sides that meet in the center."""
        intervals = math.ceil((self.cutoff - self._first) / self.knot_spacing - 1e-9)
        return UniformSpline(self._first, self.cutoff, max(intervals, 4))

    @property
    def _opposite(self) -> UniformSpline:
        intervals = math.ceil((2 * self.cutoff - self._first) / self.opposite_spacing - 1e-9)
        return UniformSpline(self._first, 2 * self.cutoff, max(intervals, 4))

    @property
    def grid(self) -> TensorGrid:
        """The basis functions."""
        return _grid(self.spline, self._opposite, self.a == self.b)

    @property
    def n_basis(self):
        return self.grid.columns.shape[1]

    @property
    def bins(self):
        return math.prod(self.grid.cells)

    def find_tuples(self, neighbors):
        found = triplets_of(neighbors.within(self.cutoff), *self.types)
        return dict(zip(self._tables, found, strict=True))

    @property
    def _tables(self) -> tuple[str, str, str]:
        """Names of the triplets, of their sides, and of the sides of each triplet: design rows need all three."""
        return self.name, f"{self.name} sides", f"{self.name} sides of"

    def surface(
        self, coefficients: Float[AnyArray, " basis"], sides: Float[Array, "*point 3"]
    ) -> tuple[Float[Array, "*point"], Float[Array, "*point 3"]]:
        """Energy of triangles, and its slopes.

        Args:
            coefficients: (basis,) [kJ/mol].
            sides: (..., 3) r_ij, r_ik and r_jk, with the center i [nm].

        Returns:
            Energy (...) [kJ/mol], and its derivatives by the sides (..., 3) [kJ/mol/nm].
        """
        grid = self.grid
        (_, va, sa), (_, vb, sb) = (side_windows(grid, sides[..., k]) for k in (0, 1))
        _, vc, sc = opposite_windows(grid, sides[..., 2])
        window = self._window(coefficients, sides)
        value, slope = jnp.sum(window * vc[..., None, None, :], -1), jnp.sum(window * sc[..., None, None, :], -1)
        first, second = jnp.sum(value * vb[..., None, :], -1), jnp.sum(value * sb[..., None, :], -1)
        third = jnp.sum(slope * vb[..., None, :], -1)
        slopes = jnp.stack([jnp.sum(first * sa, -1), jnp.sum(second * va, -1), jnp.sum(third * va, -1)], axis=-1)
        return jnp.sum(first * va, -1), slopes

    def energy(self, configuration, coefficients):
        sides, _, real = self._triangles(configuration)
        return jnp.sum(jnp.where(real, self.surface(coefficients, sides)[0], 0.0))

    def forces(self, configuration, coefficients):
        sides, units, real = self._triangles(configuration)
        slopes = jnp.where(real[:, None], self.surface(coefficients, sides)[1], 0.0)
        one, two, three = (slopes[:, k, None] * units[k] for k in range(3))
        # Each side pulls its two beads apart or together: the forces of a triangle sum to zero.
        forces = jnp.stack([one + two, three - one, -two - three], axis=1)
        zero = jnp.zeros_like(configuration.positions)
        return zero.at[configuration.tuples[self.name]].add(forces.astype(zero.dtype))

    def basis_energies(self, configuration):
        grid = self.grid
        sides, _, real = self._triangles(configuration)
        (a, va, _), (b, vb, _) = (side_windows(grid, sides[:, k]) for k in (0, 1))
        c, vc, _ = opposite_windows(grid, sides[:, 2])
        va = jnp.where(real[:, None], va, 0.0)
        window = va[:, :, None, None] * vb[:, None, :, None] * vc[:, None, None, :]
        table = add_windows(jnp.zeros(grid.shape, window.dtype), jnp.stack([a, b, c], -1), window)
        return grid.fold(table.ravel())

    def design_rows(self, configuration):
        """dF/dw for every bead, (bead, basis, 3) [1/nm].

        What a neighbor j feels is summed over all other neighbors k of its center first. It depends on r_ij only
        through four functions, so that 16 numbers a triplet, and 4 times as many functions as (b, c) a side, are added
        up instead of 64 x 9 numbers a triplet.
        """
        grid, tuples = self.grid, configuration.tuples
        n, _, m = grid.shape
        beads, sides, sides_of = (tuples[label] for label in self._tables)
        vector, real = _vectors(configuration, sides[:, :2], jnp.array([2 * self.cutoff, 0.0, 0.0]))
        length = jnp.sqrt(jnp.sum(vector**2, -1))
        first, value, slope = side_windows(grid, length)
        value, slope = jnp.where(real[:, None], value, 0.0), jnp.where(real[:, None], slope, 0.0)
        across = vector[sides_of[:, 1]] - vector[sides_of[:, 0]]
        # Padding meets itself: any length does, as the values of its sides are zero.
        distance = jnp.sqrt(jnp.where(real_tuples(beads), jnp.sum(across**2, -1), 1.0))
        c, far, far_slope = opposite_windows(grid, distance)
        far, far_slope = (jnp.where(real_tuples(beads)[:, None], window, 0.0) for window in (far, far_slope))
        pull = far_slope[:, None, :] * (across / distance[:, None])[..., None]
        unit = vector / length[:, None]
        first, value, slope, unit, c, far, pull = _apart(first, value, slope, unit, c, far, pull)
        roles = 1 if grid.symmetric else 2
        role = jnp.minimum(sides[:, 2], roles - 1)
        empty = jnp.zeros((configuration.positions.shape[0], roles, n, n * m), vector.dtype)

        def around(here, there):
            """(side, bc) sum over the other neighbors, of a function of r_jk seen from either end of it."""
            table = jnp.zeros((len(sides), n, m), vector.dtype)
            for own, other, windows in ((0, 1, here), (1, 0, there)):
                partner = sides_of[:, other]
                target = jnp.stack([sides_of[:, own], first[partner], c], axis=-1)
                table = add_windows(table, *_apart(target, value[partner][:, :, None] * windows[:, None, :]))
            return table.reshape(len(sides), n * m)

        plain = around(far, far)

        def along(item):
            """Rows of one component of the force. One after the other, their memory is a third."""
            unit, pull = item
            sums = around(-pull, pull)
            rows = _apart((slope * unit[:, None])[:, :, None] * plain[:, None] + value[:, :, None] * sums[:, None])
            center, neighbor = (
                add_windows(empty, jnp.stack([sides[:, bead], role, first], axis=-1), rows, (3,)) for bead in (0, 1)
            )
            table = (center - neighbor).reshape(-1, roles, n, n, m)
            table = table[:, 0] if grid.symmetric else table[:, 0] + jnp.swapaxes(table[:, 1], 1, 2)
            return grid.fold(table.reshape(-1, n * n * m))

        return jnp.moveaxis(jax.lax.map(along, (unit.T, jnp.moveaxis(pull, 1, 0))), 0, 2)

    def divergence_rows(self, configuration):
        grid = self.grid
        sides, units, real = self._triangles(configuration)
        (a, va, sa), (b, vb, sb) = (side_windows(grid, sides[:, k]) for k in (0, 1))
        c, vc, sc = opposite_windows(grid, sides[:, 2])
        functions = list(zip((va, vb, vc), (sa, sb, sc), bends(grid, sides), strict=True))
        first = jnp.stack([a, b, c], -1)
        rows = jnp.zeros((configuration.positions.shape[0], *grid.shape), sides.dtype)

        def product(orders):
            """Of the three sides' functions, each differentiated so many times."""
            x, y, z = (functions[side][order] for side, order in enumerate(orders))
            return x[:, :, None, None] * y[:, None, :, None] * z[:, None, None, :]

        # At each bead two sides meet; the sign is that of the product of their gradients.
        for bead, (one, two, sign) in enumerate(((0, 1, 1.0), (0, 2, -1.0), (1, 2, 1.0))):
            window = (
                2
                * sign
                * jnp.sum(units[one] * units[two], -1)[:, None, None, None]
                * product([int(side in (one, two)) for side in range(3)])
            )
            for side in (one, two):
                window += product([2 * (each == side) for each in range(3)])
                window += (2 / sides[:, side])[:, None, None, None] * product([int(each == side) for each in range(3)])
            window = jnp.where(real[:, None, None, None], -window, 0.0)
            beads = configuration.tuples[self.name][:, bead, None]
            rows = add_windows(rows, jnp.concatenate([beads, first], axis=-1), window)
        return grid.fold(rows.reshape(len(rows), -1))

    def visits(self, configuration):
        grid = self.grid
        sides, _, real = self._triangles(configuration)
        cells = [cell_of(grid.side, sides[:, 0]), cell_of(grid.side, sides[:, 1]), cell_of(grid.opposite, sides[:, 2])]
        (a, _), (b, _), (c, _) = cells
        inside = real & cells[0][1] & cells[1][1] & cells[2][1]
        _, n, m = grid.cells
        counts = jnp.zeros(self.bins).at[(a * n + b) * m + c].add(jnp.where(inside, 1.0, 0.0))
        within = real & (sides[:, 0] < self.cutoff) & (sides[:, 1] < self.cutoff)
        shorter, longer = jnp.minimum(sides[:, 0], sides[:, 1]), jnp.maximum(sides[:, 0], sides[:, 1])
        lowest = jnp.min(shorter, where=within, initial=jnp.inf)
        return counts, lowest, jnp.max(longer, where=within, initial=-jnp.inf)

    def virial(self, configuration, coefficients):
        sides, units, real = self._triangles(configuration)
        pull = jnp.where(real[:, None], self.surface(coefficients, sides)[1] * sides, 0.0)
        along = jnp.stack(units, axis=1)
        return -jnp.einsum("ts,tsa,tsb->ab", pull, along, along)

    def laplacian(self, configuration, coefficients):
        sides, (one, two, three), real = self._triangles(configuration)
        slopes, squares, mixed = self._curvatures(coefficients, sides)
        # Each side moves two beads; where two sides meet, their gradients at that bead multiply.
        cosines = jnp.stack([jnp.sum(one * two, -1), -jnp.sum(one * three, -1), jnp.sum(two * three, -1)], axis=-1)
        total = jnp.sum(2 * squares + 4 * slopes / sides + 2 * mixed * cosines, axis=-1)
        return jnp.sum(jnp.where(real, total, 0.0))

    def _curvatures(self, coefficients, sides: Float[Array, "triplet 3"]):
        """Slopes by each side, second derivatives by each side, and by (ij, ik), (ij, jk), (ik, jk): (triplet, 3)."""
        grid = self.grid
        (_, va, sa), (_, vb, sb) = (side_windows(grid, sides[:, k]) for k in (0, 1))
        _, vc, sc = opposite_windows(grid, sides[:, 2])
        ba, bb, bc = bends(grid, sides)
        window = self._window(coefficients, sides)
        value, slope, bend = (jnp.sum(window * row[:, None, None, :], -1) for row in (vc, sc, bc))

        def over_b(table, row):
            return jnp.sum(table * row[:, None, :], -1)

        def over_a(*pairs):
            return jnp.stack([jnp.sum(table * row, -1) for table, row in pairs], axis=-1)

        plain, by_b, by_c = over_b(value, vb), over_b(value, sb), over_b(slope, vb)
        return (
            over_a((plain, sa), (by_b, va), (by_c, va)),
            over_a((plain, ba), (over_b(value, bb), va), (over_b(bend, vb), va)),
            over_a((by_b, sa), (by_c, sa), (over_b(slope, sb), va)),
        )

    def _window(self, coefficients, sides: Float[Array, "*point 3"]) -> Float[Array, "*point 4 4 4"]:
        """Coefficients of the 64 functions that act at each triangle."""
        grid = self.grid
        _, n, m = grid.shape
        a, b = (side_windows(grid, sides[..., k])[0] for k in (0, 1))
        c = opposite_windows(grid, sides[..., 2])[0]
        four = jnp.arange(4)
        rows = ((a[..., None] + four)[..., None] * n + (b[..., None] + four)[..., None, :])[..., None] * m
        return grid.table(coefficients)[rows + (c[..., None] + four)[..., None, None, :]]

    def _triangles(self, configuration: Configuration):
        """Sides (triplet, 3) [nm], unit vectors along them (i to j, i to k, j to k), and which triplets are real."""
        beads = configuration.tuples[self.name]
        one, real = _vectors(configuration, beads[:, :2], jnp.array([2 * self.cutoff, 0.0, 0.0]))
        two, _ = _vectors(configuration, beads[:, ::2], jnp.array([0.0, 2 * self.cutoff, 0.0]))
        vectors = (one, two, two - one)
        lengths = [jnp.sqrt(jnp.sum(v**2, -1)) for v in vectors]
        units = [v / length[:, None] for v, length in zip(vectors, lengths, strict=True)]
        return jnp.stack(lengths, axis=-1), units, real


def _vectors(configuration: Configuration, ends, far):
    """Nearest images of the vectors between two beads; of padding, a bead with itself, `far`."""
    real = real_tuples(ends)
    positions = configuration.positions
    vector = minimum_image(positions[ends[:, 1]] - positions[ends[:, 0]], configuration.box)
    return jnp.where(real[:, None], vector, far.astype(vector.dtype)), real


def _apart(*arrays):
    """Computed by themselves: the compiler would otherwise copy what they come from into each loop that uses them."""
    found = jax.lax.optimization_barrier(arrays)
    return found if len(found) > 1 else found[0]


@cache
def _grid(side: UniformSpline, opposite: UniformSpline, symmetric: bool) -> TensorGrid:
    return TensorGrid(side, opposite, symmetric)
