"""`make bench`: error bars on g(r) from 200 draws, beside the one reference simulation that they are made from."""

import functools
import time

import jax
import pytest

import bayescg as bcg
from bayescg import observables as obs

PICOSECONDS, INTERVAL, DRAWS = 100.0, 0.5, 200


@pytest.fixture(scope="module")
def water():
    """The bundled 100 frames of 510 waters, and the posterior of a fit to them."""
    universe = bcg.datasets.water().universe()
    mapping = bcg.Mapping.center_of_mass(universe, by="residues", names={"SOL": "W"})
    cg = bcg.coarse_grain(universe, mapping, temperature=300.0)
    potential = bcg.Potential(bcg.Pair("W", "W", cutoff=0.9))
    return cg, bcg.force_match(potential, cg, method="laplace", key=jax.random.key(0))


def test_error_bars_cost_half_a_run_at_most(benchmark, water, capsys):
    """Reference of 100 ps with 200 frames; reweighting, g(r), guards, control and summary on top of it."""
    cg, posterior = water
    dynamics = bcg.Langevin(interval=INTERVAL)
    begin = time.perf_counter()
    reference = bcg.simulate(posterior, cg.isel(frame=-1), time=PICOSECONDS, dynamics=dynamics, key=jax.random.key(1))
    simulated = time.perf_counter() - begin
    observable = functools.partial(obs.rdf, a="W", b="W", cutoff=0.9)

    def bands():
        array = obs.propagate(posterior, reference, observable, draws=DRAWS, key=jax.random.key(2))
        return array, obs.summarize(array)

    array, summary = benchmark.pedantic(bands, rounds=1, iterations=1)
    added = benchmark.stats.stats.max
    ratio = (simulated + added) / simulated
    benchmark.extra_info.update(reference_seconds=simulated, ratio=ratio)
    with capsys.disabled():
        print(
            f"\n{PICOSECONDS:g} ps of 510 waters ({reference.attrs['engine']}): {simulated:.1f} s; g(r) of {DRAWS} "
            f"draws: {added:.1f} s, together {ratio:.3f} of the run alone; {array.attrs['n_references']} reference(s), "
            f"{int((array['source'] != 'reweighted').sum())} draws fail the guard, median effective share "
            f"{float(array['ess_share'].median()):.2f}"
        )
    assert summary.sizes["r"] == 180
    assert ratio <= 1.5
