"""Proposals of atoms for given beads, with their densities, and the atoms that belong to given beads (the fibre)."""
