"""GPJax kernels as priors of spline coefficients: which curves are plausible before the forces are seen.

The prior of a term is a Gaussian process on its curve u(x). Coefficients follow by interpolation at the Greville sites,
w = S^-1 u(sites), so that Cov(w) = S^-1 k(sites, sites) S^-T, exact at the sites. Edge conditions enter by
conditioning: the transformed coefficients (C w, Z'w), with C w = 0 the conditions and Z a basis of its null space, have
a joint Cholesky factor whose lower right block is the factor of Cov(Z'w | C w = 0).

A liquid's pair force falls from thousands at contact to tens in the tail, which no stationary kernel describes. The
prior mean therefore has a repulsive power law fitted at contact, and the prior's *force* standard deviation is raised
in proportion to it: both act on coefficient differences, which are the coefficients of the slope.

Outside the sampled range data say nothing. There every draw follows the prior mean, which confines: pairs a repulsive
power law, bonds and angles their harmonic mean on both sides.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import jax
import numpy as np
from jaxtyping import Float

from bayescg.potentials import Term

_WARP_DECAY = 4
"""Power of distance with which the warp of a pair's kernel fades outside contact."""

_WALL_DOUBT = 1.0
"""Prior standard deviation of the contact force relative to the power law."""


@dataclass(frozen=True)
class Wall:
    """Repulsive power law, force (edge / r)^power.

    Attributes:
        edge: inner edge of the well-sampled range [nm].
        force: there [kJ/mol/nm].
        power: exponent; 13 for Lennard-Jones without its attraction, more with it.
    """

    edge: float
    force: float
    power: float


@partial(
    jax.tree_util.register_dataclass,
    data_fields=("inputs", "warp", "transform", "lift", "mean", "lengthscale", "amplitude"),
    meta_fields=("name",),
)
@dataclass(frozen=True, eq=False)
class TermPrior:
    """Constants of one term's prior; the kernel's hyperparameters are the only unknowns left.

    Attributes:
        name: the term.
        inputs: (site, dimension) where the kernel is evaluated; angles on the circle for dihedrals.
        warp: (site, dimension) or None; the kernel sees inputs + strength * warp, with the strength learnt, so that its
            lengthscale is shorter at contact than in the tail.
        transform: (site, site) maps curve values at the sites to (conditioned, free) coefficients.
        lift: (basis, free) maps free coefficients to the term's, damping and gauge applied.
        mean: (basis,) prior mean [kJ/mol].
        lengthscale: prior median of lengthscales, in units of the inputs.
        amplitude: prior median of the curve's standard deviation [kJ/mol].
    """

    name: str
    inputs: Float[np.ndarray, "site dimension"]
    warp: Float[np.ndarray, "site dimension"] | None
    transform: Float[np.ndarray, "site site"]
    lift: Float[np.ndarray, "basis free"]
    mean: Float[np.ndarray, " basis"]
    lengthscale: float
    amplitude: float


def term_prior(
    term: Term, counts: Float[np.ndarray, " interval"], sampled: tuple[float, float], kT: float, wall: Wall | None
) -> TermPrior:
    """Prior of a term from where its descriptor was sampled.

    Args:
        term: the term.
        counts: interactions met in each knot interval.
        sampled: smallest and largest descriptor met.
        kT: thermal energy [kJ/mol].
        wall: of a pair term; None for a first look at the data.

    Returns:
        The prior's constants.
    """
    spline = term.spline
    conditions, embedding, free = _edges(term)
    slope = _mean_slope(term, counts, kT=kT, wall=wall)
    scale = _lengthscale(term, sampled)
    # Effective pair potentials of liquids vary by about kT around the wall; bonded ones are stiffer.
    amplitude = (1.5 if term.kind == "pair" else 4.0) * kT
    spread = _force_spread(term, sampled, slope, 3 * kT / scale)
    # Coefficients that no free difference touches carry no freedom: leaving them out is the marginal.
    moving = np.any(spread != 0, axis=0)
    kept = _rounded(np.flatnonzero((np.append(moving, False) | np.append(False, moving))[free]), len(free))
    transform = np.vstack([conditions, np.eye(spline.size)[free[kept]]]) @ np.linalg.inv(spline.matrix(spline.sites))
    lift = _integrate(term, spread @ np.diff(embedding[:, kept], axis=0))
    mean = _integrate(term, spline.spacing * slope[:, None])[:, 0]
    warp = _warp(term, wall)
    return TermPrior(term.name, _inputs(term), warp, transform, lift, mean, scale, amplitude)


