"""`LatentModel`: q(z) q(x | z) with its encoder r(z | x)."""

from __future__ import annotations

import dataclasses
import json

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from bayescg.generative.model.networks import Decoder, Encoder, GaussianDecoder
from bayescg.generative.model.splines import LatentFlow, SplineDecoder, latent_flow
from bayescg.generative.model.whitening import Whitening


class LatentModel(eqx.Module):
    """A generative coarse-grained model: collective variables z, a prior for them, a decoder and an encoder.

    The methods below take and return the target's coordinates y, of shape (dimension,), and their densities are over y.
    The networks see white coordinates u, an affine map of y.

    Attributes:
        decoder: q(u | z), a density over (dimension,).
        encoder: r(z | u), a density over (latent,).
        prior: q(z), a flow; None for a standard normal.
        defensive: a density of z in which rare states are frequent, used for a share of the draws that are to be
            weighted (defensive importance sampling, Hesterberg, Technometrics 37, 185 (1995)); None without.
        whitening: the map between u and y.
        latents: number of latent variables.
        settings: JSON from which `bayescg.load` rebuilds the networks.
        report: JSON that says how the model was made: evaluations, diagnostics.
    """

    decoder: Decoder
    encoder: Encoder
    prior: LatentFlow | None
    defensive: LatentFlow | None
    whitening: Whitening
    latents: int = eqx.field(static=True)
    settings: str = eqx.field(static=True)
    report: str = eqx.field(static=True, default="{}")

    def sample(
        self, *, defensive: float = 0.0, key
    ) -> tuple[Float[Array, " coordinate"], Float[Array, " latent"], Float[Array, ""]]:
        """One draw.

        Args:
            defensive: share of the defensive density in that of z; 0 gives the model itself.
            key: JAX random key.

        Returns:
            Coordinates y (dimension,), latents z (latent,), and log q(z) + log q(y | z).
        """
        first, second = jax.random.split(key)
        z, log_prior = self.sample_latent(defensive=defensive, key=first)
        y, log_decoder = self.sample_given(z, key=second)
        return y, z, log_prior + log_decoder

    def sample_given(self, z: Float[Array, " latent"], *, key) -> tuple[Float[Array, " coordinate"], Float[Array, ""]]:
        """One draw of q(y | z).

        Args:
            z: (latent,).
            key: JAX random key.

        Returns:
            Coordinates y (dimension,), and log q(y | z).
        """
        u, log_density = self.decoder.sample(z, key=key)
        return self.whitening.color(u), log_density - self.whitening.log_volume

    def sample_latent(self, *, defensive: float = 0.0, key) -> tuple[Float[Array, " latent"], Float[Array, ""]]:
        """One draw of z.

        Args:
            defensive: share of the defensive density; 0 gives q(z).
            key: JAX random key.

        Returns:
            z (latent,), and the log of the density that it was drawn from.
        """
        if self.prior is None:
            z = jax.random.normal(key, (self.latents,), _dtype(self))
            return z, _log_standard(z)
        if self.defensive is None or defensive == 0:
            return self.prior.sample(key=key)
        first, second, third = jax.random.split(key, 3)
        rare = jax.random.bernoulli(first, defensive)
        z = jnp.where(rare, self.defensive.sample(key=second)[0], self.prior.sample(key=third)[0])
        parts = self.prior.log_density(z) + np.log1p(-defensive), self.defensive.log_density(z) + np.log(defensive)
        return z, jnp.logaddexp(*parts)

    def log_prior(self, z: Float[Array, " latent"]) -> Float[Array, ""]:
        """Log q(z).

        Args:
            z: (latent,).

        Returns:
            A number.
        """
        return _log_standard(z) if self.prior is None else self.prior.log_density(z)

    def log_joint(self, y: Float[Array, " coordinate"], z: Float[Array, " latent"]) -> Float[Array, ""]:
        """Log q(z) + log q(y | z).

        Args:
            y: (dimension,).
            z: (latent,).

        Returns:
            A number.
        """
        return self.log_prior(z) + self.log_decoder(y, z)

    def log_decoder(self, y: Float[Array, " coordinate"], z: Float[Array, " latent"]) -> Float[Array, ""]:
        """Log q(y | z).

        Args:
            y: (dimension,).
            z: (latent,).

        Returns:
            A number.
        """
        return self.decoder.log_density(self.whitening.whiten(y), z) - self.whitening.log_volume

    def log_encoder(self, z: Float[Array, " latent"], y: Float[Array, " coordinate"]) -> Float[Array, ""]:
        """Log r(z | y).

        Args:
            z: (latent,).
            y: (dimension,).

        Returns:
            A number.
        """
        return self.encoder.log_density(z, self.whitening.whiten(y))

    def log_density(self, y: Float[Array, " coordinate"], *, draws: int = 64, key) -> Float[Array, ""]:
        """Log q(y) by importance sampling of z from the encoder.

        Args:
            y: (dimension,).
            draws: of z. The result is too low on average, by less the more draws there are.
            key: JAX random key.

        Returns:
            A number.
        """
        u = self.whitening.whiten(y)

        def one(key):
            z, log_encoder = self.encoder.sample(u, key=key)
            return self.log_joint(y, z) - log_encoder

        return jax.nn.logsumexp(jax.vmap(one)(jax.random.split(key, draws))) - np.log(draws)

    def latent_mean(self, y: Float[Array, " coordinate"]) -> Float[Array, " latent"]:
        """The collective variables of one vector of coordinates: the encoder's mean.

        Args:
            y: (dimension,).

        Returns:
            (latent,).
        """
        return self.encoder.moments(self.whitening.whiten(y))[0]

    def with_report(self, report: dict) -> LatentModel:
        """The same model with another report.

        Args:
            report: what JSON can hold.

        Returns:
            A new model.
        """
        return dataclasses.replace(self, report=json.dumps(report))


