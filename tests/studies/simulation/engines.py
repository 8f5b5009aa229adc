"""Configurational temperature of both engines on a Lennard-Jones liquid, from many short runs."""

import jax
import numpy as np

import bayescg as bcg
from bayescg.posterior import from_coefficients
from tests.inference import systems


def main(runs: int = 10, picoseconds: float = 60.0) -> None:
    """Mean over independent runs with its standard error, beside the 300 K of the thermostat."""
    potential = bcg.Potential(bcg.Pair("A", "A", systems.CUTOFF, baseline=systems.LJ, learn=False))
    start = systems.lennard_jones(2).isel(frame=-1)
    posterior = from_coefficients(potential, np.zeros((1, 0)), temperature=300.0)
    dynamics = bcg.Langevin(timestep=0.004, equilibration=10.0, interval=0.2)
    for engine in ("jax", "lammps"):
        found = [
            float(
                bcg.simulate(
                    posterior, start, time=picoseconds, dynamics=dynamics, engine=engine, key=jax.random.key(k)
                )["configurational_temperature"][0]
            )
            for k in range(runs)
        ]
        error = np.std(found, ddof=1) / np.sqrt(runs)
        print(f"{engine}: configurational temperature {np.mean(found):.2f} +- {error:.2f} K", flush=True)


if __name__ == "__main__":
    main()
