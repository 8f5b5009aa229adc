"""Terms of a bead and its neighbors together: three-body potentials, local densities, overlaps of neighborhoods."""
