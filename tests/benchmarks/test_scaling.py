"""How cost grows with frames, beads, knots and draws: CPU seconds and the exponents of fitted power laws."""

import functools
import time

import jax
import numpy as np
import pytest
import xarray as xr

import bayescg as bcg
from bayescg.inference import Sampling
from bayescg.inference.statistics.program.batches import Plan
from bayescg.inference.statistics.streaming import chunk_statistics
from bayescg.observables import _distances

RDF = functools.partial(bcg.observables.rdf, a="W", b="W", cutoff=0.9)


@pytest.fixture(scope="module")
def water() -> xr.Dataset:
    universe = bcg.datasets.water().universe()
    mapping = bcg.Mapping.center_of_mass(universe, by="residues", names={"SOL": "W"})
    return bcg.coarse_grain(universe, mapping, temperature=300.0)


def tiled(cg: xr.Dataset, copies: tuple[int, int, int], frames: int) -> xr.Dataset:
    """The same liquid in a box that is several times as large."""
    cg = cg.isel(frame=slice(0, frames))
    box = cg["box"].values
    shifts = np.stack(np.meshgrid(*map(np.arange, copies), indexing="ij"), -1).reshape(-1, 3)
    positions = np.concatenate([cg["positions"].values + (shift @ box[0]) for shift in shifts], axis=1)
    forces = np.concatenate([cg["forces"].values] * len(shifts), axis=1)
    count = positions.shape[1]
    return bcg.from_arrays(
        positions, box * np.array(copies)[:, None], ["W"] * count, temperature=300.0, forces=forces, mass=[18.0] * count
    )


def pair(spacing: float = 0.01) -> bcg.Potential:
    return bcg.Potential(bcg.Pair("W", "W", cutoff=0.9, knot_spacing=spacing))


def cpu(job, repeats: int = 2) -> float:
    """CPU seconds of the fastest of some runs, after one that compiles."""
    job()
    found = []
    for _ in range(repeats):
        begin = time.process_time()
        job()
        found.append(time.process_time() - begin)
    return min(found)


def exponent(sizes, seconds) -> float:
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


def show(capsys, title: str, sizes, seconds) -> None:
    with capsys.disabled():
        row = ", ".join(f"{size:g}: {value:.3f}" for size, value in zip(sizes, seconds, strict=True))
        print(f"\n{title}: {row} CPU-s; exponent {exponent(sizes, seconds):.2f}")


def run(benchmark, job):
    return benchmark.pedantic(job, rounds=1, iterations=1)


@pytest.mark.parametrize("scored", [False, True])
def test_pass_over_frames(benchmark, water, capsys, scored):
    pilot = bcg.fit_pilot(pair(), water) if scored else None
    sizes = [25, 50, 100]

    def job():
        return [
            cpu(lambda n=n: bcg.force_statistics(pair(), water.isel(frame=slice(0, n)), pilot=pilot)) for n in sizes
        ]

    seconds = run(benchmark, job)
    show(capsys, f"pass over frames, {'with' if scored else 'without'} scores", sizes, seconds)
    with capsys.disabled():
        print(f"  {1e3 * (seconds[-1] - seconds[0]) / (sizes[-1] - sizes[0]):.2f} CPU-ms a frame")


@pytest.mark.parametrize("scored", [False, True])
def test_pass_over_batches(benchmark, water, capsys, scored):
    """Also for a GPU: the default there is printed beside the sizes that are tried."""
    potential, frames, sizes = pair(), water.sizes["frame"], [1, 4, 16, 64]
    pilot = bcg.fit_pilot(potential, water) if scored else None
    plans = {"default": Plan(), **{f"{size} at once": Plan(size) for size in sizes}}

    def job():
        found = {}
        for name, plan in plans.items():
            chunk_statistics(potential, water, pilot=pilot, plan=plan)
            runs = []
            for _ in range(3):
                begin = time.perf_counter(), time.process_time()
                chunk_statistics(potential, water, pilot=pilot, plan=plan)
                runs.append((time.perf_counter() - begin[0], time.process_time() - begin[1]))
            found[name] = [1e3 * min(column) / frames for column in zip(*runs, strict=True)]
        return found

    found = run(benchmark, job)
    statistics = chunk_statistics(potential, water, pilot=pilot)
    pairs, rows, basis = statistics.counts["W-W"].sum() / frames, 3 * water.sizes["bead"], potential.n_basis
    # One window of 4 functions x 3 directions is added for both beads of a pair; J'J and J'f; J written and read.
    windows, flops, moved = 24 * pairs, 2 * rows * basis * (basis + 1), 8 * (2 * rows * basis + 2 * 24 * pairs)
    with capsys.disabled():
        print(f"\nthe pass on {jax.default_backend()}, {'with' if scored else 'without'} scores, ms a frame:")
        for name, (wall, used) in found.items():
            print(f"  {name}: {wall:.2f} wall, {used:.2f} CPU; {flops / wall / 1e6:.1f} Gflop/s of products")
        print(f"  a frame: {pairs:.0f} pairs, {windows / 1e6:.2f} M numbers added to design rows,", end=" ")
        print(
            f"{flops / 1e6:.1f} Mflop of products, design rows {8e-6 * rows * basis:.2f} MB, {moved / 1e6:.1f} MB moved"
        )


