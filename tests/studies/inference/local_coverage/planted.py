"""Systems whose potential is known: exact forces, and noise as strong as the rms force on every component."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import jax
import numpy as np
import xarray as xr

import bayescg as bcg
from bayescg._runtime import double_precision
from bayescg.data import Topology
from bayescg.inference import Sampling
from bayescg.inference.linear.fit import Fit, fit, kernels_by_name
from bayescg.posterior import curves
from bayescg.potentials import Harmonic, LennardJones
from bayescg.potentials.baselines import Baseline
from tests.inference import systems
from tests.seeds import shifted
from tests.studies.inference.local_coverage.frames import kept
from tests.studies.inference.local_coverage.judge import Pool, Row, judged
from tests.studies.inference.local_coverage.ranges import cells_of, sampled

PLAN = Sampling(chains=1, warmup=1, draws=1000)
_SIDE, _MASS = 2.7, 40.0


@dataclass(frozen=True)
class Planted:
    """A system of known potential.

    Attributes:
        name: of its frames.
        make: makes as many frames as it is asked for.
        truths: the curves of its terms.
        terms: what is fitted to it.
        exclude_bonds: of the potential.
    """

    name: str
    make: Callable[[int], xr.Dataset]
    truths: Mapping[str, Baseline]
    terms: tuple
    exclude_bonds: int = 0

    def measure(self, system: str, frames: int, replicates: int, most: int) -> list[Row]:
        """Fits to replicates of their own frames.

        Args:
            system: name in the table.
            frames: of a replicate.
            replicates: how many.
            most: frames that are made and kept, for studies of all lengths.
        """
        shift = f"-{shifted(0)}" if shifted(0) else ""
        data = kept(f"{self.name}-{most}{shift}", lambda: self.make(most))
        noise = float(data["forces"].std())
        data = data.isel(frame=slice(0, frames * replicates))
        potential = bcg.fill_ranges(bcg.Potential(*self.terms, exclude_bonds=self.exclude_bonds), data)
        found = sampled(potential, data)
        cells = {name: cells_of(potential.term(name), found[name], replicates) for name in self.truths}  # pyright: ignore[reportArgumentType]
        pools = {(name, cell.name): Pool() for name, several in cells.items() for cell in several}
        for replicate in range(replicates):
            own = slice(replicate * frames, (replicate + 1) * frames)
            noisy = systems.with_noise(data.isel(frame=own), noise, replicate)
            fitted = shared_fit(potential, noisy, 1000 + replicate)
            draws = fitted.coefficients[0]
            for name, truth in self.truths.items():
                low, high = float(found[name].low[own].min()), float(found[name].high[own].max())
                for cell in cells[name]:
                    x = cell.points(low, high)
                    if len(x):
                        force, exact = curves(potential, name, draws, x)[1], systems.true_force(truth, x)
                        rows = np.zeros((len(x), potential.n_basis))
                        rows[:, potential.slices[name]] = -potential.term(name).graph.basis(x)[1]
                        pools[name, cell.name].add(*banded(force, exact), fitted.data_share(rows))
            if (replicate + 1) % 10 == 0:
                print(f"  {system}: replicate {replicate + 1} of {replicates}", flush=True)
        return [
            judged((system, name, cell.name), cell.ends, cell.contacts, pools[name, cell.name])
            for name, several in cells.items()
            for cell in several
        ]


def shared_fit(potential: bcg.Potential, data: xr.Dataset, number: int) -> Fit:
    """What `force_match` does to the data by Laplace's method, before its curves: draws and shares of the data."""
    statistics = bcg.force_statistics(potential, data, pilot=bcg.fit_pilot(potential, data))
    key = jax.random.split(jax.random.key(shifted(number)))[0]
    with double_precision():
        return fit(statistics, kernels_by_name(None), method="laplace", calibration="godambe", sampling=PLAN, key=key)


def banded(draws: np.ndarray, exact: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Whether the 90 % band holds the truth, z of the mean, and the band's width, from (draw, ...) forces."""
    low, high = np.quantile(draws, [0.05, 0.95], axis=0)
    return (low <= exact) & (exact <= high), (draws.mean(axis=0) - exact) / draws.std(axis=0, ddof=1), high - low


def lennard_jones(beads: int) -> Planted:
    """The liquid of the test suite."""
    pair = bcg.Pair("A", "A", systems.CUTOFF)
    make = lambda frames: systems.lennard_jones(frames, beads=beads, seed=1)  # noqa: E731
    return Planted(f"lennard-jones-{beads}", make, {"A-A": systems.LJ}, (pair,))


def chains() -> Planted:
    """Three-bead chains as those of the test suite, from a start in which none overlap, whatever the seed."""
    truths = {"A-A": systems.LJ, "bond_A-A": systems.BOND, "angle_A-A-A": systems.ANGLE}
    start = _molecules(_zigzag(3), (5, 5, 2), (0.46, 0.60, 1.04))
    return _molecular("chains", start, truths, exclude_bonds=2)


def gaussian_core() -> Planted:
    """Soft spheres that overlap."""
    return _fluid("gaussian-core", _curve(lambda r: 12.0 * np.exp(-((r / 0.45) ** 2)), 1.3, first=0.0), 1.3, side=3.3)


def yukawa() -> Planted:
    """Screened charges of equal sign."""
    return _fluid("yukawa", _curve(lambda r: 12.0 * np.exp(-(r - 0.4) / 0.15) * 0.4 / r, 1.2), 1.2)


def ramp() -> Planted:
    """A constant force of 20 kJ/mol/nm on a hard core, which ends within 12 pm at 0.6 nm."""

    def energy(r):
        return 2.0 * (0.34 / r) ** 12 + 20.0 * 0.012 * 0.5 * np.log1p(np.exp(-2 * (r - 0.6) / 0.012))

    return _fluid("ramp", _curve(energy, 0.85), 0.85, side=2.4)


def stiff_bond() -> Planted:
    """Dimers whose bond has a standard deviation of 5 pm."""
    bond = Harmonic(0.38, 1e5)
    truths = {"A-A": systems.LJ, "bond_A-A": bond}
    start = _molecules(np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 0.38]]), (5, 5, 3), (0.42, 0.42, 0.80))
    return _molecular("stiff-bond", start, truths, exclude_bonds=1)


