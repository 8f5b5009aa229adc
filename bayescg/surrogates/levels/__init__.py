"""Machinery of `multi_fidelity`: levels read, their joint covariance, its density, its predictions."""

from bayescg.surrogates.levels.tree import check

__all__ = ["check"]