def test_pass_over_beads(benchmark, water, capsys):
    pilot = bcg.fit_pilot(pair(), water)
    systems = [tiled(water, copies, 16) for copies in ((1, 1, 1), (2, 1, 1), (2, 2, 2), (3, 3, 3), (4, 4, 2))]
    sizes = [cg.sizes["bead"] for cg in systems]
    seconds = run(
        benchmark, lambda: [cpu(lambda cg=cg: bcg.force_statistics(pair(), cg, pilot=pilot)) for cg in systems]
    )
    show(capsys, "pass over beads, 16 frames", sizes, seconds)


@pytest.mark.parametrize("looped", [True, False])
def test_distribution_over_beads(benchmark, water, capsys, monkeypatch, looped):
    """g(r) to 0.9 nm by the compiled loop, and by lists of pairs."""
    monkeypatch.setattr(_distances, "_WORTH_LOADING", 0)
    if not looped:
        monkeypatch.setattr(_distances.importlib.util, "find_spec", lambda name: None)
    systems = [tiled(water, copies, 16) for copies in ((1, 1, 1), (2, 2, 2), (3, 3, 3))]
    sizes = [cg.sizes["bead"] for cg in systems]
    seconds = run(benchmark, lambda: [cpu(lambda cg=cg: RDF(cg)) for cg in systems])
    show(capsys, f"g(r) over beads, 16 frames, by {'a loop' if looped else 'lists of pairs'}", sizes, seconds)


def test_pass_over_knots(benchmark, water, capsys):
    potentials = [pair(spacing) for spacing in (0.04, 0.02, 0.01, 0.005)]
    sizes = [potential.n_basis for potential in potentials]
    part = water.isel(frame=slice(0, 10))

    def job():
        found = []
        for potential in potentials:
            pilot = bcg.fit_pilot(potential, part)
            found.append(cpu(lambda p=potential, pilot=pilot: bcg.force_statistics(p, part, pilot=pilot)))
        return found

    show(capsys, "pass over knots, 10 frames", sizes, run(benchmark, job))


def test_fit_over_knots_and_draws(benchmark, water, capsys):
    spacings, counts = (0.04, 0.02, 0.01, 0.005), (250, 500, 1000, 2000)

    def fit(statistics, draws):
        plan = Sampling(chains=1, warmup=1, draws=draws)
        return bcg.force_match(statistics.potential, statistics, method="laplace", settings=plan, key=jax.random.key(0))

    def job():
        all_statistics = []
        for spacing in spacings:
            pilot = bcg.fit_pilot(pair(spacing), water.isel(frame=slice(0, 20)))
            all_statistics.append(bcg.force_statistics(pair(spacing), water, pilot=pilot))
        knots = [cpu(lambda s=s: fit(s, 500), 1) for s in all_statistics]
        draws = [cpu(lambda n=n: fit(all_statistics[2], n), 1) for n in counts]
        return [s.potential.n_basis for s in all_statistics], knots, draws

    sizes, knots, draws = run(benchmark, job)
    show(capsys, "Laplace fit over knots, 500 draws", sizes, knots)
    show(capsys, "Laplace fit over draws", counts, draws)


def test_propagation_over_draws(benchmark, water, capsys):
    plan = Sampling(chains=1, warmup=1, draws=800)
    posterior = bcg.force_match(pair(), water, method="laplace", settings=plan, key=jax.random.key(0))
    dynamics = bcg.Langevin(equilibration=2.0, interval=0.5)
    reference = bcg.simulate(posterior, water.isel(frame=-1), time=50.0, dynamics=dynamics, key=jax.random.key(1))
    guard = bcg.observables.Guard(references=0, simulations=0, ess=5, tolerance=0.5)
    counts = (100, 200, 400, 800)

    def job():
        return [
            cpu(lambda n=n: bcg.propagate(posterior, reference, RDF, draws=n, guard=guard, key=jax.random.key(2)), 1)
            for n in counts
        ]

    show(capsys, "propagation of g(r) over draws, 100 frames", counts, run(benchmark, job))


@pytest.mark.parametrize(("method", "spacing"), [("laplace", 0.003), ("laplace", 0.001), ("nuts", 0.003)])
def test_many_coefficients(benchmark, water, capsys, method, spacing):
    """The whole of `force_match` from statistics that exist; the first call compiles."""
    potential = pair(spacing)
    statistics = bcg.force_statistics(potential, water)
    seconds = []

    def fit():
        begin = time.process_time()
        found = bcg.force_match(potential, statistics, method=method, key=jax.random.key(0))
        seconds.append(time.process_time() - begin)
        return found.attrs

    fit()
    attrs = run(benchmark, fit)
    with capsys.disabled():
        print(f"\n{method}, {potential.n_basis} coefficients: {seconds[1]:.1f} CPU-s, {seconds[0]:.1f} the first time")
        print(f"  {attrs['projection_directions']} directions, error {attrs['projection_error']:.1e} nats")
