"""The prior of force matching: walls placed and noise scaled by a first, fixed fit to the same sums."""

from __future__ import annotations

from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from bayescg import kernels as kernel_room
from bayescg.data.units import BOLTZMANN
from bayescg.inference.linear import marginal, scores
from bayescg.inference.linear.marginal import Prior
from bayescg.inference.statistics.force_statistics import ForceStatistics
from bayescg.kernels import GridPrior, InducingPrior, TermPrior, Wall
from bayescg.potentials import LocalDensity, SmoothOverlap, Term, ThreeBody


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

    def prior(walls: Mapping[str, Wall], noise) -> Prior:
        terms = tuple(_term_prior(statistics, t, kT, walls.get(t.name)) for t in learning)
        return Prior(potential, terms, chosen, noise, statistics.noise_names)

    first = prior({}, noise)
    medians = {
        name: jnp.exp(d.loc) * (5.0 if name.startswith("amplitude") else 0.5 if name.startswith("length") else 1.0)
        for name, d in first.distributions().items()
    }
    reduced = marginal.reduce(first, total)
    mean, _ = marginal.mean_at(first, reduced, medians)
    w = first.mean + first.lift @ np.asarray(mean)
    walls = {}
    for term in learning:
        if term.kind != "pair":
            continue
        walls[term.name] = wall(term, statistics.counts[term.name], w[potential.slices[term.name]], kT)
    residual = np.sqrt(np.maximum(scores.residual_variance(total, w), 1e-12))
    return prior(walls, tuple(np.maximum(residual, 1e-6 * np.asarray(noise)).tolist()))


def _term_prior(
    statistics: ForceStatistics, term: Term, kT: float, wall: Wall | None
) -> TermPrior | GridPrior | InducingPrior:
    counts, sampled = statistics.counts[term.name], statistics.ranges[term.name]
    if isinstance(term, ThreeBody):
        return kernel_room.triangle_prior(term, counts, kT)
    if isinstance(term, SmoothOverlap):
        return kernel_room.overlap_prior(term, kT)
    if isinstance(term, LocalDensity):
        return kernel_room.density_prior(term, counts, sampled, kT)
    return kernel_room.term_prior(term, counts, sampled, kT=kT, wall=wall)


def wall(term: Term, counts, w: Float[np.ndarray, " basis"], kT: float) -> Wall:
    """Power law through the force of a first fit, or of a start, at the inner edge of the well-sampled range."""
    edge = kernel_room.well_sampled_edge(term, counts)
    outer = edge + 2 * term.spline.spacing
    inner_force, outer_force = -term.spline.matrix([edge, outer], 1)[:, : term.n_basis] @ w
    # However soft the data make it look, the wall must hold beads apart: kT within a twentieth of a nanometer.
    force = max(float(inner_force), kT / 0.05)
    power = np.log(force / max(float(outer_force), 1e-3 * force)) / np.log(outer / edge)
    return Wall(edge, force, float(np.clip(power, 10, 24)))
