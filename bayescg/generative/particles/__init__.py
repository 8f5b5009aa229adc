"""Tempered particles that do not know the model."""
