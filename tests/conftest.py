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
import scipy.linalg  # noqa: F401  # brings a BLAS of its own
from threadpoolctl import threadpool_limits

from tests import checked as checked  # for jaxtyping, which looks it up by name
from tests.compilation import compile_quickly, forget_old_programs, keep_programs
from tests.costs import CostsPlugin

compile_quickly()
keep_programs()
# Two workers share two processors, and threads of BLAS spin while they wait for each other.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
threadpool_limits(1, "blas")

_SHARED = Path(__file__).resolve().parents[1].parent / "shared"


def pytest_addoption(parser):
    parser.addoption("--costs", action="store_true", help="say what every file costs: seconds and compiled programs")


def pytest_configure(config):
    """A program that another worker is just writing cannot be read, which costs no more than compiling it."""
    config.addinivalue_line("filterwarnings", "ignore:Error reading persistent compilation cache")
    config.addinivalue_line("filterwarnings", "ignore:Error writing persistent compilation cache")
    if not hasattr(config, "workerinput"):
        forget_old_programs()
    if config.getoption("costs"):
        config.pluginmanager.register(CostsPlugin())


_LONG = ("known_chains", "force_matching", "checkpoint", "examples", "gaussian_chain", "peers", "systems", "langevin")
_LONG += ("known_pairs", "latents", "relative_entropy", "water_coverage", "exact", "laws", "snippets")


def pytest_collection_modifyitems(items):
    """Files that take minutes come first: at the end no worker waits for another."""
    order = {f"test_{name}.py": number for number, name in enumerate(_LONG)}
    items.sort(key=lambda item: order.get(item.path.name, len(order)))


def pytest_collection_finish():
    """What is imported by now stays: nothing of it is garbage to look for again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


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
