"""Periodic images, distances, angles and dihedrals: NumPy on the host, JAX in compiled programs."""
