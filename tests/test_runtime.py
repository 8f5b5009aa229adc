"""Threads and scopes, and files that are written whole or not at all."""

import functools
import os
import signal
import stat
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import h5py
import jax
import numpy as np
import pytest
import xarray as xr

from bayescg import _runtime
from bayescg._checksum import check
from bayescg._runtime import atomic_path, map_threads, write_netcdf

_PATIENCE = 60.0
"""For what is certain to come [s]: only a test that fails waits so long."""

# Not one byte more than `room` goes to a file: what a full disk does, without filling one.
_FULL_DISK = """
import resource, signal, sys
import numpy as np, xarray as xr
from bayescg import _runtime

data = xr.Dataset({"a": ("x", np.arange(200_000.0))})
tree = xr.DataTree.from_dict({"/": xr.Dataset(), "/deep": data})
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))
for folder in sys.argv[1:]:
    kind, size = folder.split("-")[-2:]
    _runtime._IN_MEMORY = 1 << 30 if size == "small" else 0
    try:
        _runtime.write_netcdf(tree if kind == "tree" else data, f"{folder}/results.nc")
    except OSError as error:
        print("OSError", error.errno)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs RLIMIT_FSIZE")
def test_a_full_disk_is_an_error_and_not_the_end_of_the_process(tmp_path):
    folders = [tmp_path / f"{kind}-{size}" for kind in ("dataset", "tree") for size in ("small", "large")]
    for folder in folders:
        folder.mkdir()
        (folder / "results.nc").write_bytes(b"older")
    done = subprocess.run(
        [sys.executable, "-c", _FULL_DISK, *map(str, folders)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["OSError"] * 4
    assert done.stderr == ""
    for folder in folders:
        assert (folder / "results.nc").read_bytes() == b"older"
        assert [path.name for path in folder.iterdir()] == ["results.nc"]


@pytest.mark.parametrize("in_memory", [1 << 30, 0], ids=["small", "large"])
def test_what_is_written_is_read_back(tmp_path, monkeypatch, in_memory):
    monkeypatch.setattr(_runtime, "_IN_MEMORY", in_memory)
    data = xr.Dataset({"a": ("x", np.arange(5.0)), "word": ("x", list("abcde"))}, attrs={"t": 1.5})
    read = xr.load_dataset(write_netcdf(data, tmp_path / "a.nc"), engine="h5netcdf")
    xr.testing.assert_identical(read.assign(word=read["word"].astype("U1")), data)
    tree = xr.DataTree.from_dict({"/": data[["a"]], "/deep": data[["a"]] + 1})
    xr.testing.assert_equal(xr.load_datatree(write_netcdf(tree, tmp_path / "tree.nc"), engine="h5netcdf"), tree)
    array = xr.DataArray(np.arange(3.0), dims="x", name="a")
    xr.testing.assert_equal(xr.load_dataarray(write_netcdf(array, tmp_path / "b.nc"), engine="h5netcdf"), array)


@pytest.mark.parametrize("in_memory", [1 << 30, 0], ids=["small", "large"])
def test_files_end_with_a_checksum(tmp_path, monkeypatch, in_memory):
    """It counts until another program changes the file, which cuts it off."""
    monkeypatch.setattr(_runtime, "_IN_MEMORY", in_memory)
    path = write_netcdf(xr.Dataset({"a": ("x", np.arange(500.0))}), tmp_path / "a.nc")
    content = path.read_bytes()
    assert content[-22:].startswith(b"bayescg crc32 ")
    check(path)
    path.write_bytes(content.replace(np.float64(77.0).tobytes(), np.float64(78.0).tobytes()))
    assert float(xr.load_dataset(path, engine="h5netcdf")["a"][77]) == 78.0
    with pytest.raises(ValueError, match=r"a\.nc is damaged: its bytes are not those"):
        check(path)
    path.write_bytes(content)
    with h5py.File(path, "r+") as file:
        file.attrs["mine"] = 1
    check(path)
    assert xr.load_dataset(path, engine="h5netcdf").attrs["mine"] == 1


def _write(path, text):
    with atomic_path(path) as temporary:
        temporary.write_text(text)


def test_a_symbolic_link_stays_one(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    target, link = tmp_path / "elsewhere" / "target.txt", tmp_path / "link.txt"
    target.write_text("old")
    link.symlink_to(target)
    _write(link, "new")
    assert link.is_symlink()
    assert target.read_text() == "new"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["elsewhere", "link.txt"]
    assert [path.name for path in (tmp_path / "elsewhere").iterdir()] == ["target.txt"]


def test_only_files_are_replaced(tmp_path):
    with pytest.raises(ValueError, match="is a folder: give the name of a file"):
        _write(tmp_path, "new")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="pipe is no regular file"):
        _write(tmp_path / "pipe", "new")
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


@pytest.mark.parametrize("mask", [0o002, 0o077])
def test_the_umask_is_respected(tmp_path, mask):
    old = os.umask(mask)
    try:
        _write(tmp_path / "a.txt", "x")
        write_netcdf(xr.Dataset({"a": 1.0}), tmp_path / "a.nc")
    finally:
        os.umask(old)
    for name in ("a.txt", "a.nc"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o666 & ~mask


_OVERLAP = """
import threading
from threadpoolctl import threadpool_info
import numpy, scipy.linalg
from bayescg._runtime import double_precision

