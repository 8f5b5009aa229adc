"""Hyperparameter posteriors of any NumPyro model with a cheap density: mode, Laplace, variational, NUTS.

All three start at the mode and use its curvature: with millions of forces the noise is known to a per mille while a
lengthscale is known to a factor, and a sampler that has to find both scales by itself fails (NumPyro's default
initialization finds no valid start).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import numpyro.infer
from arviz_stats.base import array_stats
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float
from numpyro.infer.hmc import hmc
from numpyro.infer.util import constrain_fn, potential_energy

from bayescg._runtime import cpu_count, map_threads, progress

_CHUNK = 50
_WIDENING = 1.15
"""Of the proposal over the Gaussian at the mode, so that weights stay bounded where the density has longer tails."""

_FIELDS = ("energy", "num_steps", "accept_prob", "diverging", "potential_energy")


class Mode(NamedTuple):
    """Posterior mode in unconstrained coordinates, with the inverse Hessian there."""

    position: Float[np.ndarray, " site"]
    covariance: Float[np.ndarray, "site site"]


class Sampled(NamedTuple):
    """Draws of a model's sites, (chain, draw, ...), and sampler statistics (chain, draw)."""

    values: dict[str, np.ndarray]
    stats: dict[str, np.ndarray]
    attrs: dict[str, object]


@dataclass(frozen=True, eq=False)
class Density:
    """A NumPyro model as a density of one unconstrained vector; compiled code is shared by models of equal shapes.

    Attributes:
        model: the model, a module-level function.
        args: its arguments, a pytree.
        start: prior medians, unconstrained, by site.
    """

    model: Callable
    args: tuple
    start: dict[str, Float[Array, "..."]]

    def value_and_gradient(self, position: Float[Array, " site"]) -> tuple[Float[Array, ""], Float[Array, " site"]]:
        """Minus log density and its gradient."""
        return _value_and_gradient(self.model, self.args, self.start, position)

    def minus_log(self, position: Float[Array, " site"]) -> Float[Array, ""]:
        """Minus log density, to be traced."""
        return _minus_log(self.model, self.args, self.start, position)

    def constrain(self, positions: Float[Array, "*draw site"]) -> dict[str, np.ndarray]:
        """Values of the sites at each position."""
        flat = jnp.asarray(positions).reshape(-1, positions.shape[-1])
        values = _constrain(self.model, self.args, self.start, flat)
        return {name: np.asarray(v).reshape(positions.shape[:-1] + v.shape[1:]) for name, v in values.items()}

    @property
    def center(self) -> Float[np.ndarray, " site"]:
        """`start` as one vector."""
        return np.asarray(ravel_pytree(self.start)[0])


def density(model: Callable, args: tuple, start: dict[str, Array]) -> Density:
    """A model with a point to start from, unconstrained."""
    return Density(model, args, start)


def _minus_log(model, args, start, position):
    return jnp.asarray(potential_energy(model, args, {}, ravel_pytree(start)[1](position)))


@partial(jax.jit, static_argnums=0)
def _value_and_gradient(model, args, start, position):
    return jax.value_and_grad(lambda z: _minus_log(model, args, start, z))(position)


@partial(jax.jit, static_argnums=0)
def _constrain(model, args, start, positions):
    unravel = ravel_pytree(start)[1]
    return jax.vmap(lambda z: constrain_fn(model, args, {}, unravel(z)))(positions)


