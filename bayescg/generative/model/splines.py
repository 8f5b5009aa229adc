"""Spline flows: the stronger decoder p(x | z) and the density q(z) of the latent variables.

Coupling layers (Durkan et al., arXiv:1906.04032) change half of the coordinates by monotonic splines whose knots a
network computes from the other half and from z. On a circle the spline is periodic, with equal slopes where its ends
meet, and a turn before it (Rezende et al., arXiv:2002.02428). The splines are flowjax's.
"""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import paramax
from flowjax.bijections import RationalQuadraticSpline
from flowjax.utils import get_ravelled_pytree_constructor
from jaxtyping import Array, Float

from bayescg.generative.model.networks import Decoder, GaussianDecoder
from bayescg.geometry.placement import wrapped


def _log_normal(z):
    return jnp.sum(-0.5 * z**2 - 0.5 * np.log(2 * np.pi))


class Coupling(eqx.Module):
    """One layer: some coordinates stay, the others are shifted, stretched and bent by what stays and the condition.

    Attributes:
        network: from features of what stays and the condition to the parameters of all splines.
        stays: indices of the coordinates that stay.
        changes: indices of those that change.
        periodic: which of all coordinates are periodic.
        knots: of each spline.
    """

    network: eqx.nn.MLP
    stays: tuple[int, ...] = eqx.field(static=True)
    changes: tuple[int, ...] = eqx.field(static=True)
    periodic: tuple[bool, ...] = eqx.field(static=True)
    knots: int = eqx.field(static=True)

    def __init__(self, stays, changes, periodic, condition: int, *, knots: int, width: int, key):
        """A layer that does nothing yet.

        Args:
            stays: indices of the coordinates that stay.
            changes: indices of those that change.
            periodic: which coordinates are periodic.
            condition: number of conditioning variables.
            knots: of each spline.
            width: units of each of two hidden layers.
            key: random key.
        """
        self.stays, self.changes, self.knots = tuple(stays), tuple(changes), knots
        self.periodic = tuple(periodic)
        inputs = 1 + condition + sum(2 if periodic[k] else 1 for k in stays)
        outputs = len(changes) * (2 + _spline(knots)[1])
        network = eqx.nn.MLP(inputs, outputs, width, 2, activation=jax.nn.silu, key=key)
        last = network.layers[-1]
        # Zero: the layer starts as the identity. After one step gradients reach the other layers too.
        small = eqx.tree_at(lambda layer: (layer.weight, layer.bias), last, replace_fn=jnp.zeros_like)
        self.network = eqx.tree_at(lambda n: n.layers[-1], network, small)

    def forward(self, u, condition):
        """Towards the data: new coordinates and the log of the volume change."""
        shift, log_stretch, spline = self._parameters(u, condition)
        x, circular = u[np.asarray(self.changes)], self._circular
        bent, slope = eqx.filter_vmap(lambda s, v: s.transform_and_log_det(v))(spline, x)
        moved = jnp.where(circular, wrapped(bent + shift), bent * jnp.exp(log_stretch) + shift)
        log_volume = jnp.sum(slope + jnp.where(circular, 0.0, log_stretch))
        return u.at[np.asarray(self.changes)].set(moved), log_volume

    def inverse(self, u, condition):
        """Towards the base: old coordinates and the log of the volume change of `forward` there."""
        shift, log_stretch, spline = self._parameters(u, condition)
        x, circular = u[np.asarray(self.changes)], self._circular
        unmoved = jnp.where(circular, wrapped(x - shift), (x - shift) * jnp.exp(-log_stretch))
        unbent, slope = eqx.filter_vmap(lambda s, v: s.inverse_and_log_det(v))(spline, unmoved)
        log_volume = jnp.sum(jnp.where(circular, 0.0, log_stretch) - slope)
        return u.at[np.asarray(self.changes)].set(unbent), log_volume

    @property
    def _circular(self):
        return np.asarray([self.periodic[k] for k in self.changes], bool)

    def _parameters(self, u, condition):
        free = np.asarray([k for k in self.stays if self.periodic[k]], int)
        stiff = np.asarray([k for k in self.stays if not self.periodic[k]], int)
        inputs = [jnp.ones_like(u, shape=(1,)), condition, u[stiff] / 3, jnp.cos(u[free]), jnp.sin(u[free])]
        raw = self.network(jnp.concatenate(inputs)).reshape(len(self.changes), -1)
        build = _spline(self.knots)[0]
        spline = eqx.filter_vmap(build)(raw[:, 2:], self._circular)
        return raw[:, 0], 2 * jnp.tanh(raw[:, 1] / 2), spline


