"""The version, where every room finds it without importing the package's face."""

__version__ = "0.1.0"
