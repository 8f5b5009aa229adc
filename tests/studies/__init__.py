"""Slow statistical studies: `make study`. Results are recorded in docs/studies.md."""
