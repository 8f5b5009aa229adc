"""Small networks: the encoder, and the decoder of the reference method."""

from __future__ import annotations

from abc import abstractmethod

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from bayescg.generative.model.whitening import Whitening, features
from bayescg.geometry.placement import wrapped

WELL = 0.3
"""Largest width of a torsion given z [rad]."""
_LOG_TURN = float(np.log(2 * np.pi))
_IMAGES = np.arange(-3, 4) * 2 * np.pi


class Decoder(eqx.Module):
    """p(u | z): exact densities and samples that can be differentiated."""

    @abstractmethod
    def sample(self, z: Float[Array, " latent"], *, key) -> tuple[Float[Array, " coordinate"], Float[Array, ""]]:
        """A sample and its log density."""

    @abstractmethod
    def log_density(self, u: Float[Array, " coordinate"], z: Float[Array, " latent"]) -> Float[Array, ""]:
        """Log p(u | z)."""

    @abstractmethod
    def latent_weights(self) -> list[Float[Array, "latent weight"]]:
        """The weights by which each latent enters, for automatic relevance determination."""


class GaussianDecoder(Decoder):
    """Independent Gaussians with mean and width from a network; wrapped ones for periodic coordinates.

    Widths of torsions are at most WELL, that of one well: which well it is, z has to tell.

    The decoder of Schoeberl, Zabaras and Koutsourelakis (arXiv:2002.10148, section 2): two layers of 100 units. What
    it cannot say given z, such as a second well, is left for z to tell: this is how it discovers collective variables.
    """

    network: eqx.nn.MLP
    periodic: tuple[bool, ...] = eqx.field(static=True)
    symmetry: tuple[int, ...] = eqx.field(static=True)

    def __init__(self, latents: int, whitening: Whitening, *, width: int = 100, key):
        """Networks with random weights.

        Args:
            latents: number of latent variables.
            whitening: of the coordinates.
            width: units of each hidden layer.
            key: random key.
        """
        self.periodic, self.symmetry = whitening.periodic, whitening.symmetry
        outputs = 3 * whitening.dimension
        self.network = eqx.nn.MLP(latents, outputs, width, 2, activation=jnp.tanh, key=key)

    def moments(self, z: Float[Array, " latent"]) -> tuple[Float[Array, " coordinate"], Float[Array, " coordinate"]]:
        """Mean and width of each coordinate given z."""
        first, second, third = jnp.split(self.network(z), 3)
        periodic = np.asarray(self.periodic)
        # The direction of (first, second) is a mean angle without jumps; 1 + first keeps it defined at the start.
        direction = jnp.arctan2(second, jnp.where(periodic, 1.0 + first, 1.0))
        mean = jnp.where(periodic, direction, first)
        # Bounded below, too: nothing in white coordinates needs less than 1e-3.
        widest = jnp.where(periodic, WELL * np.asarray(self.symmetry), 20.0)
        return mean, jnp.clip(jnp.exp(third - jnp.where(periodic, 1.5, 0.0)), 1e-3, widest)

    def sample(self, z, *, key):
        mean, width = self.moments(z)
        deviation, log_density = self.sample_deviation(width, key=key)
        return self.shifted(deviation, mean, width), log_density - self.log_stretch(width)

    def log_density(self, u, z):
        mean, width = self.moments(z)
        return self.log_deviation(self.deviation(u, mean, width), width) - self.log_stretch(width)

    def sample_deviation(self, width, *, key):
        """Deviations from the mean, in units of the width for stiff coordinates [rad for periodic ones]."""
        noise = jax.random.normal(key, width.shape, width.dtype)
        deviation = jnp.where(np.asarray(self.periodic), wrapped(width * noise), noise)
        return deviation, self.log_deviation(deviation, width)

    def log_deviation(self, deviation, width):
        """Log density of deviations."""
        images = -0.5 * ((deviation[:, None] + _IMAGES) / width[:, None]) ** 2
        free = jax.nn.logsumexp(images, axis=1) - jnp.log(width)
        return jnp.sum(jnp.where(np.asarray(self.periodic), free, -0.5 * deviation**2) - 0.5 * _LOG_TURN)

    def deviation(self, u, mean, width):
        """Deviations of white coordinates from the mean."""
        return jnp.where(np.asarray(self.periodic), wrapped(u - mean), (u - mean) / width)

    def shifted(self, deviation, mean, width):
        """White coordinates from deviations."""
        return jnp.where(np.asarray(self.periodic), wrapped(deviation + mean), deviation * width + mean)

    def log_stretch(self, width):
        """Log |du / d(deviation)|."""
        return jnp.sum(jnp.where(np.asarray(self.periodic), 0.0, jnp.log(width)))

    def latent_weights(self):
        return [self.network.layers[0].weight.T]


class Encoder(eqx.Module):
    """r(z | x): independent Gaussians with mean and width from a network."""

    network: eqx.nn.MLP
    periodic: tuple[bool, ...] = eqx.field(static=True)

    def __init__(self, latents: int, whitening: Whitening, *, width: int = 100, key):
        """Networks with random weights.

        Args:
            latents: number of latent variables.
            whitening: of the coordinates.
            width: units of each hidden layer.
            key: random key.
        """
        self.periodic = whitening.periodic
        inputs = whitening.dimension + sum(whitening.periodic)
        self.network = eqx.nn.MLP(inputs, 2 * latents, width, 2, activation=jnp.tanh, key=key)

    def moments(self, u: Float[Array, " coordinate"]) -> tuple[Float[Array, " latent"], Float[Array, " latent"]]:
        """Mean and standard deviation of z given u."""
        mean, width = jnp.split(self.network(features(u, self.periodic)), 2)
        return mean, jnp.clip(jnp.exp(width), 1e-3, 10.0)

    def sample(self, u, *, key):
        """A sample of z given u and its log density."""
        mean, width = self.moments(u)
        z = mean + width * jax.random.normal(key, mean.shape, mean.dtype)
        return z, _log_normal(z, mean, width)

    def log_density(self, z, u):
        """Log r(z | u)."""
        return _log_normal(z, *self.moments(u))


def _log_normal(z, mean, width):
    return jnp.sum(-0.5 * ((z - mean) / width) ** 2 - jnp.log(width) - 0.5 * _LOG_TURN)