def dihedral_chains() -> Planted:
    """Four-bead chains with three wells of the dihedral."""
    x = np.linspace(-np.pi, np.pi, 361)
    wells = bcg.table(x, 2.5 * (1 + np.cos(x)) + 3.5 * (1 + np.cos(3 * x)), periodic=True)
    angle = systems.ANGLE
    truths = {"A-A": systems.LJ, "bond_A-A": systems.BOND, "angle_A-A-A": angle, "dihedral_A-A-A-A": wells}
    start = _molecules(_zigzag(4), (5, 4, 2), (0.44, 0.645, 1.38))
    return _molecular("dihedral-chains", start, truths, exclude_bonds=3)


def kob_andersen() -> Planted:
    """A mixture of four to one at reduced density 1.2 and temperature 1.25 (doi:10.1103/PhysRevE.51.4626)."""
    beads = 343
    curves_of = {"A-A": (0.34, 2.0), "A-B": (0.272, 3.0), "B-B": (0.2992, 1.0)}
    truths = {name: LennardJones(sigma, epsilon, 0.85) for name, (sigma, epsilon) in curves_of.items()}
    types = np.where(np.random.default_rng(0).permutation(beads) < beads // 5, "B", "A").tolist()
    start = _lattice(beads, (beads / 1.2) ** (1 / 3) * 0.34, types)
    return _molecular("kob-andersen", start, truths)


def _fluid(name: str, curve: Baseline, cutoff: float, *, side: float = _SIDE) -> Planted:
    truth = bcg.Potential(bcg.Pair("A", "A", cutoff, baseline=curve, learn=False))
    start = _lattice(216, side, "A")
    make = lambda frames: systems.simulated(truth, start, frames, 1)  # noqa: E731
    return Planted(name, make, {"A-A": curve}, (bcg.Pair("A", "A", cutoff),))


def _molecular(name: str, start: xr.Dataset, truths: Mapping[str, Baseline], exclude_bonds: int = 0) -> Planted:
    kinds = {"bond": bcg.Bond, "angle": bcg.Angle, "dihedral": bcg.Dihedral}
    learned, known = [], []
    for label, curve in truths.items():
        kind, _, types = label.rpartition("_")
        beads = types.split("-")
        if not kind:
            learned.append(bcg.Pair(beads[0], beads[1], systems.CUTOFF))
            known.append(bcg.Pair(beads[0], beads[1], systems.CUTOFF, baseline=curve, learn=False))
            continue
        # A bond of the truth needs knots that nothing depends on.
        knots = {"start": 0.2, "stop": 0.6} if kind == "bond" else {}
        learned.append(kinds[kind](*beads))
        known.append(kinds[kind](*beads, baseline=curve, learn=False, **knots))
    truth = bcg.Potential(*known, exclude_bonds=exclude_bonds)
    make = lambda frames: systems.simulated(truth, start, frames, 1)  # noqa: E731
    return Planted(name, make, truths, tuple(learned), exclude_bonds)


def _curve(energy: Callable, cutoff: float, *, first: float = 0.1) -> Baseline:
    """A table every picometer of a curve shifted so that energy and force vanish at the cutoff."""
    r, h = np.linspace(first, cutoff, round((cutoff - first) / 0.001) + 1), 1e-5
    slope = (energy(cutoff + h) - energy(cutoff - h)) / (2 * h)
    return bcg.table(r, energy(r) - energy(cutoff) - (r - cutoff) * slope)


def _lattice(beads: int, side: float, types: str | list[str]) -> xr.Dataset:
    edge = round(beads ** (1 / 3))
    sites = np.stack(np.meshgrid(*[np.arange(edge)] * 3, indexing="ij"), -1).reshape(-1, 3) * side / edge
    return bcg.from_arrays(sites[None], np.eye(3) * side, types, temperature=systems.KELVIN, mass=[_MASS] * beads)


def _zigzag(beads: int) -> np.ndarray:
    """A chain with the bonds and angles of the test suite's, along z."""
    half = 0.5 * systems.ANGLE.center
    return systems.BOND.center * np.array([[0.0, np.cos(half) * (k % 2), np.sin(half) * k] for k in range(beads)])


def _molecules(shape: np.ndarray, counts: tuple[int, int, int], spacing: tuple[float, float, float]) -> xr.Dataset:
    """Linear molecules of beads A side by side."""
    corners = np.stack(np.meshgrid(*map(np.arange, counts), indexing="ij"), -1).reshape(-1, 3) * spacing
    positions, length = (corners[:, None] + shape).reshape(1, -1, 3), len(shape)
    beads = positions.shape[1]
    bonds = np.array([(k, k + 1) for k in range(beads) if (k + 1) % length])
    return bcg.from_arrays(
        positions,
        np.diag(np.multiply(counts, spacing)),
        ["A"] * beads,
        temperature=systems.KELVIN,
        mass=[_MASS] * beads,
        topology=Topology.from_bonds(beads, bonds),
    )
