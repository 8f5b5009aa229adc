"""`make bench`: the statistics pass beside csg_fmatch on the same files, NUTS, and memory of a streamed fit."""

import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

import jax
import MDAnalysis as mda
import numpy as np
import pytest

import bayescg as bcg

TEMPERATURE = 300.0


def copied(shared, system, folder):
    """Frames and csg_fmatch's settings, copied where index files may be written."""
    for name in ("topol.tpr", "traj.trr"):
        shutil.copy(shared / system / name, folder)
    for name in ("fm.xml", "mapping.xml"):
        shutil.copy(shared / system / "votca" / name, folder)
    return folder


@pytest.fixture(scope="module")
def water(tmp_path_factory, shared):
    return copied(shared, "spce", tmp_path_factory.mktemp("water"))


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


SYSTEMS = {
    "spce": bcg.Potential(bcg.Pair("CG", "CG", cutoff=0.9)),
    "hexane": bcg.Potential(
        *(bcg.Pair(a, b, cutoff=1.0) for a, b in ("AA", "AB", "BB")),
        bcg.Bond("A", "B"),
        bcg.Angle("A", "B", "A"),
        exclude_bonds=2,
    ),
}


@pytest.mark.parametrize("system", SYSTEMS)
def test_statistics_pass(benchmark, tmp_path, shared, capsys, system):
    """CPU milliseconds a frame, reading and mapping included, beside csg_fmatch on the same files, by turns.

    Start-up is left out on both sides, as what a quarter of the frames takes; compilation by a pass before.
    """
    folder = copied(shared, system, tmp_path)
    frames = 200 if system == "spce" else 100
    pilot = bcg.fit_pilot(SYSTEMS[system], next(iter(chunks(folder, stop=50))))

    def taken(scored, count):
        begin = time.process_time()
        bcg.force_statistics(pilot.potential, chunks(folder, stop=count), pilot=pilot if scored else None)
        return time.process_time() - begin

    def ours(scored):
        return 1e3 * (taken(scored, frames) - taken(scored, frames // 4)) / (frames - frames // 4)

    found = {"plain": [], "scores": [], "csg_fmatch": []}
    ours(True)

    def by_turns():
        for _ in range(3):
            found["plain"].append(ours(False))
            found["scores"].append(ours(True))
            if shutil.which("csg_fmatch"):
                csg = csg_seconds(folder, frames) - csg_seconds(folder, frames // 4)
                found["csg_fmatch"].append(1e3 * csg / (frames - frames // 4))

    benchmark.pedantic(by_turns, rounds=1, iterations=1)
    with capsys.disabled():
        print(f"\n{system}, {pilot.potential.n_basis} coefficients, CPU-ms a frame:", end="")
        for name, times in found.items():
            if times:
                benchmark.extra_info[name] = min(times)
                print(f" {name} {min(times):.2f} ({', '.join(f'{t:.2f}' for t in times)})", end="")
        if found["csg_fmatch"]:
            print(f"; csg_fmatch over scores {min(found['csg_fmatch']) / min(found['scores']):.1f}")


@pytest.mark.parametrize("beads", [510, 4080])
def test_cg_trajectory(benchmark, tmp_path, shared, capsys, beads):
    """The same from a trajectory of beads, with few atoms to read and map; OpenMSCG's cgfm, which reads these, has no
    package that pip finds.
    """
    data = np.load(shared / "spce" / "cg_long.npz")
    copies, frames = round((beads / 510) ** (1 / 3)), 100 if beads == 510 else 24
    edge = float(data["box"][0, 0])
    shifts = edge * np.stack(np.meshgrid(*[np.arange(copies)] * 3, indexing="ij"), -1).reshape(-1, 3)
    beads_of = mda.Universe.empty(beads, n_residues=beads, atom_resindex=np.arange(beads), trajectory=True, forces=True)
    beads_of.add_TopologyAttr("name", ["W"] * beads)
    beads_of.add_TopologyAttr("resname", ["W"] * beads)
    beads_of.add_TopologyAttr("masses", np.full(beads, 18.0))
    with mda.Writer(str(tmp_path / "cg.trr"), beads) as writer:
        for k in range(frames):
            beads_of.atoms.positions = 10 * (data["positions"][k][None] + shifts[:, None]).reshape(-1, 3)
            beads_of.atoms.forces = np.tile(data["forces"][k], (len(shifts), 1)) / 10
            beads_of.dimensions = [10 * copies * edge] * 3 + [90.0] * 3
            writer.write(beads_of.atoms)
    beads_of.load_new(str(tmp_path / "cg.trr"))
    mapping = bcg.Mapping.center_of_mass(beads_of, by="residues", names={"W": "W"})
    potential = bcg.Potential(bcg.Pair("W", "W", cutoff=0.9))

    def taken(count):
        begin = time.process_time()
        given = bcg.stream(beads_of, mapping, temperature=TEMPERATURE, stop=count)
        bcg.force_statistics(potential, given, pilot=None)
        return time.process_time() - begin

    def ours():
        return 1e3 * (taken(frames) - taken(frames // 4)) / (frames - frames // 4)

    ours()
    times = benchmark.pedantic(lambda: [ours() for _ in range(3)], rounds=1, iterations=1)
    with capsys.disabled():
        print(f"\n{beads} beads from a CG trajectory, without scores: {min(times):.2f} CPU-ms a frame")


def test_small_molecule(benchmark, capsys):
    """7000 frames of six beads and 15 bonded terms: the pass, its memory, and a Laplace fit."""
    code = SMALL.format(root=str(Path(__file__).resolve().parents[2]))

    def run():
        return subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, capture_output=True, text=True)

    found = benchmark.pedantic(run, rounds=1, iterations=1).stdout
    with capsys.disabled():
        print("\n" + found.strip())


SMALL = """
import resource, sys, time
sys.path.insert(0, {root!r})
import jax, numpy as np, bayescg as bcg
from bayescg.data import Topology
names = ["C1", "N1", "CA", "CB", "C2", "N2"]
at = np.array([[0, 0, 0], [.13, .02, 0], [.22, .13, 0], [.36, .1, .05], [.2, .2, .14], [.1, .28, .18]])
rng, frames = np.random.default_rng(0), 7000
topology = Topology.from_bonds(6, [(0, 1), (1, 2), (2, 3), (2, 4), (4, 5)])
cg = bcg.from_arrays(at + 5 + rng.normal(0, .012, (frames, 6, 3)), [10, 10, 10], names, temperature=300.0,
                     forces=rng.normal(0, 300, (frames, 6, 3)), topology=topology)
word = lambda rows: [[names[k] for k in row] for row in rows]
terms = [bcg.Bond(*w, knot_spacing=0.0038) for w in word(topology.bonds)]
terms += [bcg.Angle(*w, knot_spacing=np.pi / 60) for w in word(topology.angles)]
terms += [bcg.Dihedral(*w, knot_spacing=np.pi / 24) for w in word(topology.dihedrals)]
terms += [bcg.Pair("C1", "N2", cutoff=1.0, knot_spacing=0.02)]
potential = bcg.fill_ranges(bcg.Potential(*terms, exclude_bonds=2), cg)
begin = time.perf_counter()
pilot = bcg.fit_pilot(potential, cg)
first = time.perf_counter() - begin
cpu = time.process_time()
statistics = bcg.force_statistics(potential, cg, pilot=pilot)
cpu = 1e3 * (time.process_time() - cpu) / frames
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
begin = time.perf_counter()
bcg.force_match(potential, statistics, method="laplace", key=jax.random.key(0))
fit = time.perf_counter() - begin
whole = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
print(f"{{len(terms)}} terms, {{potential.n_basis}} coefficients, 6 beads: pass {{cpu:.2f}} CPU-ms a frame, "
      f"{{peak:.2f}} GB at its peak; pilot {{first:.1f}} s, Laplace fit {{fit:.1f}} s wall, {{whole:.2f}} GB")
"""


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
