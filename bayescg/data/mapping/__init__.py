"""Which atoms make which bead, and how positions, forces and masses follow."""
