"""One way to shift the seeds of statistical tests: `BAYESCG_SEED_SHIFT=3 pytest` runs them on other random numbers."""

import os

_APART = 100_000
"""Between two shifts, so that a test that uses seeds 0, 1, 2, ... gets none of them again under another shift."""


def shifted(seed: int) -> int:
    """A seed, moved by the environment variable `BAYESCG_SEED_SHIFT` (a whole number; 0 where it is not set)."""
    return seed + _APART * int(os.environ.get("BAYESCG_SEED_SHIFT", "0"))
