"""Terms that are a spline of one scalar of their beads, u(x) = baseline(x) + B(x) w: distances and angles."""

from __future__ import annotations

import abc
import math
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from bayescg._arrays import AnyArray
from bayescg.geometry.descriptors import minimum_image
from bayescg.potentials.baselines import Baseline, value_and_slope
from bayescg.potentials.configuration import Configuration, real_tuples
from bayescg.potentials.splines import UniformSpline, add_windows, spline_energy
from bayescg.potentials.term import Graph, Term


class SplineTerm(Term):
    """A sum over interactions of a cubic B-spline of one scalar descriptor: `Pair`, `Bond`, `Angle` and `Dihedral`.

    u(x) = baseline(x) + sum_k w_k B_k(x), with the basis of `UniformSpline`.

    Attributes:
        symbol: of the descriptor.
        quantity: its name.
        vanishes: value, slope and curvature are zero at the last knot, and the term ends there.
        group: which of several interactions of equal bead types it takes; None: all.
        baseline: fixed curve below the learned one.
    """

    symbol: ClassVar[str]
    quantity: ClassVar[str]
    vanishes: ClassVar[bool] = False
    group: str | None
    baseline: Baseline | None

    @property
    @abc.abstractmethod
    def spline(self) -> UniformSpline:
        """The raw spline space, before edges are conditioned."""

    @abc.abstractmethod
    def descriptor(self, configuration: Configuration) -> tuple[Float[Array, " tuple"], Float[Array, "tuple body 3"]]:
        """Descriptor x of each interaction, and its gradient with respect to each of its beads.

        Args:
            configuration: one frame.

        Returns:
            (interaction,) [nm or rad] and (interaction, body, 3) [1 or rad/nm].
        """

    @abc.abstractmethod
    def volumes(self, edges: Float[np.ndarray, " edge"]) -> Float[np.ndarray, " interval"]:
        """The Jacobian integrated between edges: how often independent beads would be found there, up to a factor.

        Args:
            edges: (edge,) ascending [nm or rad].

        Returns:
            (edge - 1,).
        """

    @property
    def n_basis(self):
        return self.spline.size if self.learn else 0

    @property
    def span(self):
        return self.spline.start, self.spline.stop

    @property
    def bins(self):
        return self.spline.intervals

    @property
    def n_baselines(self):
        return 0 if self.baseline is None else 1

    @property
    def sites(self):
        """Points where the Gaussian-process prior acts (Greville sites)."""
        return self.spline.sites

    @property
    def graph(self):
        prefix, name = f"{self.kind}_", self.name
        title = f"{self.kind} {name.removeprefix(prefix)}" if name.startswith(prefix) else name
        baseline = None if self.baseline is None else self.baseline_curve
        return Graph(self.symbol, self.quantity, title, self._basis, baseline, self.vanishes)

    def _basis(self, x):
        values, slopes = (self.spline.matrix(x, k)[:, : self.n_basis] for k in (0, 1))
        return values, slopes

    def overlaps(self, other):
        if self.kind != other.kind or other.types not in (self.types, self.types[::-1]):
            return False
        groups = self.group, getattr(other, "group", None)
        return None in groups or groups[0] == groups[1]

    def expand(self, coefficients: Float[AnyArray, " basis"]) -> Float[Array, " raw"]:
        """Coefficients of the raw spline: zeros are appended for those that the edge conditions fix.

        Args:
            coefficients: (basis,) [kJ/mol].

        Returns:
            (spline.size,) [kJ/mol].
        """
        if not self.learn:
            return jnp.zeros(self.spline.size, coefficients.dtype)
        return jnp.concatenate([coefficients, jnp.zeros(self.spline.size - self.n_basis, coefficients.dtype)])

    def curve(
        self, coefficients: Float[AnyArray, " basis"], x: Float[Array, "*point"]
    ) -> tuple[Float[Array, "*point"], Float[Array, "*point"]]:
        """Energy and slope du/dx of the whole term, baseline included.

        Args:
            coefficients: (basis,) [kJ/mol].
            x: (...) values of the descriptor [nm or rad].

        Returns:
            Energy [kJ/mol] and slope [kJ/mol/nm or kJ/mol/rad], each (...).
        """
        x = jnp.asarray(x)
        energy, slope = spline_energy(self.spline, self.expand(coefficients), x)
        base, base_slope = self.baseline_curve(x)
        return energy + base, slope + base_slope

    def baseline_curve(self, x: Float[Array, "*point"]) -> tuple[Float[Array, "*point"], Float[Array, "*point"]]:
        """Energy and slope of the baseline alone; zero where there is none.

        Args:
            x: (...) values of the descriptor [nm or rad].

        Returns:
            Energy [kJ/mol] and slope [kJ/mol/nm or kJ/mol/rad], each (...).
        """
        if self.baseline is None:
            return jnp.zeros_like(x), jnp.zeros_like(x)
        return value_and_slope(self.baseline, x)

    def energy(self, configuration, coefficients):
        x, _ = self.descriptor(configuration)
        mask = real_tuples(configuration.tuples[self.name])
        return jnp.sum(jnp.where(mask, self.curve(coefficients, x)[0], 0.0))

    def forces(self, configuration, coefficients):
        x, gradient = self.descriptor(configuration)
        return self._pull(configuration, self.curve(coefficients, x)[1], gradient)

    def baseline_forces(self, configuration):
        if self.baseline is None:
            return super().baseline_forces(configuration)
        x, gradient = self.descriptor(configuration)
        return self._pull(configuration, self.baseline_curve(x)[1], gradient)[:, None]

    def _pull(self, configuration: Configuration, slope, gradient) -> Float[Array, "bead 3"]:
        """Bead forces of a slope of each interaction."""
        tuples, zero = configuration.tuples[self.name], jnp.zeros_like(configuration.positions)
        forces = -jnp.where(real_tuples(tuples), slope, 0.0)[:, None, None] * gradient
        return zero.at[tuples].add(forces.astype(zero.dtype))

    def basis_energies(self, configuration):
        spline = self.spline
        x, _ = self.descriptor(configuration)
        first, values, _ = spline.windows(x)
        values = jnp.where(real_tuples(configuration.tuples[self.name])[:, None], values, 0.0)
        columns = (first[:, None] + jnp.arange(4)) % spline.size
        return jnp.zeros(spline.size, values.dtype).at[columns].add(values)[: self.n_basis]

    def design_rows(self, configuration):
        spline = self.spline
        # Kept apart from the scatters below, into each of which the compiler would otherwise copy the whole geometry.
        x, gradient = jax.lax.optimization_barrier(self.descriptor(configuration))
        tuples = configuration.tuples[self.name]
        first, _, slopes = spline.windows(x)
        slopes = jnp.where(real_tuples(tuples)[:, None], slopes, 0.0)
        # One [4 functions, 3] window a bead.
        windows = [-slopes[:, :, None] * gradient[:, body, None, :] for body in range(self.body)]
        return self._gathered(configuration, first, windows)

    def divergence_rows(self, configuration):
        x, gradient = jax.lax.optimization_barrier(self.descriptor(configuration))
        real = real_tuples(configuration.tuples[self.name])[:, None]
        first, _, slopes = self.spline.windows(x)
        bends = jnp.where(real, self.spline.curvatures(x), 0.0)
        slopes = jnp.where(real, slopes, 0.0)
        steep, curved = jnp.sum(gradient**2, -1), self._divergences(configuration, x)
        windows = [-bends * steep[:, body, None] - slopes * curved[:, body, None] for body in range(self.body)]
        return self._gathered(configuration, first, windows)

    def baseline_divergence(self, configuration):
        if self.baseline is None:
            return super().baseline_divergence(configuration)
        x, gradient = self.descriptor(configuration)
        tuples, zero = configuration.tuples[self.name], jnp.zeros_like(configuration.positions[:, 0])
        slope, bend = jax.jvp(lambda y: self.baseline_curve(y)[1], (x,), (jnp.ones_like(x),))
        each = bend[:, None] * jnp.sum(gradient**2, -1) + slope[:, None] * self._divergences(configuration, x)
        return zero.at[tuples].add(-jnp.where(real_tuples(tuples)[:, None], each, 0.0).astype(zero.dtype))[:, None]

    def _gathered(self, configuration: Configuration, first, windows) -> Float[Array, "bead basis *axis"]:
        """Windows of four functions, one for each bead of an interaction, added up to a row for each bead."""
        spline, tuples, rest = self.spline, configuration.tuples[self.name], windows[0].shape[2:]
        # A periodic spline's windows run from -1: three extra columns take what wraps and are folded back below.
        width = spline.size + (3 if spline.periodic else 0)
        first = first + 1 if spline.periodic else first
        rows = jnp.zeros((configuration.positions.shape[0], width, *rest), windows[0].dtype)
        for body, window in enumerate(windows):
            starts = jnp.stack([tuples[:, body], first], axis=-1)
            rows = add_windows(rows, starts, window, tuple(range(2, 2 + len(rest))))
        if spline.periodic:
            folded = rows[:, 1 : spline.size + 1]
            rows = folded.at[:, -1].add(rows[:, 0]).at[:, :2].add(rows[:, spline.size + 1 :])
        return rows[:, : self.n_basis]

    def visits(self, configuration):
        x, within = self._inside(configuration)
        return self.spline.histogram(x, within)

    def count_strays(self, configuration, low, high):
        x, within = self._inside(configuration)
        return jnp.stack([jnp.sum(within & (x < low)), jnp.sum(within & (x > high))]), jnp.sum(within)

    def _inside(self, configuration: Configuration):
        """Descriptors, and which of them are interactions: a list may hold pairs beyond the cutoff."""
        x, _ = self.descriptor(configuration)
        real = real_tuples(configuration.tuples[self.name])
        return x, real & (x <= self.spline.stop) if self.vanishes else real

    def virial(self, configuration, coefficients):
        x, gradient = self.descriptor(configuration)
        slope = jnp.where(real_tuples(configuration.tuples[self.name]), self.curve(coefficients, x)[1], 0.0)
        return -jnp.einsum("t,tbx,tby->xy", slope, self._chain(configuration)[:, 1:], gradient[:, 1:])

    def laplacian(self, configuration, coefficients):
        x, gradient = self.descriptor(configuration)
        real = real_tuples(configuration.tuples[self.name])
        slope, curvature = jax.jvp(lambda y: self.curve(coefficients, y)[1], (x,), (jnp.ones_like(x),))
        slope, curvature = jnp.where(real, slope, 0.0), jnp.where(real, curvature, 0.0)
        return jnp.sum(
            curvature * jnp.sum(gradient**2, (1, 2)) + slope * jnp.sum(self._divergences(configuration, x), -1)
        )

    def _chain(self, configuration: Configuration) -> Float[Array, "tuple body 3"]:
        """Beads of each interaction from its first one on, by nearest images.

        The gradients of a descriptor sum to zero over its beads, so that any origin does.
        """
        links = jnp.diff(configuration.positions[configuration.tuples[self.name]], axis=1)
        apart = jnp.cumsum(minimum_image(links, configuration.box), axis=1)
        return jnp.concatenate([jnp.zeros_like(apart[:, :1]), apart], axis=1)

    def _divergences(self, configuration: Configuration, x) -> Float[Array, "tuple body"]:
        """Laplacian of the descriptor with respect to each of its beads: the divergence of its analytic gradient."""
        if self.body == 2:
            return jnp.broadcast_to((2 / x)[:, None], (*x.shape, 2))
        chain = self._chain(configuration)
        tuples = jnp.arange(chain.shape[0] * self.body).reshape(-1, self.body)

        def gradient(beads):
            return self.descriptor(Configuration(beads.reshape(-1, 3), configuration.box, {self.name: tuples}))[1]

        def second(direction):
            tangent = jnp.broadcast_to(direction.reshape(self.body, 3), chain.shape)
            return jnp.sum(jax.jvp(gradient, (chain,), (tangent,))[1] * tangent, axis=-1)

        return jnp.sum(jax.vmap(second)(jnp.eye(3 * self.body)), axis=0)


def check_fields(term: SplineTerm, **numbers: float | None) -> None:
    """Refuse numbers that are not positive, bead types that are no names, and a term without learning or baseline."""
    for field, value in numbers.items():
        if value is not None and not (math.isfinite(value) and value > 0):
            raise ValueError(f"{term.kind} {'-'.join(term.types)}: {field} must be positive and finite; got {value}")
    for bead in term.types:
        if not isinstance(bead, str) or not bead:
            raise ValueError(f"{term.kind}: bead types are names such as 'W'; got {bead!r}")
    if not term.learn and term.baseline is None:
        raise ValueError(f"{term.kind} {'-'.join(term.types)}: a term with learn=False needs a baseline")


def count_intervals(start: float, stop: float, spacing: float) -> int:
    """Intervals of at most `spacing` (tolerating rounding)."""
    return math.ceil((stop - start) / spacing - 1e-9)
