"""What the sums of a pass take in memory, told before they are made."""

from __future__ import annotations

import os
from pathlib import Path

from bayescg.inference.statistics.sums.blocks import type_pairs
from bayescg.inference.statistics.sums.columns import own_columns
from bayescg.potentials import Potential

_COPIES = 2
"""The sums on the device, and what is returned of them."""


def require_memory(potential: Potential, blocks: int, scored: bool, equations: int = 1) -> None:
    """Refuse a pass whose sums do not fit into memory.

    Args:
        potential: what is to be fitted, all ranges filled in.
        blocks: time blocks whose sums are kept apart.
        scored: products of scores are taken as well.
        equations: that each have scores: forces, structure, or both.

    Raises:
        ValueError: if the sums take more than the memory that is free, with both numbers.
    """
    own = [len(columns) for columns in own_columns(potential)]
    types = len(own)
    numbers = blocks * sum(n**2 for n in own) + types * (potential.n_basis + potential.n_baselines) ** 2
    if scored:
        numbers += sum(own[a] * own[b] for a, b in type_pairs(types)) * equations**2
    needed, free = 8 * _COPIES * numbers, available_memory()
    if free is not None and needed > free:
        largest = max(potential.terms, key=lambda term: term.n_basis)
        raise ValueError(
            f"{potential.n_basis} coefficients ({largest.n_basis} of them of {largest.name}) need {needed / 2**30:.1f} "
            f"GiB for the sums of {blocks} time blocks and {types} bead types, of {free / 2**30:.1f} GiB that are "
            "free: choose wider knot spacings or shorter cutoffs"
        )


def available_memory() -> int | None:
    """Memory that can still be taken without swapping [bytes]; None where the system does not tell."""
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return 1024 * int(line.split()[1])
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")
    except (OSError, ValueError, AttributeError):
        return None