def build_model(
    whitening: Whitening,
    *,
    latents: int,
    decoder: str = "gaussian",
    flexible_prior: bool = False,
    defensive: bool = False,
    key,
) -> LatentModel:
    """A model with random weights.

    Args:
        whitening: of the coordinates.
        latents: number of latent variables.
        decoder: "gaussian" or "spline".
        flexible_prior: a flow for q(z) instead of a standard normal.
        defensive: with a defensive density of z, that needs a flexible prior; at first both are the same.
        key: random key.

    Raises:
        ValueError: if there are more latents than coordinates, or none, or the decoder is unknown.
    """
    if not 1 <= latents <= whitening.dimension:
        raise ValueError(
            f"latent_dim is {latents}; it must be between 1 and the {whitening.dimension} degrees of freedom"
        )
    if decoder not in ("gaussian", "spline"):
        raise ValueError(f"decoder is {decoder!r}; it must be 'spline' or 'gaussian'")
    first, second, third = jax.random.split(key, 3)
    made, encoder = _networks(latents, whitening, first, second)
    settings = _settings(latents)
    model = LatentModel(made, encoder, None, None, whitening, latents, settings)
    model = strengthen(model, decoder=decoder, flexible_prior=flexible_prior, key=third)
    return add_defensive_density(model) if defensive else model


@eqx.filter_jit
def _networks(latents: int, whitening: Whitening, first, second) -> tuple[GaussianDecoder, Encoder]:
    """Random weights, as one program."""
    return GaussianDecoder(latents, whitening, key=first), Encoder(latents, whitening, key=second)


def strengthen(model: LatentModel, *, decoder: str = "spline", flexible_prior: bool = True, key) -> LatentModel:
    """The same densities, with networks that can learn more: a spline flow around the decoder, a flow for q(z)."""
    first, second = jax.random.split(key)
    made, prior = model.decoder, model.prior
    if decoder == "spline" and isinstance(made, GaussianDecoder):
        made = eqx.filter_jit(SplineDecoder)(made, model.latents, key=first)
    if flexible_prior and prior is None:
        prior = eqx.filter_jit(latent_flow)(model.latents, key=second)
    settings = _settings(model.latents, decoder, prior is not None)
    return dataclasses.replace(model, decoder=made, prior=prior, settings=settings)


def add_defensive_density(model: LatentModel) -> LatentModel:
    """The same model, its density of z kept as the defensive one; that of z itself may then go on to change."""
    settings = json.loads(model.settings) | {"defensive": True}
    return dataclasses.replace(model, defensive=model.prior, settings=json.dumps(settings))


def _settings(latents: int, decoder: str = "gaussian", flexible_prior: bool = False) -> str:
    settings = {"latents": latents, "decoder": decoder, "flexible_prior": flexible_prior, "defensive": False}
    return json.dumps(settings)


def trainable(model: LatentModel) -> LatentModel:
    """Which leaves of a model are trained: all weights, not the whitening. For `equinox.partition`."""
    spec = jax.tree.map(eqx.is_inexact_array, model)
    return eqx.tree_at(lambda m: m.whitening, spec, jax.tree.map(lambda _: False, model.whitening))


def _log_standard(z):
    return jnp.sum(-0.5 * z**2 - 0.5 * np.log(2 * np.pi))


def _dtype(model: LatentModel):
    return model.encoder.network.layers[0].weight.dtype
