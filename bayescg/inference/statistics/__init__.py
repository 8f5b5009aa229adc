"""One pass over a trajectory: sums by block and bead type, kept, added and read back."""
