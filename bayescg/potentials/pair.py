"""Pair potentials."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from bayescg.geometry import descriptors as geometry
from bayescg.potentials.baselines import Baseline, value_and_slope
from bayescg.potentials.configuration import real_tuples
from bayescg.potentials.spline_term import SplineTerm, check_fields, count_intervals
from bayescg.potentials.splines import UniformSpline


@dataclass(frozen=True)
class Pair(SplineTerm):
    """Pair potential between two bead types; u, u' and u'' vanish at the cutoff.

    Attributes:
        a: bead type.
        b: bead type.
        cutoff: where the potential ends [nm].
        start: first knot [nm]. Below the sampled distances the prior's repulsive wall takes over.
        knot_spacing: knot spacing [nm]; the Gaussian-process prior, not the grid, sets the smoothness.
        baseline: fixed curve below the learned one; must vanish at the cutoff.
        learn: False for a term that is its baseline only.

    Raises:
        ValueError: if a length is not positive, `start` is outside [0, cutoff), a bead type is no name, the baseline
            does not vanish at the cutoff, or `learn=False` comes without one.
    """

    a: str
    b: str
    cutoff: float
    start: float = 0.0
    knot_spacing: float = 0.01
    baseline: Baseline | None = None
    learn: bool = True

    kind: ClassVar[str] = "pair"
    unit: ClassVar[str] = "nm"
    body: ClassVar[int] = 2
    symbol: ClassVar[str] = "r"
    quantity: ClassVar[str] = "distance"
    vanishes: ClassVar[bool] = True
    group = None  # a pair term takes all pairs of its bead types

    def __post_init__(self):
        check_fields(self, cutoff=self.cutoff, knot_spacing=self.knot_spacing)
        if not 0 <= self.start < self.cutoff:
            raise ValueError(f"pair {self.name}: start must lie in [0, cutoff); got {self.start} with {self.cutoff}")
        if self.baseline is not None:
            _check_edge(self, self.baseline)

    @property
    def types(self):
        return (self.a, self.b)

    @property
    def name(self):
        return f"{self.a}-{self.b}"

    @property
    def spline(self):
        return UniformSpline(self.start, self.cutoff, count_intervals(self.start, self.cutoff, self.knot_spacing))

    @property
    def n_basis(self):
        # The last three functions alone carry u, u' and u'' at the cutoff: all three vanish there.
        return self.spline.size - 3 if self.learn else 0

    def find_tuples(self, neighbors):
        return {self.name: neighbors.between(self.a, self.b)}

    def baseline_curve(self, x):
        # A list may hold pairs beyond the cutoff.
        energy, slope = super().baseline_curve(x)
        return jnp.where(x < self.cutoff, energy, 0.0), jnp.where(x < self.cutoff, slope, 0.0)

    def descriptor(self, configuration):
        tuples = configuration.tuples[self.name]
        return geometry.distance(
            configuration.positions[tuples], configuration.box, (~real_tuples(tuples), 2 * float(self.cutoff))
        )

    def volumes(self, edges):
        return np.diff(edges**3)


def _check_edge(term: Pair, baseline: Baseline) -> None:
    """A baseline that is cut off where it still acts would make energy and force jump."""
    with jax.enable_x64(True):
        edge = jnp.asarray(term.cutoff * (1 - 1e-9))
        energy, slope = (abs(float(part)) for part in value_and_slope(baseline, edge))
    if energy > 1e-3 or slope > 1e-2:
        raise ValueError(
            f"pair {term.name}: the baseline does not vanish at the cutoff {term.cutoff:g} nm (energy {energy:.3g} "
            f"kJ/mol, force {slope:.3g} kJ/mol/nm): shift it, or give both the same cutoff"
        )
