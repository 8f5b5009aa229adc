"""What every room needs from the machine: precision and thread scopes, progress bars, atomic writes."""

from __future__ import annotations

import contextlib
import os
import secrets
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from pathlib import Path

import jax
from threadpoolctl import ThreadpoolController

from bayescg._checksum import append_checksum, checksum

_hidden: ContextVar[bool] = ContextVar("hidden", default=False)
_quiet = os.environ.get("BAYESCG_PROGRESS", "1") == "0"
_IN_MEMORY = 1 << 30
"""Files up to this size [bytes] are put together in memory before they are written."""


class _OneBlasThread:
    """One BLAS thread from the first scope that begins to the last that ends.

    The limit belongs to the process: scopes of several threads overlap without being nested, and one that restored
    what it had found would restore another scope's limit.
    """

    def __init__(self):
        self._lock, self._depth, self._limits = threading.Lock(), 0, None
        self._controller, self._modules = None, 0

    def _limit(self):
        """Looking for libraries takes 10 ms: only again where a module has been imported, which may bring one."""
        if self._controller is None or self._modules != len(sys.modules):
            self._controller, self._modules = ThreadpoolController(), len(sys.modules)
        return self._controller.limit(limits=1, user_api="blas")

    def __enter__(self) -> None:
        with self._lock:
            if self._limits is None:
                self._limits = self._limit()
            self._depth += 1

    def __exit__(self, *error) -> None:
        with self._lock:
            self._depth -= 1
            if self._depth == 0 and self._limits is not None:
                self._limits.restore_original_limits()
                self._limits = None


_one_blas_thread = _OneBlasThread()


@contextlib.contextmanager
def double_precision() -> Iterator[None]:
    """float64 in JAX inside the scope, and one BLAS thread.

    The flag is restored on exit: a library must not change the precision of the user's other JAX code. One BLAS
    thread, because the matrices of inference are small (a hundred rows) and jaxlib's OpenBLAS threads spin: on a
    machine with any other load a 66 x 66 Cholesky factor takes 20 ms instead of 0.1.
    """
    with jax.enable_x64(True), _one_blas_thread:
        yield


@contextlib.contextmanager
def hidden_progress() -> Iterator[None]:
    """No progress bars inside the scope."""
    token = _hidden.set(True)
    try:
        yield
    finally:
        _hidden.reset(token)


@contextlib.contextmanager
def progress(description: str, total: float | None) -> Iterator[Callable[[float], None]]:
    """Show a progress bar on stderr; yields `advance(n)`. Silent when stderr is no terminal or BAYESCG_PROGRESS=0.

    A bar inside a bar stays hidden: one for the whole of a job is what people want to see.

    Without a terminal (a log file, CI) nothing is shown: bars that overwrite themselves make logs unreadable.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True, quiet=_quiet)
    if not console.is_terminal or _hidden.get():
        yield lambda n=1: None
        return
    columns = (TextColumn("{task.description:<34}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with hidden_progress(), Progress(*columns, console=console) as bar:
        task = bar.add_task(description, total=total)
        yield lambda n=1: bar.advance(task, n)


def cpu_count() -> int:
    """Processors that this process may use (fewer than the machine has under a scheduler or in a container)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def process_environment() -> dict[str, str]:
    """The environment of a process of its own: one thread, and nothing that makes MPI look for our launcher."""
    launcher = ("PMI_", "PMIX_", "OMPI_", "MPI_", "HYDRA_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(launcher)}
    return {**kept, "OMP_NUM_THREADS": "1"}


def map_threads(
    function: Callable,
    items: Sequence,
    description: str | None = None,
    compiled: bool = False,
    stop: threading.Event | None = None,
) -> list:
    """Apply a compiled function to each item on as many threads as there are processors, in double precision.

    Compiled code releases Python's lock, so threads serve; the precision flag is thread-local and set in each.

    An interrupt, or an error in one item, comes out at once: items that wait are dropped, and those that run end by
    themselves, as soon as they look at `stop`.

    Args:
        function: of one item.
        items: what it is applied to.
        description: of a progress bar; None for none.
        compiled: all items may start together. If not, the first one runs alone: threads would otherwise each compile
            the same function, and tracing by several threads at a time is not safe.
        stop: set when the results are no longer wanted, for `function` to look at.

    Returns:
        The results, in the order of the items.
    """
    if not items:
        return []

    def one(item):
        with jax.enable_x64(True):
            result = jax.block_until_ready(function(item))
        advance(1)
        return result

    bar = progress(description, len(items)) if description else contextlib.nullcontext(lambda n: None)
    pool = ThreadPoolExecutor(max_workers=min(cpu_count(), len(items)))
    with bar as advance:
        try:
            first = [] if compiled else [pool.submit(one, items[0])]
            head = [future.result() for future in first]
            rest = [pool.submit(one, item) for item in items[len(head) :]]
            results = head + [future.result() for future in rest]
        except BaseException:
            if stop is not None:
                stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    pool.shutdown()
    return results


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary path beside `path` that takes its name only if the block ends without an error.

    An interrupt or a full disk leaves no half-written file under the final name, and an older file there survives.
    A symbolic link stays one: the file that it points to is replaced.

    Raises:
        ValueError: if there is something at `path` that is no file, such as a folder or a device.
    """
    final = Path(path).resolve()
    if final.exists() and not final.is_file():
        kind = "a folder" if final.is_dir() else "no regular file"
        raise ValueError(f"{path} is {kind}: give the name of a file to write")
    final.parent.mkdir(parents=True, exist_ok=True)
    temporary = final.with_name(f".{final.name}.{secrets.token_hex(4)}.part")
    # Made here, so that the user's umask says who may read it, whatever writes to it.
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    try:
        yield temporary
        temporary.replace(final)
    finally:
        temporary.unlink(missing_ok=True)


def write_netcdf(data, path: str | os.PathLike[str]) -> Path:
    """Write an `xarray.Dataset`, `DataArray` or `DataTree` to netCDF, atomically. Returns the path.

    HDF5 itself never meets a full disk: it cannot close a file that it could not write, and ends the process when it
    tries. The bytes are put together in memory and written by Python; for large data, which may not fit twice, room
    is reserved on the disk first. A checksum follows, see `bayescg._checksum`.

    Raises:
        OSError: if the disk is full; what was at `path` is still there.
        ValueError: if there is something at `path` that is no file.
    """
    with atomic_path(path) as temporary:
        if data.nbytes <= _IN_MEMORY:
            content = data.to_netcdf(engine="h5netcdf")
            with temporary.open("wb") as file:
                file.write(content)
                file.write(checksum(content))
                file.flush()
                os.fsync(file.fileno())
        else:
            _check_room(temporary, data.nbytes + (1 << 20))
            data.to_netcdf(temporary, engine="h5netcdf")
            append_checksum(temporary)
    return Path(path)


def _check_room(path: Path, size: int) -> None:
    """Raise OSError if a file cannot grow to `size` bytes: disk, quota and the process's limit."""
    if not hasattr(os, "posix_fallocate"):
        return
    with path.open("r+b") as file:
        os.posix_fallocate(file.fileno(), 0, size)
        file.truncate(0)
