"""Statistics by a Dask cluster: the same sums from any chunks, also when workers are killed in mid-pass."""

import functools
import itertools
import os
import signal
import sys
import threading
import time
from concurrent.futures import CancelledError
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest
import xarray as xr
from typer.testing import CliRunner

import bayescg as bcg
from bayescg import cli
from bayescg.data import datasets
from bayescg.geometry.images import minimum_image
from bayescg.inference.statistics import distributed as room
from bayescg.inference.statistics.distributed import TrajectoryChunk, distributed_statistics, trajectory_chunks
from bayescg.inference.statistics.streaming import statistics_of
from bayescg.workflow import frames
from bayescg.workflow.steps import map as map_step
from tests.inference.statistics.test_force_statistics import assert_same
from tests.runs import write_inputs

dask = pytest.importorskip("distributed", reason="needs dask.distributed")

FRAMES = 130
PATIENCE = 120.0
"""For what is certain to come [s]: only a test that fails waits so long."""
QUIET = {"dashboard_address": ":0", "silence_logs": "CRITICAL"}
POTENTIAL = bcg.Potential(bcg.Pair("A", "A", cutoff=0.5, knot_spacing=0.03))


@pytest.fixture(scope="module")
def cluster():
    with dask.LocalCluster(n_workers=2, threads_per_worker=1, **QUIET) as made:
        yield made


@pytest.fixture(scope="module")
def client(cluster):
    with dask.Client(cluster, set_as_default=False) as made:
        yield made


@pytest.fixture(scope="module")
def data():
    """Neighbors on a jittered lattice: lists of all frames have one padded length, so a worker compiles once."""
    rng = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(*[np.arange(3) * 0.4] * 3, indexing="ij"), -1).reshape(-1, 3)
    positions = grid + 0.025 * rng.normal(size=(FRAMES, 27, 3))
    apart = minimum_image(positions[:, :, None] - positions[:, None], np.eye(3) * 1.2)
    r = np.linalg.norm(apart, axis=-1) + np.eye(27)
    forces = np.einsum("fab,fabx->fax", np.where(r < 0.5, 2000 * (0.5 - r) / r, 0.0), apart)
    forces = forces + 100 * rng.normal(size=positions.shape)
    return bcg.from_arrays(positions, [1.2] * 3, "A", temperature=300.0, mass=np.full(27, 20.0), forces=forces)


@pytest.fixture(scope="module")
def pilot(data):
    return bcg.fit_pilot(POTENTIAL, data, frames=20)


@pytest.fixture(scope="module")
def whole(data, pilot):
    return statistics_of(POTENTIAL, data, pilot=pilot)


def read(path, begin, end, log=None, gate=None):
    """A chunk as a worker makes it, from a file; says so in a log, and waits for a gate, a file, to open."""
    if log is not None:
        with Path(log).open("a") as file:
            file.write(f"{begin}\n")
    if gate is not None:
        wait_until(gate.exists)
    return bcg.load(path).isel(frame=slice(begin, end))


_PAIR = threading.Barrier(2)


def read_in_pairs(path, begin, end):
    """A chunk that is not read before another one is, in another thread."""
    _PAIR.wait(PATIENCE)
    return read(path, begin, end)


def wait_until(true):
    """Look again and again, for what another process does; it is an error if nothing comes of it."""
    until = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < until
        time.sleep(0.01)


def chunks(path, count, *, gate=None, free=0, function=read, **options):
    """Parts of a trajectory; all but the first so many stand before the gate."""
    edges = itertools.pairwise(np.linspace(0, FRAMES, count + 1).astype(int).tolist())
    made = [functools.partial(function, path, a, b, **options) for a, b in edges]
    return made if gate is None else made[:free] + [functools.partial(each, gate=gate) for each in made[free:]]


@pytest.mark.parametrize("count", [1, 2, 7, 50])
def test_any_chunks_give_the_same_sums(client, data, pilot, whole, tmp_path, count):
    path = bcg.save(data, tmp_path / "cg.nc")
    found = distributed_statistics(POTENTIAL, iter(chunks(path, count)), client=client, pilot=pilot)
    assert_same(whole, found)
    np.testing.assert_array_equal(found.frames[data.attrs["source"]], np.arange(FRAMES))


