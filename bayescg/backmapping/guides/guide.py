"""What guides the placement of atoms: densities over the positions that belong to given beads."""

# No postponed annotations here: equinox cannot see abstract fields in them.
from abc import abstractmethod
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from equinox import AbstractVar
from jaxtyping import Array, Bool, Float

from bayescg._arrays import AnyArray
from bayescg.backmapping.guides.fibre import Fibre

Space = Literal["fibre", "atoms"]


class Guide(eqx.Module):
    """A density over the atoms of one CG configuration, from which samplers of the exact density start.

    It never multiplies exp(-beta U): a path of densities begins with it, or passes through it.

    Attributes:
        normalized: whether the density integrates to one. Only then can a path begin with it, and are draws exact.
        space: over which volume the density is, "fibre" or "atoms".
    """

    @property
    @abstractmethod
    def normalized(self) -> bool:
        """Whether the density integrates to one."""

    @property
    @abstractmethod
    def space(self) -> Space:
        """Over which volume the density is.

        "fibre": all x with M x = X, in orthonormal Cartesian coordinates, those of `Fibre.free`. Draws have their beads
        exactly at X.

        "atoms": all atoms. Draws have their beads near X, as those of internal coordinates do that are placed on
        their beads. The sampler then keeps M x - X as further coordinates, with a known Gaussian density in the
        target, which integrates out exactly.
        """

    @abstractmethod
    def log_density(self, positions: Float[Array, "atom 3"]) -> Float[Array, ""]:
        """Log density, up to a constant unless `normalized`.

        Args:
            positions: (atom, 3) [nm].

        Returns:
            A number; -inf where the density is zero, differentiable elsewhere.
        """

    @abstractmethod
    def sample(self, *, key) -> Float[Array, "atom 3"]:
        """One draw; if the guide is not normalized, only a typical configuration from which chains start.

        Args:
            key: JAX random key.

        Returns:
            (atom, 3) [nm].
        """


class Conditional(eqx.Module):
    """What gives a guide for each CG configuration: made by hand, or learned from atomistic frames.

    Attributes:
        fibre: the linear map, and the positions that belong to given beads.
    """

    fibre: AbstractVar[Fibre]

    @abstractmethod
    def guide(self, beads: Float[AnyArray, "bead 3"]) -> Guide:
        """The guide of one CG configuration; JAX traces it, so that one compilation serves all frames.

        Args:
            beads: (bead, 3) [nm].

        Returns:
            The guide.
        """

    def allowed(self, positions: Float[Array, "atom 3"]) -> Bool[Array, ""]:
        """Whether a configuration counts: with a chiral center the other way round it is another molecule.

        Args:
            positions: (atom, 3) [nm].

        Returns:
            True or False.
        """
        return jnp.asarray(True)

    def complaint(self, beads: Float[np.ndarray, "bead 3"]) -> str | None:
        """Why no atoms can belong to these beads.

        Args:
            beads: (bead, 3) [nm].

        Returns:
            The reason in words; None if there is none.
        """
        return None


class GaussianGuide(Guide):
    """A normalized Gaussian in the fibre's free coordinates.

    Attributes:
        fibre: the map.
        beads: (bead, 3) [nm].
        mean: (free,) [nm].
        factor: lower Cholesky factor of the covariance, (free, free) [nm].
    """

    fibre: Fibre
    beads: Float[AnyArray, "bead 3"]
    mean: Float[Array, " free"]
    factor: Float[Array, "free free"]

    @property
    def normalized(self) -> bool:
        """Always true."""
        return True

    @property
    def space(self) -> Space:
        """Always "fibre"."""
        return "fibre"

    def log_density(self, positions):
        white = jax.scipy.linalg.solve_triangular(
            self.factor, self.fibre.free(positions, self.beads) - self.mean, lower=True
        )
        volume = jnp.sum(jnp.log(jnp.diagonal(self.factor)))
        return -0.5 * jnp.sum(white**2) - volume - 0.5 * len(white) * np.log(2 * np.pi)

    def sample(self, *, key):
        free = self.mean + self.factor @ jax.random.normal(key, self.mean.shape, self.mean.dtype)
        return self.fibre.positions(free, self.beads)


class GaussianConditional(Conditional):
    """One Gaussian for all CG configurations, about the positions that the pseudo-inverse of the map gives.

    It is enough where the free coordinates do not depend on the beads, as for harmonic chains. A broad one is a start
    where nothing better is known.

    Attributes:
        fibre: the map.
        mean: (free,) [nm].
        factor: lower Cholesky factor of the covariance, (free, free) [nm].
    """

    fibre: Fibre
    mean: Float[np.ndarray, " free"]
    factor: Float[np.ndarray, "free free"]

    def __init__(
        self,
        fibre: Fibre,
        mean: Float[np.ndarray, " free"] | float = 0.0,
        covariance: Float[np.ndarray, "free free"] | float = 1.0,
    ):
        """Check and factor.

        Args:
            fibre: the map.
            mean: (free,) [nm], or one number.
            covariance: (free, free) [nm^2], or one variance for all.

        Raises:
            ValueError: if shapes do not fit or the covariance is not positive definite.
        """
        free = fibre.n_free
        self.fibre = fibre
        mean, covariance = np.asarray(mean, float), np.asarray(covariance, float)
        if mean.shape not in ((), (free,)) or covariance.shape not in ((), (free, free)):
            raise ValueError(
                f"mean has shape {mean.shape} and covariance {covariance.shape}; the fibre has {free} free coordinates"
            )
        self.mean = np.broadcast_to(mean, (free,)).copy()
        matrix = covariance * np.eye(free) if covariance.ndim == 0 else covariance
        try:
            self.factor = np.linalg.cholesky(matrix)
        except np.linalg.LinAlgError as error:
            raise ValueError("the covariance is not positive definite: give the guide a positive variance") from error

    def guide(self, beads):
        return GaussianGuide(self.fibre, beads, jnp.asarray(self.mean), jnp.asarray(self.factor))
