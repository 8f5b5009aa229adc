"""Fixtures shared by all tests."""

import os
import tempfile
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
os.environ.setdefault("BAYESCG_PROGRESS", "0")
# Programs that XLA keeps on disk are read back with lines of complaint about tuning flags; faults are exceptions.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import gc

import jax
import pytest

from tests.costs import CostsPlugin

_CACHE = "JAX_COMPILATION_CACHE_DIR"


def _compile_faster() -> None:
    """XLA's former emitters of fused loops compile twice as fast as today's; compiling is half of all that tests do.

    For this process only, where the flag is read once: examples and the command line, which tests start as programs of
    their own, compile as they do for users.
    """
    before = os.environ.get("XLA_FLAGS")
    os.environ["XLA_FLAGS"] = f"{before or ''} --xla_cpu_use_fusion_emitters=false".strip()
    jax.devices()
    if before is None:
        del os.environ["XLA_FLAGS"]
    else:
        os.environ["XLA_FLAGS"] = before


_compile_faster()


def _share_compiled_programs() -> tempfile.TemporaryDirectory:
    """What one test has compiled serves all others: of this process, of the workers and programs that it starts."""
    folder = tempfile.TemporaryDirectory(prefix="bayescg-tests-")
    settings = {_CACHE: folder.name, "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": 0.0}
    settings["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = -1
    for name, value in settings.items():
        os.environ[name] = str(value)
        jax.config.update(name.lower(), value)
    return folder


_compiled = None if _CACHE in os.environ else _share_compiled_programs()
_SHARED = Path(__file__).resolve().parents[1].parent / "shared"


def pytest_addoption(parser):
    parser.addoption("--costs", action="store_true", help="say what every file costs: seconds and compiled programs")


def pytest_configure(config):
    """A program that another worker is just writing cannot be read, which costs no more than compiling it."""
    config.addinivalue_line("filterwarnings", "ignore:Error reading persistent compilation cache")
    config.addinivalue_line("filterwarnings", "ignore:Error writing persistent compilation cache")
    if config.getoption("costs"):
        config.pluginmanager.register(CostsPlugin())


_LONG = ("known_chains", "force_matching", "checkpoint", "examples", "gaussian_chain", "peers", "systems", "langevin")
_LONG += ("known_pairs", "latents", "relative_entropy", "water_coverage", "exact", "laws")


def pytest_collection_modifyitems(items):
    """Files that take minutes come first: at the end no worker waits for another."""
    order = {f"test_{name}.py": number for number, name in enumerate(_LONG)}
    items.sort(key=lambda item: order.get(item.path.name, len(order)))


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
