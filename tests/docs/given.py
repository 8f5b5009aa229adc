"""What pages take as given: names that no snippet of theirs makes, and files of the reader."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import jax
import MDAnalysis as mda
import numpy as np
import numpyro.distributions as dist

import bayescg as bcg
from bayescg.data import Topology, datasets
from tests.docs import molecules
from tests.transfer import world

IMPORTED = {"jax": jax, "np": np, "mda": mda, "bcg": bcg}
"""Modules that docs/index.md says snippets take for granted."""
FRAMES = 32
"""As few as `coverage` takes."""


class Given:
    """The first frames of the bundled water, what most pages speak of.

    Each attribute is a name that snippets use, but for `folder` and `files`.
    """

    def __init__(self, folder: Path):
        self.folder = folder

    @cached_property
    def files(self) -> datasets.TrajectoryFiles:
        files = datasets.water(self.folder)
        files.trajectory.write_bytes(first_frames(files.trajectory, FRAMES))
        return files

    @cached_property
    def universe(self):
        return self.files.universe()

    @cached_property
    def mapping(self):
        return bcg.Mapping.center_of_mass(self.universe, by="residues", names={"SOL": "W"})

    @cached_property
    def cg(self):
        return bcg.coarse_grain(self.universe, self.mapping, temperature=300.0)

    @cached_property
    def other_cg(self):
        # By another place of the origin, too, the frames are others.
        return self.cg.assign(positions=self.cg["positions"] + 0.1).assign_attrs(source="another simulation")

    @cached_property
    def trajectories(self):
        return [self.cg.isel(frame=slice(16)), self.cg.isel(frame=slice(16, None))]

    @cached_property
    def paths(self):
        names = [self.folder / f"part{number}.nc" for number in range(len(self.trajectories))]
        for name, part in zip(names, self.trajectories, strict=True):
            bcg.save(part, name)
        return names

    @cached_property
    def dense(self):
        return self.cg

    @cached_property
    def dilute(self):
        return self.other_cg

    @cached_property
    def replicates(self):
        noise = np.random.default_rng(0).normal(0, 100, (6, *self.cg["forces"].shape))
        dims = ("replicate", *self.cg["forces"].dims)
        return self.cg.assign(forces=(dims, self.cg["forces"].values + noise, self.cg["forces"].attrs))

    @cached_property
    def potential(self):
        return bcg.Potential(bcg.Pair("W", "W", cutoff=0.9))

    @cached_property
    def statistics(self):
        return bcg.force_statistics(self.potential, self.cg)

    @cached_property
    def pilot(self):
        return self.statistics.pilot

    @cached_property
    def posterior(self):
        return bcg.force_match(self.potential, self.cg, key=self.key)

    @cached_property
    def ensemble(self):
        return bcg.simulate(self.posterior, self.cg.isel(frame=-1), draws=16, time=20.0, key=self.key)

    @cached_property
    def target(self):
        return molecules.target()

    @cached_property
    def system(self):
        return molecules.bent(1).system

    @cached_property
    def topology(self):
        return molecules.bent(1).topology

    @cached_property
    def positions(self):
        return molecules.bent(1).positions

    @cached_property
    def simulation(self):
        return molecules.simulation()

    @cached_property
    def separation(self):
        return np.linspace(0.02, 0.8, 9)

    @cached_property
    def traction(self):
        return 0.3 * (self.separation / 0.15) * np.exp(1 - self.separation / 0.15)

    @cached_property
    def client(self):
        from distributed import Client

        return Client(
            **{"n_workers": 1, "threads_per_worker": 1, "processes": False},
            **{"dashboard_address": ":0", "silence_logs": "CRITICAL", "local_directory": str(self.folder)},
        )

    @property
    def key(self):
        return jax.random.key(0)

    @cached_property
    def r(self):
        return np.linspace(0.2, 0.9, 71)

    @cached_property
    def energy(self):
        return (self.r - 0.9) ** 4

    def close(self) -> None:
        """Stop the Dask cluster, if one has been started."""
        if "client" in vars(self):
            self.client.close()


class _Page:
    """What is different on one page; all else is as for the water."""

    def __init__(self, water: Given):
        self._water = water

    def __getattr__(self, name: str):
        return getattr(self._water, name)


class _Molecule(_Page):
    """One molecule that atoms are placed for, and a liquid of two."""

    @cached_property
    def universe(self):
        return molecules.moving(1, 60)

    @cached_property
    def cg(self):
        return self._beads(1)

    @cached_property
    def liquid(self):
        return self._beads(2)

    @cached_property
    def liquid_system(self):
        return molecules.bent(2).system

    @cached_property
    def liquid_universe(self):
        return molecules.moving(2, 2)

    def _beads(self, count: int):
        x = molecules.bent(count).positions.reshape(count, 3, 3)
        center = np.average(x, axis=1, weights=[15.999, 1.008, 1.008])
        return bcg.from_arrays(center[None], molecules.SIDE * np.eye(3), "SOL", temperature=300.0)


class _Few(_Page):
    """Fewer frames: many-body terms have many coefficients."""

    @cached_property
    def cg(self):
        return self._water.cg.isel(frame=slice(8))


class _Sparse(_Few):
    """Fewer beads, too."""

    @cached_property
    def cg(self):
        return self._water.cg.isel(frame=slice(10), bead=slice(150))


class _Mixture(_Page):
    """Molecules to map, and beads in arrays."""

    @cached_property
    def universe(self):
        return molecules.mixture()

    @cached_property
    def positions(self):
        return np.random.default_rng(0).uniform(0, 2, (3, 8, 3))

    box = np.full(3, 2.0)
    bead_type = ["A", "B"] * 4
    mass = np.full(8, 20.0)

    @cached_property
    def forces(self):
        return np.random.default_rng(0).normal(0, 100, (3, 8, 3))


class _Dimers(_Page):
    """A posterior with a bonded term, which GROMACS asks for."""

    @cached_property
    def cg(self):
        positions = np.random.default_rng(0).uniform(0, 0.05, (1, 4, 3)) + 0.3 * np.arange(4)[:, None]
        topology = Topology.from_bonds(4, np.array([[0, 1], [2, 3]]))
        return bcg.from_arrays(
            positions, np.full(3, 3.0), "A", temperature=300.0, mass=np.full(4, 20.0), topology=topology
        )

    @cached_property
    def posterior(self):
        pair = bcg.Pair("A", "A", cutoff=0.9, knot_spacing=0.1, baseline=bcg.WCA(sigma=0.27, epsilon=2.0))
        bond = bcg.Bond("A", "A", start=0.2, stop=0.8, baseline=bcg.Harmonic(center=0.5, stiffness=500.0))
        potential = bcg.Potential(pair, bond, exclude_bonds=1)
        draws = np.random.default_rng(0).normal(0, 0.01, (16, potential.n_basis))
        return bcg.posterior.from_coefficients(potential, draws, temperature=300.0)


class _Ions(_Page):
    """Ions that carry a charge, a little off a lattice, with forces that are mostly theirs."""

    @cached_property
    def cg(self):
        rng = np.random.default_rng(0)
        sites = np.stack(np.meshgrid(*[np.arange(4)] * 3, indexing="ij"), -1).reshape(-1, 3)
        positive = sites.sum(axis=1) % 2 == 0
        x = 0.5 * sites + rng.normal(0, 0.03, (12, 64, 3))
        names = np.where(positive, "NA", "CL").tolist()
        cg = bcg.from_arrays(x, np.full(3, 2.0), names, temperature=400.0, mass=np.full(64, 30.0))
        # About as stiff as the planted charges hold them.
        forces = 2000.0 * (0.5 * sites - x) + rng.normal(0, 20.0, x.shape)
        charged = cg.assign_coords(charge=("bead", np.where(positive, 1.0, -1.0)))
        return charged.assign(forces=(("frame", "bead", "xyz"), forces, {"units": "kJ/mol/nm"}))


class _Model(_Page):
    """A trajectory of the molecule that a generative model is of."""

    @cached_property
    def universe(self):
        return molecules.moving(1, 3)


class _Biased(_Page):
    """A biased run, and windows of two biases."""

    @cached_property
    def cg(self):
        return self._water.cg.copy()

    @cached_property
    def bias(self):
        return np.random.default_rng(0).normal(0, 2.0, self.cg.sizes["frame"])

    @cached_property
    def windows(self):
        return [part.assign_attrs(source=f"window {k}") for k, part in enumerate(self._water.trajectories)]

    @cached_property
    def window_biases(self):
        frames = sum(part.sizes["frame"] for part in self.windows)
        return np.random.default_rng(1).normal(0, 2.0, (2, frames))


class _Fits(_Page):
    """A molecule for the fit of a conditional, and a law."""

    @cached_property
    def universe(self):
        return molecules.moving(1, 60)

    @cached_property
    def mapping(self):
        return bcg.Mapping.center_of_mass(self.universe, by="residues")

    @cached_property
    def physics(self):
        strength, opening = dist.LogNormal(np.log(0.3), 0.5), dist.LogNormal(np.log(0.15), 0.5)
        law = bcg.surrogates.traction_separation(strength=strength, opening=opening, units=("nm", "GPa"))
        return bcg.surrogates.PhysicsGuidedGP(law)

    @property
    def x(self):
        return self.separation

    @property
    def y(self):
        return self.traction


class _Fluids(_Page):
    """Lennard-Jones fluids of different depth and diameter."""

    @cached_property
    def runs(self):
        found = (world.fluid(x) for x in ((0.1, 0.2), (0.9, 0.3), (0.5, 0.8)))
        return [(world.frames(one, 3, 1), one.epsilon, one.sigma) for one in found]

    cg = property(lambda self: self.runs[0][0])
    start = property(lambda self: self.cg.isel(frame=-1))
    candidates = ({"eps": 1.3, "sigma": 0.34}, {"eps": 2.0, "sigma": 0.36})
    targets = ({"eps": 2.1, "sigma": 0.36},)


def pages(water: Given) -> dict[str, _Page]:
    """Pages that speak of something else than the water."""
    kinds = {"backmapping": _Molecule, "mappings": _Mixture, "exports": _Dimers, "generative": _Model, "fits": _Fits}
    kinds |= {"weights": _Biased, "comparison": _Sparse, "many_body": _Few, "charges": _Ions, "transfer": _Fluids}
    return {f"docs/guide/{name}.md": kind(water) for name, kind in kinds.items()}


def first_frames(path: Path, count: int) -> bytes:
    """The first frames of the bundled trajectory, all of which are of one length; or the last, of a negative count."""
    content = path.read_bytes()
    size = 36840
    return content[: count * size] if count > 0 else content[count * size :]
