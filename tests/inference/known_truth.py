"""Fits to systems of known potential: shared by the tests of pairs and of chains, and by the studies."""

import jax
import numpy as np

import bayescg as bcg
from bayescg.inference import Sampling
from bayescg.posterior import curves, mean_coefficients
from tests.inference import systems
from tests.seeds import shifted

REPLICATES, FRAMES = 40, 5
PLAN = Sampling(chains=1, warmup=1, draws=1000)


def fit(potential, data, key, *, method="laplace", plan=PLAN):
    statistics = bcg.force_statistics(potential, data, pilot=bcg.fit_pilot(potential, data))
    posterior = bcg.force_match(potential, statistics, method=method, settings=plan, key=jax.random.key(shifted(key)))
    return statistics, posterior


def relative_error(statistics, posterior, name, truth):
    """Force RMSE over the rms force, weighted by g(r) (pairs) or the sampled distribution, at sampled descriptors."""
    knots = statistics.potential.term(name).spline.knots
    x = 0.5 * (knots[1:] + knots[:-1])
    low, high = statistics.ranges[name]
    weight = statistics.counts[name] / (x**2 if name == "A-A" else 1.0) * ((x >= low) & (x <= high))
    found = curves(statistics.potential, name, mean_coefficients(posterior), x)[1]
    exact = systems.true_force(truth, x)
    used = weight > 0
    return np.sqrt(np.sum((weight * (found - exact) ** 2)[used]) / np.sum((weight * exact**2)[used]))


def covered(potential, data, truths, key, **choices):
    """By term, points of a grid over what replicates have sampled, and whether 90 % bands hold the truth there."""
    noise = float(data["forces"].std())
    result = {name: [] for name in truths}
    for replicate in range(REPLICATES):
        part = data.isel(frame=slice(replicate * FRAMES, (replicate + 1) * FRAMES))
        statistics, posterior = fit(potential, systems.with_noise(part, noise, replicate), key + replicate, **choices)
        draws = posterior["posterior"]["coefficients"].values.reshape(-1, statistics.potential.n_basis)
        for name, (truth, low, high) in truths.items():
            x = np.linspace(low, high, 61)
            x = x[(x > statistics.ranges[name][0]) & (x < statistics.ranges[name][1])]
            lower, upper = np.quantile(curves(statistics.potential, name, draws, x)[1], [0.05, 0.95], axis=0)
            exact = systems.true_force(truth, x)
            result[name].append((x, (lower <= exact) & (exact <= upper)))
    return {name: [np.concatenate(part) for part in zip(*parts, strict=True)] for name, parts in result.items()}
