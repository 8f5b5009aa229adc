"""`discover`: a generative coarse-grained model of a density, without data."""

from __future__ import annotations

import hashlib
import os
import warnings
from dataclasses import dataclass, replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from bayescg.atomistic.target import Target
from bayescg.generative.mode_check import log_ratios
from bayescg.generative.model.information import latent_information
from bayescg.generative.model.latent_model import LatentModel, build_model, strengthen
from bayescg.generative.model.whitening import whitening_of_samples, whitening_of_target
from bayescg.generative.particles.moves import move_cost
from bayescg.generative.particles.smc import Particles, rejuvenate, tempered_smc
from bayescg.generative.training.checkpoint import Checkpoint
from bayescg.generative.training.flattening import Flattening, oversampling_factor
from bayescg.generative.training.objectives import forward_bound, relevance_penalty
from bayescg.generative.training.refinement import Budget, refine, spread_out
from bayescg.generative.training.replay import ReplayData, replay_data
from bayescg.generative.training.reverse_kl import reverse_training
from bayescg.generative.training.training import train


@dataclass(frozen=True)
class Training:
    """How long and how hard to train. The defaults suit a molecule of twenty atoms on two processors.

    Attributes:
        discovery_steps: gradient steps of the first stage, which finds the latent variables.
        attempts: how often the first stage is run, from different random weights; the best result is kept.
        sharpening_steps: gradient steps of the second stage, in which a stronger decoder learns from the samples of the
            first.
        refinement_steps: gradient steps of each round of the third stage, which learns from the density, too.
        rounds: of refinement, each with new draws of the model.
        batch: samples for each step and direction.
        learning_rate: largest one of Adam.
        sharpness: lambda of the Gibbs posterior over weights, exp(-lambda KL): how many samples' worth of evidence the
            divergence counts against the prior that switches latents off; None: the number of samples.
        decoder: "spline", or "gaussian", that of the reference method.
        checkpoint: folder for finished stages; a second call with the same arguments goes on from there. None: no
            folder.

    Raises:
        ValueError: if a number is negative, or zero where it must be positive, or the decoder is unknown.
    """

    discovery_steps: int = 4000
    attempts: int = 3
    sharpening_steps: int = 3000
    refinement_steps: int = 1000
    rounds: int = 3
    batch: int = 256
    learning_rate: float = 1e-3
    sharpness: float | None = None
    decoder: str = "spline"
    checkpoint: str | os.PathLike[str] | None = None

    def __post_init__(self):
        for name in ("discovery_steps", "attempts", "batch", "learning_rate"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be positive")
        for name in ("rounds", "sharpening_steps", "refinement_steps"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be zero or more")
        if self.decoder not in ("gaussian", "spline"):
            raise ValueError(f"decoder is {self.decoder!r}; it must be 'spline' or 'gaussian'")
        if self.sharpness is not None and not self.sharpness > 0:
            raise ValueError(f"sharpness is {self.sharpness}; lambda must be positive")


_DEFAULT = Training()
WARM_UP, INFORMATION = 0.2, 0.3
"""In the first fifth of the steps what latents know weighs less, at first 0.3, and relevance is not yet asked for: a
latent that has nothing to say at first, such as one of two wells without a correlation between coordinates, would be
switched off before the decoder has learned to listen."""
SMALLEST_BUDGET = 20_000
"""Fewer evaluations are refused."""


def discover(
    target: Target,
    *,
    latent_dim: int = 2,
    budget: int = 5_000_000,
    method: str = "annealed",
    settings: Training = _DEFAULT,
    key,
) -> LatentModel:
    """Learn q(z) q(x | z) and its encoder r(z | x) from a log density alone.

    `method="annealed"` has three stages. Tempered SMC finds where the target has mass. A Gaussian decoder learns from
    the particles, which settles what the latent variables are. A spline flow then makes the decoder sharper, in both
    directions: against the particles, so that no mode is missed, and against the target's density at its own draws.

    `method="reverse_kl"` is the reference method (Schoeberl, Zabaras and Koutsourelakis, arXiv:2002.10148): the reverse
    divergence alone, tempered from high temperature. It can lose modes without a sign.

    Args:
        target: from `bayescg.atomistic`.
        latent_dim: number of latent variables, at most: relevance determination may switch some off.
        budget: largest number of evaluations of the target's density (with or without its gradient).
        method: "annealed" or "reverse_kl".
        settings: how long to train, and where finished stages are kept.
        key: JAX random key.

    Returns:
        The model. Its `report` holds the evaluations of each stage, log Z of the particles and the information of each
        latent. An interrupt (Ctrl-C) during training ends it early and returns what there is; the report says so.

    Raises:
        ValueError: if there are more latents than degrees of freedom, the method is unknown, the budget is too small,
            or the density is not finite anywhere near the target's location.
    """
    if not 1 <= latent_dim <= target.dimension:
        raise ValueError(
            f"latent_dim is {latent_dim}; it must be between 1 and the target's {target.dimension} degrees of freedom"
        )
    if method not in ("annealed", "reverse_kl"):
        raise ValueError(f"method is {method!r}; it must be 'annealed' or 'reverse_kl'")
    if budget < SMALLEST_BUDGET:
        raise ValueError(f"budget is {budget} evaluations; nothing is learned from fewer than {SMALLEST_BUDGET}")
    arguments = {
        "method": method,
        "latent_dim": latent_dim,
        "budget": budget,
        "training": repr(replace(settings, checkpoint=None)),
    }
    arguments |= {"target": _fingerprint(target), "key": np.asarray(jax.random.key_data(key)).tolist()}
    store = Checkpoint(settings.checkpoint, arguments)
    allowance = Budget(budget)
    if method == "reverse_kl":
        return _reverse_only(target, latent_dim, allowance, settings, store, key)
    return _annealed(target, latent_dim, allowance, settings, store, key)


def _reverse_only(target: Target, latent_dim: int, allowance: Budget, training: Training, store: Checkpoint, key):
    first, second, third = jax.random.split(key, 3)
    model = store.model("model")
    if model is None:
        model = build_model(whitening_of_target(target), latents=latent_dim, key=first)
        if training.decoder == "spline":
            model = strengthen(model, flexible_prior=False, key=third)
        model, report = reverse_training(model, target, training, allowance.left(), key=second)
        model = model.with_report(report)
        if report["interrupted"]:
            _warn_of_interrupt()
        else:
            store.keep("model", model)
    return model


def _fingerprint(target: Target) -> str:
    """What tells targets apart: kind, coordinates, and the density at sixteen places."""
    noise = np.random.default_rng(0).normal(size=(16, target.dimension))
    places = np.asarray(target.location) + 0.3 * np.where(target.periodic, 1.0, target.scale) * noise
    # A bound method holds arrays, by which JAX cannot look programs up.
    density = jax.jit(jax.vmap(lambda y: target.log_density(y)))  # noqa: PLW0108
    values = np.asarray(density(jnp.asarray(places, jnp.float32)))
    seen = [*np.asarray(target.location), *np.asarray(target.scale), *np.asarray(target.periodic), *values]
    digits = " ".join(f"{float(value):.4g}" for value in seen)
    return f"{type(target).__name__} {' '.join(target.names)} {hashlib.sha256(digits.encode()).hexdigest()[:16]}"


class _Found(NamedTuple):
    particles: Particles
    samples: np.ndarray


def _annealed(
    target: Target, latent_dim: int, allowance: Budget, training: Training, store: Checkpoint, key
) -> LatentModel:
    keys = iter(jax.random.split(key, 9))
    found = _explore(target, allowance, store, next(keys))
    report = {
        "method": "annealed",
        "interrupted": False,
        "evaluations_smc": found.particles.evaluations,
        "log_z_smc": found.particles.log_z,
        "log_z_smc_se": found.particles.log_z_se,
    }
    allowance.spent = found.particles.evaluations
    samples = found.samples
    whitening = whitening_of_samples(target, samples, np.ones(len(samples)))
    begin = jax.random.split(next(keys), training.attempts)
    attempts = [build_model(whitening, latents=latent_dim, key=k) for k in begin]
    # Sweep by sweep in order: the last tenth of the samples, of later sweeps, validates.
    held = max(len(samples) // 10, 1)
    known, validation = [replay_data(samples[:-held])], replay_data(samples[-held:])
    model, stopped = _latents(attempts, known, validation, "discovered", training, store, len(samples), next(keys))
    if stopped:
        return _finish(model, report | {"interrupted": True}, allowance, samples, next(keys))
    factor = oversampling_factor(log_ratios(model, target, samples, draws=16, key=next(keys)))
    factor = factor * Flattening(model, samples).factor(samples)
    allowance.spent += len(samples)
    sweeps = int(
        np.clip(0.2 * allowance.left() / (len(found.particles.weights) * (move_cost(target.periodic, 0) + 1)), 1, 5)
    )
    spread = spread_out(target, found.particles, samples, factor, sweeps=sweeps, key=next(keys))
    allowance.spent += spread.evaluations
    known = [replay_data(samples[:-held], factor[:-held]), replay_data(spread.coordinates)]
    validation = replay_data(samples[-held:], factor[-held:])
    model, stopped = _latents([model], known, validation, "completed", training, store, len(samples), next(keys))
    if stopped:
        return _finish(model, report | {"interrupted": True}, allowance, samples, next(keys))
    model = strengthen(model, decoder=training.decoder, key=next(keys))
    refined = refine(model, target, samples, spread, allowance, training, store, key=next(keys))
    report |= {"interrupted": refined.interrupted, "ess_shares": refined.shares}
    return _finish(refined.model, report, allowance, samples, next(keys))


def _explore(target: Target, allowance: Budget, store: Checkpoint, key) -> _Found:
    first, second = jax.random.split(key)
    kept = store.particles()
    if kept is not None:
        return _Found(*kept)
    # About 15 levels of one move each; the rest of the share goes into moves at the target itself.
    cost = move_cost(target.periodic)
    count = int(np.clip(0.35 * allowance.total / (15 * (cost + 3)), 200, 16384))
    particles = tempered_smc(target, particles=count, moves=1, budget=int(0.6 * allowance.total), key=first)
    share = 0.48 * allowance.total - particles.evaluations
    sweeps = int(np.clip(share // (count * (cost + 1)), 1, 20))
    particles, samples = rejuvenate(target, particles, sweeps=sweeps, key=second)
    samples = samples.reshape(-1, target.dimension)
    store.keep_particles(particles, samples)
    return _Found(particles, samples)


def _latents(
    models: list[LatentModel],
    known: list[ReplayData],
    validation: ReplayData,
    name: str,
    training: Training,
    store: Checkpoint,
    count: int,
    key,
) -> tuple[LatentModel, bool]:
    """A Gaussian decoder and its encoder, by the forward divergence; and whether the user stopped it.

    Of several beginnings the one that ends best on the validation samples: there are many local minima, most of them
    with a latent too many or too few.
    """
    kept = store.model(name)
    if kept is not None:
        return kept, False
    sharpness, fresh = training.sharpness or count, name == "discovered"
    test = validation.batch(2048, key=jax.random.key(1))

    def loss(model, done, *, key):
        pick, draw = jax.random.split(key)
        size, keys = 2 * training.batch // len(known), jax.random.split(pick, len(known))
        batch = jnp.concatenate([part.batch(size, key=k) for part, k in zip(known, keys, strict=True)])
        late = jnp.clip(done / WARM_UP, 0, 1) if fresh else 1.0
        bound = forward_bound(model, batch, information=INFORMATION ** (1 - late), key=draw)
        return bound + jnp.where(late < 1, 0.0, relevance_penalty(model) / sharpness)

    best, value = models[0], np.inf
    for number, (model, subkey) in enumerate(zip(models, jax.random.split(key, len(models)), strict=True)):
        done = train(
            model,
            loss,
            steps=training.discovery_steps,
            learning_rate=(5 if fresh else 2) * training.learning_rate,
            check=lambda m: forward_bound(m, test, key=jax.random.key(0)) + relevance_penalty(m) / sharpness,
            description=f"Latent variables, {name} {number + 1} of {len(models)}",
            key=subkey,
        )
        if len(done.validation) and done.validation.min() < value:
            best, value = done.model, done.validation.min()
        if done.interrupted:
            return best, True
    return store.keep(name, best), False


def _finish(model: LatentModel, report: dict, allowance: Budget, samples: np.ndarray, key) -> LatentModel:
    information = latent_information(model, samples, key=key)
    report = report | {"evaluations": allowance.spent, "information": information.tolist()}
    if report["interrupted"]:
        _warn_of_interrupt()
    return model.with_report(report)


def _warn_of_interrupt() -> None:
    warnings.warn(
        "training was interrupted: the model is as far as it came; with settings=Training(checkpoint=...) only that "
        "stage is repeated",
        stacklevel=5,
    )
