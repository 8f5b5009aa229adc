"""Whether a program has something for every term of a potential, told before any work."""

from __future__ import annotations

from collections.abc import Callable

from bayescg.potentials import Potential, Term


def require_terms(potential: Potential, holds: Callable[[Term], bool], program: str, remedy: str) -> None:
    """Refuse a potential with terms that a program cannot evaluate.

    Args:
        potential: the potential.
        holds: whether the program has something for a term.
        program: its name.
        remedy: what to do instead.

    Raises:
        ValueError: naming the terms.
    """
    if unknown := [term.name for term in potential.terms if not holds(term)]:
        raise ValueError(f"{program} has nothing for {', '.join(unknown)}: {remedy}")
