"""The prior of force matching: walls placed and noise scaled by a first, fixed fit to the same sums."""

from __future__ import annotations

from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np

from bayescg import kernels as kernel_room
from bayescg.inference.linear import marginal, scores
from bayescg.inference.linear.marginal import Prior
from bayescg.inference.statistics.force_statistics import ForceStatistics
from bayescg.units import BOLTZMANN


def build_prior(statistics: ForceStatistics, kernels: Mapping[str, object]) -> Prior:
    """Prior of all terms, its walls placed and its noise scaled by a first, fixed fit to the same sums.

    Raises:
        ValueError: if a term was never sampled.
    """
    potential = statistics.potential
    for term in potential.terms:
        if not np.isfinite(statistics.ranges[term.name][0]):
            raise ValueError(f"{term.name}: no system has any interaction within its range; leave the term out")
    kT = BOLTZMANN * statistics.temperature
    learning = [term for term in potential.terms if term.n_basis]
    chosen = {term.name: kernels.get(term.name, kernel_room.default_kernel()) for term in learning}
    total = statistics.total()
    noise = np.sqrt(total.square / np.maximum(total.components, 1))
    noise = tuple(np.where(noise > 0, noise, 1.0).tolist())

    def prior(w: np.ndarray | None, noise) -> Prior:
        terms = tuple(
            kernel_room.prior_of(
                term,
                statistics.counts[term.name],
                statistics.ranges[term.name],
                kT=kT,
                first=None if w is None else w[potential.slices[term.name]],
            )
            for term in learning
        )
        return Prior(potential, terms, chosen, noise, statistics.noise_names)

    first = prior(None, noise)
    medians = {
        name: jnp.exp(d.loc) * (5.0 if name.startswith("amplitude") else 0.5 if name.startswith("length") else 1.0)
        for name, d in first.distributions().items()
    }
    reduced = marginal.reduce(first, total)
    mean, _ = marginal.mean_at(first, reduced, medians)
    w = first.mean + first.lift @ np.asarray(mean)
    residual = np.sqrt(np.maximum(scores.residual_variance(total, w), 1e-12))
    return prior(w, tuple(np.maximum(residual, 1e-6 * np.asarray(noise)).tolist()))