def threads():
    return [each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"]

first_in, second_in, first_out = threading.Event(), threading.Event(), threading.Event()

def first():
    with double_precision():
        first_in.set()
        assert second_in.wait(60)
    first_out.set()

def second():
    assert first_in.wait(60)
    with double_precision():
        second_in.set()
        assert first_out.wait(60)
        assert set(threads()) == {1}, threads()

pool = [threading.Thread(target=each) for each in (first, second)]
for thread in pool:
    thread.start()
for thread in pool:
    thread.join()
print("done")
"""


def test_one_of_two_overlapping_scopes_does_not_end_the_other():
    # In a process of its own: libraries that other tests load bring thread pools with other rules.
    result = subprocess.run([sys.executable, "-c", _OVERLAP], capture_output=True, text=True, check=False)
    assert result.stdout == "done\n", result.stderr
    assert result.stderr == ""


def _second_begins_beside_first(compiled, patience):
    """Whether the second item begins while the first one runs, which waits for it so long [s]."""
    begun = threading.Event()

    def one(item):
        if item == 2:
            begun.set()
        return begun.wait(patience) if item == 1 else item

    first, *rest = map_threads(one, [1, 2, 3], compiled=compiled)
    assert rest == [2, 3]
    return first


def test_the_first_item_runs_alone_unless_all_is_compiled(monkeypatch):
    monkeypatch.setattr(_runtime, "cpu_count", lambda: 2)
    assert not _second_begins_beside_first(False, 0.2)
    assert _second_begins_beside_first(True, _PATIENCE)


def test_threads_have_double_precision_and_nothing_is_nothing():
    dtypes = map_threads(lambda x: jax.numpy.asarray(x).dtype, [np.float64(1.0)] * 3)
    assert {str(each) for each in dtypes} == {"float64"}
    assert map_threads(lambda x: x, []) == []


@pytest.fixture
def _interrupts():
    """SIGINT raises KeyboardInterrupt, also for tests that run in a shell's background, where it is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_interrupts")
@pytest.mark.parametrize("compiled", [True, False])
def test_an_interrupt_stops_what_waits_and_what_runs(monkeypatch, compiled):
    monkeypatch.setattr(_runtime, "cpu_count", lambda: 2)
    monkeypatch.setattr(_runtime, "ThreadPoolExecutor", functools.partial(ThreadPoolExecutor, thread_name_prefix="own"))
    stop, out, began, ended = threading.Event(), threading.Event(), [], []

    def one(item):
        began.append(item)
        if item == 0:
            os.kill(os.getpid(), signal.SIGINT)
        ended.append((stop.wait(_PATIENCE), out.wait(_PATIENCE)))

    with pytest.raises(KeyboardInterrupt):
        map_threads(one, range(8), compiled=compiled, stop=stop)
    out.set()
    for thread in threading.enumerate():
        if thread.name.startswith("own"):
            thread.join(_PATIENCE)
    assert len(began) <= 2
    # Those that ran were asked to stop, and the interrupt was out before they did.
    assert ended == [(True, True)] * len(began)


def test_an_error_drops_the_items_that_wait(monkeypatch):
    monkeypatch.setattr(_runtime, "cpu_count", lambda: 1)
    began = []

    def one(item):
        began.append(item)
        raise ValueError("bad item")

    with pytest.raises(ValueError, match="bad item"):
        map_threads(one, range(5))
    assert began == [0]
