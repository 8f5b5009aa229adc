"""The steps of `run`: each owns what it reads, what it writes, its fingerprint and what it does."""
