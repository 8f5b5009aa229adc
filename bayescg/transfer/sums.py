"""Calibrated sums of every system as data of unit noise, each with its own pilot, noise and target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from bayescg._arrays import AnyArray
from bayescg.inference import ForceStatistics
from bayescg.inference.linear import marginal, scores
from bayescg.inference.linear.calibration import force_calibration, prior_factor
from bayescg.inference.linear.marginal import Prior
from bayescg.inference.linear.priors import build_prior
from bayescg.kernels.pairs import Wall, wall_of
from bayescg.kernels.priors import TermPrior
from bayescg.potentials import Pair, Potential
from bayescg.transfer.model import Model, Sums, lift_and_mean
from bayescg.units import BOLTZMANN

_LARGEST = 9.0
"""Prior variance, over that at the prior medians, up to which directions that the data do not see are looked for."""

_UNSEEN = 1e-7
"""Directions of which the data know less than this share of that prior's precision: they change no log evidence by
more than half as much."""

_ROUNDING = 1e-13
"""Eigenvalues of a Gram matrix below this share of the largest are zero."""

_JITTER = 1e-10


class First(NamedTuple):
    """The first fit to one system alone.

    Attributes:
        prior: of `force_match`, its walls placed and its noise scaled.
        coefficients: (basis,) [kJ/mol].
        walls: of its pair terms that learn, by name.
    """

    prior: Prior
    coefficients: Float[np.ndarray, " basis"]
    walls: dict[str, Wall]


class Calibrated(NamedTuple):
    """Sums of one system.

    Attributes:
        design: (datum, basis) in coefficients of the joint potential.
        target: (datum,).
        scatter: (datum, column) root of the covariance of its noise.
        report: numbers of the calibration.
    """

    design: Float[np.ndarray, "datum basis"]
    target: Float[np.ndarray, " datum"]
    scatter: Float[np.ndarray, "datum column"]
    report: dict[str, float]


@partial(jax.tree_util.register_dataclass, data_fields=("lift", "mean", "onto", "curve"), meta_fields=("name",))
@dataclass(frozen=True, eq=False)
class SystemPrior(TermPrior):
    """Prior of one term of one system, in the term's coefficients themselves.

    Attributes:
        name: the term.
        lift: (basis, basis) the identity.
        mean: (basis,) [kJ/mol].
        onto: (basis, free) free coordinates of the common curve to coefficients.
        curve: prior of the common curve.
    """

    name: str
    lift: Float[AnyArray, "basis basis"]
    mean: Float[AnyArray, " basis"]
    onto: Float[AnyArray, "basis free"]
    curve: TermPrior

    def hyperpriors(self, kernel):
        return self.curve.hyperpriors(kernel)

    def factor(self, kernel, values):
        half = jnp.asarray(self.onto) @ self.curve.factor(kernel, values)
        gram = half @ half.T
        return jnp.linalg.cholesky(gram + _JITTER * jnp.trace(gram) / len(gram) * jnp.eye(len(gram)))


def first_fit(statistics: ForceStatistics, kernels: Mapping[str, Any]) -> First:
    """The first, fixed fit of `force_match` to one system, for walls and noise; in double precision."""
    potential = statistics.potential
    prior = build_prior(statistics, {n: k for n, k in kernels.items() if n in potential.slices})
    free, _ = prior_factor(prior, marginal.reduce(prior, statistics.total()))
    w = prior.mean + prior.lift @ free
    kT = BOLTZMANN * statistics.temperature
    walls = {
        term.name: wall_of(term, statistics.counts[term.name], w[potential.slices[term.name]], kT)
        for term in potential.terms
        if isinstance(term, Pair) and term.n_basis
    }
    return First(prior, w, walls)


def calibrated_sums(
    model: Model, statistics: ForceStatistics, first: First, ratios: Float[np.ndarray, " aligned"], calibration: str
) -> Calibrated:
    """Sums of one system with its scores' covariance, in the coefficients of the joint potential.

    Args:
        model: of all systems.
        statistics: of the system.
        first: the first fit to it.
        ratios: typical distance of contact over the system's.
        calibration: as of `force_match`.

    Raises:
        ValueError: if the statistics hold no scores but calibration needs them.
    """
    prior, onto = _system_prior(model, statistics.potential, first, ratios)
    reduced = marginal.reduce(prior, statistics.total())
    if calibration == "none":
        weight = np.asarray(prior.noise) ** -2.0
        gram = np.einsum("t,tfg->fg", weight, np.asarray(reduced.gram))
        cross, root, report = weight @ np.asarray(reduced.cross), None, {}
    else:
        data, root, report = force_calibration(prior, statistics, reduced, method=calibration)
        gram, cross = np.asarray(data.gram[0]), np.asarray(data.cross[0])
    values = {name: jnp.exp(d.loc) for name, d in prior.distributions().items()}
    covariance = _LARGEST * _covariance(prior, values)
    design, inverse = seen(gram, covariance)
    target = inverse @ cross + design @ prior.mean
    scatter = np.eye(len(design)) if root is None else inverse @ np.asarray(root)
    return Calibrated(design @ onto, target, scatter, {**report, "explained": _explained(statistics, first)})


def seen(
    gram: Float[np.ndarray, "basis basis"], covariance: Float[np.ndarray, "basis basis"]
) -> tuple[Float[np.ndarray, "datum basis"], Float[np.ndarray, "datum basis"]]:
    """A precision as Y'Y, without directions that are nothing beside a prior's precision.

    Args:
        gram: G.
        covariance: of the prior.

    Returns:
        Y, and the matrix Z with Z G = Y that turns cross sums into data, Z Y' = 1.
    """
    size, turn = np.linalg.eigh(gram)
    felt = size > _ROUNDING * size[-1]
    size, turn = np.sqrt(size[felt]), turn[:, felt]
    root = turn * size
    strength, rotation = np.linalg.eigh(root.T @ covariance @ root)
    kept = rotation[:, strength > _UNSEEN]
    return kept.T @ root.T, kept.T @ (turn / size).T


def stacked(each: Sequence[Calibrated]) -> Sums:
    """Sums of all systems, padded to equal sizes."""
    data = max(len(c.design) for c in each)
    design = np.zeros((len(each), data, each[0].design.shape[1]))
    target, scatter = np.zeros((len(each), data)), np.zeros((len(each), data, data))
    for k, own in enumerate(each):
        count = len(own.design)
        design[k, :count], target[k, :count] = own.design, own.target
        # Directions of scores may be more than data: their covariance has a square root.
        root = own.scatter
        if root.shape[1] > count:
            root = np.asarray(np.linalg.qr(root.T, mode="r")).T
        scatter[k, :count, : root.shape[1]] = root
    return Sums(design, target, scatter)


def _system_prior(
    model: Model, potential: Potential, first: First, ratios: Float[np.ndarray, " aligned"]
) -> tuple[Prior, Float[np.ndarray, "own basis"]]:
    """Prior of one system's coefficients, and the matrix that picks them from those of the joint potential."""
    lift, mean = (np.asarray(part) for part in lift_and_mean(model, ratios))
    slices, column, terms = model.potential.slices, 0, {}
    for curve in model.terms:
        rows, width = slices[curve.name], curve.lift.shape[1]
        size = rows.stop - rows.start
        terms[curve.name] = SystemPrior(
            curve.name, np.eye(size), mean[rows], lift[rows, column : column + width], curve
        )
        column += width
    learning = [term.name for term in potential.terms if term.n_basis]
    onto = np.concatenate([np.eye(model.potential.n_basis)[slices[name]] for name in learning])
    kernels = {name: model.kernels[name] for name in learning}
    own = first.prior
    return Prior(potential, tuple(terms[n] for n in learning), kernels, own.noise, own.noise_names), onto


def _covariance(prior: Prior, values: Mapping[str, Array]) -> Float[np.ndarray, "basis basis"]:
    factor = marginal.factor_at(prior, values)
    return factor @ factor.T


def _explained(statistics: ForceStatistics, first: First) -> float:
    """Share of the forces' mean square that the first fit explains, in the frames that it was fitted to."""
    total = statistics.total()
    left = scores.residual_variance(total, first.coefficients) @ total.components
    return 1 - float(left) / max(float(np.sum(total.square)), 1e-300)
