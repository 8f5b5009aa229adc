"""Fixtures shared by all tests."""

import os
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
os.environ.setdefault("BAYESCG_PROGRESS", "0")
# Programs that XLA keeps on disk are read back with lines of complaint about tuning flags; faults are exceptions.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import pytest

_SHARED = Path(__file__).resolve().parents[1].parent / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder with the long reference trajectories and peers' results; tests that need it skip where it is missing."""
    if not (_SHARED / "data").is_dir():
        pytest.skip("needs the reference data in ../shared, which is not here")
    return _SHARED / "data"
