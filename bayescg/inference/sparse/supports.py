"""Other choices of candidates that the data allow nearly as well: Occam's window (numpy, float64).

Bands of the best choice alone say nothing of the doubt about the choice. Here every choice S has the weight

    p(S) ~ exp(log Z(S) - STRONG |S|),

log Z(S) the evidence at its best scales: the prior odds for which leaving out what gains less than `STRONG` is the most
probable choice. Those within a factor of `WINDOW` of the best one are found by adding, dropping or exchanging one
candidate of one found before (Madigan & Raftery, J. Am. Stat. Assoc. 89, 1535 (1994),
doi:10.1080/01621459.1994.10476894, their first rule), and draws are of their mixture.

These probabilities are approximate. Evidences are maximized over the scales, not integrated, so that a superfluous
candidate never counts against a choice by more than the prior odds of 1 to 20 do, however many candidates there are:
the more superfluous ones in a library, the more choices share what the best one has (0.26 to 0.72 of all where there
are 30 independent ones and nothing else), while their mean inclusion stays low (0.02). Their second rule, which drops
every choice that has a more probable part, would hide that; it would also drop what the data are undecided about.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float

from bayescg._runtime import progress
from bayescg.inference.sparse import relevance
from bayescg.inference.sparse.library import Problem
from bayescg.inference.sparse.relevance import STRONG, Selection
from bayescg.samplers.importance import systematic

WINDOW = math.log(100.0)
"""Choices with less than a hundredth of the best one's probability are left out."""

_MOST = 60
"""Choices whose neighbors are looked at; with more than this there is no use in a choice."""

_NOTHING = 0.01
"""A candidate that adds less than this to the log evidence has a scale of about zero: no choice of its own."""

_ADAPTED = 3.0
"""Log evidence that the other scales' adapting may add to what a neighbor has at theirs: less is not searched."""


class Choices(NamedTuple):
    """What may be kept.

    Attributes:
        probabilities: (choice,) falling; they sum to one. Approximate, see above.
        scales: (choice, candidate) at the maximum of the evidence of each, 0 for what it leaves out.
        log_evidences: (choice,) there, less that of no candidate at all.
        complete: False if more choices in the window were found than could be looked at for neighbors. True does not
            exclude one that is no neighbor of any other, such as two candidates in the place of one.
    """

    probabilities: Float[np.ndarray, " choice"]
    scales: Float[np.ndarray, "choice candidate"]
    log_evidences: Float[np.ndarray, " choice"]
    complete: bool

    @property
    def best(self) -> Selection:
        """The most probable one."""
        return Selection(float(self.log_evidences[0]), self.scales[0])


def explore(problem: Problem, start: Selection, *, most: int = _MOST) -> Choices:
    """All choices in the window about the best one that can be reached from a first one.

    A neighbor that falls short of the window by more than `_ADAPTED`, all other scales as they are, is not looked at:
    on 12 planted libraries of 18 candidates, and one of 32, that left out no choice.

    Args:
        problem: the library's least squares.
        start: the first choice.
        most: choices whose neighbors are looked at; the most probable ones come first.
    """
    first = _reduced(problem, start.scales)
    found = {_support(first.scales): first}
    expanded: set[frozenset[int]] = set()
    looked = set(found)
    with progress("choices of candidates", None) as advance:
        while len(expanded) < most:
            floor = max(map(_score, found.values())) - WINDOW
            waiting = [s for s in found if s not in expanded and _score(found[s]) > floor]
            if not waiting:
                break
            support = max(waiting, key=lambda s: _score(found[s]))
            expanded.add(support)
            for neighbor, guess, scales in _neighbors(problem, found[support]):
                if neighbor in looked or guess < floor - _ADAPTED:
                    continue
                after = _reduced(problem, scales)
                reached = _support(after.scales)
                looked |= {neighbor, reached}
                if reached not in found or after.log_evidence > found[reached].log_evidence:
                    found[reached] = after
            advance(1)
    scores = {s: _score(entry) for s, entry in found.items()}
    best = max(scores.values())
    kept = sorted((s for s in scores if scores[s] > best - WINDOW), key=lambda s: -scores[s])
    weights = np.exp([scores[s] - best for s in kept])
    return Choices(
        weights / weights.sum(),
        np.stack([found[s].scales for s in kept]),
        np.array([found[s].log_evidence for s in kept]),
        set(kept) <= expanded,
    )


def draw(choices: Choices, count: int, *, key: Array) -> np.ndarray:
    """The choice of each of `count` draws, (draw,): each as often as its probability says, to less than one draw."""
    first, second = jax.random.split(key)
    return np.asarray(jax.random.permutation(second, systematic(choices.probabilities, count, key=first)))


def inclusion(choices: Choices) -> Float[np.ndarray, " candidate"]:
    """Probability of each candidate: that of all choices that keep it."""
    return choices.probabilities @ (choices.scales > 0)


def _reduced(problem: Problem, scales) -> Selection:
    """The evidence maximized over the scales that are not zero; those that it brings to nothing are left out."""
    while True:
        after = Selection(*relevance.maximize(problem, scales > 0, scales))
        losses = relevance.losses_at_fixed_scales(problem, after.scales)
        if not losses.min() <= _NOTHING:
            return after
        scales = after.scales.copy()
        scales[np.argmin(losses)] = 0.0


def _support(scales) -> frozenset[int]:
    return frozenset(np.flatnonzero(scales > 0).tolist())


def _score(selection: Selection) -> float:
    return selection.log_evidence - STRONG * int(np.sum(selection.scales > 0))


def _neighbors(problem: Problem, selection: Selection) -> Iterator[tuple[frozenset[int], float, np.ndarray]]:
    """One candidate less, one more, or one for another: which, its score at the others' present scales, and scales."""
    support, score = _support(selection.scales), _score(selection)
    losses = relevance.losses_at_fixed_scales(problem, selection.scales)
    bases = [(support, score, selection.scales)]
    for k in support:
        less = selection.scales.copy()
        less[k] = 0.0
        bases.append((support - {k}, score - losses[k] + STRONG, less))
        yield bases[-1]
    for base, value, scales in bases:
        gains, own = relevance.gains_at_fixed_scales(problem, scales)
        for j in np.flatnonzero(selection.scales == 0):
            more = scales.copy()
            more[j] = own[j]
            yield base | {int(j)}, value + gains[j] - STRONG, more
