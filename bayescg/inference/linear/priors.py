"""The prior of force matching: walls placed and noise scaled by a first, fixed fit to the same sums."""

from __future__ import annotations

from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np

from bayescg import kernels as kernel_room
from bayescg.inference.linear import marginal, scores
from bayescg.inference.linear.marginal import Prior
from bayescg.inference.statistics.force_statistics import ForceStatistics
from bayescg.inference.statistics.sums.blocks import Sums
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
    forces = "forces" in statistics.equations
    noise = np.sqrt(total.square / np.maximum(total.components, 1)) if forces else _assumed(total, kT)
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
    if not forces:
        return prior(w, tuple(_mean_force(total, w, noise).tolist()))
    residual = np.sqrt(np.maximum(scores.residual_variance(total, w), 1e-12))
    return prior(w, tuple(np.maximum(residual, 1e-6 * np.asarray(noise)).tolist()))


def _assumed(total: Sums, kT: float) -> np.ndarray:
    """Size of forces where they are unknown, for a first fit [kJ/mol/nm]: of the mean force by the equations alone.

    b'G^-1 b is the sum of squares of the mean force. Directions that are hardly sampled are damped.
    """
    n = total.cross.shape[1]
    gram, cross = total.gram.sum(axis=0), total.cross.sum(axis=0)
    ridge = 1e-3 * np.trace(gram) / n * np.eye(n)
    square = float(cross @ np.linalg.solve(gram + ridge, cross)) / max(float(np.sum(total.components)), 1.0)
    return np.full(len(total.components), np.sqrt(max(square, kT**2)))


def _mean_force(total: Sums, w: np.ndarray, least) -> np.ndarray:
    """Root mean square of the fitted mean force, per component and bead type [kJ/mol/nm]: relative weights of types."""
    known = np.concatenate([w, np.ones(total.gram.shape[-1] - len(w))])
    square = np.einsum("k,tkl,l->t", known, total.gram, known) / np.maximum(total.components, 1)
    return np.sqrt(np.maximum(square, 1e-6 * np.asarray(least) ** 2))
