"""What all one-dimensional terms share: u(x) = baseline(x) + B(x) w for one scalar descriptor x.

A term knows its descriptor, its spline and its baseline. It holds no coefficients and no kernel: coefficients w are
passed in, kernels are chosen when a posterior is computed.
"""

from __future__ import annotations

import abc
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from bayescg.potentials.baselines import Baseline, value_and_slope
from bayescg.potentials.splines import UniformSpline, spline_energy


class Configuration(NamedTuple):
    """One frame as terms see it.

    Attributes:
        positions: (bead, 3) [nm], wrapped or not.
        box: (3, 3) lattice vectors as rows [nm].
        tuples: for each term's name the beads of each interaction (interaction, body). A row that names the same bead
            twice is padding and counts for nothing.
        shapes: (bead, 3, 3) second moments of ellipsoidal beads [nm^2]; None where no term asks for them.
    """

    positions: Float[Array, "bead 3"]
    box: Float[Array, "3 3"]
    tuples: dict[str, Int[Array, "interaction body"]]
    shapes: Float[Array, "bead 3 3"] | None = None


class SplineTerm(abc.ABC):
    """A potential expanded in cubic B-splines; of one scalar descriptor, but for terms that replace what acts on it.

    Concrete: Pair, Bond, Angle, Dihedral, LocalDensity, ThreeBody, SmoothOverlap.
    """

    body: ClassVar[int]
    unit: ClassVar[str]
    kind: ClassVar[str]
    many_body: ClassVar[bool] = False  # its tuples are made of neighbor lists by `lists`
    has_curve: ClassVar[bool] = True
    list_widths: ClassVar[dict[str, int]] = {"{}": 2}  # arrays of `Configuration.tuples` and their widths
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
    def bins(self) -> int:
        """Length of the histogram that `visits` returns."""
        return self.spline.intervals

    def visits(self, configuration: Configuration) -> tuple[Array, Array, Array]:
        """Interactions on the knot intervals, and the smallest and largest descriptor (infinite if there is none)."""
        x, _ = self.descriptor(configuration)
        real = real_tuples(configuration.tuples[self.name])
        spline = self.spline
        interval = jnp.clip(jnp.floor((x - spline.start) / spline.spacing).astype(jnp.int32), 0, spline.intervals - 1)
        within = real & (x <= spline.stop) if self.kind == "pair" else real
        histogram = jnp.zeros(spline.intervals).at[interval].add(jnp.where(within, 1.0, 0.0))
        lowest = jnp.min(x, where=within, initial=jnp.inf)
        return histogram, lowest, jnp.max(x, where=within, initial=-jnp.inf)

    def lists(
        self, pairs: Int[np.ndarray, "pair 2"], types: Int[np.ndarray, " bead"], numbers: dict[str, int]
    ) -> dict[str, Int[np.ndarray, "interaction column"]]:
        """Arrays of `Configuration.tuples` of a many-body term, by name.

        Args:
            pairs: beads within the cutoff, each pair once, exclusions taken out.
            types: number of the type of each bead.
            numbers: of the bead types.
        """
        raise NotImplementedError(f"{self.name} is no many-body term")

    def laplacian(self, configuration: Configuration, coefficients: Float[Array, " basis"]) -> Float[Array, ""]:
        """Sum over beads of the Laplacian of the energy of a many-body term [kJ/mol/nm^2]."""
        raise NotImplementedError(f"{self.name} is no many-body term")

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
        mask = real_tuples(configuration.tuples[self.name])
        return jnp.sum(jnp.where(mask, self.curve(coefficients, x)[0], 0.0))

    def forces(self, configuration: Configuration, coefficients: Float[Array, " basis"]) -> Float[Array, "bead 3"]:
        """Bead forces of this term [kJ/mol/nm]."""
        x, gradient = self.descriptor(configuration)
        tuples = configuration.tuples[self.name]
        slope = jnp.where(real_tuples(tuples), self.curve(coefficients, x)[1], 0.0)
        forces = -slope[:, None, None] * gradient
        return jnp.zeros_like(configuration.positions).at[tuples].add(forces.astype(configuration.positions.dtype))

    def basis_energies(self, configuration: Configuration) -> Float[Array, " basis"]:
        """dU/dw: the energy is baseline + basis_energies . w, linear in the coefficients."""
        spline = self.spline
        x, _ = self.descriptor(configuration)
        first, values, _ = spline.windows(x)
        values = jnp.where(real_tuples(configuration.tuples[self.name])[:, None], values, 0.0)
        columns = (first[:, None] + jnp.arange(4)) % spline.size
        return jnp.zeros(spline.size, values.dtype).at[columns].add(values)[: self.n_basis]

    def design_rows(self, configuration: Configuration) -> Float[Array, "bead basis 3"]:
        """dF/dw for every bead: forces are baseline forces + design_rows . w."""
        spline = self.spline
        # Kept apart from the scatters below, into each of which the compiler would otherwise copy the whole geometry.
        x, gradient = jax.lax.optimization_barrier(self.descriptor(configuration))
        tuples = configuration.tuples[self.name]
        first, _, slopes = spline.windows(x)
        slopes = jnp.where(real_tuples(tuples)[:, None], slopes, 0.0)
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


def real_tuples(tuples: Int[Array, "interaction body"]) -> Bool[Array, " interaction"]:
    """Which rows are interactions: a row that names the same bead twice is padding."""
    return tuples[:, 0] != tuples[:, 1]
