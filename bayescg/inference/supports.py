"""Other choices of candidates that the data allow nearly as well: Occam's window (numpy, float64).

Bands of the best choice alone say nothing of the doubt about the choice. Here every choice S has the posterior
probability

    p(S | data) ~ exp(log Z(S) - STRONG |S|),

log Z(S) the evidence at its best scales: the prior for which leaving out what gains less than `STRONG` is the most
probable choice. Those within a factor of `WINDOW` of the best one are found by adding, dropping or exchanging one
candidate of one found before (Madigan & Raftery, J. Am. Stat. Assoc. 89, 1535 (1994),
doi:10.1080/01621459.1994.10476894), and draws are of their mixture.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float

from bayescg.inference import relevance
from bayescg.inference.library import Problem
from bayescg.inference.relevance import STRONG, Selection

WINDOW = math.log(100.0)
"""Choices with less than a hundredth of the best one's probability are left out."""

_MOST = 60
"""Choices whose neighbors are looked at; with more than this there is no use in a choice."""

_NOTHING = 0.01
"""A candidate that adds less than this to the log evidence has a scale of about zero: no choice of its own."""


class Choices(NamedTuple):
    """What may be kept.

    Attributes:
        probabilities: (choice,) falling; they sum to one.
        scales: (choice, candidate) at the maximum of the evidence of each, 0 for what it leaves out.
        log_evidences: (choice,) there, less that of no candidate at all.
        complete: False if there are more in the window than were looked at.
    """

    probabilities: Float[np.ndarray, " choice"]
    scales: Float[np.ndarray, "choice candidate"]
    log_evidences: Float[np.ndarray, " choice"]
    complete: bool

    @property
    def best(self) -> Selection:
        """The most probable one."""
        return Selection(float(self.log_evidences[0]), self.scales[0])


def explore(problem: Problem, start: Selection) -> Choices:
    """All choices in the window about the best one that can be reached from a first one.

    Args:
        problem: the library's least squares.
        start: the first choice.
    """
    found = {_support(start.scales): start}
    expanded: set[frozenset[int]] = set()
    looked = set(found)
    while len(expanded) < _MOST:
        best = max(_score(*entry) for entry in found.values())
        waiting = [s for s, entry in found.items() if s not in expanded and _score(*entry) > best - WINDOW]
        if not waiting:
            break
        support = max(waiting, key=lambda s: _score(*found[s]))
        expanded.add(support)
        scales = found[support].scales
        for neighbor in _neighbors(support, problem.candidates):
            if neighbor in looked:
                continue
            looked.add(neighbor)
            on, first = np.isin(np.arange(problem.candidates), list(neighbor)), scales.copy()
            first[list(neighbor - support)] = 3 / np.sqrt(problem.components)
            after = Selection(*relevance.maximize(problem, on, first))
            if relevance.losses_at_fixed_scales(problem, after.scales).min() > _NOTHING:
                found[neighbor] = after
    scores = {s: _score(*entry) for s, entry in found.items()}
    best = max(scores.values())
    kept = sorted((s for s in scores if scores[s] > best - WINDOW), key=lambda s: -scores[s])
    weights = np.exp([scores[s] - best for s in kept])
    return Choices(
        weights / weights.sum(),
        np.stack([found[s].scales for s in kept]),
        np.array([found[s].log_evidence for s in kept]),
        set(kept) <= expanded,
    )


def draw(choices: Choices, count: int, *, key: Array) -> Float[np.ndarray, "draw candidate"]:
    """Scales of `count` draws: each choice as often as its probability says, to less than one draw."""
    first, second = jax.random.split(key)
    marks = (np.arange(count) + float(jax.random.uniform(first))) / count
    rows = np.searchsorted(np.cumsum(choices.probabilities)[:-1], marks, side="right")
    return choices.scales[np.asarray(jax.random.permutation(second, rows))]


def inclusion(choices: Choices) -> Float[np.ndarray, " candidate"]:
    """Probability of each candidate: that of all choices that keep it."""
    return choices.probabilities @ (choices.scales > 0)


def _support(scales) -> frozenset[int]:
    return frozenset(np.flatnonzero(scales > 0).tolist())


def _score(value: float, scales) -> float:
    return value - STRONG * int(np.sum(scales > 0))


def _neighbors(support: frozenset[int], count: int) -> Iterator[frozenset[int]]:
    """One candidate less, one more, or one for another."""
    others = [k for k in range(count) if k not in support]
    yield from (support - {k} for k in support)
    yield from (support | {k} for k in others)
    yield from (support - {k} | {j} for k in support for j in others)
