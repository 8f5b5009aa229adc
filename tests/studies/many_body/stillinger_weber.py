"""mW water, whose forces are exactly two- plus three-body: are they recovered, with honest error bars?

The trajectory comes from LAMMPS (pair_style sw; Molinero & Moore, J. Phys. Chem. B 113, 4008 (2009),
doi:10.1021/jp805227c), every bead a particle. All checks are on forces of frames that were not fitted.
"""

import tempfile
import time
from pathlib import Path

import jax
import numpy as np

import bayescg as bcg
from bayescg._runtime import double_precision
from bayescg.exports.lammps.library import load_lammps
from bayescg.inference.comparison import compare
from bayescg.potentials import Interactions, ThreeBody
from tests.studies.wanted import wanted

BEADS, FRAMES, HELD_OUT = 512, 50, 10
BOX = 2.4845  # nm: 0.0334 molecules per cubic Angstrom
CUTOFF = 1.80 * 0.23925
MW = "W W W 6.189 2.3925 1.80 23.15 1.20 -0.333333333333 7.049556277 0.6022245584 4.0 0.0 0.0\n"
PAIR = bcg.Pair("W", "W", CUTOFF, start=0.2, knot_spacing=0.01)
THREE = {"cutoff": CUTOFF, "start": 0.15, "knot_spacing": 0.0255, "opposite_spacing": 0.06}


def trajectory(frames: int, spacing: int = 100, seed: int = 3):
    """Frames every `spacing` steps of 5 fs at 300 K, melted from a lattice."""
    lmp = load_lammps().lammps(cmdargs=["-log", "none", "-screen", "none", "-nocite"])
    edge = round(BEADS ** (1 / 3))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mW.sw"
        path.write_text(MW)
        for command in (
            "units real",
            "boundary p p p",
            "atom_modify map array",
            f"lattice sc {10 * BOX / edge}",
            f"region box block 0 {edge} 0 {edge} 0 {edge}",
            "create_box 1 box",
            "create_atoms 1 box",
            "mass 1 18.015",
            "pair_style sw",
            f"pair_coeff * * {path} W",
            "timestep 5",
            f"velocity all create 600 {seed} mom yes",
            "fix nvt all nvt temp 300 300 200",
            "run 10000",
        ):
            lmp.command(command)
        positions, forces = [], []
        for _ in range(frames):
            lmp.command(f"run {spacing}")
            positions.append(np.array(lmp.gather_atoms("x", 1, 3)).reshape(-1, 3) / 10)
            forces.append(np.array(lmp.gather_atoms("f", 1, 3)).reshape(-1, 3) * 41.84)
    box = np.broadcast_to(np.eye(3) * BOX, (frames, 3, 3))
    return bcg.from_arrays(np.array(positions), box, ["W"] * BEADS, temperature=300.0, forces=np.array(forces))


def predicted(posterior, cg, draws: int = 0):
    """Forces of the mean at the beads of `cg`, and of draws: (draw, frame, bead, xyz)."""
    potential = bcg.posterior.potential_of(posterior)
    flat = posterior["posterior"]["coefficients"].values.reshape(-1, potential.n_basis)
    chosen = np.concatenate([flat.mean(axis=0)[None], flat[:draws]])
    interactions, sizes, found = Interactions.of(potential, cg), {}, []
    with double_precision():
        rows = jax.jit(potential.design_rows)
        base = jax.jit(potential.baseline_forces)
        for frame in range(cg.sizes["frame"]):
            at = interactions.configuration(cg.positions.values[frame].astype(float), cg.box.values[frame], sizes=sizes)
            found.append(np.einsum("nkx,dk->dnx", rows(at), chosen) + np.asarray(base(at)).sum(axis=1))
    return np.stack(found, axis=1)


def fit(potential, cg, key: int):
    """A fit with error bars of independent noise, which the planted noise is."""
    statistics = bcg.force_statistics(potential, cg, pilot=None)
    sampling = bcg.Sampling(draws=50)
    return bcg.force_match(
        potential, statistics, method="laplace", calibration="none", settings=sampling, key=jax.random.key(key)
    )


def main(replicates: int = 20) -> None:
    """Held-out error without noise; coverage of the 90 % bands and the score of a pair potential with noise."""
    everything = trajectory(FRAMES + HELD_OUT)
    cg, held = everything.isel(frame=slice(0, FRAMES)), everything.isel(frame=slice(FRAMES, None))
    truth = held.forces.values.astype(float)
    rms = np.sqrt(np.mean(truth**2))
    both = bcg.Potential(PAIR, ThreeBody("W", "W", "W", **THREE))
    for name, potential in (("pair + three-body", both), ("pair", bcg.Potential(PAIR))):
        begin = time.perf_counter()
        posterior = fit(potential, cg, 0)
        error = np.sqrt(np.mean((predicted(posterior, held)[0] - truth) ** 2)) / rms
        print(f"{name}: {potential.n_basis} coefficients, held-out error {100 * error:.2f} % of the rms force", end=" ")
        print(f"{rms:.1f} kJ/mol/nm, {time.perf_counter() - begin:.0f} s", flush=True)
        if potential is both:
            wanted("held-out error over the rms force", error, high=0.02)
    inside = []
    for replicate in range(replicates):
        rng = np.random.default_rng(replicate)
        noisy = cg.assign(forces=cg.forces + rng.normal(scale=rms, size=cg.forces.shape))
        posterior = fit(both, noisy, replicate)
        low, high = np.quantile(predicted(posterior, held, 200)[1:], [0.05, 0.95], axis=0)
        inside.append(np.mean((truth > low) & (truth < high)))
        if replicate == 0:
            alone = fit(bcg.Potential(PAIR), noisy, replicate)
            table = compare({"pair": alone, "pair + three-body": posterior}).loc["pair"]
            print(f"the pair potential's elpd is worse by {table.elpd_diff:.0f} +- {table.dse:.0f}", flush=True)
            wanted("that in standard errors", table.elpd_diff / table.dse, low=10)
        print(f"replicate {replicate}: coverage {inside[-1]:.3f}, so far {np.mean(inside):.3f}", flush=True)
    wanted("90 % bands hold, pooled", np.mean(inside), 0.85, 0.95)


if __name__ == "__main__":
    main()