def test_chunks_side_by_side_in_threads(data, pilot, whole, tmp_path):
    """Precision and the limit of BLAS threads hold in every thread of a worker."""
    path = bcg.save(data, tmp_path / "cg.nc")
    with (
        dask.LocalCluster(n_workers=1, threads_per_worker=4, processes=False, **QUIET) as threads,
        dask.Client(threads, set_as_default=False) as client,
    ):
        found = distributed_statistics(POTENTIAL, chunks(path, 20, function=read_in_pairs), client=client, pilot=pilot)
    assert_same(whole, found)


def test_two_workers_killed_in_mid_pass(cluster, client, data, pilot, whole, tmp_path):
    path, log, gate = bcg.save(data, tmp_path / "cg.nc"), tmp_path / "log", tmp_path / "gate"
    log.touch()
    killed = []

    def begun():
        return len(log.read_text().split())

    def kill():
        wait_until(lambda: begun() >= 12)
        for worker in list(cluster.workers.values()):
            killed.append(worker.pid)
            os.kill(worker.pid, signal.SIGKILL)
        gate.touch()

    thread = threading.Thread(target=kill)
    thread.start()
    # Nothing after the tenth chunk is done when the workers are killed: they are in the middle of the pass.
    sources = chunks(path, 50, log=log, gate=gate, free=10)
    found = distributed_statistics(POTENTIAL, sources, client=client, pilot=pilot)
    thread.join()
    assert len(set(killed)) == 2
    assert begun() > 50, "no chunk had to be computed again"
    assert not set(killed) & {worker.pid for worker in cluster.workers.values()}
    assert_same(whole, found)
    a, b = (
        bcg.force_match(POTENTIAL, each, method="laplace", key=jax.random.key(0))["posterior"]["coefficients"]
        for each in (whole, found)
    )
    np.testing.assert_allclose(b, a, rtol=0, atol=1e-6 * float(a.std(("chain", "draw")).min()))


def test_a_trajectory_is_read_by_the_workers(client, tmp_path):
    """Files travel by name; the pilot's and the trajectory's own frames count as in one process."""
    universe = datasets.water(tmp_path).universe()
    mapping = bcg.Mapping.center_of_mass(universe, by="residues", names={"SOL": "W"})
    potential = bcg.Potential(bcg.Pair("W", "W", cutoff=0.6, knot_spacing=0.05))
    pilot = bcg.fit_pilot(potential, bcg.coarse_grain(universe, mapping, temperature=300.0, stop=1))
    window = {"temperature": 300.0, "start": 1, "stop": 12, "step": 3}
    parts = trajectory_chunks(universe, mapping, frames=2, **window)
    assert [(part.start, part.stop, part.step) for part in parts] == [(1, 5, 3), (7, 11, 3)]
    found = distributed_statistics(potential, parts, client=client, pilot=pilot)
    assert_same(statistics_of(potential, bcg.coarse_grain(universe, mapping, **window), pilot=pilot), found)


