# %% [markdown]
# # Choosing priors: kernels and baselines
#
# A term's curve has a Gaussian-process prior. Its kernel is chosen after the pass over the trajectory, so trying
# another one costs seconds. What the data make of a choice is told by scores of held-out time blocks.

# %%
import os
import warnings
from pathlib import Path

import arviz_stats
import gpjax
import jax
import numpy as np
import xarray as xr

import bayescg as bcg

FAST = os.environ.get("BAYESCG_FAST") == "1"
OUTPUT = Path(os.environ.get("BAYESCG_OUTPUT", "priors"))
OUTPUT.mkdir(parents=True, exist_ok=True)
warnings.filterwarnings("ignore", "Pareto k")  # looked at below
if FAST:
    warnings.simplefilter("ignore", UserWarning)  # a handful of frames gives noisy scores, and says so

# %% [markdown]
# ## One pass, many fits
#
# `force_statistics` reads the trajectory once. Everything below uses its sums.

# %%
universe = bcg.datasets.water().universe()
mapping = bcg.Mapping.center_of_mass(universe, by="residues", names={"SOL": "W"})
cg = bcg.coarse_grain(universe, mapping, temperature=300.0, stop=6 if FAST else None)
spacing = 0.03 if FAST else 0.01  # nm
potential = bcg.Potential(bcg.Pair("W", "W", cutoff=0.9, knot_spacing=spacing))
statistics = bcg.force_statistics(potential, cg, pilot=None)
print(statistics)


def fit(data, **options):
    sampling = bcg.Sampling(chains=1, draws=100) if FAST else bcg.Sampling()
    # Evidence and scores are defined under independent noise only.
    return bcg.force_match(
        data.potential, data, calibration="none", settings=sampling, key=jax.random.key(0), **options
    )


# %% [markdown]
# ## Prior and posterior
#
# Hyperpriors are log-normal about the term's own scales: nothing has to be tuned from water to polymers. Where
# posterior and prior are equally wide, the data have said nothing.

# %%
matern = fit(statistics, method="laplace" if FAST else "nuts")
bcg.plots.prior_posterior(matern).savefig(OUTPUT / "priors_learned.png", dpi=80)
for name in bcg.plots.inference.hyperparameters(matern):
    before, after = (np.log(matern[group][name].values).std() for group in ("prior", "posterior"))
    print(
        f"{name:18s} median {float(np.median(matern['posterior'][name])):9.4g}, sd of log {before:.2f} -> {after:.3f}"
    )

# %% [markdown]
# ## Kernels
#
# Matern-5/2 is the default: energies that are twice differentiable, and no more smoothness than that. RBF is
# infinitely smooth; Matern-3/2 has forces with kinks in the limit of a fine grid. What the kernel objects hold for
# lengthscale and variance is ignored: both are learned.

# %%
others = {"RBF": gpjax.kernels.RBF()} if FAST else {"RBF": gpjax.kernels.RBF(), "Matern32": gpjax.kernels.Matern32()}
posteriors = {"Matern52": matern}
for name, kernel in others.items():
    posteriors[name] = fit(statistics, method="laplace", kernels={"W-W": kernel})


def score(posterior):
    """Leave-one-block-out score; the draws that were scored are a subset of those of the posterior."""
    scored = posterior["log_likelihood"].to_dataset()
    names = bcg.plots.inference.hyperparameters(posterior)
    values = posterior["posterior"].to_dataset()[names].sel(draw=scored["draw"])
    tree = xr.DataTree.from_dict({"posterior": values, "log_likelihood": scored})
    return arviz_stats.loo(tree, var_name="forces", pointwise=True)


scores = {name: score(posterior) for name, posterior in posteriors.items()}
for name, loo in scores.items():
    difference = loo.elpd_i - scores["Matern52"].elpd_i
    error = float(np.sqrt(difference.size * difference.var(ddof=1)))
    evidence = posteriors[name]["posterior"].attrs["log_evidence"] - matern["posterior"].attrs["log_evidence"]
    print(
        f"{name:9s} elpd {float(loo.elpd):.1f}, difference {float(difference.sum()):7.2f} +- {error:.2f}, "
        f"largest Pareto k {float(np.max(loo.pareto_k)):.2f}, log evidence {evidence:+.1f}"
    )

# %% [markdown]
# Differences are to be read beside their standard errors, which are those of paired blocks. The curves themselves
# hardly differ where there are data:

# %%
means = xr.Dataset({name: tree["posterior"]["f_W-W"].mean(("chain", "draw")) for name, tree in posteriors.items()})
inside = means.sel({"x_W-W": slice(0.27, 0.85)})
for name in others:
    largest = float(np.abs(inside[name] - inside["Matern52"]).max())
    print(f"{name}: largest difference of the mean force {largest:.2f} kJ/mol/nm")

# %% [markdown]
# ## Baselines
#
# A baseline is a fixed curve; the data are asked for the difference. It replaces the prior's own wall, so it has to
# hold beads apart: below the sampled range the force is the baseline's. Its columns are part of the sums, so it needs
# a pass of its own.

# %%
wca = bcg.Potential(bcg.Pair("W", "W", cutoff=0.9, knot_spacing=spacing, baseline=bcg.WCA(sigma=0.27, epsilon=2.0)))
with_wca = fit(bcg.force_statistics(wca, cg, pilot=None), method="laplace")
print(f"no baseline: held-out R^2 {matern['posterior'].attrs['held_out_r2']:.4f}")
print(f"WCA:         held-out R^2 {with_wca['posterior'].attrs['held_out_r2']:.4f}")
evidence = with_wca["posterior"].attrs["log_evidence"] - matern["posterior"].attrs["log_evidence"]
print(f"log evidence of WCA over the default wall: {evidence:+.1f}")
bcg.plots.potential(with_wca).savefig(OUTPUT / "priors_wca.png", dpi=80)
