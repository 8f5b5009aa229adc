"""What the rest of the library asks of a term of a potential.

A new kind of term is a class of its own, here or in a user's file: what is abstract must be given, all else follows
from `basis_energies` by automatic differentiation and can be replaced by what is quicker.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from bayescg._arrays import AnyArray
from bayescg.potentials.configuration import Configuration, Neighbors, real_tuples

if TYPE_CHECKING:
    import xarray as xr


class Graph(NamedTuple):
    """The curve of a term of one variable, u(x) = baseline(x) + basis(x) . w, as figures and posteriors keep it.

    Attributes:
        symbol: of the variable, such as "r".
        quantity: its name, such as "distance".
        title: of a figure of the curve.
        basis: x -> values [1] and slopes [1/unit] of the basis functions, each (x, basis), NumPy in float64.
        baseline: x -> energy [kJ/mol] and slope of what is known, in JAX; None if nothing is.
        vanishes: energy and force are zero from the end of the term's span on.
    """

    symbol: str
    quantity: str
    title: str
    basis: Callable[[Float[np.ndarray, " x"]], tuple[Float[np.ndarray, "x basis"], Float[np.ndarray, "x basis"]]]
    baseline: Callable[[Float[Array, " x"]], tuple[Float[Array, " x"], Float[Array, " x"]]] | None = None
    vanishes: bool = False


class Sample(NamedTuple):
    """What a system shows to a term that leaves something open.

    Attributes:
        bead_types: (bead,) name of each bead's type.
        frames: its frames, in order, each with the term's tuples; made when asked for.
        charges: (bead,) [e]; None where the data have none.
    """

    bead_types: np.ndarray
    frames: Sequence[Configuration]
    charges: np.ndarray | None = None


class Term(abc.ABC):
    """A summand of a potential that is linear in coefficients of its own: U(R) = baseline(R) + basis_energies(R) . w.

    A term is a frozen dataclass of numbers, names and tuples of them. It is hashable, and `Potential.to_json` can keep
    it whole. Coefficients are passed in, (basis,) [kJ/mol]. The kernel of its prior is chosen in the fit.

    Methods take one frame as a `Configuration`. Its array `tuples[name]` has one row of beads for each interaction of
    the term; a row whose first two beads are equal is padding and must count for nothing. `list_tuples` or
    `find_tuples` fills it.

    Attributes:
        kind: what kind of term it is, in a word or two.
        unit: of the variable that `visits` looks at.
        body: number of beads in an interaction.
        cutoff: how far neighbors are searched [nm]; 0: the topology lists its beads.
        learn: False for a term that is known and has no coefficients.
    """

    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]  # what @dataclass gives every kind of term
    kind: ClassVar[str]
    unit: ClassVar[str]
    body: ClassVar[int]
    cutoff: float
    learn: bool = True

    @property
    @abc.abstractmethod
    def types(self) -> tuple[str, ...]:
        """Bead types in order."""

    @property
    @abc.abstractmethod
    def name(self) -> str:
        """Name by which kernels, variables and files refer to the term; unique in a potential."""

    @property
    @abc.abstractmethod
    def n_basis(self) -> int:
        """Number of coefficients."""

    @property
    @abc.abstractmethod
    def span(self) -> tuple[float, float]:
        """Smallest and largest value of its variable where the coefficients act [unit]."""

    @property
    @abc.abstractmethod
    def bins(self) -> int:
        """Length of the histogram that `visits` returns."""

    @abc.abstractmethod
    def basis_energies(self, configuration: Configuration) -> Float[Array, " basis"]:
        """dU/dw, (basis,) without a unit: the energy is baseline + basis_energies . w."""

    @abc.abstractmethod
    def visits(self, configuration: Configuration) -> tuple[Array, Array, Array]:
        """Where one frame has its interactions.

        Args:
            configuration: one frame.

        Returns:
            Interactions by bin (bins,), and the smallest and the largest value of the variable (infinite if there is
            none).
        """

    @property
    def n_baselines(self) -> int:
        """Number of columns of `baseline_forces`."""
        return 0

    @property
    def needs_shapes(self) -> bool:
        """Whether it looks at `Configuration.shapes`."""
        return False

    @property
    def force_tuples(self) -> tuple[str, ...]:
        """Arrays of `Configuration.tuples` that energies and forces look at; design rows may need others too."""
        return (self.name,)

    @property
    def open_fields(self) -> tuple[str, ...]:
        """Fields that data have to fill in first (`fill_ranges`)."""
        return ()

    def fill(self, sample: Sample) -> Self:
        """The term with what it leaves open taken from a system; the term itself if nothing is open.

        Args:
            sample: frames of the system.

        Returns:
            The term.

        Raises:
            ValueError: if the system does not show what is needed.
        """
        del sample
        return self

    @property
    def graph(self) -> Graph | None:
        """Its curve, where it is a function of one variable."""
        return None

    @property
    def sites(self) -> Float[np.ndarray, " basis"] | None:
        """Values of its variable where a Gaussian-process prior of its curve acts, as many as coefficients.

        None: it has no curve, or its coefficients are independent before the data are seen.
        """
        return None

    def overlaps(self, other: Term) -> bool:
        """Whether some interaction would count in both terms; `Potential` refuses two terms that overlap."""
        return self.kind == other.kind and self.types == other.types

    def list_tuples(self, cg: xr.Dataset) -> dict[str, Int[np.ndarray, "interaction column"]]:
        """Arrays of `Configuration.tuples` that follow from the topology, the same in all frames.

        Args:
            cg: the system.

        Returns:
            Name of the array -> (interaction, column) bead numbers.

        Raises:
            ValueError: if the system has no such interaction.
        """
        del cg
        return {}

    def list_excluded(
        self, cg: xr.Dataset, excluded: Int[np.ndarray, "pair 2"]
    ) -> dict[str, Int[np.ndarray, "interaction column"]]:
        """Arrays of `Configuration.tuples` made of the pairs that the potential excludes, for a term that needs them.

        Args:
            cg: the system.
            excluded: (pair, 2) bead numbers; these pairs are in no list of neighbors.

        Returns:
            Name of the array -> (interaction, column) bead numbers.
        """
        del cg, excluded
        return {}

    def find_tuples(self, neighbors: Neighbors) -> dict[str, Int[np.ndarray, "interaction column"]]:
        """Arrays of `Configuration.tuples` made from the neighbors in one frame.

        Args:
            neighbors: pairs as far apart as the longest-ranged term of the potential needs; `neighbors.within(cutoff)`
                are those within a cutoff, and some beyond it, which must count for nothing.

        Returns:
            Name of the array -> (interaction, column) bead numbers.
        """
        del neighbors
        return {}

    def energy(self, configuration: Configuration, coefficients: Float[AnyArray, " basis"]) -> Float[Array, ""]:
        """Energy of all interactions of this term [kJ/mol]."""
        return self.basis_energies(configuration) @ coefficients

    def forces(self, configuration: Configuration, coefficients: Float[AnyArray, " basis"]) -> Float[Array, "bead 3"]:
        """Bead forces of this term (bead, 3) [kJ/mol/nm], minus the gradient of `energy`."""
        return -jax.grad(self._energy_at(configuration, coefficients))(configuration.positions)

    def virial(self, configuration: Configuration, coefficients: Float[AnyArray, " basis"]) -> Float[Array, "3 3"]:
        """Virial tensor -dU/d(strain), (3, 3) [kJ/mol], under a homogeneous strain of positions and box.

        It is exact for terms of any number of bodies under periodic boundaries.
        """

        def strained(strain):
            stretch = jnp.eye(3, dtype=strain.dtype) + strain
            moved = configuration._replace(positions=configuration.positions @ stretch, box=configuration.box @ stretch)
            return self.energy(moved, coefficients)

        return -jax.grad(strained)(jnp.zeros((3, 3), configuration.positions.dtype))

    def laplacian(self, configuration: Configuration, coefficients: Float[AnyArray, " basis"]) -> Float[Array, ""]:
        """Sum over beads of the Laplacian of the energy [kJ/mol/nm^2], for the configurational temperature."""
        x = configuration.positions
        _, product = jax.linearize(jax.grad(self._energy_at(configuration, coefficients)), x)
        units = jnp.eye(x.size, dtype=x.dtype).reshape(-1, *x.shape)
        return jnp.sum(jax.lax.map(lambda unit: jnp.sum(unit * product(unit)), units))

    def design_rows(self, configuration: Configuration) -> Float[Array, "bead basis 3"]:
        """dF/dw of every bead, (bead, basis, 3) [1/nm]: forces are baseline forces + design_rows . w."""

        def basis(x):
            return self.basis_energies(configuration._replace(positions=x))

        return -jnp.swapaxes(jax.jacrev(basis)(configuration.positions), 0, 1)

    def baseline_forces(self, configuration: Configuration) -> Float[Array, "bead baseline 3"]:
        """Forces at zero coefficients, (bead, n_baselines, 3) [kJ/mol/nm]."""
        x = configuration.positions
        return jnp.zeros((x.shape[0], 0, 3), x.dtype)

    def divergence_rows(self, configuration: Configuration) -> Float[Array, "bead basis"]:
        """Divergence of `design_rows` by the bead's own position, (bead, basis) [1/nm^2], for structure equations.

        This one differentiates the rows of all beads once for each coordinate of each bead: fine for a few beads.
        """
        return _own_divergence(self.design_rows, configuration)

    def baseline_divergence(self, configuration: Configuration) -> Float[Array, "bead baseline"]:
        """Divergence of `baseline_forces` by the bead's own position, (bead, n_baselines) [kJ/mol/nm^2]."""
        if not self.n_baselines:
            return jnp.zeros((configuration.positions.shape[0], 0), configuration.positions.dtype)
        return _own_divergence(self.baseline_forces, configuration)

    def count_strays(self, configuration: Configuration, low, high) -> tuple[Int[Array, " 2"], Array]:
        """How much of a frame lies outside a range of the variable.

        Args:
            configuration: one frame.
            low: lower end of the range [unit].
            high: upper end of the range [unit].

        Returns:
            The numbers of interactions below and above the range (2,), and the number of all. Where single interactions
            have no value of their own, the first two are 1 or 0: whether the frame's extremes are outside.
        """
        _, lowest, highest = self.visits(configuration)
        outside = jnp.stack([lowest < low, highest > high]).astype(int)
        return outside, jnp.sum(real_tuples(configuration.tuples[self.name]))

    def _energy_at(self, configuration: Configuration, coefficients: Float[AnyArray, " basis"]):
        return lambda x: self.energy(configuration._replace(positions=x), coefficients)


def _own_divergence(
    rows: Callable[[Configuration], Float[Array, "bead column 3"]], configuration: Configuration
) -> Float[Array, "bead column"]:
    """Sum over x of d rows[i, :, x] / d position[i, x], by forward differentiation."""
    x = configuration.positions

    def along(item):
        bead, axis = item
        unit = jnp.zeros_like(x).at[bead, axis].set(1.0)
        _, moved = jax.jvp(lambda y: rows(configuration._replace(positions=y)), (x,), (unit,))
        return moved[bead, :, axis]

    beads, axes = jnp.divmod(jnp.arange(3 * x.shape[0]), 3)
    return jnp.sum(jax.lax.map(along, (beads, axes)).reshape(x.shape[0], 3, -1), axis=1)
