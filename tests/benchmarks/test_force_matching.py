"""`make bench`: the statistics pass beside csg_fmatch on the same files, NUTS, and memory of a streamed fit."""

import resource
import shutil
import subprocess
import sys
import time

import jax
import MDAnalysis as mda
import pytest

import bayescg as bcg

TEMPERATURE = 300.0


@pytest.fixture(scope="module")
def water(tmp_path_factory, shared):
    """The 200 frames beside csg_fmatch's settings, copied where index files may be written."""
    folder = tmp_path_factory.mktemp("water")
    for name in ("topol.tpr", "traj.trr"):
        shutil.copy(shared / "spce" / name, folder)
    for name in ("fm.xml", "mapping.xml"):
        shutil.copy(shared / "spce" / "votca" / name, folder)
    return folder


def chunks(folder, stop=None, copies=1):
    atoms = mda.Universe(str(folder / "topol.tpr"), [str(folder / "traj.trr")] * copies)
    mapping = bcg.Mapping.from_votca(folder / "mapping.xml", atoms)
    return bcg.stream(atoms, mapping, temperature=TEMPERATURE, stop=stop)


def csg_seconds(folder, frames):
    """CPU seconds of csg_fmatch on the first frames."""
    command = ["csg_fmatch", "--top", "topol.tpr", "--trj", "traj.trr", "--options", "fm.xml", "--cg", "mapping.xml"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([*command, "--nframes", str(frames)], cwd=folder, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_statistics_pass(benchmark, water, capsys):
    """CPU seconds a frame, reading included; compilation and start-up of either program left out."""
    potential = bcg.Potential(bcg.Pair("CG", "CG", cutoff=0.9))
    bcg.force_statistics(potential, chunks(water, stop=20), pilot=None)
    seconds = []

    def one_pass():
        begin = time.process_time()
        bcg.force_statistics(potential, chunks(water), pilot=None)
        seconds.append(time.process_time() - begin)

    benchmark.pedantic(one_pass, rounds=3, iterations=1)
    ours = min(seconds) / 200
    benchmark.extra_info["cpu_ms_per_frame"] = 1e3 * ours
    with capsys.disabled():
        print(f"\nstatistics pass, 510 waters, 0.9 nm: {1e3 * ours:.2f} CPU-ms a frame")
        if shutil.which("csg_fmatch"):
            theirs = min((csg_seconds(water, 200) - csg_seconds(water, 50)) / 150 for _ in range(3))
            benchmark.extra_info["csg_fmatch_cpu_ms_per_frame"] = 1e3 * theirs
            print(f"csg_fmatch on the same files: {1e3 * theirs:.2f} CPU-ms a frame, {theirs / ours:.1f} times ours")


def test_nuts(benchmark, water, capsys):
    """Wall seconds of 4 chains of 500 + 500 for one pair term, everything after the pass included."""
    potential = bcg.Potential(bcg.Pair("CG", "CG", cutoff=0.9))
    pilot = bcg.fit_pilot(potential, next(iter(chunks(water))))
    statistics = bcg.force_statistics(potential, chunks(water), pilot=pilot)

    def fit():
        return bcg.force_match(potential, statistics, key=jax.random.key(0))

    posterior = benchmark.pedantic(fit, rounds=1, iterations=1)
    with capsys.disabled():
        print(
            f"\nNUTS, 4 x (500 + 500): {benchmark.stats.stats.max:.1f} s wall, "
            f"R-hat {posterior.attrs['rhat_max']:.3f}, smallest ESS {posterior.attrs['ess_bulk_min']:.0f}"
        )


MEMORY = """
import resource, sys
sys.path.insert(0, {root!r})
from pathlib import Path
import jax, bayescg as bcg
from tests.benchmarks.test_force_matching import chunks
potential = bcg.Potential(bcg.Pair("CG", "CG", cutoff=0.9))
pilot = bcg.fit_pilot(potential, next(iter(chunks(Path({folder!r})))))
statistics = bcg.force_statistics(potential, chunks(Path({folder!r}), copies={copies}), pilot=pilot)
bcg.force_match(potential, statistics, method="laplace", key=jax.random.key(0))
print(statistics.n_frames, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6)
"""


@pytest.mark.parametrize("copies", [1, 20])
def test_streamed_memory(benchmark, water, capsys, pytestconfig, copies):
    """Peak resident memory of mapping, statistics and fit, in a process of its own."""
    code = MEMORY.format(root=str(pytestconfig.rootpath), folder=str(water), copies=copies)

    def run():
        return subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, capture_output=True, text=True)

    frames, gigabytes = benchmark.pedantic(run, rounds=1, iterations=1).stdout.split()
    with capsys.disabled():
        print(f"\nstreamed fit of {frames} frames: {float(gigabytes):.2f} GB at its peak")
