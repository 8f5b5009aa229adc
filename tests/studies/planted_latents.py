"""Sheets of one, two and three dimensions, bent into six: does relevance determination leave as many latents?

x = R (z, f(z) + noise) with f quadratic in random directions: exactly as many latent variables as z has entries, and
a normalized density. Five latents are offered.
"""

from __future__ import annotations

import json

import jax
import jax.numpy as jnp
import numpy as np

from bayescg.atomistic import LogDensity
from bayescg.generative import Training, discover
from bayescg.generative.information import RELEVANT

DIMENSION, NOISE, OFFERED = 6, 0.3, 5
SHARPNESS = 1500.0


def sheet(latents: int, seed: int = 0) -> LogDensity:
    """The density of a bent sheet."""
    generator = np.random.default_rng(seed)
    rotation = np.linalg.qr(generator.normal(size=(DIMENSION, DIMENSION)))[0]
    directions = generator.normal(size=(DIMENSION - latents, latents))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)

    def log_density(x):
        y = jnp.asarray(rotation, x.dtype) @ x
        bent = 0.5 * ((jnp.asarray(directions, x.dtype) @ y[:latents]) ** 2 - 1)
        return -0.5 * jnp.sum(y[:latents] ** 2) - 0.5 * jnp.sum(((y[latents:] - bent) / NOISE) ** 2)

    return LogDensity(log_density, np.zeros(DIMENSION), 1.2)


def main() -> None:
    for sharpness in (None, SHARPNESS):
        count(Training(decoder="gaussian", discovery_steps=4000, rounds=0, sharpness=sharpness))


def count(training: Training) -> None:
    """Latents left, for one way of training."""
    print(f"sharpness {training.sharpness or 'as many as samples'}")
    for latents in (1, 2, 3):
        for seed in (0, 1, 2):
            target = sheet(latents, seed)
            key = jax.random.key(seed)
            model = discover(target, latent_dim=OFFERED, budget=600_000, training=training, key=key)
            found = np.array(json.loads(model.report)["information"])
            left = int(np.sum(found > RELEVANT))
            print(f"{latents} planted, seed {seed}: {left} left, information {np.round(found, 2)}", flush=True)


if __name__ == "__main__":
    main()
