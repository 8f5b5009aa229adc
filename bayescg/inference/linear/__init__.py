"""Coefficients given sums: prior, marginal likelihood, calibration, predictive scores."""