def find_mode(target: Density) -> Mode:
    """Mode by trust-region Newton steps (SciPy) from the prior median; Hessian from differences of exact gradients.

    Raises:
        ValueError: if the search does not end at a mode.
    """
    from scipy.optimize import minimize

    def objective(z):
        value, gradient = target.value_and_gradient(jnp.asarray(z))
        if not np.isfinite(value) or not np.all(np.isfinite(gradient)):
            return np.inf, np.zeros_like(z)
        return float(value), np.asarray(gradient)

    def curvature(z, step=1e-3):
        rows = [(objective(z + step * e)[1] - objective(z - step * e)[1]) / (2 * step) for e in np.eye(len(z))]
        return 0.5 * (np.stack(rows) + np.stack(rows).T)

    start = target.center
    best = minimize(
        objective,
        start,
        jac=True,
        hess=curvature,
        method="trust-exact",
        options={"initial_trust_radius": 0.5, "max_trust_radius": 2.0, "gtol": 1e-3, "maxiter": 200},
    )
    # Flat or slightly concave directions (a hyperparameter that the data do not see) get the hyperprior's scale.
    eigenvalues, vectors = np.linalg.eigh(curvature(best.x))
    inverse = vectors / np.maximum(eigenvalues, 0.25)
    gradient = objective(best.x)[1]
    if not np.isfinite(best.fun) or gradient @ (inverse @ vectors.T) @ gradient > 0.01:
        raise ValueError(
            "the hyperparameters have no finite mode: check the forces for outliers or zero variance, and the cutoff"
        )
    return Mode(best.x, inverse @ vectors.T)


def laplace(target: Density, mode: Mode, draws: int, *, key: Array) -> Sampled:
    """Draws of the Gaussian at the mode, corrected by importance resampling, as one chain.

    Twice as many draws of a slightly wider Gaussian are weighted by the true density and resampled; weights are
    smoothed by PSIS (Vehtari et al., JMLR 25 (2024) 72), whose Pareto k says whether the Gaussian was near enough.
    """
    propose, resample = jax.random.split(key)
    noise = np.asarray(jax.random.normal(propose, (2 * draws, len(mode.position))))
    positions = mode.position + _WIDENING * noise @ np.linalg.cholesky(mode.covariance).T
    pieces = np.array_split(positions, 4 * cpu_count())
    density_at = np.concatenate(map_threads(lambda piece: _minus_log_each(target, jnp.asarray(piece)), pieces))
    log_weights = -np.nan_to_num(density_at, nan=np.inf) + 0.5 * np.sum(noise**2, axis=1)
    smooth, pareto_k = array_stats.psislw(-log_weights)
    weights = np.exp(smooth - smooth.max())
    # Systematic resampling: one uniform number, evenly spaced quantiles of the weights.
    grid = (np.arange(draws) + float(jax.random.uniform(resample))) / draws
    chosen = np.minimum(np.searchsorted(np.cumsum(weights) / weights.sum(), grid), 2 * draws - 1)
    return Sampled(target.constrain(positions[chosen][None]), {}, {"laplace_pareto_k": float(pareto_k)})


def _minus_log_each(target: Density, positions: Float[Array, "draw site"]) -> np.ndarray:
    return np.asarray(_minus_log_all(target.model, target.args, target.start, positions))


@partial(jax.jit, static_argnums=0)
def _minus_log_all(model, args, start, positions):
    return jax.lax.map(lambda z: _minus_log(model, args, start, z), positions)


def variational(target: Density, mode: Mode, draws: int, *, key: Array) -> Sampled:
    """Full-rank Gaussian in unconstrained space fitted by NumPyro's SVI, as one chain.

    Fitted in coordinates whitened by the curvature at the mode: a step size then suits the noise, known to a per
    mille, and a lengthscale, known to a factor, alike.
    """
    import optax
    from numpyro.infer import SVI, Trace_ELBO
    from numpyro.infer.autoguide import AutoMultivariateNormal

    spread = jnp.asarray(np.linalg.cholesky(mode.covariance))
    center = jnp.asarray(mode.position)

    def whitened():
        flat = dist.ImproperUniform(dist.constraints.real_vector, (), event_shape=center.shape)
        epsilon = numpyro.sample("epsilon", flat)
        with numpyro.handlers.block():  # the density is a NumPyro model itself: its sites are not ours
            log_density = -target.minus_log(center + spread @ epsilon)
        numpyro.factor("density", log_density)

    start = numpyro.infer.init_to_value(values={"epsilon": jnp.zeros_like(center)})
    guide = AutoMultivariateNormal(whitened, init_loc_fn=start, init_scale=1.0)
    svi = SVI(whitened, guide, optax.adam(optax.exponential_decay(0.03, 500, 0.3)), Trace_ELBO(num_particles=8))
    run_key, draw_key = jax.random.split(key)
    state = svi.init(run_key)
    update = jax.jit(lambda s: jax.lax.scan(lambda s, _: svi.update(s), s, None, length=100))
    losses = []
    with progress("Variational inference", 15) as advance:
        for _ in range(15):
            state, loss = update(state)
            losses.append(np.asarray(loss))
            advance(1)
    epsilon = guide.sample_posterior(draw_key, svi.get_params(state), sample_shape=(draws,))["epsilon"]
    losses = np.concatenate(losses)
    drift = abs(losses[-300:].mean() - losses[-600:-300].mean())
    positions = mode.position + np.asarray(epsilon) @ np.asarray(spread).T
    attrs = {"elbo": float(-losses[-300:].mean()), "converged": bool(drift < 0.5)}
    return Sampled(target.constrain(positions[None]), {}, attrs)


