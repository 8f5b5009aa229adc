"""Argon in the files of LAMMPS, without LAMMPS."""

import numpy as np

KELVIN, EPSILON, SIGMA, MASS = 120.0, 0.9977, 0.34, 39.948
KT = 8.31446261815324e-3 * KELVIN
CUTOFF = 0.8


def argon():
    """Frames of a Lennard-Jones fluid of 64 atoms in a box of 1.6 nm by Monte Carlo: positions [nm], forces."""
    rng = np.random.default_rng(0)
    side = 1.6
    grid = np.stack(np.meshgrid(*[np.arange(4)] * 3, indexing="ij"), -1).reshape(-1, 3) * side / 4
    x, frames, forces = grid + rng.normal(0, 0.005, grid.shape), [], []

    def energy(k, at):
        d = at - np.delete(x, k, 0)
        d -= np.rint(d / side) * side
        r2 = np.maximum((d**2).sum(1), 0.01)
        s = np.where(r2 < CUTOFF**2, SIGMA**2 / r2, 0.0) ** 3
        return 4 * EPSILON * (s**2 - s).sum()

    for sweep in range(330):
        for k in range(64):
            new = x[k] + rng.normal(0, 0.03, 3)
            if np.log(rng.uniform()) < (energy(k, x[k]) - energy(k, new)) / KT:
                x[k] = new
        if sweep >= 90 and sweep % 15 == 0:
            d = x[:, None] - x[None]
            d -= np.rint(d / side) * side
            r2 = (d**2).sum(-1) + np.eye(64) * 100
            s = np.where(r2 < CUTOFF**2, SIGMA**2 / r2, 0.0) ** 3
            frames.append(x.copy())
            forces.append(((24 * EPSILON * (2 * s**2 - s) / r2)[..., None] * d).sum(1))
    return np.array(frames), np.array(forces), side


def dump(tmp_path, positions, forces, side, *, name="run.lammpsdump", bounds="pp pp pp", mass=MASS):
    n = positions.shape[1]
    head = f"m\n\n{n} atoms\n1 atom types\n\n" + "".join(f"0 {side} {axis}lo {axis}hi\n" for axis in "xyz")
    rows = "".join(f"{k + 1} 1 {x:.6f} {y:.6f} {z:.6f}\n" for k, (x, y, z) in enumerate(positions[0]))
    (tmp_path / "system.data").write_text(f"{head}\nMasses\n\n1 {mass}\n\nAtoms # atomic\n\n{rows}")
    text = ""
    for step, (x, f) in enumerate(zip(positions, forces, strict=True)):
        text += f"ITEM: TIMESTEP\n{100 * step}\nITEM: NUMBER OF ATOMS\n{n}\nITEM: BOX BOUNDS {bounds}\n"
        text += f"0 {side}\n" * 3 + "ITEM: ATOMS id type x y z fx fy fz\n"
        text += "".join(
            f"{k + 1} 1 " + " ".join(f"{v:.8g}" for v in (*a, *b)) + "\n"
            for k, (a, b) in enumerate(zip(x, f, strict=True))
        )
    (tmp_path / name).write_text(text)
    return tmp_path / "system.data", tmp_path / name
