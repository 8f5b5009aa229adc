"""One LAMMPS simulation in a process of its own: `python -P worker.py job.json`.

A script, not a module of the package: it starts in a fraction of a second, needs neither JAX nor the user's main
module, and a crash of LAMMPS (or of MPI) ends it alone. It prints the number of steps done, a line at a time.
"""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import numpy as np

_LIBRARY = Path(__file__).parents[2] / "exports" / "lammps" / "library.py"
_NM = 0.1  # Angstrom
_NM_PER_PS = 100.0  # Angstrom/fs


def simulate(job: dict) -> dict:
    """Run a job; returns arrays for `numpy.savez`."""
    # By its path: to import it from the package would import JAX.
    load_lammps = runpy.run_path(str(_LIBRARY))["load_lammps"]
    engine = load_lammps().lammps(cmdargs=["-log", "none", "-screen", "none", "-nocite"])
    if engine.has_style("pair", "table/omp"):
        # The same forces by one thread, in a seventh less CPU time for 510 beads.
        engine.command("package omp 1")
        engine.command("suffix omp")
    for command in job["commands"]:
        engine.command(command)
    mass = np.array(job["mass"])
    positions = np.full((job["frames"], len(mass), 3), np.nan, np.float32)
    temperature = np.full(job["frames"], np.nan)
    failure, step = "", 0
    x, heat = np.full((len(mass), 3), np.nan), np.nan
    for frame in range(job["frames"]):
        target = job["equilibration"] + (frame + 1) * job["stride"]
        while step < target and not failure:
            # Short runs, so that a blow-up is seen early; `pre no` goes on as if there had been no pause.
            chunk = min(job["stride"], target - step)
            try:
                engine.command(f"run {chunk} pre {'no' if step else 'yes'} post no")
            except Exception as error:
                failure = f"stopped with '{str(error).strip().splitlines()[0]}'"
                break
            step += chunk
            x, heat = state(engine, mass, job["boltzmann"])
            if not np.all(np.isfinite(x)):
                failure = "became infinite"
            elif not heat <= job["hottest"]:
                failure = f"reached {heat:.3g} K"
            print(step, flush=True)  # noqa: T201  (what the parent process reads)
        if failure:
            failure += f" after {step * job['timestep']:.4g} ps"
            break
        positions[frame], temperature[frame] = x, heat
    return {"positions": positions, "temperature": temperature, "failure": failure}


def state(engine, mass, boltzmann: float) -> tuple[np.ndarray, float]:
    """Unwrapped positions [nm] in the order of the beads, and the kinetic temperature [K]."""
    local = engine.extract_setting("nlocal")  # behind them stand ghosts
    order = np.argsort(engine.numpy.extract_atom("id")[:local])
    low, high, xy, yz, xz, _, _ = engine.extract_box()
    edge = np.subtract(high, low)
    lattice = np.array([[edge[0], 0, 0], [xy, edge[1], 0], [xz, yz, edge[2]]])
    # Three counters of 10, 10 and 12 bits in one integer.
    packed = engine.numpy.extract_atom("image")[:local].astype(np.int64)
    images = np.stack([(packed & 1023) - 512, ((packed >> 10) & 1023) - 512, (packed >> 20) - 512], axis=-1)
    x = engine.numpy.extract_atom("x")[:local] + images @ lattice
    v = engine.numpy.extract_atom("v")[:local][order] * _NM_PER_PS
    return x[order] * _NM, float(np.sum(mass[:, None] * v**2) / (3 * len(mass) * boltzmann))


if __name__ == "__main__":
    job = json.loads(Path(sys.argv[1]).read_text())
    np.savez(job["output"], **simulate(job))
