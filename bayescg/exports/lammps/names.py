"""LAMMPS: names, as all of its files need them."""

from __future__ import annotations

import re
from collections.abc import Sequence


def keyword(name: str) -> str:
    """A name without characters that LAMMPS would trip over: of a term, the section of its table, or in a comment.

    Other characters become their codes, as in A_24 for A$: names that differ in them only stay two.
    """
    return re.sub(r"[^A-Za-z0-9_.+-]", lambda found: f"_{ord(found[0]):x}", name)


def symbols_of(bead_types: Sequence[str]) -> list[str]:
    """Element names of the atom types 1, 2, ...: the names of the beads, numbered, so that no two are alike."""
    return [f"{keyword(bead)}_{number}" for number, bead in enumerate(bead_types, 1)]