@lru_cache(maxsize=16)
def _nuts_programs(model: Callable, warmup: int) -> tuple[Callable, Callable]:
    """How a chain begins and how it goes on; compiled once for all densities of a model with equal shapes."""
    init, sample = hmc(potential_fn_gen=lambda args, start: partial(_minus_log, model, args, start), algo="NUTS")

    @jax.jit
    def begin(problem, position, metric, key):
        return init(
            position,
            warmup,
            inverse_mass_matrix=metric,
            dense_mass=True,
            trajectory_length=None,
            model_args=problem,
            rng_key=jax.random.split(key)[0],
        )

    @jax.jit
    def advance(problem, state):
        def step(state, _):
            state = sample(state, problem, {})
            return state, (state.z, {field: getattr(state, field) for field in _FIELDS})

        return jax.lax.scan(step, state, None, length=_CHUNK)

    return begin, advance


def nuts(target: Density, mode: Mode, *, chains: int, warmup: int, draws: int, key: Array) -> Sampled:
    """No-U-turn sampling by NumPyro from the mode, mass matrix from its curvature (doi:10.48550/arXiv.1111.4246).

    Chains run in turn on as many threads as the process may use (compiled code releases Python's lock): on a CPU this
    beats vectorized chains, which wait for the longest trajectory at every step.
    """
    dimension = len(mode.position)
    start, advance_chain = _nuts_programs(target.model, warmup)
    problem = (target.args, target.start)
    keys = jax.random.split(key, chains + 1)
    spread = np.linalg.cholesky(mode.covariance)
    starts = mode.position + np.asarray(jax.random.normal(keys[-1], (chains, dimension))) @ spread.T
    metric = jnp.asarray(mode.covariance)
    states = [start(problem, jnp.asarray(starts[c]), metric, keys[c]) for c in range(chains)]
    stop = threading.Event()

    def run(state):
        kept = []
        for done in range(0, warmup + draws, _CHUNK):
            if stop.is_set():
                break
            state, out = advance_chain(problem, state)
            out = jax.tree.map(np.asarray, out)
            if done + _CHUNK > warmup:
                skip = max(warmup - done, 0)
                kept.append(jax.tree.map(lambda x, skip=skip: x[skip:], out))
            advance(_CHUNK)
        return jax.tree.map(lambda *parts: np.concatenate(parts)[:draws], *kept) if kept else None

    with progress("NUTS", chains * _CHUNK * -(-(warmup + draws) // _CHUNK)) as advance:
        jax.block_until_ready(advance_chain(problem, states[0]))  # compiled once, before threads would each try
        results = map_threads(run, states, compiled=True, stop=stop)
    positions = np.stack([z for z, _ in results])
    stats = {
        _ARVIZ.get(field, field): np.stack([s[field] for _, s in results])
        for field in _FIELDS
        if field != "potential_energy"
    }
    stats["lp"] = -np.stack([s["potential_energy"] for _, s in results])
    return Sampled(target.constrain(positions), stats, {})


_ARVIZ = {"num_steps": "n_steps", "accept_prob": "acceptance_rate"}
