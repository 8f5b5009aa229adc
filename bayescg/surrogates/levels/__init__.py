"""Machinery of `multi_fidelity`: levels read, their joint covariance, its density, its predictions."""
