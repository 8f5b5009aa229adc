"""Physics baselines: fixed curves that a term is added to, so that data are only asked for the difference.

A baseline is a frozen dataclass of numbers with `energy(x)` [kJ/mol], elementwise and differentiable in JAX; x stands
in [nm] or [rad].
"""

from __future__ import annotations

import abc
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from bayescg.potentials.splines import UniformSpline, spline_energy


class Baseline(abc.ABC):
    """A fixed curve below the learned one; subclasses define `energy`."""

    @abc.abstractmethod
    def energy(self, x: Float[Array, "*point"]) -> Float[Array, "*point"]:
        """Energy at values of the descriptor, made of JAX operations.

        Args:
            x: (...) [nm or rad].

        Returns:
            (...) [kJ/mol].
        """


@dataclass(frozen=True)
class WCA(Baseline):
    """Weeks-Chandler-Andersen repulsion: Lennard-Jones cut at its minimum and shifted up.

    u = 4 epsilon [(sigma/r)^12 - (sigma/r)^6] + epsilon for r < 2^(1/6) sigma, else 0 (doi:10.1063/1.1674820).

    Attributes:
        sigma: diameter [nm].
        epsilon: strength [kJ/mol].

    Raises:
        ValueError: if one of them is not positive and finite.
    """

    sigma: float
    epsilon: float

    def __post_init__(self):
        _positive(self, "sigma", "epsilon")

    def energy(self, x):
        """Energy [kJ/mol] at distances x [nm]."""
        edge = 2 ** (1 / 6) * self.sigma
        inverse = (self.sigma / jnp.clip(x, 1e-3 * self.sigma, edge)) ** 6
        return 4 * self.epsilon * (inverse**2 - inverse) + self.epsilon


@dataclass(frozen=True)
class LennardJones(Baseline):
    """Lennard-Jones, shifted so that energy and force vanish at the cutoff.

    u = v(r) - v(rc) - (r - rc) v'(rc), v = 4 epsilon [(sigma/r)^12 - (sigma/r)^6].

    Attributes:
        sigma: diameter [nm].
        epsilon: well depth before the shift [kJ/mol].
        cutoff: distance rc where the interaction ends [nm].

    Raises:
        ValueError: if one of them is not positive and finite.
    """

    sigma: float
    epsilon: float
    cutoff: float

    def __post_init__(self):
        _positive(self, "sigma", "epsilon", "cutoff")

    def energy(self, x):
        """Energy [kJ/mol] at distances x [nm]."""

        def plain(r):
            inverse = (self.sigma / r) ** 6
            return 4 * self.epsilon * (inverse**2 - inverse)

        inverse = (self.sigma / self.cutoff) ** 6
        slope = -24 * self.epsilon * (2 * inverse**2 - inverse) / self.cutoff
        r = jnp.clip(x, 1e-3 * self.sigma, self.cutoff)
        return plain(r) - plain(self.cutoff) - (r - self.cutoff) * slope


@dataclass(frozen=True)
class Harmonic(Baseline):
    """u = stiffness / 2 (x - center)^2.

    Attributes:
        center: position of the minimum [nm or rad].
        stiffness: force constant [kJ/mol/nm^2 or kJ/mol/rad^2].

    Raises:
        ValueError: if the stiffness is not positive and finite.
    """

    center: float
    stiffness: float

    def __post_init__(self):
        _positive(self, "stiffness")

    def energy(self, x):
        """Energy [kJ/mol]."""
        return 0.5 * self.stiffness * (x - self.center) ** 2


@dataclass(frozen=True)
class Spline(Baseline):
    """A curve given by spline coefficients: a tabulated potential, or another posterior's mean.

    u(x) = sum_k coefficients_k B_k(x), with the basis `UniformSpline(start, stop, intervals, periodic)`.

    Attributes:
        start: first knot [nm or rad].
        stop: last knot [nm or rad].
        coefficients: (basis,) [kJ/mol], as many as knot intervals if periodic, else three more.
        periodic: whether the ends meet.
    """

    start: float
    stop: float
    coefficients: tuple[float, ...]
    periodic: bool = False

    @property
    def spline(self) -> UniformSpline:
        """The basis that the coefficients belong to."""
        count = len(self.coefficients)
        return UniformSpline(self.start, self.stop, count if self.periodic else count - 3, self.periodic)

    def energy(self, x):
        """Energy [kJ/mol]."""
        return spline_energy(self.spline, jnp.asarray(self.coefficients), x)[0]


@dataclass(frozen=True)
class Sum(Baseline):
    """Two baselines together, such as a Lennard-Jones potential and what was learned on top of it.

    Attributes:
        first: a baseline.
        second: another one.
    """

    first: Baseline
    second: Baseline

    def energy(self, x):
        """Energy [kJ/mol]."""
        return self.first.energy(x) + self.second.energy(x)


def _positive(baseline, *fields: str) -> None:
    for field in fields:
        value = getattr(baseline, field)
        if not (np.isfinite(value) and value > 0):
            raise ValueError(f"{type(baseline).__name__}: {field} must be positive and finite; got {value!r}")


def table(x, energy, *, intervals: int | None = None, periodic: bool = False) -> Spline:
    """Turn a tabulated potential into a baseline.

    Args:
        x: abscissae, increasing ([nm] or [rad]).
        energy: energies [kJ/mol] at x.
        intervals: knot intervals of the spline; by default one per table entry.
        periodic: whether the ends meet (dihedrals).

    Returns:
        The smoothest cubic through the table (natural spline), on uniform knots.

    Raises:
        ValueError: if x does not increase or anything is not finite.
    """
    from scipy.interpolate import CubicSpline

    x, energy = np.asarray(x, float), np.asarray(energy, float)
    if x.ndim != 1 or x.shape != energy.shape or len(x) < 4:
        raise ValueError(f"a table needs two equally long columns of at least 4 numbers; got {x.shape}, {energy.shape}")
    if not (np.all(np.isfinite(x)) and np.all(np.isfinite(energy)) and np.all(np.diff(x) > 0)):
        raise ValueError("a table needs finite numbers at increasing x: remove nan rows and repeated abscissae")
    spline = UniformSpline(float(x[0]), float(x[-1]), intervals or max(len(x) - 1, 4), periodic)
    values = CubicSpline(x, energy, bc_type="natural")(spline.sites)
    return Spline(spline.start, spline.stop, tuple(spline.interpolate(values).tolist()), periodic)


def value_and_slope(
    baseline: Baseline, x: Float[Array, "*point"]
) -> tuple[Float[Array, "*point"], Float[Array, "*point"]]:
    """Energy and derivative of a baseline at x."""
    energy, slope = jax.jvp(baseline.energy, (x,), (jnp.ones_like(x),))
    return energy, slope
