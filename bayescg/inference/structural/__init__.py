"""Fits to structure by relative entropy: iterations, posterior, pressure."""
