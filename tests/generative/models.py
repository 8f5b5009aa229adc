"""Small models: with random weights that matter, and with networks written by hand."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from bayescg.generative.model.latent_model import LatentModel, build_model
from bayescg.generative.model.whitening import Whitening


def random_model(periodic, *, latents=1, decoder="spline", flexible_prior=True, scale=0.4, seed=0) -> LatentModel:
    """All weights disturbed, so that no layer is the identity and the whitening is no unit matrix."""
    n = len(periodic)
    rng = np.random.default_rng(seed)
    factor = np.tril(0.3 * rng.normal(size=(n, n)), -1) + np.diag(rng.uniform(0.5, 2.0, n))
    free = np.asarray(periodic, bool)
    factor[free], factor[:, free] = 0.0, 0.0
    factor[free, free] = 1.0
    whitening = Whitening.of(np.where(free, 0.0, rng.normal(size=n)), factor, periodic)
    options = {"latents": latents, "decoder": decoder, "flexible_prior": flexible_prior}
    return disturbed(build_model(whitening, **options, key=jax.random.key(seed)), scale, seed)


def disturbed(model: LatentModel, scale: float, seed: int = 0) -> LatentModel:
    """The model with noise on every weight of its networks, in units of what each layer's weights should be."""
    rng = np.random.default_rng(seed)

    def moved(leaf):
        if not eqx.is_inexact_array(leaf):
            return leaf
        noise = rng.normal(size=leaf.shape) * scale / np.sqrt(leaf.shape[-1] if leaf.ndim == 2 else 1)
        return jnp.asarray(np.asarray(leaf) + noise.astype(leaf.dtype))

    parts = (jax.tree.map(moved, part) for part in (model.decoder, model.encoder, model.prior))
    return eqx.tree_at(lambda m: (m.decoder, m.encoder, m.prior), model, tuple(parts), is_leaf=lambda x: x is None)


class Written(eqx.Module):
    """A network that is a function; `layers` is what gives its precision."""

    function: object = eqx.field(static=True)
    layers: tuple

    def __call__(self, x):
        return self.function(x)


def written(encoder, decoder, dimension: int, latents: int = 1, periodic=None) -> LatentModel:
    """A Gaussian model with networks by hand.

    Args:
        encoder: features of coordinates -> (means, log widths) of the latents.
        decoder: latents -> (means, log widths) of the coordinates.
        dimension: number of coordinates.
        latents: number of latents.
        periodic: which coordinates are; None for none.
    """
    free = [False] * dimension if periodic is None else periodic
    whitening = Whitening.of(np.zeros(dimension), np.eye(dimension), free)
    model = build_model(whitening, latents=latents, key=jax.random.key(0))

    def three(z):
        mean, width = decoder(z)
        return jnp.concatenate([mean, jnp.zeros_like(mean), width])

    networks = (
        Written(lambda u: jnp.concatenate(encoder(u)), model.encoder.network.layers),
        Written(three, model.decoder.network.layers),
    )
    return eqx.tree_at(lambda m: (m.encoder.network, m.decoder.network), model, networks)


def bimodal_model(
    *, right: float = 0.00835, width: float = 0.3, left: float = 0.3, narrow: bool = False
) -> LatentModel:
    """Both wells of the bimodal potential: z > cut is the right one, which has `right` of the mass.

    Args:
        right: share of draws in the right well; 0 for none.
        width: standard deviation of x1 in the right well.
        left: in the left one.
        narrow: an encoder that says no z of the other well: only then q reaches all that p(x) r(z | x) does.
    """
    cut = float(jax.scipy.stats.norm.ppf(1 - right)) if right else 1e9

    def decoder(z):
        there = jnp.clip(50 * (z - cut), 0, 1)
        mean = jnp.concatenate([-2.47 + 4.78 * there, jnp.zeros(1)])
        return mean, jnp.concatenate([jnp.log(left) + (jnp.log(width) - jnp.log(left)) * there, jnp.zeros(1)])

    # What q(z | x) is, roughly: the part of the normal beyond the cut is narrow, the rest is broad.
    there = (cut + 0.6, np.log(0.12)) if narrow else (cut + 0.35, np.log(0.4)) if right else (0.0, 0.0)
    here = (-0.5, np.log(0.4)) if narrow else (0.0, 0.0)

    def encoder(u):
        beyond = u[:1] > 0.16746
        return tuple(jnp.where(beyond, a, b) for a, b in zip(there, here, strict=True))

    return written(encoder, decoder, 2)
