"""Fixtures shared by all tests."""

import os
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
os.environ.setdefault("BAYESCG_PROGRESS", "0")
# Programs that XLA keeps on disk are read back with lines of complaint about tuning flags; faults are exceptions.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import gc

import jax
import pytest

_SHARED = Path(__file__).resolve().parents[1].parent / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder with the long reference trajectories and peers' results; tests that need it skip where it is missing."""
    if not (_SHARED / "data").is_dir():
        pytest.skip("needs the reference data in ../shared, which is not here")
    return _SHARED / "data"


def _memory_maps() -> int:
    """Memory maps of this process; 0 where the system does not tell."""
    try:
        return Path("/proc/self/maps").read_bytes().count(b"\n")
    except OSError:
        return 0


@pytest.fixture(scope="module", autouse=True)
def _compiled_programs_forgotten():
    """Every compiled program holds about twenty memory maps; Linux grants 65,530 to a process, then XLA crashes."""
    yield
    if _memory_maps() > 20_000:
        jax.clear_caches()
        gc.collect()
