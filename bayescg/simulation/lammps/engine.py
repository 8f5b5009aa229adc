"""LAMMPS as an engine: exported tables, one process for each draw.

Units real, lengths in Angstrom: the conversions from nm, ps and kJ/mol are exact. The integrator is `fix gjf`, whose
configurations are as good as BAOAB's: in a harmonic well they are Boltzmann-distributed at any stable timestep
(Gronbech-Jensen & Farago, doi:10.1080/00268976.2012.760055); `fix nve` + `fix langevin` is a step of lower order.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import xarray as xr
from jaxtyping import Array, Float

from bayescg._runtime import process_environment
from bayescg.exports.lammps import write_setup
from bayescg.simulation.dynamics import System, Trajectory
from bayescg.units import BOLTZMANN

_WORKER = [sys.executable, "-P", str(Path(__file__).with_name("worker.py"))]
_SKIN = 1.5  # Angstrom
_LARGEST_SEED = 900_000_000


def write_jobs(
    system: System, initial: xr.Dataset, coefficients: Float[np.ndarray, "draw basis"], keys: Array, folder: Path
) -> list[Path]:
    """Write the data file, the tables of each draw and the jobs for the workers.

    Args:
        system: what is simulated.
        initial: the configuration, with box, masses and bonded interactions.
        coefficients: (draw, basis) [kJ/mol].
        keys: (draw,) random keys.
        folder: where to write.

    Returns:
        The job file of each draw.
    """
    setups = write_setup(folder, system.interactions.potential, coefficients, initial)
    dynamics, kelvin = system.dynamics, f"{system.temperature:.10g}"
    jobs = []
    for number, (setup, key) in enumerate(zip(setups, keys, strict=True)):
        here = folder / f"draw{number}"
        first, second = (int(seed) for seed in jax.random.randint(key, (2,), 1, _LARGEST_SEED, "int32"))
        commands = [
            *setup,
            f"neighbor {_SKIN:g} bin",
            # Look at every step whether a bead has moved half the skin: no force from an outdated list.
            "neigh_modify every 1 delay 0 check yes",
            f"timestep {dynamics.timestep * 1000:.10g}",
            # The center of mass is thermal too, as in the JAX engine: three degrees of freedom a bead.
            "compute_modify thermo_temp extra/dof 0",
            f"velocity all create {kelvin} {first} mom no rot no dist gaussian",
            f"fix gjf all gjf {kelvin} {kelvin} {1000 / dynamics.friction:.10g} {second} vel vhalf method 1",
            "thermo_modify lost error",
            "thermo 100000000",
        ]
        job = {
            "commands": commands,
            "mass": system.mass.tolist(),
            "boltzmann": BOLTZMANN,
            "frames": system.frames,
            "stride": dynamics.stride,
            "equilibration": dynamics.equilibration_steps,
            "timestep": dynamics.timestep,
            "hottest": system.hottest,
            "output": str(here / "frames.npz"),
        }
        jobs.append(here / "job.json")
        jobs[-1].write_text(json.dumps(job))
    return jobs


def run(job: Path, advanced: Callable[[float], object], stopped: Callable[[], bool]) -> Trajectory | None:
    """Run one job in a process.

    Args:
        job: from `write_jobs`.
        advanced: called with the number of steps done since the last call.
        stopped: True ends the run.

    Returns:
        The trajectory, or None if stopped. If LAMMPS refuses the input or dies, a failed one without any frame: other
        draws go on.
    """
    step, settings = 0, json.loads(job.read_text())
    with tempfile.TemporaryFile("w+") as errors:
        # A session of its own: Ctrl-C reaches this process, which decides what becomes of the workers.
        process = subprocess.Popen(
            [*_WORKER, str(job)],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=process_environment(),
            start_new_session=True,
        )
        try:
            for line in process.stdout or ():
                if stopped():
                    return None
                if line.strip().isdigit():
                    advanced(int(line) - step)
                    step = int(line)
            process.wait()
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            if process.stdout is not None:
                process.stdout.close()
        errors.seek(0)
        message = errors.read().strip()
    if process.returncode:
        if stopped():
            return None
        last = (message.splitlines() or [f"exit status {process.returncode}"])[-1]
        return _nothing(settings, f"did not run: LAMMPS says '{last}'")
    with np.load(settings["output"]) as result:
        failure = str(result["failure"]) or None
        return Trajectory(result["positions"], result["temperature"], failure, -1, 0)


def _nothing(settings: dict, failure: str) -> Trajectory:
    frames = settings["frames"]
    positions = np.full((frames, len(settings["mass"]), 3), np.nan, np.float32)
    return Trajectory(positions, np.full(frames, np.nan), failure, -1, 0)
