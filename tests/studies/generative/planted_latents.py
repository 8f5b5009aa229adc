"""Planted latent variables: does relevance determination leave as many as the truth has? Five are offered.

Wells: one, two or three coordinates with two wells each, hidden by a rotation among six, the others noise. Sheets: as
many dimensions as z has entries, bent into six, x = R (z, f(z)) + noise with f quadratic in random directions; z is
normal, by a thousand points of a low-discrepancy sequence, so that the density is a sum.
"""

from __future__ import annotations

import json

import jax
import jax.numpy as jnp
import numpy as np
from scipy.stats import norm, qmc

from bayescg.atomistic import LogDensity
from bayescg.generative import Training, discover
from bayescg.generative.model.information import RELEVANT
from tests.studies.wanted import wanted

DIMENSION, NOISE, OFFERED, POINTS = 6, 0.3, 5, 1024


def wells(latents: int, seed: int = 0) -> LogDensity:
    """Hidden coordinates with wells at -1 and 1 of width 0.3 and shares between 0.3 and 0.7; a normalized density."""
    generator = np.random.default_rng(seed)
    rotation = np.linalg.qr(generator.normal(size=(DIMENSION, DIMENSION)))[0]
    share = generator.uniform(0.3, 0.7, latents)
    constant = DIMENSION * np.log(NOISE * np.sqrt(2 * np.pi))

    def log_density(x):
        y = jnp.asarray(rotation.T, x.dtype) @ x
        hidden, rest = y[:latents], y[latents:]
        sides = [np.log(part) - 0.5 * ((hidden - at) / NOISE) ** 2 for part, at in ((share, 1.0), (1 - share, -1.0))]
        return jnp.sum(jnp.logaddexp(*sides)) - 0.5 * jnp.sum((rest / NOISE) ** 2) - constant

    return LogDensity(log_density, np.zeros(DIMENSION), 1.0)


def sheet(latents: int, seed: int = 0) -> LogDensity:
    """A bent sheet with noise, equal in all directions."""
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
    count("wells", wells, seeds=(0, 1, 2))
    count("sheets", sheet, seeds=(0,))


def count(name: str, plant, seeds) -> None:
    """Latents left, with the default settings. Refinement, which leaves the encoder as it is, is left out."""
    print(name)
    training = Training(rounds=0, sharpening_steps=0)
    for latents in (1, 2, 3):
        for seed in seeds:
            target, key = plant(latents, seed), jax.random.key(seed)
            model = discover(target, latent_dim=OFFERED, budget=1_000_000, settings=training, key=key)
            found = np.array(json.loads(model.report)["information"])
            left = int(np.sum(found > RELEVANT))
            print(f"{latents} planted, seed {seed}: {left} left, information {np.round(found, 2)}", flush=True)
            if name == "wells":
                wanted(f"latents left of {latents}", left, latents, latents)


if __name__ == "__main__":
    main()
