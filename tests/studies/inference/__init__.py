"""Studies of pair potentials: coverage, never sampled ranges, relative entropy."""
