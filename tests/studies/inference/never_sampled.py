"""Distances that were never sampled: do all draws repel there, and do all of them run for 100 ps at 300 K?"""

import time

import jax
import numpy as np

import bayescg as bcg
from bayescg.posterior import curves, draw_coefficients


def main(draws: int = 32, picoseconds: float = 100.0) -> None:
    """Fit bundled water with knots from 0.15 nm on and simulate every draw."""
    universe = bcg.datasets.water().universe()
    mapping = bcg.Mapping.center_of_mass(universe, by="residues", names={"SOL": "W"})
    cg = bcg.coarse_grain(universe, mapping, temperature=300.0)
    potential = bcg.Potential(bcg.Pair("W", "W", cutoff=0.9, start=0.15))
    statistics = bcg.force_statistics(potential, cg, pilot=None)
    posterior = bcg.force_match(potential, statistics, key=jax.random.key(0))
    smallest = statistics.ranges["W-W"][0]
    key = jax.random.key(1)
    picked = draw_coefficients(posterior, draws, key=jax.random.split(key)[0]).coefficients
    below = np.linspace(0.0, smallest, 400)
    force = curves(potential, "W-W", picked, below)[1]
    print(f"smallest sampled distance {smallest:.4f} nm")
    print(f"repulsive everywhere below it: {int(np.sum(np.all(force > 0, axis=1)))} of {draws} draws")
    print(f"smallest force below it: {force.min():.0f} kJ/mol/nm", flush=True)
    begin = time.time()
    dynamics = bcg.Langevin(interval=0.5)
    run = bcg.simulate(posterior, cg.isel(frame=-1), time=picoseconds, draws=draws, dynamics=dynamics, key=key)
    print(f"engine {run.attrs['engine']}, {time.time() - begin:.0f} s")
    print(f"failed: {int(run['failed'].sum())} of {draws}")
    kinetic = run["temperature"].mean("frame").values
    configurational = run["configurational_temperature"].values
    print(f"kinetic temperature {kinetic.min():.1f} to {kinetic.max():.1f} K")
    print(f"configurational temperature {configurational.min():.1f} to {configurational.max():.1f} K")
    print(f"share of pairs below the sampled range: {float(run['out_of_range'].max()):.1e}")


if __name__ == "__main__":
    main()
