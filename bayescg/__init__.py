"""bayescg: coarse-grained molecular models as Bayesian posteriors."""

__version__ = "0.1.0"
