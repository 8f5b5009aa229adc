"""Pair potentials on a common axis: distances of contact, and curves moved between axes."""
