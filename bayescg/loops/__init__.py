"""Loops that numba compiles: neighbors in cells, counts of distances. Its files can be imported where numba is."""
