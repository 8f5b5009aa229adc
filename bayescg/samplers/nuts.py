"""The no-U-turn sampler, from a mode: chains in threads, in chunks, with progress, to be interrupted at any time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import lru_cache, partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from numpyro.infer.hmc import hmc

from bayescg._runtime import map_threads, progress
from bayescg.samplers.density import Density, Sampled, minus_log
from bayescg.samplers.mode import Mode
from bayescg.samplers.settings import Sampling

_CHUNK = 50
"""Steps of one compiled call."""

_FIELDS = {
    "energy": "energy",
    "num_steps": "n_steps",
    "accept_prob": "acceptance_rate",
    "diverging": "diverging",
}
"""Statistics of a step, and their names in ArviZ."""


@lru_cache(maxsize=16)
def _programs(model: Callable, warmup: int, acceptance: float, depth: int) -> tuple[Callable, Callable]:
    """How a chain begins and how it goes on; compiled once for all densities of a model with equal shapes."""
    init, sample = hmc(potential_fn_gen=lambda problem: partial(minus_log, model, problem), algo="NUTS")

    @jax.jit
    def begin(problem, position, metric, key):
        return init(
            position,
            warmup,
            inverse_mass_matrix=metric,
            dense_mass=True,
            target_accept_prob=acceptance,
            trajectory_length=None,  # pyright: ignore[reportArgumentType]  NumPyro takes None, which its types omit
            max_tree_depth=depth,
            model_args=(problem,),
            rng_key=jax.random.split(key)[0],
        )

    @jax.jit
    def advance(problem, state):
        def step(state, _):
            state = sample(state, (problem,), {})
            return state, (state.z, state.potential_energy, {field: getattr(state, field) for field in _FIELDS})

        return jax.lax.scan(step, state, None, length=_CHUNK)

    return begin, advance


def nuts(
    target: Density, mode: Mode, settings: Sampling, *, acceptance: float = 0.8, depth: int = 10, key: Array
) -> Sampled:
    """No-U-turn sampling by NumPyro from the mode, mass matrix from its curvature (doi:10.48550/arXiv.1111.4246).

    Chains run in turn on as many threads as the process may use (compiled code releases Python's lock): on a CPU this
    beats vectorized chains, which wait for the longest trajectory at every step.

    Args:
        target: the density.
        mode: where chains begin, and the first mass matrix.
        settings: numbers of chains and of their steps.
        acceptance: that step sizes aim at: nearer to one, smaller steps find narrower corners.
        depth: log2 of the longest trajectory's steps.
        key: JAX random key.
    """
    start, advance_chain = _programs(target.model, settings.warmup, acceptance, depth)
    keys = jax.random.split(key, settings.chains + 1)
    metric = jnp.asarray(mode.covariance)
    states = [
        start(target.problem, jnp.asarray(z), metric, k)
        for z, k in zip(_starts(target, mode, settings.chains, keys[-1]), keys, strict=False)
    ]
    length = settings.warmup + settings.draws
    stop = threading.Event()

    def run(chain: int):
        state, kept = states[chain], []
        for done in range(0, length, _CHUNK):
            if stop.is_set():  # the user interrupts: threads would run on to their end
                break
            state, out = first if chain == done == 0 else advance_chain(target.problem, state)
            out = jax.tree.map(np.asarray, out)
            if done + _CHUNK > settings.warmup:
                skip = max(settings.warmup - done, 0)
                kept.append(jax.tree.map(lambda x, skip=skip: x[skip:], out))
            advance(_CHUNK)
        return jax.tree.map(lambda *parts: np.concatenate(parts)[: settings.draws], *kept) if kept else None

    with progress("NUTS", settings.chains * _CHUNK * -(-length // _CHUNK)) as advance:
        # The first chunk compiles, before threads would each try.
        first = jax.block_until_ready(advance_chain(target.problem, states[0]))
        results = map_threads(run, range(settings.chains), compiled=True, stop=stop)
    positions, energies = (np.stack([result[k] for result in results]) for k in (0, 1))
    stats = {name: np.stack([s[field] for *_, s in results]) for field, name in _FIELDS.items()}
    return Sampled(target.constrain(positions), {**stats, "lp": -energies}, {})


def _starts(target: Density, mode: Mode, chains: int, key: Array) -> np.ndarray:
    """Draws of the Gaussian at the mode; the mode itself where such a draw has no density, and would never move."""
    noise = np.asarray(jax.random.normal(key, (chains, len(mode.position))))
    starts = mode.position + noise @ np.linalg.cholesky(mode.covariance).T
    finite = [np.isfinite(float(target.value_and_gradient(jnp.asarray(z))[0])) for z in starts]
    return np.where(np.asarray(finite)[:, None], starts, mode.position)
