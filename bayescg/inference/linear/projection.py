"""Fits of many coefficients in the directions that kernels and data leave open: how these are found, and checked.

The density of hyperparameters costs the cube of the number of coefficients. A prior of some hundred narrow knots is
followed by fewer coordinates (`bayescg.kernels.reduction`), at the roughest hyperparameters that the posterior has:

1. a coarse projection at the prior medians gives the mode, and draws of the Gaussian about it;
2. of these a rough one is the reference of the projection that is sampled;
3. after sampling, the evidence at the roughest draws that were visited is compared with the dense formula. Where it
   differs by more than a tenth of a nat, the reference moves there, the tolerance shrinks, and sampling is repeated.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
from jaxtyping import Array, Float

from bayescg.inference.linear import marginal
from bayescg.inference.linear.marginal import Prior, Reduced
from bayescg.kernels.priors import CurvePrior
from bayescg.kernels.reduction import reduced
from bayescg.samplers.mode import find_mode

FEWEST = 96
"""Terms of no more free coefficients are left as they are: of 88, as in hexane, data of 200 frames see nearly all."""

TOLERANCE = 0.3
"""What may be dropped, summed over all directions: variance of forces over their posterior variance, and variance of
what the data see over that of their noise."""

LARGEST_ERROR = 0.1
"""Of the log evidence at visited hyperparameters [nats]."""

_FINER = 0.25
"""Factor on the tolerance where a projection was not fine enough."""

_FIRST = 96
"""Coordinates of the coarse projection."""

_PROPOSED, _ROUGH = 128, 0.98
"""Draws about the mode, and the quantile of their roughness that is the reference."""

Values = Mapping[str, np.ndarray]


class Projected(NamedTuple):
    """A fit in fewer coordinates.

    Attributes:
        prior: of the coordinates.
        data: in these coordinates.
        spread: (free, coordinate) free coefficients of the coordinates.
        references: hyperparameters at which each projected term was projected, by name; none where no term has many
            coefficients, or all of them matter.
        tolerance: of the projection.
    """

    prior: Prior
    data: Reduced
    spread: Float[np.ndarray, "free coordinate"]
    references: dict[str, Values]
    tolerance: float

    def root(self, full: Float[Array, "free direction"] | None) -> Float[Array, "coordinate column"] | None:
        """The root of a covariance of scores in these coordinates, with no more columns than rows."""
        if full is None or not self.references:
            return full
        return jnp.asarray(np.asarray(np.linalg.qr((self.spread.T @ np.asarray(full)).T, mode="r")).T)


def project(prior: Prior, data: Reduced) -> Projected:
    """Prior and data in the directions that matter; as they are where no term has many coefficients.

    Args:
        prior: of all terms.
        data: sums in its free coordinates.
    """
    medians = {name: np.exp(np.asarray(value)) for name, value in prior.medians().items()}
    names = [term.name for term in _curves(prior) if term.lift.shape[1] > FEWEST]
    if not names:
        return _none(prior, data)
    coarse = _at(prior, data, dict.fromkeys(names, medians), TOLERANCE, _FIRST)
    if not coarse.references:
        return coarse
    target = marginal.hyperparameter_density(coarse.prior, coarse.data)
    mode = find_mode(target)
    noise = np.random.default_rng(0).normal(size=(_PROPOSED, len(mode.position)))
    proposed = target.constrain(mode.position + noise @ np.linalg.cholesky(mode.covariance).T)
    return _at(prior, data, _rough(coarse, proposed, _ROUGH), TOLERANCE)


def finer(prior: Prior, data: Reduced, last: Projected, visited: Values) -> Projected:
    """A finer projection, at the roughest of the hyperparameters that were visited; after three, none at all.

    Args:
        prior: of all terms, in full.
        data: in full.
        last: the projection that was not fine enough.
        visited: hyperparameters, (chain, draw, ...).
    """
    tolerance = _FINER * last.tolerance
    if tolerance < 0.9 * _FINER**2 * TOLERANCE:
        return _none(prior, data)
    return _at(prior, data, _rough(last, _some(visited, _PROPOSED), 1.0), tolerance)


def error(prior: Prior, data: Reduced, small: Projected, visited: Values) -> float:
    """Largest difference of the log evidence from the dense formula, at a handful of visited hyperparameters [nats].

    Args:
        prior: of all terms, in full.
        data: in full.
        small: the projection.
        visited: hyperparameters, (chain, draw, ...).
    """
    flat = _some(visited, _PROPOSED)
    rough = _rough(small, flat, 1.0)
    others = [{name: v[k] for name, v in flat.items()} for k in (0, len(next(iter(flat.values()))) // 2)]
    differences = []
    for values in [*rough.values(), *others]:
        given = {name: jnp.asarray(v) for name, v in values.items()}
        factor = scipy.linalg.block_diag(*[np.asarray(f) for f in marginal.factors_at(small.prior, given)])
        noise = np.asarray(prior.noises(given))
        differences.append(
            _evidence(factor @ factor.T, small.data, noise) - _evidence(covariance(prior, values), data, noise)
        )
    return float(np.max(np.abs(differences)))


def covariance(prior: Prior, values: Values) -> Float[np.ndarray, "free free"]:
    """Prior covariance of all free coefficients, without the jitter that factors have."""
    given = {name: jnp.asarray(v) for name, v in values.items()}
    curves, grams = _curves(prior), {}
    if curves:
        grams = dict(zip([t.name for t in curves], _grams(tuple(curves), _kernels(prior, curves), given), strict=True))
    blocks = []
    for term in prior.terms:
        if not isinstance(term, CurvePrior):
            factor = np.asarray(term.factor(prior.kernels[term.name], given))
            blocks.append(factor @ factor.T)
            continue
        transform, free = np.asarray(term.transform), term.lift.shape[1]
        joint = transform @ np.asarray(grams[term.name]) @ transform.T
        edge = len(joint) - free
        own = joint[edge:, edge:]
        if edge:
            own = own - joint[edge:, :edge] @ np.linalg.solve(joint[:edge, :edge], joint[:edge, edge:])
        blocks.append(0.5 * (own + own.T))
    return np.asarray(scipy.linalg.block_diag(*blocks))


def _none(prior: Prior, data: Reduced) -> Projected:
    return Projected(prior, data, np.eye(data.gram.shape[-1]), {}, TOLERANCE)


def _at(prior: Prior, data: Reduced, references: dict[str, Values], tolerance: float, most=None) -> Projected:
    """The projection of each named term at its reference."""
    weight = np.asarray(prior.noise, float) ** -2.0 if prior.noise_names else np.ones(1)
    precision = np.einsum("t,tfg->fg", weight, np.asarray(data.gram))
    terms, spreads, used, first = [], [], {}, 0
    for term in prior.terms:
        free = term.lift.shape[1]
        own = slice(first, first + free)
        first += free
        found = None
        if term.name in references and isinstance(term, CurvePrior):
            given = {name: jnp.asarray(v) for name, v in references[term.name].items()}
            (gram,) = _grams((term,), _kernels(prior, [term]), given)
            found = reduced(term, np.asarray(gram), precision[own, own], tolerance=tolerance, most=most)
            if found is not None:
                used[term.name] = references[term.name]
        terms.append(term if found is None else found.prior)
        spreads.append(np.eye(free) if found is None else found.spread)
    spread = np.asarray(scipy.linalg.block_diag(*spreads))
    gram = np.stack([spread.T @ g @ spread for g in np.asarray(data.gram)])
    small = data._replace(gram=jnp.asarray(gram), cross=jnp.asarray(np.asarray(data.cross) @ spread))
    return Projected(replace(prior, terms=tuple(terms)), small, spread, used, tolerance)


def _rough(small: Projected, values: Values, quantile: float) -> dict[str, Values]:
    """For every projected term, hyperparameters of high log determinant: those that leave the data most directions."""
    count = len(next(iter(values.values())))
    one = [{name: np.asarray(v[k]) for name, v in values.items()} for k in range(count)]
    weight = np.asarray(small.prior.noise, float) ** -2.0 if small.prior.noise_names else np.ones(1)
    precision = np.einsum("t,tfg->fg", weight, np.asarray(small.data.gram))
    sizes = {name: np.zeros(count) for name in small.references}
    for k, given in enumerate(one):
        factors = marginal.factors_at(small.prior, {name: jnp.asarray(v) for name, v in given.items()})
        first = 0
        for term, factor in zip(small.prior.terms, factors, strict=True):
            own = slice(first, first + len(factor))
            first += len(factor)
            if term.name in sizes:
                lower = np.asarray(factor)
                inner = np.eye(len(lower)) + lower.T @ precision[own, own] @ lower
                sizes[term.name][k] = np.sum(np.log(np.diagonal(np.linalg.cholesky(inner))))
    found = {name: one[int(np.argsort(size)[round(quantile * (count - 1))])] for name, size in sizes.items()}
    return {name: _rough_in_the_tail(name, given, values, quantile) for name, given in found.items()}


def _rough_in_the_tail(name: str, given: Values, values: Values, quantile: float) -> Values:
    """With less warp, where others are rougher in the tail: the log determinant is mostly that of contact.

    Of a pair with one lengthscale, which in the tail is 1 + warp times as long.
    """
    at, warp = f"lengthscale_{name}", f"warp_{name}"
    if warp not in given or at not in given or np.ndim(given[at]):
        return given
    tails = np.quantile(values[at] * (1 + values[warp]), 1 - quantile)
    return {**given, warp: np.clip(tails / given[at] - 1, 0.0, given[warp])}


def _some(visited: Values, most: int) -> dict[str, np.ndarray]:
    """Some of the draws, as one row."""
    flat = {name: np.reshape(v, (-1, *v.shape[2:])) for name, v in visited.items()}
    step = max(1, -(-len(next(iter(flat.values()))) // most))
    return {name: v[::step] for name, v in flat.items()}


def _evidence(prior_covariance, data: Reduced, noise: np.ndarray) -> float:
    """Log Z without a factor of the covariance: -1/2 log|I + K H| + 1/2 h' (I + K H)^-1 K h, and what K leaves."""
    weight = noise**-2.0
    precision = np.einsum("t,tfg->fg", weight, np.asarray(data.gram))
    cross = weight @ np.asarray(data.cross)
    inner = np.eye(len(cross)) + prior_covariance @ precision
    _, size = np.linalg.slogdet(inner)
    return float(-0.5 * size + 0.5 * cross @ np.linalg.solve(inner, prior_covariance @ cross))


def _curves(prior: Prior) -> list[CurvePrior]:
    return [term for term in prior.terms if isinstance(term, CurvePrior)]


def _kernels(prior: Prior, terms) -> tuple:
    return tuple(prior.kernels[term.name] for term in terms)


@jax.jit
def _grams(terms: tuple[CurvePrior, ...], kernels: tuple, values: dict[str, Array]) -> list[Float[Array, "site site"]]:
    """Covariance of curves at their sites."""
    return [term.gram(kernel, values) for term, kernel in zip(terms, kernels, strict=True)]
