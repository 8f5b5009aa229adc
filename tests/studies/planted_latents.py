"""Sheets of one, two and three dimensions, bent into six: does relevance determination leave as many latents?

x = R (z, f(z)) + noise, f quadratic in random directions, the noise equal in all directions: as many latent variables
as z has entries, and none for the noise. z is normal, by a thousand points of a low-discrepancy sequence, so that the
density is a sum. Five latents are offered.
"""

from __future__ import annotations

import json

import jax
import jax.numpy as jnp
import numpy as np
from scipy.stats import norm, qmc

from bayescg.atomistic import LogDensity
from bayescg.generative import Training, discover
from bayescg.generative.information import RELEVANT

DIMENSION, NOISE, OFFERED, POINTS = 6, 0.3, 5, 1024


def sheet(latents: int, seed: int = 0) -> LogDensity:
    """The density of a bent sheet with noise."""
    generator = np.random.default_rng(seed)
    rotation = np.linalg.qr(generator.normal(size=(DIMENSION, DIMENSION)))[0]
    directions = generator.normal(size=(DIMENSION - latents, latents))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    z = norm.ppf(qmc.Sobol(latents, seed=seed).random(POINTS))
    centers = np.concatenate([z, 0.5 * ((z @ directions.T) ** 2 - 1)], axis=1) @ rotation.T

    def log_density(x):
        squares = jnp.sum((x - jnp.asarray(centers, x.dtype)) ** 2, axis=1)
        return jax.nn.logsumexp(-0.5 * squares / NOISE**2) - np.log(POINTS)

    return LogDensity(log_density, np.zeros(DIMENSION), 1.2)


def main() -> None:
    for decoder in ("gaussian", "spline"):
        count(decoder)


def count(decoder: str) -> None:
    """Latents left, with the default settings."""
    print(f"{decoder} decoder")
    for latents in (1, 2, 3):
        for seed in (0, 1, 2):
            target, training = sheet(latents, seed), Training(decoder=decoder)
            model = discover(target, latent_dim=OFFERED, budget=1_000_000, training=training, key=jax.random.key(seed))
            found = np.array(json.loads(model.report)["information"])
            left = int(np.sum(found > RELEVANT))
            print(f"{latents} planted, seed {seed}: {left} left, information {np.round(found, 2)}", flush=True)


if __name__ == "__main__":
    main()
