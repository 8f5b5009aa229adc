"""Do forces and structure tell of one ensemble? A test of the data before any error bar is believed.

In the ensemble that is claimed, b_F - b_S has mean zero: kT div of every field balances what the forces do along it.
Forces in a wrong unit, of a wrong temperature, or of something that is not in equilibrium break that balance first
along the fitted force itself, where it is known best. For each term with coefficients w, as fitted to other time
blocks, the difference w.(b_F - b_S) of every block is one number with mean zero, and so is it along the directions
that the data know best. That all these means are zero is tested by Hotelling's T^2 over blocks (Ann. Math. Statist. 2,
360 (1931), doi:10.1214/aoms/1177732979), blocks merged until there are few and long ones, whose correlation is small.

Random forces of a thermostat pass: their mean at given positions is zero. That of a Langevin friction in a leap-frog
scheme is not, but only the share gamma dt / 2 of the forces. `NetForce` in `bayescg.data` looks for these.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.stats
from jaxtyping import Float

from bayescg._runtime import double_precision
from bayescg.inference.linear import marginal
from bayescg.inference.linear.calibration import directions, prior_factor
from bayescg.inference.linear.marginal import Prior
from bayescg.inference.linear.priors import build_prior
from bayescg.inference.statistics.force_statistics import ForceStatistics
from bayescg.inference.statistics.sums.blocks import Sums, add

SUSPICIOUS = 1e-3
"""A smaller probability is reason to look at the data."""

_BLOCKS = 20
"""Blocks are merged until there are at most so many, plus one for what the last one lacks."""

_FOLDS = 4
_STRONGEST = 2
"""Directions that are tested beside the terms."""

_SPARE = 6
"""Blocks needed beyond the number of means: fewer know too little of their covariance."""


class Consistency(NamedTuple):
    """Agreement of forces with structure.

    Attributes:
        p: probability of a difference as large, if both are of the ensemble claimed; nan: too few blocks.
        ratio: of the work that forces do along the fitted force to what structure says, one if both agree: of the
            temperature that the forces have to the one claimed, or of units.
        ratio_se: its standard error.
        means: number of means that were tested.
        blocks: number of time blocks.
    """

    p: float
    ratio: float
    ratio_se: float
    means: int
    blocks: int

    @property
    def doubt(self) -> str | None:
        """What to say of data that fail; None if they do not."""
        if not self.p < SUSPICIOUS:
            return None
        return (
            f"forces and structure disagree (p = {self.p:.1g}): along the fitted force the forces are "
            f"{self.ratio:.3g} ± {self.ratio_se:.1g} times what positions at this temperature imply. Look for a wrong "
            "temperature or unit, forces of a bias, friction that is strong within a time step, constraints between "
            "beads, frames that are not in equilibrium"
        )


def consistency(statistics: ForceStatistics) -> Consistency:
    """Test whether forces and structure are of one ensemble.

    Args:
        statistics: of both equations; no pilot is needed.

    Returns:
        The test.

    Raises:
        ValueError: if the statistics lack an equation.
    """
    forces, structure = statistics.of("forces"), statistics.of("structure")
    with double_precision():
        prior = build_prior(forces, {})
        pairs = _merged(forces, structure)
        known = _strongest(prior, pairs)
        fitted = [_fitted(prior, pairs, known, number) for number in range(len(pairs))]
        values = _differences(prior, pairs, known, fitted)
    weight = np.asarray(prior.noise) ** -2.0
    work = np.array([[weight @ (s.cross @ w) for s in pair] for pair, w in zip(pairs, fitted, strict=True)])
    ratio, count = float(work[:, 0].sum() / work[:, 1].sum()), len(pairs)
    scatter = (work[:, 0] - ratio * work[:, 1]) / work[:, 1].sum()
    error = float(np.sqrt(count / max(count - 1, 1) * np.sum(scatter**2)))
    means = min(values.shape[1], count - _SPARE)
    if means < 1:
        return Consistency(float("nan"), ratio, error, 0, count)
    # Along the whole force alone the test is sharpest; the others see what this one cannot. Either may speak.
    p = min(1.0, 2 * min(_hotelling(values[:, :1]), _hotelling(values[:, :means])))
    return Consistency(p, ratio, error, means, count)


def _hotelling(values: Float[np.ndarray, "block mean"]) -> float:
    """Probability of means as far from zero."""
    count, means = values.shape
    mean, covariance = values.mean(axis=0), np.atleast_2d(np.cov(values.T))
    square = count * float(mean @ np.linalg.solve(covariance, mean))
    return float(scipy.stats.f.sf(square * (count - means) / (means * (count - 1)), means, count - means))


class _Known(NamedTuple):
    """(free, direction) well-known directions, in which the precision is the identity, and that precision."""

    basis: Float[np.ndarray, "free direction"]
    precision: Float[np.ndarray, "free free"]


def _strongest(prior: Prior, pairs: list[tuple[Sums, Sums]]) -> _Known:
    reduced = marginal.reduce(prior, _sum([forces for forces, _ in pairs]))
    _, factor = prior_factor(prior, reduced)
    precision = np.einsum("t,tfg->fg", np.asarray(prior.noise) ** -2.0, np.asarray(reduced.gram))
    found = directions(precision, factor)
    # In others the fitted force is mostly noise, which blocks share.
    return _Known(found.basis[:, found.firm][:, ::-1], precision)


def _merged(forces: ForceStatistics, structure: ForceStatistics) -> list[tuple[Sums, Sums]]:
    """Blocks of both, successive ones of one trajectory added up until they are few, of equal length."""
    found, sources = [], sorted(forces.levels)
    blocks = forces.blocks, structure.blocks
    wanted = max(2, _BLOCKS // len(sources))
    for source in sources:
        rows = [k for k, key in enumerate(forces.keys) if key[0] == source]
        for part in np.array_split(rows, min(wanted, len(rows))):
            one, other = (_sum([each[k] for k in part]) for each in blocks)
            found.append((one, other))
    return found


def _sum(blocks: list[Sums]) -> Sums:
    total = blocks[0]
    for block in blocks[1:]:
        total = add(total, block)
    return total


def _differences(
    prior: Prior, pairs: list[tuple[Sums, Sums]], known: _Known, fitted: list[np.ndarray]
) -> Float[np.ndarray, "block mean"]:
    """Forces less structure in each block over the mean size of blocks: along the whole fitted force, along that of
    each further term, and where the data know most.
    """
    weight, slices = np.asarray(prior.noise) ** -2.0, prior.potential.slices
    others = [slices[term.name] for term in prior.potential.terms if term.n_basis][1:]
    n, rows = len(prior.mean), []
    strongest = np.zeros((min(_STRONGEST, known.basis.shape[1]), len(fitted[0])))
    strongest[:, :n] = (prior.lift @ known.basis)[:, : len(strongest)].T
    # Where frames have weights a block's own sum is no mean of the ensemble's: only all weights together make it one.
    size = float(np.mean([np.sum(forces.components) for forces, _ in pairs]))
    for (forces, structure), w in zip(pairs, fitted, strict=True):
        along = np.zeros((len(others), len(w)))
        for row, part in zip(along, others, strict=True):
            row[part] = w[part]
        difference = weight @ (forces.cross - structure.cross) / size
        rows.append(np.concatenate([w[None], along, strongest]) @ difference)
    return np.stack(rows)


def _fitted(prior: Prior, pairs: list[tuple[Sums, Sums]], known: _Known, number: int) -> Float[np.ndarray, " column"]:
    """Coefficients, and ones for baselines, from the forces of the blocks outside of this one's fold: its own noise
    has no part in them.
    """
    folds = np.array_split(np.arange(len(pairs)), min(_FOLDS, len(pairs)))
    own = next(fold for fold in folds if number in fold)
    rest = [forces for k, (forces, _) in enumerate(pairs) if k not in own]
    reduced = marginal.reduce(prior, _sum(rest or [forces for forces, _ in pairs]))
    mean, _ = prior_factor(prior, reduced)
    kept = known.basis @ (known.basis.T @ known.precision @ mean)
    ones = np.ones(pairs[0][0].cross.shape[1] - len(prior.mean))
    return np.concatenate([prior.mean + prior.lift @ kept, ones])
