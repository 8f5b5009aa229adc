"""`Sampling`: how much to sample, the settings of every fit whose unknowns are sampled."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Sampling:
    """How much to sample.

    Attributes:
        chains: NUTS chains; `vi` and `laplace` draw chains * draws as one chain.
        warmup: discarded steps of each chain.
        draws: kept draws of each chain.

    Raises:
        ValueError: if one of them is less than 1.
    """

    chains: int = 4
    warmup: int = 500
    draws: int = 500

    def __post_init__(self):
        if min(self.chains, self.warmup, self.draws) < 1:
            raise ValueError(f"chains, warmup and draws must be at least 1; got {self}")
