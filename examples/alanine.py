# %% [markdown]
# # Alanine dipeptide: collective variables from a force field alone
#
# No trajectory goes in, only a force field: AMBER ff96 with OBC1 solvent at 300 K, the usual test of generative models
# of molecules. Out come samples with weights, free energies with error bars, and two collective variables that drive
# a biased simulation.

# %%
import importlib.resources
import os
import warnings
from pathlib import Path

import jax
import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from openmm import LangevinMiddleIntegrator, Platform, app, unit

import bayescg as bcg
from bayescg import generative
from bayescg.atomistic import OpenMMTarget
from bayescg.generative import openmm_bias
from bayescg.plots import style

FAST = os.environ.get("BAYESCG_FAST") == "1"
OUTPUT = Path(os.environ.get("BAYESCG_OUTPUT", "alanine"))
OUTPUT.mkdir(parents=True, exist_ok=True)
if FAST:
    warnings.simplefilter("ignore", UserWarning)  # so little training leaves weights without a finite variance

# %% [markdown]
# ## The molecule
#
# Any OpenMM System of one molecule without rings will do, as long as it has no constraints. The same molecule comes
# ready made as `bayescg.atomistic.alanine_dipeptide()`.

# %%
source = importlib.resources.files("bayescg.data").joinpath("files", "alanine_dipeptide.pdb")
with importlib.resources.as_file(source) as path:
    pdb = app.PDBFile(str(path))
field = app.ForceField("amber96.xml", "implicit/obc1.xml")
system = field.createSystem(pdb.topology, constraints=None, rigidWater=False)
target = OpenMMTarget(system, pdb.topology, pdb.positions, 300.0)

# %% [markdown]
# ## Discover
#
# `budget` is the number of energy evaluations, whatever they are spent on. The full run takes half an hour on two
# processors; stopped, it goes on from its checkpoint.

# %%
settings = {"budget": 5_000_000, "settings": generative.Training(checkpoint=OUTPUT / "checkpoint")}
if FAST:  # to see that everything runs: the method with the least to compile, and far too little of it
    settings = {"budget": 40_000, "method": "reverse_kl", "settings": generative.Training(decoder="gaussian")}
model = generative.discover(target, latent_dim=2, **settings, key=jax.random.key(0))
bcg.save(model, OUTPUT / "alanine.npz")

# %% [markdown]
# ## Samples with weights
#
# An observable is any function of the samples. phi and psi are two of the model's own coordinates: torsions are named
# by their atoms, and a torsion reads the same from both ends.


# %%
def torsion(samples: xr.Dataset, atoms: tuple[int, int, int, int]) -> np.ndarray:
    """A backbone torsion [rad] of each sample, from the column of its name."""
    names = {f"torsion {'-'.join(map(str, order))}" for order in (atoms, atoms[::-1])}
    column = [name in names for name in samples["coordinate"].values].index(True)
    return samples["coordinates"].values[:, column]


def phi(samples):
    return torsion(samples, (4, 6, 8, 14))  # C-N-CA-C


def psi(samples):
    return torsion(samples, (6, 8, 14, 16))  # N-CA-C-N


def left_handed(samples):
    """Share of the states with phi between 0 and 150 degrees: alpha_L and C7ax."""
    return (phi(samples) > 0) & (phi(samples) < np.radians(150))


draws = 2000 if FAST else 100_000
observables = {"left_handed": left_handed}
tree = generative.sample(model, target, draws=draws, observables=observables, key=jax.random.key(1))
samples = tree["samples"].to_dataset()
samples = samples.assign(phi=("sample", phi(samples)), psi=("sample", psi(samples)))

# %% [markdown]
# The weights tell how good the model is. At a Pareto k of 0.7 or more no error bar is to be had from them, and none is
# given: `nan`.

# %%
estimates = tree["estimates"]
evaluations = tree.attrs["evaluations_training"] + tree.attrs["evaluations"]
print(f"{evaluations} energy evaluations, of which {tree.attrs['evaluations']} for the samples")
print(f"effective samples: {tree.attrs['ess']:.0f} of {draws}; Pareto k {tree.attrs['pareto_k']:.2f}")
print(f"log Z {float(estimates['log_z']):.2f} +- {float(estimates['log_z_se']):.2f}")
print(f"left-handed: {float(estimates['left_handed']):.4f} +- {float(estimates['left_handed_se']):.4f}")

# %% [markdown]
# ## Ramachandran plot
#
# The reference is a long replica exchange, stored with the library's studies; without it the model stands alone.

