"""Sufficient statistics of force matching: what one pass over a trajectory leaves, after which it is never read again.

Bead forces are linear in the coefficients, f = J w + noise, and J depends neither on kernels nor on noise. Everything
that any later posterior needs are the sums J'J, J'f and |f|^2, here kept by time block and bead type, with the columns
of the baselines' forces appended to J (Noid et al., J. Chem. Phys. 128, 244114 (2008), doi:10.1063/1.2938860), and the
products of bead scores about a frozen pilot, from which the covariance of J'f follows whatever the noise.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, overload

import numpy as np
from jaxtyping import Float

from bayescg.inference.statistics.addable import require_addable
from bayescg.inference.statistics.asked import Pilot
from bayescg.inference.statistics.sums.blocks import Key, Sums, add, combine, type_pairs
from bayescg.inference.statistics.sums.columns import Packed, most_blocks, scores_of, unpack, unpack_scores
from bayescg.inference.statistics.weights import ALL_ZERO, OUT_OF_BOUNDS
from bayescg.potentials import Potential
from bayescg.units import BOLTZMANN


class NoiseClass(NamedTuple):
    """Beads that share one force noise: those of one type in one system."""

    system: str
    bead_type: str


@dataclass(frozen=True, eq=False)
class ForceStatistics:
    """Sums of one pass over mapped forces, for multiscale coarse-graining (Noid et al., doi:10.1063/1.2938860).

    `a + b` adds those of disjoint frames. The sums do not depend on how a trajectory was split. Trajectories of several
    systems (compositions, or what `system=` names) add up to statistics of one potential fitted to all of them, each
    with a force noise of its own (the extended ensemble of Mullinax & Noid, doi:10.1063/1.3220627).

    Attributes:
        potential: the potential with all ranges filled in.
        temperature: of the data [K].
        bead_types: types whose beads enter, in the order of the type axis.
        sums: (source, absolute block number) -> the block's sums, in the columns of each type.
        levels: source -> log2 of the frames in a block.
        frames: source -> the absolute frame numbers that were read.
        visits: system -> term -> (interval,) interactions by knot interval of its spline, times the weights of frames.
        ranges: term -> smallest and largest descriptor met [nm or rad].
        systems: source -> the system that it belongs to.
        weights: system -> weight of its log likelihood.
        pilot: the fit about which scores were taken; None: there are no scores.
        scores: source -> products of bead scores about the pilot, of each bead with itself and with its neighbors, for
            each unordered pair of bead types in the columns of both (`columns.pack_scores`). A bead has a score for
            every coefficient, and with two equations those of structure after those of forces.
        equations: what was asked for: ("forces",), ("structure",) or ("forces", "structure").
        weighed: source -> sum of the weights of its frames, and sum of their squares.
    """

    potential: Potential
    temperature: float
    bead_types: tuple[str, ...]
    sums: dict[Key, Packed]
    levels: dict[str, int]
    frames: dict[str, np.ndarray]
    visits: dict[str, dict[str, np.ndarray]]
    ranges: dict[str, tuple[float, float]]
    systems: dict[str, str]
    weights: dict[str, float]
    pilot: Pilot | None = None
    scores: dict[str, np.ndarray] = field(default_factory=dict)
    equations: tuple[str, ...] = ("forces",)
    weighed: dict[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def n_frames(self) -> int:
        """Frames read, without those of weight 0."""
        return sum(len(numbers) for numbers in self.frames.values())

    @property
    def effective_frames(self) -> float:
        """Frames of equal weight that would tell as much: (sum w)^2 / sum w^2 of each system's weights (Kish 1965)."""
        return sum(self._weighed(system)[0] * self._scale(system) for system in self.weights)

    @property
    def counts(self) -> dict[str, Float[np.ndarray, " interval"]]:
        """Term -> interactions by knot interval of its spline, in so many effective frames."""
        found: dict[str, np.ndarray] = {}
        for system, visits in self.visits.items():
            scale = self._scale(system)
            found = {name: found.get(name, 0.0) + scale * counts for name, counts in visits.items()}
        return found

    @property
    def keys(self) -> list[Key]:
        """(source, block number) in the order of `blocks`."""
        return sorted(self.sums)

    @property
    def noise_classes(self) -> tuple[NoiseClass, ...]:
        """System and bead type of each entry of the type axis of `blocks` and `total`."""
        kept = []
        for system in sorted(self.weights):
            for k, bead in enumerate(self.bead_types):
                of = [key for key in self.sums if self.systems[key[0]] == system]
                if len(self.weights) == 1 or any(self.sums[key].components[k] > 0 for key in of):
                    kept.append(NoiseClass(system, bead))
        return tuple(kept)

    @property
    def noise_names(self) -> tuple[str, ...]:
        """A name for each noise class: the bead type, with the system if there are several."""
        several = len(self.weights) > 1
        return tuple(f"{c.bead_type}_{c.system}" if several else c.bead_type for c in self.noise_classes)

    @property
    def blocks(self) -> Blocks:
        """Weighted sums of each block, in order of source and time; the type axis runs over `noise_classes`.

        They are made when asked for: with many coefficients and types all at once would not fit into memory.
        """
        return Blocks(self)

    def total(self) -> Sums:
        """Sums over all blocks.

        Returns:
            The sums, weighted; the type axis runs over `noise_classes`.
        """
        merged: dict[str, Packed] = {}
        for key in self.keys:
            system = self.systems[key[0]]
            merged[system] = add(merged[system], self.sums[key]) if system in merged else self.sums[key]
        classes = self.noise_classes
        return functools.reduce(add, [self._by_class(sums, system, classes) for system, sums in merged.items()])

    def score_covariance(
        self, precision: Float[np.ndarray, " noise_class"], source: str | None = None
    ) -> Float[np.ndarray, "score score"]:
        """Covariance of the total score sum_t precision_t J_t'(f_t - J_t w~), from neighboring beads' products.

        With both equations those of structure stand after those of forces.

        Args:
            precision: (noise_class,) weight of each noise class's scores.
            source: the share of one source; None: all of them.

        Returns:
            (score, score), as many as coefficients for each equation.

        Raises:
            ValueError: if the pass was made without a pilot.
        """
        if self.pilot is None:
            raise ValueError(_NO_PILOT)
        total = np.zeros((self.potential.n_basis * len(self.equations),) * 2)
        of_class = dict(zip(self.noise_classes, np.asarray(precision, float), strict=True))
        for name in self.scores if source is None else [source]:
            system = self.systems[name]
            scale = self.weights[system] * self._scale(system)
            p = [scale * of_class.get(NoiseClass(system, bead), 0.0) for bead in self.bead_types]
            products = unpack_scores(self.potential, len(self.equations), self.scores[name])
            for (a, b), product in zip(type_pairs(len(p)), products, strict=True):
                total += p[a] * p[b] * product
        return total

    def of(self, equation: str) -> ForceStatistics:
        """The statistics of one equation alone, in which `cross` is what that equation says of J'f.

        Without forces their square is unknown, and zero.

        Args:
            equation: "forces" or "structure".

        Returns:
            The statistics.

        Raises:
            ValueError: if it was not asked for in the pass.
        """
        if equation not in self.equations:
            wanted = "structure=True" if equation == "structure" else "structure=False"
            raise ValueError(
                f"these statistics are of {' and '.join(self.equations)}, not of {equation}: make them with "
                f"force_statistics(potential, data, {wanted})"
            )
        if self.equations == ("forces",):
            return self
        place = self.equations.index(equation)
        scores = {
            source: scores_of(self.potential, len(self.equations), products, place)
            for source, products in self.scores.items()
        }
        sums = self.sums
        if equation == "structure":
            kT = BOLTZMANN * self.temperature
            sums = {
                key: block._replace(cross=-kT * block.divergence, square=np.zeros_like(block.square))
                for key, block in sums.items()
            }
        return dataclasses.replace(self, sums=sums, scores=scores, equations=(equation,))

    def weighted(self, weight: float) -> ForceStatistics:
        """The statistics of one system with a weight on their log likelihood, for a sum with those of other systems.

        Only ratios of weights matter to calibrated error bars: scores are weighted as well.

        Args:
            weight: positive; 1 without a call of this method.

        Returns:
            New statistics.

        Raises:
            ValueError: if the weight is not positive and finite, or there are several systems.
        """
        if not 0 < weight < np.inf:
            raise ValueError(f"weight={weight}: give a positive number")
        if len(self.weights) > 1:
            raise ValueError(
                f"weights belong to single systems; these are {', '.join(self.weights)}: weigh before adding"
            )
        return dataclasses.replace(self, weights=dict.fromkeys(self.weights, float(weight)))

    def __add__(self, other: ForceStatistics) -> ForceStatistics:
        """Statistics of both sets of frames together.

        Raises:
            ValueError: if potentials, temperatures, bead types, pilots or weights of one system differ, or a frame
                would be counted twice.
        """
        if not isinstance(other, ForceStatistics):
            return NotImplemented
        require_addable(self, other)
        sums, levels = combine(self.sums, self.levels, other.sums, other.levels, most_blocks(self.potential))
        names = [term.name for term in self.potential.terms]
        empty = np.zeros(0, np.int64)
        return ForceStatistics(
            self.potential,
            self.temperature,
            self.bead_types,
            sums,
            levels,
            {
                s: np.sort(np.concatenate([self.frames.get(s, empty), other.frames.get(s, empty)]))
                for s in {**self.frames, **other.frames}
            },
            _visits_of_both(self.visits, other.visits),
            {
                n: (min(self.ranges[n][0], other.ranges[n][0]), max(self.ranges[n][1], other.ranges[n][1]))
                for n in names
            },
            {**self.systems, **other.systems},
            {**self.weights, **other.weights},
            self.pilot,
            {s: np.add(self.scores.get(s, 0.0), other.scores.get(s, 0.0)) for s in {**self.scores, **other.scores}},
            self.equations,
            {s: _both(self.weighed.get(s), other.weighed.get(s)) for s in {**self.weighed, **other.weighed}},
        )

    def _by_class(self, packed: Packed, system: str, classes: tuple[NoiseClass, ...]) -> Sums:
        """Sums of one system in all columns, by noise class, times its weight and the scale of its frames' weights."""
        block, scale = unpack(self.potential, packed), self.weights[system] * self._scale(system)
        if len(self.weights) == 1 and scale == 1.0:
            return block
        fields = []
        for values in block:
            placed = np.zeros((len(classes), *values.shape[1:]))
            for k, (of, bead) in enumerate(classes):
                if of == system:
                    placed[k] = scale * values[self.bead_types.index(bead)]
            fields.append(placed)
        return Sums(*fields)

    def _weighed(self, system: str) -> tuple[float, float]:
        """Sum of the weights of a system's frames, and sum of their squares."""
        found = [self.weighed[source] for source, of in self.systems.items() if of == system]
        return sum(one for one, _ in found), sum(square for _, square in found)

    def _scale(self, system: str) -> float:
        """What weights are multiplied with, so that they add up to the number of effective frames.

        Raises:
            ValueError: if all weights are zero, or their squares too small or too large for a number.
        """
        total, squares = self._weighed(system)
        if not total > 0:
            raise ValueError(ALL_ZERO)
        if not 0 < squares < np.inf:
            raise ValueError(OUT_OF_BOUNDS)
        return total / squares

    def __repr__(self) -> str:
        systems = f", {len(self.weights)} systems" if len(self.weights) > 1 else ""
        scores = ", with scores" if self.pilot is not None else ""
        return (
            f"ForceStatistics({self.n_frames} frames in {len(self.sums)} blocks{systems}{scores}, "
            f"{self.potential.n_basis} coefficients, bead types {', '.join(self.bead_types)}, {self.temperature:g} K)"
        )


