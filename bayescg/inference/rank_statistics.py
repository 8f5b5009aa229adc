"""`rank_statistics`: simulation-based calibration of force matching under its own model.

Hyperparameters and coefficients are drawn from the prior, forces from the model at the configurations of real data, and
the model is fitted to them: over many repetitions the rank of the truth among the posterior draws is uniform if, and
only if, the computation is right (Talts et al., arXiv 1804.06788; Säilynoja et al., doi:10.1007/s11222-022-10090-6).

No forces are needed in full: with J'J = G known, J'e ~ N(0, sigma^2 G), and what e has outside the columns of J adds
sigma^2 times a chi-square number to |f|^2. One pass over the data serves all simulations.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Float

from bayescg._runtime import double_precision, map_threads
from bayescg.inference.linear import marginal
from bayescg.inference.linear.draws import draw_coefficients
from bayescg.inference.linear.fit import METHODS, sample_hyperparameters
from bayescg.inference.linear.marginal import Prior, Reduced
from bayescg.inference.linear.priors import build_prior
from bayescg.inference.statistics.force_statistics import ForceStatistics
from bayescg.inference.statistics.weights import require_equal
from bayescg.samplers.settings import Sampling

_POINTS = 5


def rank_statistics(
    statistics: ForceStatistics, *, simulations: int = 200, draws: int = 200, method: str = "laplace", key: Array
) -> xr.Dataset:
    """Simulation-based calibration (Talts et al., arXiv:1804.06788) of fits with calibration "none".

    Hyperparameters and curves are drawn from the prior, forces are simulated from them on the design of real data, and
    the posterior of these forces is sampled. If the sampler is right, the rank of the true value among posterior draws
    is uniform.

    Args:
        statistics: of real data. Their design and prior are used, their forces only to scale the prior.
        simulations: number of true values.
        draws: posterior draws for each.
        method: as in `force_match`; "nuts" is exact, "laplace" fast.
        key: JAX random key.

    Returns:
        `rank` (simulation, quantity) in [0, 1]: the share of draws below the true value, for every hyperparameter and
        for the force of each term at five sampled descriptors, `f_NAME(x)`. Of a term that is no function of one
        variable, for the coefficients along the directions that data like these know best, `w_NAME(1)` and so on.

    Raises:
        ValueError: for an unknown method, fewer than 2 simulations or draws, or frames with unequal weights.
    """
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}; got {method!r}")
    if min(simulations, draws) < 2:
        raise ValueError(f"simulations={simulations}, draws={draws}: at least 2 of each are needed")
    size = statistics.n_frames, statistics.effective_frames
    require_equal(*size, "rank_statistics", "give it statistics of frames without weights")
    plan = Sampling(chains=1, warmup=500, draws=draws)
    with double_precision():
        prior = build_prior(statistics, {})
        design = marginal.reduce(prior, statistics.total())
        labels, rows = _functionals(statistics)

        def one(item: Array) -> tuple[list[str], np.ndarray]:
            truth_key, fit_key, draw_key = jax.random.split(item, 3)
            truth, free, data = _simulate(prior, design, key=truth_key)
            _, _, found = sample_hyperparameters(prior, data, method=method, sampling=plan, key=fit_key)
            coefficients = draw_coefficients(prior, data, found.values, key=draw_key)[0]
            names, shares = [], []
            for name, values in found.values.items():
                below = np.mean(values[0] < np.asarray(truth[name]), axis=0)
                names += [name] if below.ndim == 0 else [f"{name}({k + 1})" for k in range(below.size)]
                shares += below.ravel().tolist()
            below = (coefficients - (prior.mean + prior.lift @ free)) @ rows.T < 0
            return names + labels, np.array(shares + below.mean(axis=0).tolist())

        results = map_threads(one, list(jax.random.split(key, simulations)), "Simulation-based calibration")
    return xr.Dataset(
        {"rank": (("simulation", "quantity"), np.stack([shares for _, shares in results]))},
        {"quantity": results[0][0]},
        {"method": method, "draws": draws, "calibration": "none"},
    )


def _functionals(statistics: ForceStatistics) -> tuple[list[str], Float[np.ndarray, "quantity basis"]]:
    """Linear functions of the coefficients whose ranks are counted, and their names."""
    potential, labels, rows = statistics.potential, [], []
    gram = np.asarray(statistics.total().gram).sum(axis=0)
    for term in potential.terms:
        if not term.n_basis:
            continue
        own = potential.slices[term.name]
        if term.graph is not None:
            low, high = statistics.ranges[term.name]
            x = np.linspace(low, high, _POINTS + 2)[1:-1]
            part, names = -np.asarray(term.graph.basis(x)[1]), [f"f_{term.name}({at:.3g})" for at in x]
        else:
            strength, directions = np.linalg.eigh(gram[own, own])
            count = min(_POINTS, int(np.sum(strength > 1e-8 * strength[-1])))
            part, names = directions[:, ::-1][:, :count].T, [f"w_{term.name}({k + 1})" for k in range(count)]
        whole = np.zeros((len(part), potential.n_basis))
        whole[:, own] = part
        labels += names
        rows.append(whole)
    return labels, np.concatenate(rows)


def _simulate(prior: Prior, design: Reduced, *, key: Array) -> tuple[dict[str, Array], np.ndarray, Reduced]:
    """Hyperparameters and free coordinates from the prior, and the sums of forces simulated from them."""
    sites = prior.distributions()
    site_keys, free_key, noise_key, rest_key = jax.random.split(key, 4)
    keys = jax.random.split(site_keys, len(sites))
    truth = {name: jnp.asarray(d.sample(k)) for (name, d), k in zip(sites.items(), keys, strict=True)}
    factor = marginal.factor_at(prior, truth)
    free = factor @ np.asarray(jax.random.normal(free_key, (factor.shape[1],)))
    noise = np.asarray(prior.noises(truth))
    gram, components = np.asarray(design.gram), np.asarray(design.components)
    cross, square = [], []
    for k in range(len(gram)):
        eigenvalues, vectors = np.linalg.eigh(gram[k])
        inside = eigenvalues > 1e-12 * eigenvalues.max()
        # As many numbers for any rank: one program serves all.
        normal = np.asarray(jax.random.normal(jax.random.fold_in(noise_key, k), inside.shape))[: int(inside.sum())]
        along = noise[k] * vectors[:, inside] @ (np.sqrt(eigenvalues[inside]) * normal)
        freedom = float(components[k] - inside.sum())
        outside = 2 * float(jax.random.gamma(jax.random.fold_in(rest_key, k), freedom / 2))
        cross.append(gram[k] @ free + along)
        square.append(free @ gram[k] @ free + 2 * free @ along + noise[k] ** 2 * (normal @ normal + outside))
    data = Reduced(design.gram, jnp.asarray(np.stack(cross)), jnp.asarray(np.stack(square)), design.components)
    return truth, free, data