# %%
stored = Path(__file__).resolve().parents[1] / "tests/studies/generative/alanine_reference.npz"
reference = None
if stored.is_file():
    with np.load(stored) as data:
        counts = data["counts"].sum(axis=0)  # over independent ladders, 5 degrees
    bins = counts.reshape(24, counts.shape[0] // 24, 24, -1).sum(axis=(1, 3))
    reference = xr.DataArray(bins, dims=("phi", "psi"))
else:
    print("no reference here: the model stands alone")
bcg.plots.ramachandran(samples, reference).savefig(OUTPUT / "alanine_ramachandran.png", dpi=110)

# %% [markdown]
# ## Latent space
#
# What have the latent variables to do with phi and psi? Nobody told the model about them.

# %%
figure = bcg.plots.latent_space(samples, {"phi": samples["phi"].values, "psi": samples["psi"].values})
figure.savefig(OUTPUT / "alanine_latent.png", dpi=110)

# %% [markdown]
# The free energy along the latent variable that knows most about the coordinates, with its error band.

# %%
told = generative.latent_information(model, samples["coordinates"].values, key=jax.random.key(2))
print(f"information of z1 and z2 about the coordinates: {told[0]:.2f} and {told[1]:.2f} nats")
best = int(np.argmax(told))
values = samples["latent"].values[:, best]
surface = generative.free_energy(samples, values, np.linspace(*np.quantile(values, [0.001, 0.999]), 31))
figure = bcg.plots.free_energy(surface, symbol=f"z_{best + 1}")
figure.savefig(OUTPUT / "alanine_free_energy.png", dpi=110)

# %% [markdown]
# ## A biased simulation
#
# In OpenMM the latent variables are variables of a force, with forces on the atoms. A harmonic restraint drags the same
# variable from one end of what the model draws to the other and back.

# %%
kt = target.thermal_energy
z = generative.encode(model, samples["positions"].values[:1000], target)[:, best]
low, high = np.quantile(z, [0.05, 0.95])
# kT / k is the variance that the restraint allows.
k = kt / ((high - low) / 12) ** 2
bias = openmm_bias(model, target, f"0.5*k*(z{best + 1}-center)^2", parameters={"k": k, "center": low})
system.addForce(bias)
integrator = LangevinMiddleIntegrator(300 * unit.kelvin, 1 / unit.picosecond, 0.001 * unit.picoseconds)
simulation = app.Simulation(pdb.topology, system, integrator, Platform.getPlatform("CPU"))
simulation.context.setPositions(pdb.positions)
simulation.minimizeEnergy(maxIterations=200)
simulation.context.setVelocitiesToTemperature(300 * unit.kelvin, 1)

stops, steps = 40, 100 if FAST else 2000
simulation.step(stops * steps // 4)  # the way to the first stop
centers = low + (high - low) * 0.5 * (1 - np.cos(np.linspace(0, 2 * np.pi, stops)))
driven, frames = [], []
for center in centers:
    simulation.context.setParameter("center", center)
    for _ in range(10):
        simulation.step(steps // 10)
        driven.append(bias.getCollectiveVariableValues(simulation.context)[best])
        state = simulation.context.getState(positions=True)
        frames.append(state.getPositions(asNumpy=True).value_in_unit(unit.nanometer))
driven = np.array(driven).reshape(stops, 10)
agreement = np.corrcoef(driven.mean(axis=1), centers)[0, 1]
print(f"biased run of {stops * steps / 1000:g} ps: z{best + 1} follows the restraint, correlation {agreement:.3f}")

# %% [markdown]
# The torsions of the biased run, read by the same function: what the variable drives.

# %%
coordinates = np.asarray(jax.vmap(target.to_coordinates)(np.array(frames, np.float32)))
run = xr.Dataset({"coordinates": (("sample", "coordinate"), coordinates)}, {"coordinate": list(target.names)})
time = np.arange(driven.size) * steps / 10 / 1000
with style.style():
    figure = Figure(figsize=(style.COLUMN * 1.35, 3.6), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True)
    top.plot(time, driven.ravel(), color=style.MODEL, lw=0.8, label=f"$z_{{{best + 1}}}$")
    top.step(time, np.repeat(centers, 10), color=style.REFERENCE, lw=1, where="post", label="center of the restraint")
    top.axhspan(low, high, color=style.UNSAMPLED, alpha=0.15, lw=0, label="90 % of the draws")
    top.set_ylabel(f"$z_{{{best + 1}}}$")
    top.legend(loc="best")
    for name, function, color in (("φ", phi, style.CHAINS[0]), ("ψ", psi, style.CHAINS[1])):
        bottom.plot(time, np.degrees(function(run)), ".", ms=2, color=color, label=f"${name}$")
    bottom.set(ylim=(-180, 180), yticks=[-180, -90, 0, 90, 180], xlabel="time (ps)", ylabel="torsion (degrees)")
    bottom.legend(loc="best", ncols=2)
figure.savefig(OUTPUT / "alanine_biased.png", dpi=110)
