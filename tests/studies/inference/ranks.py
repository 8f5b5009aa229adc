"""Simulation-based calibration for every kind of term: ranks of the truth among draws are uniform under the model.

Frames give the design only; potentials and forces are drawn from the model. Uniformity by Kolmogorov and Smirnov, one
test for each quantity; the bound on the smallest p of a system counts how many there are. `python -m
tests.studies.inference.ranks nuts` samples hyperparameters by NUTS, which takes ten times as long.
"""

import sys
import warnings
from collections.abc import Callable

import jax
import xarray as xr
from scipy.stats import kstest

import bayescg as bcg
from bayescg.inference import rank_statistics
from tests.inference import systems
from tests.seeds import shifted
from tests.studies.inference import ionic_liquid
from tests.studies.inference.local_coverage import planted
from tests.studies.inference.local_coverage.frames import kept
from tests.studies.many_body import stillinger_weber
from tests.studies.wanted import BROKEN, wanted

SIMULATIONS, DRAWS = 200, 200
ALARM = 0.01
"""Chance of a false alarm of one system."""


def all_systems() -> dict[str, Callable[[], tuple[bcg.Potential, xr.Dataset]]]:
    """Name -> potential and frames."""
    return {
        "pair": lambda: (bcg.Potential(bcg.Pair("A", "A", systems.CUTOFF)), _lennard_jones()),
        "pair, bond, angle, dihedral": _chains,
        "pair, three-body": lambda: (
            bcg.Potential(stillinger_weber.PAIR, bcg.ThreeBody("W", "W", "W", **stillinger_weber.THREE)),
            kept("mw-ranks-4", lambda: stillinger_weber.trajectory(4, spacing=400)),
        ),
        "pair, local density": lambda: (
            bcg.Potential(bcg.Pair("A", "A", systems.CUTOFF), bcg.LocalDensity("A", "A", 0.3, 0.5)),
            _lennard_jones(),
        ),
        "pairs, charges": lambda: (
            ionic_liquid.potential(known=False, dielectric=5.0, learn=True),
            kept("ions-ranks-4", lambda: ionic_liquid.simulated(4)),
        ),
    }


def _lennard_jones() -> xr.Dataset:
    return kept("lennard-jones-ranks-20", lambda: systems.lennard_jones(20))


def _chains() -> tuple[bcg.Potential, xr.Dataset]:
    system = planted.dihedral_chains()
    data = kept("dihedral-chains-ranks-10", lambda: system.make(10))
    return bcg.Potential(*system.terms, exclude_bonds=system.exclude_bonds), data


def main(arguments: list[str] | None = None) -> None:
    """All systems, or those named, by Laplace's method or NUTS."""
    given = arguments or []
    method = "nuts" if "nuts" in given else "laplace"
    names = [name for name in given if name != "nuts"]
    warnings.filterwarnings("ignore", message="Pareto k|R-hat|only")
    for number, (name, make) in enumerate(all_systems().items()):
        if names and name not in names:
            continue
        potential, data = make()
        statistics = bcg.force_statistics(bcg.fill_ranges(potential, data), data, pilot=None)
        found = rank_statistics(
            statistics, simulations=SIMULATIONS, draws=DRAWS, method=method, key=jax.random.key(shifted(number))
        )
        values = {
            str(q): float(kstest(found["rank"].sel(quantity=q), "uniform").pvalue) for q in found["quantity"].values
        }
        worst = sorted(values, key=lambda q: values[q])[:3]
        few = ", ".join(
            f"{q} {values[q]:.2g} (mean rank {float(found['rank'].sel(quantity=q).mean()):.2f})" for q in worst
        )
        print(f"{name}, {method}: {len(values)} quantities; smallest p: {few}", flush=True)
        wanted(f"{name}: smallest p of {len(values)}", values[worst[0]], ALARM / len(values))


if __name__ == "__main__":
    main(sys.argv[1:])
    if BROKEN:
        sys.exit("\n".join(["what was wanted and does not hold:", *BROKEN]))
