"""What training minimizes: divergences in both directions, and the prior that switches latents off."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from bayescg._arrays import AnyArray
from bayescg.atomistic.target import Target
from bayescg.generative.model.latent_model import LatentModel

RELEVANCE_SHAPE = 1e-2
RELEVANCE_RATE = 1e-4
"""Gamma hyperprior of each latent's precision: broad, so that the data decide."""


def forward_bound(
    model: LatentModel,
    samples: Float[AnyArray, "sample coordinate"],
    *,
    information: Float[Array, " sample"] | Float[Array, ""] | float = 1.0,
    key,
) -> Float[Array, ""]:
    """Upper bound on the forward divergence KL(p || q), up to a constant: E_p E_r [log r(z|y) - log q(z) - log q(y|z)].

    It punishes missed modes: where p has mass and q has none it grows without limit.

    Args:
        model: q and r.
        samples: of p.
        information: weight of log r - log q(z), what z knows, for all samples or each; one for the bound. Where the
            encoder stays as it is, weights of the samples teach q(z) how often each occurs, and the decoder still
            learns from all alike.
        key: random key.
    """

    def one(y, weight, key):
        u = model.whitening.whiten(y)
        z, log_encoder = model.encoder.sample(u, key=key)
        return weight * (log_encoder - model.log_prior(z)) - model.log_decoder(y, z)

    weights = jnp.broadcast_to(jnp.asarray(information, samples.dtype), len(samples))
    return jnp.mean(jax.vmap(one)(samples, weights, jax.random.split(key, len(samples))))


def reverse_bound(
    model: LatentModel,
    target: Target,
    beta: float,
    draws: int,
    *,
    held: bool = False,
    defensive: float = 0.0,
    largest: float = 1e4,
    key,
) -> Float[Array, ""]:
    """Upper bound on the reverse divergence KL(q || p) less log Z (Schoeberl et al., arXiv:2002.10148, equation 12).

    E_q [log q(z) + log q(y|z) - log r(z|y) + beta U(y)]. It knows only what q reaches: a lost mode costs nothing.

    Args:
        model: q and r.
        target: U.
        beta: inverse temperature, in units of the target's.
        draws: of q, each an evaluation.
        held: without a slope by q(z): what remains is the mean over z of the divergence of q(y|z), which cannot make
            a state rare because the decoder is not good there yet.
        defensive: share of draws with z from the defensive density.
        largest: what a draw may be above the median; beyond it has no slope.
        key: random key.
    """

    def one(key):
        first, second = jax.random.split(key)
        z, log_prior = model.sample_latent(defensive=defensive, key=first)
        if held:
            z, log_prior = jax.lax.stop_gradient((z, log_prior))
        y, log_q = model.sample_given(z, key=second)
        log_q = log_q + log_prior
        log_p = target.log_density(y, beta)
        # Outside the domain the density has no slope; this one leads back to the middle.
        log_p = jnp.where(jnp.isfinite(log_p), log_p, -1e3 - 10 * jnp.sum(model.whitening.whiten(y) ** 2))
        return log_q - log_p - model.log_encoder(z, y)

    values = jax.vmap(one)(jax.random.split(key, draws))
    # Overlapping atoms have energies beyond measure; one of them must not decide a step.
    return jnp.mean(jnp.minimum(values, jnp.median(jax.lax.stop_gradient(values)) + largest))


def relevance_penalty(model: LatentModel) -> Float[Array, ""]:
    """-log p(weights) of automatic relevance determination, precisions integrated out.

    All weights by which a latent enters share a Gaussian of unknown precision with a Gamma hyperprior (MacKay,
    ASHRAE Trans. 100, 1053 (1994)): a latent that explains nothing is switched off as a whole.
    """
    total = jnp.zeros(())
    for weights in model.decoder.latent_weights():
        count = weights.shape[1]
        energy = RELEVANCE_RATE + 0.5 * jnp.sum(weights**2, axis=1)
        total = total + (RELEVANCE_SHAPE + 0.5 * count) * jnp.sum(jnp.log(energy))
    return total