def test_datasets_in_memory_and_open_ranges(client, data, monkeypatch):
    monkeypatch.setattr(room, "_SHIPPED", data.nbytes // 5)
    data = data.drop_dims(["bond", "angle", "dihedral"])
    data = data.assign(bonds=(("bond", "bond_bead"), [[0, 1]])).assign_coords(bond_group=("bond", ["A-A"]))
    potential = bcg.Potential(bcg.Bond("A", "A"))
    found = distributed_statistics(potential, data, client=client, in_flight=3)
    filled = statistics_of(potential, data.isel(frame=slice(0, 26))).potential
    assert found.potential == filled
    assert found.n_frames == FRAMES
    one = statistics_of(filled, data)
    assert one.sums.keys() == found.sums.keys()
    np.testing.assert_allclose(
        found.total().cross, one.total().cross, rtol=0, atol=1e-12 * np.abs(one.total().cross).max()
    )


def test_an_interrupt_leaves_the_cluster_idle(client, data, tmp_path):
    path, gate = bcg.save(data, tmp_path / "cg.nc"), tmp_path / "gate"

    def interrupted():
        # Asked for the eleventh source when seven are done: the last three are under way then.
        yield from chunks(path, 50, gate=gate, free=7)[:10]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        distributed_statistics(POTENTIAL, interrupted(), client=client, in_flight=4)
    gate.touch()
    wait_until(lambda: not any(client.processing().values()))


def test_run_on_a_scheduler(cluster, tmp_path, monkeypatch):
    """`bayescg run --scheduler` leaves what `bayescg run` leaves."""
    out = tmp_path / "results"

    def run(*options):
        result = CliRunner().invoke(cli.app, ["run", str(write_inputs(tmp_path)), "--last", "map", *options])
        assert result.exit_code == 0, result.stderr
        reference = xr.load_datatree(out / "reference.nc", engine="h5netcdf")
        return bcg.load(out / "statistics.nc"), bcg.load(out / "cg_last.nc"), reference

    here, last, reference = run()
    monkeypatch.setattr(map_step, "running_statistics", None)
    monkeypatch.setattr(frames.Frames.chunks, "__defaults__", (5,))
    there, also_last, also_reference = run("--force", "--scheduler", cluster.scheduler_address)
    assert here.sums.keys() == there.sums.keys()
    np.testing.assert_allclose(there.total().gram, here.total().gram, rtol=0, atol=1e-12 * here.total().gram.max())
    assert also_last.equals(last)
    assert also_reference.equals(reference)
    (out / "statistics.nc").unlink()
    assert run("--scheduler", cluster.scheduler_address)[1].equals(last)


def test_errors_of_a_chunk_come_back(client, data, tmp_path):
    path = bcg.save(data.drop_vars("forces"), tmp_path / "cg.nc")
    with pytest.raises(ValueError, match="hold no forces"):
        distributed_statistics(POTENTIAL, chunks(path, 2), client=client)
    with pytest.raises(ValueError, match="would count twice"):
        distributed_statistics(POTENTIAL, [data.isel(frame=[0]), data.isel(frame=[0])], client=client)


@pytest.mark.parametrize(
    ("raised", "error", "message"),
    [
        (
            dask.KilledWorker("chunk", None, 3),
            ChildProcessError,
            r"has died on frames 4:9:1 of /a/traj\.trr: most often",
        ),
        (CancelledError("chunk"), ConnectionError, "has dropped the work, or was lost"),
    ],
)
def test_work_that_cannot_be_done(raised, error, message):
    def result():
        raise raised

    tasks = room._Tasks(None, iter([]), None, None)
    tasks._running["chunk"] = None, TrajectoryChunk("/a/topol.tpr", ("/a/traj.trr",), None, 300.0, 4, 9, 1)
    with pytest.raises(error, match=message):
        tasks._result(SimpleNamespace(key="chunk", result=result))


@pytest.mark.parametrize(
    ("sources", "options", "message"),
    [
        ([], {}, "there are no sources"),
        ([3], {}, "3 is no source"),
        ([], {"in_flight": 0}, "in_flight=0"),
    ],
)
def test_bad_input(client, sources, options, message):
    with pytest.raises(ValueError, match=message):
        distributed_statistics(POTENTIAL, sources, client=client, **options)


def test_chunks_need_files_and_frames(data, tmp_path):
    universe = datasets.water(tmp_path).universe()
    mapping = bcg.Mapping.center_of_mass(universe, by="residues", names={"SOL": "W"})
    with pytest.raises(ValueError, match="frames=0"):
        trajectory_chunks(universe, mapping, temperature=300.0, frames=0)
    with pytest.raises(ValueError, match="no frames: start=200"):
        trajectory_chunks(universe, mapping, temperature=300.0, start=200)
    universe.transfer_to_memory(stop=2)
    with pytest.raises(ValueError, match="not made of files alone"):
        trajectory_chunks(universe, mapping, temperature=300.0)


def test_versions_that_differ_are_refused(data):
    with pytest.raises(ValueError, match=r"a worker runs bayescg .*, but 0\.0 asks"):
        room._chunk(POTENTIAL, data, None, (None, None, {}, "0.0"))


def test_no_scheduler_there(data, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="no scheduler file"):
        distributed_statistics(POTENTIAL, data, client=tmp_path / "scheduler.json")

    def refused(*arguments, **options):
        raise OSError("Timed out")

    monkeypatch.setattr(dask, "Client", type("Client", (), {"__init__": refused}))
    with pytest.raises(ConnectionError, match="no Dask scheduler answers at tcp://nowhere:1"):
        distributed_statistics(POTENTIAL, data, client="tcp://nowhere:1")


def test_without_dask(data, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ImportError, match=r"pip install \"bayescg\[dask\]\""):
        distributed_statistics(POTENTIAL, data, client="tcp://localhost:8786")
