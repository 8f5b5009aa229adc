"""`distributed_statistics`: the one pass on the workers of a Dask cluster, chunk by chunk, added up as they come.

Statistics are keyed by absolute frame, so chunks may be made anywhere, in any order, and again if a worker dies. What
travels are the names of files and sums; frames are read by the worker that needs them, from a file system that all
machines share.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import uuid
import warnings
from collections.abc import Callable, Iterable, Iterator, Sized
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

import xarray as xr

from bayescg._runtime import hidden_progress, progress
from bayescg._version import __version__
from bayescg.data import Mapping
from bayescg.inference.statistics.asked import Pilot, Structure, equations_of
from bayescg.inference.statistics.force_statistics import ForceStatistics
from bayescg.inference.statistics.streaming import statistics_of
from bayescg.inference.statistics.sums.blocks import merge_to_level
from bayescg.inference.statistics.trajectory_chunks import TrajectoryChunk as TrajectoryChunk
from bayescg.inference.statistics.trajectory_chunks import trajectory_chunks as trajectory_chunks
from bayescg.inference.statistics.weights import counted
from bayescg.potentials import Potential

Source = xr.Dataset | Callable[[], xr.Dataset | Iterable[xr.Dataset]]
"""A CG dataset in memory, or what makes datasets of successive frames on the worker that calls it."""

_SHIPPED = 4 << 20
"""Bytes of an in-memory dataset that travel with one task."""


def distributed_statistics(
    potential: Potential,
    sources: xr.Dataset | Iterable[Source],
    *,
    client: Any,
    pilot: Pilot | None = None,
    system: str | None = None,
    structure: Structure = False,
    in_flight: int | None = None,
) -> ForceStatistics:
    """`force_statistics` on a Dask cluster. The result equals that of one pass up to rounding, whatever the chunks.

    Results are added to the total as they arrive, and the cluster then forgets them. At most `in_flight` chunks are
    under way. If a worker dies, its chunk is computed again by another one.

    Args:
        potential: what to fit. Ranges that bonds left open are filled in from the first source (or are the pilot's).
        sources: `trajectory_chunks(...)`; or functions without arguments, called on a worker, that return one CG
            dataset or several in turn; or CG datasets in memory, which are sent in small pieces (for small data). An
            iterator is asked for a source when there is room for one.
        client: a `dask.distributed.Client`, a cluster, the address of a scheduler, or the path of a scheduler file
            (*.json). A connection that is made here is closed at the end.
        pilot: from `fit_pilot`, for calibrated error bars.
        system: name of the thermodynamic system, as in `force_statistics`.
        structure: sums for the structure equations as well, as in `force_statistics`.
        in_flight: chunks under way; twice the number of the cluster's threads if None, which keeps all of them busy.

    Returns:
        The sums that `force_match` needs.

    Raises:
        ImportError: if dask.distributed is not installed.
        ChildProcessError: if one worker after the other dies on a chunk.
        ConnectionError: if the scheduler does not answer, or is lost.
        ValueError: as `force_statistics`, and if there are no sources or `in_flight` is not positive.
    """
    if in_flight is not None and in_flight < 1:
        raise ValueError(f"in_flight={in_flight}: give a positive number of chunks")
    sources = [sources] if isinstance(sources, xr.Dataset) or callable(sources) else sources
    pieces = _pieces(sources)
    count = len(sources) if isinstance(sources, Sized) and not _in_memory(sources) else None
    with _connected(client) as connected, progress("Force statistics on Dask", count) as advance:
        tasks = _Tasks(connected, pieces, pilot, (system, equations_of(structure)))
        try:
            total = tasks.collect(potential, in_flight, advance)
        finally:
            # Also after an interrupt: the cluster is left idle, and ready for somebody else.
            tasks.cancel()
    if total is None:
        raise ValueError("there are no sources: the list of chunks is empty")
    return total


class _Tasks:
    """The chunks that are under way."""

    def __init__(self, client, pieces: Iterator[Source], pilot: Pilot | None, asked: tuple):
        self._client, self._pieces, self._pilot, self._asked = client, pieces, pilot, asked
        self._name, self._number = f"force-statistics-{uuid.uuid4().hex[:8]}", 0
        self._running: dict[str, tuple[Any, Source]] = {}
        self._mappings: dict[int, tuple[Mapping, Any]] = {}
        self._said: set[str] = set()

    def collect(self, potential: Potential, in_flight: int | None, advance) -> ForceStatistics | None:
        """Submit, wait and add up, until there is nothing left."""
        from distributed import as_completed

        done = as_completed(loop=self._client.loop)
        total: ForceStatistics | None = None
        # Until the first chunk has said which ranges its bonds take, no other chunk can begin.
        alone = self._pilot is None and any(
            getattr(term, end, 0.0) is None for term in potential.terms for end in ("start", "stop")
        )
        while True:
            room = 1 if alone and total is None else in_flight or self._room()
            levels = {} if total is None else total.levels
            while len(self._running) < room and (piece := next(self._pieces, None)) is not None:
                done.add(self._submit(potential if total is None else total.potential, piece, levels))
            if not self._running:
                return total
            part = self._result(next(done))
            total = part if total is None else total + part
            advance(1)

    def cancel(self) -> None:
        """Drop what is under way."""
        futures = [future for future, _ in self._running.values()] + [future for _, future in self._mappings.values()]
        self._running.clear()
        self._mappings.clear()
        if futures and self._client.status == "running":
            self._client.cancel(futures, force=True)

    def _room(self) -> int:
        return max(2, 2 * sum(self._client.nthreads().values()))

    def _submit(self, potential: Potential, source: Source, levels: dict[str, int]):
        mapping = None
        if isinstance(source, TrajectoryChunk):
            # One value per atom: it travels once, as the result of a task, which outlives the worker that holds it.
            mapping, sent = source.mapping, dataclasses.replace(source, mapping=None)
            if id(mapping) not in self._mappings:
                self._mappings[id(mapping)] = mapping, self._client.submit(_same, mapping, pure=False)
            mapping = self._mappings[id(mapping)][1]
        else:
            sent = source
        self._number += 1
        name = f"{self._name}-{self._number}"
        settings = (self._pilot, self._asked, dict(levels), __version__)
        future = self._client.submit(_chunk, potential, sent, mapping, settings, key=name, pure=False)
        self._running[name] = future, source
        return future

    def _result(self, future) -> ForceStatistics:
        from distributed import KilledWorker

        _, source = self._running[future.key]
        try:
            statistics, messages = future.result()
        except KilledWorker as error:
            raise ChildProcessError(
                f"one worker after the other has died on {_name(source)}: most often their memory is too small; give "
                "them more, or fewer threads each, and look at their logs"
            ) from error
        except CancelledError as error:
            raise ConnectionError(
                "the Dask scheduler has dropped the work, or was lost: look at its log, and start again"
            ) from error
        except ValueError as error:
            error.add_note(f"in {_name(source)}")
            raise
        del self._running[future.key]
        future.release()
        for message in messages:
            if message not in self._said:
                self._said.add(message)
                warnings.warn(message, stacklevel=5)
        return statistics


def _chunk(
    potential: Potential, source: Source, mapping: Mapping | None, settings: tuple
) -> tuple[ForceStatistics, list[str]]:
    """On the worker: the statistics of a chunk in as few blocks as the total has, and the warnings."""
    pilot, asked, levels, version = settings
    if version != __version__:
        raise ValueError(f"a worker runs bayescg {__version__}, but {version} asks: install the same on all machines")
    if isinstance(source, TrajectoryChunk):
        source = dataclasses.replace(source, mapping=mapping)
    # The client shows how far the work is; workers on the same terminal would draw over it.
    with hidden_progress(), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        data = source if isinstance(source, xr.Dataset) else source()
        found = statistics_of(potential, data, pilot=pilot, system=asked[0], equations=asked[1])
    messages = [str(each.message) for each in caught if each.category is UserWarning]
    return _coarsened(found, levels), messages


def _coarsened(statistics: ForceStatistics, levels: dict[str, int]) -> ForceStatistics:
    """Blocks at least as long as these: the total will merge them anyway, and few blocks travel faster."""
    sums, reached = {}, {}
    for source, level in statistics.levels.items():
        reached[source] = max(level, levels.get(source, level))
        own = {key: block for key, block in statistics.sums.items() if key[0] == source}
        sums.update(merge_to_level(own, level, reached[source]))
    return dataclasses.replace(statistics, sums=sums, levels=reached)


def _same(value):
    return value


def _in_memory(sources) -> bool:
    return isinstance(sources, list | tuple) and any(isinstance(each, xr.Dataset) for each in sources)


def _pieces(sources: Iterable[Source]) -> Iterator[Source]:
    """Sources; those in memory in pieces that are small enough to be sent, and sent again."""
    for source in sources:
        if not isinstance(source, xr.Dataset):
            if not callable(source):
                raise ValueError(f"{source!r} is no source: give datasets, functions that make them, or chunks")
            yield source
            continue
        kept = counted(source)
        if "frame" not in kept.dims:
            yield kept
            continue
        frames = kept.sizes["frame"]  # none, where all weights are zero
        size = max(1, frames * _SHIPPED // kept.nbytes) if kept.nbytes > _SHIPPED else frames
        for begin in range(0, frames, size):
            yield kept.isel(frame=slice(begin, begin + size))


def _name(source: Source) -> str:
    return "a dataset in memory" if isinstance(source, xr.Dataset) else repr(source)


@contextlib.contextmanager
def _connected(client) -> Iterator[Any]:
    """A client, which is closed at the end if it was made here."""
    try:
        from distributed import Client
    except ImportError as error:
        raise ImportError(
            'work on a cluster needs dask.distributed: pip install "bayescg[dask]" here and for the workers'
        ) from error
    if isinstance(client, Client):
        yield client
        return
    file = isinstance(client, str | os.PathLike) and str(client).endswith(".json")
    if file and not Path(client).is_file():
        raise ValueError(f"no scheduler file at {client}: start `dask scheduler --scheduler-file {client}` first")
    where: dict[str, Any] = {"scheduler_file": str(client)} if file else {"address": client}
    try:
        made = Client(**where, timeout="30s", set_as_default=False)
    except (OSError, TimeoutError) as error:
        raise ConnectionError(f"no Dask scheduler answers at {client}: {error}") from error
    with made:
        if not made.nthreads():
            warnings.warn("the cluster has no workers yet: the work begins when one joins", stacklevel=4)
        yield made
