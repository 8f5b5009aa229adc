"""Mode and NUTS of a surrogate's parameters (Hoffman & Gelman, arXiv:1111.4246), by NumPyro."""

from __future__ import annotations

import functools
import threading
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpyro.infer.hmc import hmc

from bayescg._runtime import map_threads, progress
from bayescg.surrogates import density
from bayescg.surrogates.density import Problem

_CHUNK = 50
_STARTS = 6
_FIELDS = {
    "energy": "energy",
    "num_steps": "n_steps",
    "accept_prob": "acceptance_rate",
    "diverging": "diverging",
}


class Mode(NamedTuple):
    """The highest mode found, unconstrained, and the inverse of the curvature there."""

    position: Float[np.ndarray, " site"]
    covariance: Float[np.ndarray, "site site"]


class Sampled(NamedTuple):
    """Draws (chain, draw, ...) by name, and sampler statistics (chain, draw)."""

    values: dict[str, np.ndarray]
    stats: dict[str, np.ndarray]


@jax.jit
def _value_and_gradient(problem, position):
    return jax.value_and_grad(density.minus_log, argnums=1)(problem, position)


@jax.jit
def _constrain_all(problem, positions):
    return jax.vmap(lambda z: density.constrain(problem, z)[0])(positions)


def prior_draws(problem: Problem, count: int, *, key: Array) -> dict[str, np.ndarray]:
    """Draws of every unknown from its prior, (count, ...)."""
    names = sorted(problem.priors)
    keys = jax.random.split(key, len(names))
    return {name: np.asarray(problem.priors[name].sample(k, (count,))) for name, k in zip(names, keys, strict=True)}


def find_mode(problem: Problem, *, key: Array) -> Mode:
    """The best of several searches (L-BFGS, SciPy) from draws of the prior.

    Physics and discrepancy can explain the same data in more than one way, so that there may be several modes.

    Raises:
        ValueError: if no search ends at a finite density.
    """
    from scipy.optimize import minimize

    def objective(z):
        value, gradient = _value_and_gradient(problem, jnp.asarray(z))
        value, gradient = float(value), np.asarray(gradient)
        # A line search that steps too far must find a wall, not a nan.
        return (value, gradient) if np.isfinite(value) and np.all(np.isfinite(gradient)) else (1e15, np.zeros_like(z))

    draws = prior_draws(problem, 64 * _STARTS, key=key)
    middle = {name: np.median(values, axis=0) for name, values in draws.items()}
    starts = [middle] + [{name: values[k] for name, values in draws.items()} for k in range(_STARTS - 1)]
    best = None
    for start in starts:
        found = minimize(
            objective, np.asarray(density.unconstrain(problem, start)), jac=True, method="L-BFGS-B",
            options={"maxiter": 300},
        )  # fmt: skip
        if best is None or found.fun < best.fun:
            best = found
    if best is None or not best.fun < 1e14:
        raise ValueError("the posterior is not finite anywhere: check the priors, and the mean at the data's inputs")
    step = 1e-3
    rows = [
        (objective(best.x + step * e)[1] - objective(best.x - step * e)[1]) / (2 * step) for e in np.eye(len(best.x))
    ]
    eigenvalues, vectors = np.linalg.eigh(0.5 * (np.stack(rows) + np.stack(rows).T))
    # Flat or slightly concave directions (a lengthscale without a discrepancy) get the hyperprior's scale.
    return Mode(best.x, (vectors / np.maximum(eigenvalues, 0.5)) @ vectors.T)


@functools.lru_cache(maxsize=8)
def _compiled(warmup: int):
    """NUTS for this length of warmup; compiled once for all problems of equal shapes."""
    init, sample = hmc(potential_fn_gen=lambda problem: lambda z: density.minus_log(problem, z), algo="NUTS")

    @jax.jit
    def start(problem, position, covariance, key):
        return init(
            position,
            warmup,
            step_size=0.5,
            inverse_mass_matrix=covariance,
            dense_mass=True,
            target_accept_prob=0.99,
            model_args=(problem,),
            rng_key=key,
        )

    @jax.jit
    def advance(problem, state):
        def step(state, _):
            state = sample(state, (problem,), {})
            return state, (state.z, {field: getattr(state, field) for field in (*_FIELDS, "potential_energy")})

        return jax.lax.scan(step, state, None, length=_CHUNK)

    return start, advance


def nuts(problem: Problem, mode: Mode, *, chains: int, warmup: int, draws: int, key: Array) -> Sampled:
    """Chains from about the mode, in turn on as many threads as there are processors.

    Args:
        problem: what is sampled.
        mode: where to start, and the first mass matrix.
        chains: how many.
        warmup: discarded steps of each.
        draws: kept steps of each.
        key: JAX random key.
    """
    start, advance_chain = _compiled(warmup)
    keys = jax.random.split(key, chains + 1)
    spread = np.linalg.cholesky(mode.covariance)
    starts = mode.position + np.asarray(jax.random.normal(keys[-1], (chains, len(mode.position)))) @ spread.T
    # A start that has no density would never move: such a chain begins at the mode.
    finite = [np.isfinite(float(_value_and_gradient(problem, jnp.asarray(z))[0])) for z in starts]
    starts = np.where(np.asarray(finite)[:, None], starts, mode.position)
    # Warmup schedules are set when a chain begins: all begin here, before threads run them.
    states = [
        start(problem, jnp.asarray(z), jnp.asarray(mode.covariance), k) for z, k in zip(starts, keys, strict=False)
    ]

    stop = threading.Event()

    def run(state):
        kept = []
        for done in range(0, warmup + draws, _CHUNK):
            if stop.is_set():  # the user interrupts: threads would run on to their end
                break
            state, out = advance_chain(problem, state)
            if done + _CHUNK > warmup:
                out = jax.tree.map(np.asarray, out)
                skip = max(warmup - done, 0)
                kept.append(jax.tree.map(lambda x, skip=skip: x[skip:], out))
            advance(_CHUNK)
        return jax.tree.map(lambda *parts: np.concatenate(parts)[:draws], *kept) if kept else None

    with progress("NUTS", chains * _CHUNK * -(-(warmup + draws) // _CHUNK)) as advance:
        results = map_threads(run, states, stop=stop)
    positions = np.stack([z for z, _ in results])
    stats = {name: np.stack([s[field] for _, s in results]) for field, name in _FIELDS.items()}
    stats["lp"] = -np.stack([s["potential_energy"] for _, s in results])
    values = _constrain_all(problem, jnp.asarray(positions.reshape(-1, positions.shape[-1])))
    return Sampled({n: np.asarray(v).reshape(*positions.shape[:2], *v.shape[1:]) for n, v in values.items()}, stats)
