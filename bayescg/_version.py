"""The version, and the layout of results, where every room finds them without importing the package's face."""

__version__ = "0.1.0"

ORIGIN = {"bayescg_version": __version__, "bayescg_format": 2}
"""Attributes of every result: who made it, and the number of the layout of its names."""