def _rounded(kept: np.ndarray, count: int) -> np.ndarray:
    """Round a run of kept coefficients out to multiples of eight: fits of similar data then share compiled code."""
    return np.arange(kept[0] // 8 * 8, min(-(-(kept[-1] + 1) // 8) * 8, count))


def _inputs(term: Term) -> Float[np.ndarray, "site dimension"]:
    if term.spline.periodic:
        # On the circle any kernel is periodic and stays positive definite.
        return np.stack([np.cos(term.sites), np.sin(term.sites)], axis=1)
    return term.sites[:, None]


def _warp(term: Term, wall: Wall | None) -> Float[np.ndarray, "site dimension"] | None:
    """Integral of (edge / r)^4: grows by one per nm at contact and stays flat in the tail, for beads of any size."""
    if wall is None or term.baseline is not None:
        return None
    x = np.linspace(term.spline.start, term.spline.stop, 2001)
    share = (wall.edge / np.maximum(x, wall.edge)) ** _WARP_DECAY
    integral = np.concatenate([[0.0], np.cumsum(0.5 * (share[1:] + share[:-1]) * np.diff(x))])
    return np.interp(term.sites, x, integral)[:, None]


def _edges(term: Term):
    """Edge conditions: (conditions on raw coefficients, embedding of the free ones, indices of the free ones).

    Pairs have u = u' = u'' = 0 at the cutoff, carried by the last three coefficients alone; angles have u' = 0 at 0 and
    pi, where u' is the difference of the first and third coefficient.
    """
    size = term.spline.size
    identity = np.eye(size)
    if term.kind == "pair":
        free = np.arange(size - 3)
        return identity[-3:], identity[:, free], free
    if term.kind == "angle":
        free = np.arange(1, size - 1)
        embedding = identity[:, free]
        embedding[0], embedding[-1] = embedding[2], embedding[-3]
        return np.stack([identity[2] - identity[0], identity[-1] - identity[-3]]), embedding, free
    return np.zeros((0, size)), identity, np.arange(size)


def _integrate(term: Term, differences: Float[np.ndarray, "difference k"]) -> Float[np.ndarray, "basis k"]:
    """Coefficients from their differences: zero at the cutoff for pairs, zero mean (the gauge) for bonded terms."""
    zero = np.zeros((1, differences.shape[1]))
    if term.kind == "pair":
        # Summed from the cutoff inward, where numbers are small: the wall's are not.
        return np.concatenate([-np.cumsum(differences[::-1], axis=0)[::-1], zero])[: term.n_basis]
    raw = np.concatenate([zero, np.cumsum(differences, axis=0)])
    return raw - raw.mean(axis=0)


def _midpoints(term: Term) -> Float[np.ndarray, " difference"]:
    """Where the coefficients of the slope sit: halfway between the centers of neighboring basis functions."""
    spline = term.spline
    return spline.start + (np.arange(spline.size - 1) - 0.5) * spline.spacing


def _force_spread(term: Term, sampled, slope, typical: float) -> Float[np.ndarray, "difference difference"]:
    """Map from coefficient differences of the stationary process to those of the term: where forces vary how much.

    Args:
        term: the term.
        sampled: smallest and largest descriptor met.
        slope: of the prior mean at the midpoints.
        typical: force scale of the stationary process.
    """
    x = _midpoints(term)
    if term.kind == "dihedral":
        return np.eye(len(x))
    # The slope at a sampled point depends on the differences up to one and a half knots away: all of these are free.
    reach = 1.5 * term.spline.spacing
    below = np.clip(sampled[0] - reach - x, 0, None)
    above = np.clip(x - sampled[1] - reach, 0, None) if term.kind != "pair" else 0.0
    damping = np.exp(-0.5 * ((below + above) / term.spline.spacing) ** 2)
    if term.kind == "angle":
        damping[0], damping[-1] = damping[1], damping[-2]  # mirrored about 0 and pi: the slope there stays zero
    damping[damping < 1e-3] = 0
    if term.kind != "pair" or not np.any(slope):
        return np.diag(damping)
    spread = np.diag(1 + _WALL_DOUBT * np.abs(slope) / typical)
    edge = min(int(np.searchsorted(x, sampled[0] - reach)), len(x) - 4)
    spread[:edge] = 0
    return spread


def _mean_slope(term: Term, counts, *, kT: float, wall: Wall | None) -> Float[np.ndarray, " difference"]:
    """du/dx of the prior mean at the midpoints.

    Pairs: a repulsive power law that continues the force at the inner edge. Bonds: the harmonic potential with the
    sampled mean and variance; angles: the same in cos(theta), whose slope vanishes at 0 and pi. With a baseline of the
    user's own, or for dihedrals, zero.
    """
    x = _midpoints(term)
    if term.baseline is not None or term.kind == "dihedral":
        return np.zeros_like(x)
    spline = term.spline
    if term.kind == "pair":
        if wall is None:
            return np.zeros_like(x)
        # Capped deep inside, where nothing ever is: numbers stay printable and steps of an integrator finite.
        ratio = wall.edge / np.maximum(x, 0.6 * wall.edge)
        return -wall.force * ratio**wall.power * (x < spline.stop - 3 * spline.spacing)
    centers = spline.knots[:-1] + 0.5 * spline.spacing
    values = np.cos(centers) if term.kind == "angle" else centers
    mean = np.average(values, weights=counts)
    variance = np.average((values - mean) ** 2, weights=counts)
    stiffness = kT / max(variance, spline.spacing**2 / 12)
    if term.kind == "angle":
        return -stiffness * (np.cos(x) - mean) * np.sin(x)
    return stiffness * (x - mean)


def well_sampled_edge(term: Term, counts: Float[np.ndarray, " interval"], enough: int = 20) -> float:
    """Where the sampling of a pair term becomes dense: upper end of the first knot interval with `enough` contacts."""
    filled = np.flatnonzero(counts >= min(enough, counts.max()))
    return float(term.spline.knots[filled[0] + 1])


def _lengthscale(term: Term, sampled: tuple[float, float]) -> float:
    """Prior median of the lengthscale."""
    if term.kind == "pair":
        return 0.12 * (term.spline.stop - sampled[0])
    if term.kind == "dihedral":
        return 0.7
    return max(0.5 * (sampled[1] - sampled[0]), 2 * term.spline.spacing)
