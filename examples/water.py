# %% [markdown]
# # Water: from a trajectory to g(r), all with error bars
#
# The bundled trajectory holds 510 SPC/E water molecules at 300 K, 100 frames with forces. One bead stands for each
# molecule. The whole job is ten lines; the rest of this page looks at what came out.

# %%
import os
import warnings
from pathlib import Path

import jax
import numpy as np
from matplotlib.figure import Figure

import bayescg as bcg
from bayescg.plots import style

FAST = os.environ.get("BAYESCG_FAST") == "1"
OUTPUT = Path(os.environ.get("BAYESCG_OUTPUT", "water"))
OUTPUT.mkdir(parents=True, exist_ok=True)
if FAST:
    warnings.simplefilter("ignore", UserWarning)  # a handful of frames gives noisy scores, and says so

# %% [markdown]
# ## The ten lines
#
# With your own files the first line is `universe = mda.Universe("topol.tpr", "traj.trr")`.

# %%
universe = bcg.datasets.water().universe()
mapping = bcg.Mapping.center_of_mass(universe, by="residues", names={"SOL": "W"})
cg = bcg.coarse_grain(universe, mapping, temperature=300.0, stop=6 if FAST else None)
potential = bcg.Potential(bcg.Pair("W", "W", cutoff=0.9, knot_spacing=0.03 if FAST else 0.01))
options = {"method": "laplace", "settings": bcg.Sampling(chains=1, draws=100)} if FAST else {}
posterior = bcg.force_match(potential, cg, **options, key=jax.random.key(0))
length = {"draws": 2, "time": 2.0} if FAST else {"draws": 16, "time": 20.0}
ensemble = bcg.simulate(posterior, cg.isel(frame=-1), **length, key=jax.random.key(1))
rdf = bcg.observables.rdf(ensemble, "W", "W", cutoff=0.9)
predicted = bcg.observables.summarize(rdf)
files = bcg.export(posterior, OUTPUT / "lammps", format="lammps")

# %% [markdown]
# ## What the fit says about itself
#
# `held_out_r2` is the share of force variance that a fit to the other time blocks predicts. It is small because most
# of the force on a molecule comes from degrees of freedom that the beads do not have; how large it could be at best,
# the noise ceiling, cannot be known from one trajectory.

# %%
attrs = posterior["posterior"].attrs
print(f"held-out R^2 {attrs['held_out_r2']:.3f} +- {attrs['held_out_r2_se']:.3f}; ceiling {attrs['noise_ceiling_r2']}")
print(f"residual variance {attrs['residual_variance']} (kJ/mol/nm)^2")
print(f"variance of scores over that of independent noise: {attrs['score_variance']:.2f}")
print(attrs["misfit"])

# %% [markdown]
# ## g(r) beside the atomistic one
#
# The atomistic g(r) comes from the same function applied to the mapped frames; its error bars come from blocks of
# frames.

# %%
atomistic = bcg.observables.summarize(bcg.observables.rdf(cg, "W", "W", cutoff=0.9))
z = bcg.observables.zscore(predicted, atomistic)
peak = predicted.isel(predicted["mean"].argmax(...))
print(f"first peak of g(r): {float(peak['mean']):.3f} at {float(peak['r']):.3f} nm")
print(f"  sd_posterior {float(peak['sd_posterior']):.3f}, sd_sampling {float(peak['sd_sampling']):.3f}")
print(f"  atomistic {float(atomistic['mean'].max()):.3f}; mean |z| {float(np.abs(z).mean()):.2f}")

# %% [markdown]
# The error bars are narrow and the difference at the first peak is wider than they are: it is model misfit. No pair
# potential with these forces has the g(r) of water, and no error bar of force matching claims that it does.

# %%
bcg.plots.observable(predicted, atomistic).savefig(OUTPUT / "water_rdf.png", dpi=110)
bcg.plots.potential(posterior).savefig(OUTPUT / "water_potential.png", dpi=110)

# %% [markdown]
# ## A figure of one's own
#
# Everything is xarray: curves of the posterior stand in `posterior["posterior"]`, observables in the summary.

# %%
with style.style():
    figure = Figure(figsize=(7.2, 2.9), layout="constrained")
    left, right = figure.subplots(1, 2)
    u = posterior["posterior"]["u_W-W"]
    r = u["x_W-W"]
    for low, high, color in ((0.05, 0.95, style.OUTER), (0.25, 0.75, style.INNER)):
        band = u.quantile([low, high], ("chain", "draw"))
        left.fill_between(r, *band, color=color, lw=0, label=f"{100 * (high - low):.0f} %")
    left.plot(r, u.mean(("chain", "draw")), color=style.MODEL, lw=1.2, label="mean")
    left.axhline(0, color="0.6", lw=0.7, zorder=0)
    left.set(xlim=(0.24, 0.9), ylim=(-1.5, 4), xlabel="$r$ (nm)", ylabel="$u(r)$ (kJ mol⁻¹)", title="potential")
    left.legend()
    right.fill_between(predicted["r"], predicted["lower"], predicted["upper"], color=style.INNER, lw=0, label="90 %")
    right.plot(predicted["r"], predicted["mean"], color=style.MODEL, lw=1.2, label="coarse-grained")
    every = slice(1, None, 3)
    right.errorbar(
        atomistic["r"][every],
        atomistic["mean"][every],
        np.abs(atomistic[["lower", "upper"]].to_array()[:, every] - atomistic["mean"][every]),
        fmt="o",
        ms=2,
        color=style.ATOMISTIC,
        elinewidth=0.8,
        label="atomistic",
    )
    right.axhline(1, color="0.6", lw=0.7, zorder=0)
    right.set(xlim=(0.22, 0.9), ylim=(0, None), xlabel="$r$ (nm)", ylabel="$g(r)$", title="structure")
    right.legend()
    figure.savefig(OUTPUT / "water.png", dpi=150)
