"""Rows of what compiled loops do not know, by JAX: baselines, and terms of many bodies or of a user's own."""

from __future__ import annotations

import threading
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from bayescg._runtime import double_precision
from bayescg.inference.statistics.fused.tables import known
from bayescg.inference.statistics.program.pair_lists import HostLists
from bayescg.potentials import Configuration, Interactions, Potential


class _Made(NamedTuple):
    """Of one frame.

    Attributes:
        rows: (bead, 3, column).
        divergence: (bead, column); zeros unless it is wanted.
        visits: for each unknown term, its histogram, and the smallest and largest value of its variable.
    """

    rows: Float[Array, "bead 3 column"]
    divergence: Float[Array, "bead column"]
    visits: dict[str, tuple[Array, Array, Array]]


Visits = dict[str, tuple[np.ndarray, float, float]]
"""For each term its histogram, and the smallest and largest value of its variable."""


class Rows(NamedTuple):
    """Of some frames.

    Attributes:
        rows: (frame, bead, 3, column).
        divergence: (frame, bead, column); zeros unless it is wanted.
        visits: of unknown terms, histograms with the weights of the frames.
    """

    rows: Float[np.ndarray, "frame bead 3 column"]
    divergence: Float[np.ndarray, "frame bead column"]
    visits: Visits


class Others:
    """Makes the columns that `tables.extra_columns` names, frame by frame; may be asked from several threads.

    Args:
        interactions: who interacts.
        structure: divergences are wanted as well.
    """

    def __init__(self, interactions: Interactions, *, structure: bool):
        potential = interactions.potential
        terms = [term for term in potential.terms if not known(term) or term.n_baselines]
        self._terms = Potential(*terms, exclude_bonds=potential.exclude_bonds) if terms else None
        self._lists = None
        self._columns = 0
        self._lock = threading.Lock()
        self._beads = interactions.n_beads
        self._structure = structure
        if self._terms is not None:
            bonded = dict(interactions.bonded)
            # Types keep the numbers that the whole potential gave them.
            numbers = {bead: k for k, bead in enumerate(self._terms.bead_types)}
            index = [numbers.get(potential.bead_types[t], -1) if t >= 0 else -1 for t in interactions.type_index]
            part = Interactions(self._terms, interactions.n_beads, bonded, np.array(index), interactions.excluded)
            self._lists, self._bonded = HostLists(part, None), bonded
            own = [term for term in terms if not known(term)]
            self._columns = sum(term.n_basis for term in own) + potential.n_baselines

    @property
    def frame_bytes(self) -> int:
        """Memory of the rows of one frame."""
        return 24 * self._beads * self._columns

    def rows(
        self,
        positions: Float[np.ndarray, "frame bead 3"],
        boxes: Float[np.ndarray, "frame 3 3"],
        weights: Float[np.ndarray, " frame"],
        shapes: Float[np.ndarray, "frame bead 3 3"] | None,
    ) -> Rows:
        """Rows of some frames."""
        frames = len(positions)
        made, spread = np.zeros((frames, self._beads, 3, self._columns)), np.zeros((frames, self._beads, self._columns))
        visits: Visits = {}
        if self._terms is None or self._lists is None:
            return Rows(made, spread, visits)
        for k in range(frames):
            with self._lock:
                lists = self._lists.search(positions[k : k + 1], boxes[k : k + 1], 1)
            tuples = {**self._bonded, **{name: found[0] for name, found in lists.items()}}
            frame = Configuration(positions[k], boxes[k], tuples, None if shapes is None else shapes[k])
            # The scope of another thread does not reach this one.
            with double_precision():
                found = jax.tree.map(np.asarray, _make(self._terms, self._structure, frame))
            made[k], spread[k] = found.rows, found.divergence
            own = {name: (weights[k] * counts, low, high) for name, (counts, low, high) in found.visits.items()}
            visits = merged(visits, own)
        return Rows(made, spread, visits)


def merged(one: Visits, other: Visits) -> Visits:
    """Histograms and extremes of both."""
    found = dict(one)
    for name, (counts, low, high) in other.items():
        before, lowest, highest = found.get(name, (0.0, np.inf, -np.inf))
        found[name] = before + counts, min(lowest, float(low)), max(highest, float(high))
    return found


@partial(jax.jit, static_argnums=(0, 1))
def _make(potential: Potential, structure: bool, configuration: Configuration) -> _Made:
    own = [term for term in potential.terms if not known(term)]
    rows = [jnp.swapaxes(term.design_rows(configuration), 1, 2) for term in own]
    rows = jnp.concatenate([*rows, jnp.swapaxes(potential.baseline_forces(configuration), 1, 2)], axis=2)
    divergence = jnp.zeros_like(rows[:, 0])
    if structure:
        parts = [term.divergence_rows(configuration) for term in own]
        divergence = jnp.concatenate([*parts, potential.baseline_divergence(configuration)], axis=1)
    return _Made(rows, divergence, {term.name: term.visits(configuration) for term in own})
