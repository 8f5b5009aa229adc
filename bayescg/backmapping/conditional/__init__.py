"""What molecules look like given their beads: a Gaussian process in internal coordinates, learned from a trajectory."""
