"""What generative models learn from: an unnormalized log density over coordinates that may be periodic."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Protocol, runtime_checkable

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpy.typing import ArrayLike

from bayescg.atomistic.internal_coordinates import InternalCoordinates
from bayescg.geometry.placement import wrapped


class Target(eqx.Module):
    """An unnormalized density over a vector of coordinates.

    Subclasses have the fields below and define `log_density`.

    Attributes:
        location: (dimension,) a typical value of each coordinate.
        scale: (dimension,) how far the density may reach from there, as standard deviations.
        periodic: (dimension,) which coordinates have the period 2 pi.
    """

    location: eqx.AbstractVar[np.ndarray]
    scale: eqx.AbstractVar[np.ndarray]
    periodic: eqx.AbstractVar[np.ndarray]

    @abstractmethod
    def log_density(self, coordinates: Float[Array, " coordinate"], beta: float = 1.0) -> Float[Array, ""]:
        """Unnormalized log density of one vector of coordinates.

        Args:
            coordinates: (dimension,).
            beta: inverse temperature in units of the target's own. It multiplies the energy only, not the Jacobian.

        Returns:
            A number, -inf where the density is zero.
        """

    def canonical(self, coordinates: Float[Array, " coordinate"]) -> Float[Array, " coordinate"]:
        """The same state with periodic coordinates in [-pi, pi).

        Args:
            coordinates: (dimension,).

        Returns:
            (dimension,).
        """
        return jnp.where(np.asarray(self.periodic), wrapped(coordinates), coordinates)

    @property
    def dimension(self) -> int:
        """Number of coordinates."""
        return len(self.location)

    @property
    def symmetry(self) -> np.ndarray:
        """How many turns of a periodic coordinate make one turn in space: three for a folded methyl group, else one."""
        return np.ones(self.dimension, int)

    @property
    def names(self) -> tuple[str, ...]:
        """A name for each coordinate."""
        return tuple(f"x{k + 1}" for k in range(self.dimension))


@runtime_checkable
class MoleculeTarget(Protocol):
    """What the target of a molecule has beside its density, such as `OpenMMTarget`.

    Attributes:
        coordinates: the internal coordinates that the density is over.
    """

    coordinates: InternalCoordinates

    def to_positions(self, coordinates: Float[Array, " coordinate"]) -> Float[Array, "atom 3"]:
        """Positions [nm] of one vector of coordinates."""
        ...

    def to_coordinates(self, positions: Float[Array, "atom 3"]) -> Float[Array, " coordinate"]:
        """Coordinates of positions [nm]."""
        ...


_TURN = (-np.pi, np.pi)


class LogDensity(Target):
    """A target from any JAX function.

    Attributes:
        function: (dimension,) -> log density, minus the energy in units of kT.
        location: (dimension,) typical values.
        scale: (dimension,) how far the density reaches.
        periodic: (dimension,) which coordinates have the period 2 pi.
    """

    function: Callable = eqx.field(static=True)
    location: np.ndarray
    scale: np.ndarray
    periodic: np.ndarray

    def __init__(
        self,
        function: Callable[[Float[Array, " coordinate"]], Float[Array, ""]],
        location: ArrayLike,
        scale: ArrayLike,
        periodic: ArrayLike | None = None,
    ):
        """Check the function once.

        Args:
            function: of one vector of coordinates (dimension,); returns a number.
            location: (dimension,) where the function is finite.
            scale: (dimension,), or one number for all coordinates.
            periodic: (dimension,); None: no coordinate is periodic.

        Raises:
            ValueError: if shapes do not fit, a scale is not positive, the density at `location` is not finite, or it
                has not the period of a coordinate that is said to be periodic.
        """
        self.function = function
        self.location = np.atleast_1d(np.asarray(location, float))
        self.periodic = np.zeros(self.dimension, bool) if periodic is None else np.asarray(periodic, bool)
        if self.location.ndim != 1 or self.periodic.shape != self.location.shape:
            raise ValueError(
                f"location has shape {self.location.shape} and periodic {self.periodic.shape}; both are vectors with "
                "one value for each coordinate"
            )
        if np.shape(scale) not in ((), self.location.shape):
            raise ValueError(f"scale has shape {np.shape(scale)}; give one number, or one for each coordinate")
        self.scale = np.broadcast_to(np.asarray(scale, float), self.location.shape).copy()
        if not np.all((self.scale > 0) & np.isfinite(self.scale)):
            raise ValueError(f"scale is {self.scale}; every coordinate needs a positive one")
        value = jnp.asarray(function(jnp.asarray(self.location)))
        if value.shape != ():
            raise ValueError(
                f"the log density of one vector of coordinates has shape {value.shape}; it must be a number"
            )
        if not np.isfinite(value):
            raise ValueError(
                f"the log density at location {self.location} is {value}: give a location where it is finite"
            )
        # Half a turn either way: a function that is not periodic may still be even.
        for k in np.flatnonzero(self.periodic):
            ends = [function(jnp.asarray(self.location + (step + 0.1) * np.eye(self.dimension)[k])) for step in _TURN]
            if not np.allclose(ends[0], ends[1], rtol=1e-3, atol=1e-3):
                raise ValueError(
                    f"coordinate {k + 1} is said to have the period 2 pi, but the log density is {ends[0]} at one "
                    f"point and {ends[1]} a turn further"
                )

    def log_density(self, coordinates, beta=1.0):
        return beta * self.function(coordinates)