class Blocks(Sequence[Sums]):
    """Weighted sums of each block of statistics, put into all columns one at a time.

    Args:
        statistics: whose.
    """

    def __init__(self, statistics: ForceStatistics):
        self._of, self._keys, self._classes = statistics, statistics.keys, statistics.noise_classes

    def __len__(self) -> int:
        return len(self._keys)

    @overload
    def __getitem__(self, index: int) -> Sums: ...
    @overload
    def __getitem__(self, index: slice) -> list[Sums]: ...
    def __getitem__(self, index):
        if isinstance(index, slice):
            return [self[k] for k in range(*index.indices(len(self)))]
        key = self._keys[index]
        return self._of._by_class(self._of.sums[key], self._of.systems[key[0]], self._classes)


def _visits_of_both(one: dict[str, dict[str, np.ndarray]], other: dict[str, dict[str, np.ndarray]]):
    found = {system: dict(visits) for system, visits in one.items()}
    for system, visits in other.items():
        before = found.get(system, {})
        found[system] = {name: before.get(name, 0.0) + counts for name, counts in visits.items()}
    return found


def _both(one: tuple[float, float] | None, other: tuple[float, float] | None) -> tuple[float, float]:
    a, b = one or (0.0, 0.0), other or (0.0, 0.0)
    return a[0] + b[0], a[1] + b[1]


_NO_PILOT = (
    "these statistics hold no scores, which calibrated error bars need: make them with force_statistics(potential, "
    "data), or for several systems with pilot=bayescg.fit_pilot(potential, cg), or fit with calibration='none'"
)