def _spline(knots: int):
    """A function from a vector (and whether it is on a circle) to a spline on [-pi, pi], and the vector's length."""
    template = RationalQuadraticSpline(knots=knots, interval=float(np.pi), min_derivative=1e-2, min_width=5e-3)
    constructor, size = get_ravelled_pytree_constructor(
        template, eqx.is_inexact_array, is_leaf=lambda leaf: isinstance(leaf, paramax.NonTrainable)
    )

    def build(vector, circular):
        spline = paramax.unwrap(constructor(vector))
        # Slopes at the ends: equal on a circle; one on the line, where the map goes on as the identity.
        slopes = spline.derivatives
        ends = jnp.where(circular, 0.5 * (slopes[0] + slopes[-1]), 1.0)
        return eqx.tree_at(lambda s: s.derivatives, spline, slopes.at[0].set(ends).at[-1].set(ends))

    return build, size


class LatentFlow(eqx.Module):
    """q(z) as a spline flow from a standard normal."""

    layers: tuple[Coupling, ...]
    latents: int = eqx.field(static=True)

    def sample(self, *, key) -> tuple[Float[Array, " latent"], Float[Array, ""]]:
        """A sample and its log density."""
        dtype = self.layers[0].network.layers[0].weight.dtype
        z = jax.random.normal(key, (self.latents,), dtype)
        log_density = _log_normal(z)
        for layer in self.layers:
            z, log_volume = layer.forward(z, jnp.zeros((0,), dtype))
            log_density = log_density - log_volume
        return z, log_density

    def log_density(self, z: Float[Array, " latent"]) -> Float[Array, ""]:
        """Log q(z)."""
        total = jnp.zeros_like(z, shape=())
        for layer in reversed(self.layers):
            z, log_volume = layer.inverse(z, jnp.zeros((0,), z.dtype))
            total = total - log_volume
        return total + _log_normal(z)


def latent_flow(latents: int, *, layers: int = 2, knots: int = 12, width: int = 64, key) -> LatentFlow:
    """A flow for few variables: each changes in turn given all others, which for one is a single spline."""
    keys = jax.random.split(key, layers * latents)
    made = [
        Coupling(
            [j for j in range(latents) if j != k], [k], [False] * latents, 0, knots=knots, width=width, key=keys[n]
        )
        for n, k in enumerate(list(range(latents)) * layers)
    ]
    return LatentFlow(tuple(made), latents)


class SplineDecoder(Decoder):
    """q(u | z): the Gaussian decoder's deviations from its mean, bent by a spline flow conditioned on z.

    A new one is exactly the Gaussian decoder that it is made from; training then only has to learn what that misses.
    """

    gaussian: GaussianDecoder
    layers: tuple[Coupling, ...]

    def __init__(
        self, gaussian: GaussianDecoder, latents: int, *, layers: int = 4, knots: int = 6, width: int = 64, key
    ):
        """A flow that starts as the identity.

        Args:
            gaussian: where to start.
            latents: number of latent variables.
            layers: coupling layers; each changes one half of the coordinates, drawn at random.
            knots: of each spline.
            width: units of each hidden layer.
            key: random key.
        """
        self.gaussian = gaussian
        n, made = len(gaussian.periodic), []
        # The halves belong to the dimension, not to the key: a saved model is rebuilt with any key.
        generator = np.random.default_rng(n)
        order = generator.permutation(n)
        for k, subkey in enumerate(jax.random.split(key, layers)):
            if k % 2 == 0:
                order = generator.permutation(n)
            halves = order[: n // 2], order[n // 2 :]
            stays, changes = (sorted(half.tolist()) for half in (halves if k % 2 == 0 else halves[::-1]))
            if changes:
                options = {"knots": knots, "width": width, "key": subkey}
                made.append(Coupling(stays, changes, gaussian.periodic, latents, **options))
        self.layers = tuple(made)

    def sample(self, z, *, key):
        mean, width = self.gaussian.moments(z)
        deviation, log_density = self.gaussian.sample_deviation(width, key=key)
        for layer in self.layers:
            deviation, log_volume = layer.forward(deviation, z)
            log_density = log_density - log_volume
        return self.gaussian.shifted(deviation, mean, width), log_density - self.gaussian.log_stretch(width)

    def log_density(self, u, z):
        mean, width = self.gaussian.moments(z)
        deviation = self.gaussian.deviation(u, mean, width)
        total = -self.gaussian.log_stretch(width)
        for layer in reversed(self.layers):
            deviation, log_volume = layer.inverse(deviation, z)
            total = total - log_volume
        return total + self.gaussian.log_deviation(deviation, width)

    def latent_weights(self):
        return self.gaussian.latent_weights()
