"""Terms defined here, outside of the package: fitted, simulated, drawn and kept like those of the package."""

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import bayescg as bcg
from bayescg._runtime import double_precision
from bayescg.data import Topology
from bayescg.geometry.descriptors import angle, minimum_image
from bayescg.kernels import prior_of
from bayescg.potentials import Baseline, Interactions, Pair, Potential, Term, UniformSpline
from bayescg.potentials.bonded import bonded_tuples
from bayescg.potentials.configuration import real_tuples
from bayescg.potentials.term import Graph
from bayescg.simulation import forces as engine
from bayescg.simulation.lists import Lists
from bayescg.units import BOLTZMANN

BOX = np.diag([1.9, 1.95, 2.0])
KELVIN = 300.0


@dataclass(frozen=True)
class Gaussians(Term):
    """u(r) = sum_k w_k exp(-(r - c_k)^2 / 2 s^2) (1 - r^2 / rc^2)^3 of the distance of two beads."""

    a: str
    b: str
    cutoff: float
    centers: tuple[float, ...]
    width: float = 0.05

    kind: ClassVar[str] = "gaussians"
    unit: ClassVar[str] = "nm"
    body: ClassVar[int] = 2

    @property
    def types(self):
        return (self.a, self.b)

    @property
    def name(self):
        return f"gaussians_{self.a}-{self.b}"

    @property
    def n_basis(self):
        return len(self.centers)

    @property
    def span(self):
        return 0.0, self.cutoff

    @property
    def bins(self):
        return 18

    @property
    def graph(self):
        return Graph("r", "distance", f"Gaussians {self.a}-{self.b}", self._rows, vanishes=True)

    def find_tuples(self, neighbors):
        return {self.name: neighbors.between(self.a, self.b)}

    def basis_energies(self, configuration):
        r, real = self._distances(configuration)
        return jnp.sum(jnp.where(real[:, None], self._functions(r), 0.0), axis=0)

    def visits(self, configuration):
        r, real = self._distances(configuration)
        return UniformSpline(0.0, self.cutoff, self.bins).histogram(r, real & (r < self.cutoff))

    def _functions(self, r):
        fade = jnp.clip(1 - r**2 / self.cutoff**2, 0.0, None) ** 3
        return jnp.exp(-((r[:, None] - jnp.asarray(self.centers)) ** 2) / (2 * self.width**2)) * fade[:, None]

    def _rows(self, x):
        with double_precision():
            x = jnp.asarray(x, float)
            return tuple(np.asarray(part) for part in jax.jvp(self._functions, (x,), (jnp.ones_like(x),)))

    def _distances(self, configuration):
        tuples = configuration.tuples[self.name]
        ends, real = configuration.positions[tuples], real_tuples(tuples)
        vector = minimum_image(ends[:, 1] - ends[:, 0], configuration.box)
        return jnp.sqrt(jnp.sum(jnp.where(real[:, None], vector, 1.0) ** 2, -1)), real


@dataclass(frozen=True)
class Legendre(Term):
    """u(theta) = w_1 P_1(cos theta) + w_2 P_2(cos theta) of the angle between consecutive bonds."""

    a: str
    b: str
    c: str

    kind: ClassVar[str] = "legendre"
    unit: ClassVar[str] = "rad"
    body: ClassVar[int] = 3
    cutoff: ClassVar[float] = 0.0
    n_basis: ClassVar[int] = 2  # pyright: ignore[reportIncompatibleMethodOverride]
    span: ClassVar[tuple[float, float]] = (0.0, np.pi)  # pyright: ignore[reportIncompatibleMethodOverride]
    bins: ClassVar[int] = 12  # pyright: ignore[reportIncompatibleMethodOverride]

    @property
    def types(self):
        return (self.a, self.b, self.c)

    @property
    def name(self):
        return f"legendre_{'-'.join(self.types)}"

    def list_tuples(self, cg):
        return {self.name: bonded_tuples(self, cg, "angles")}

    def basis_energies(self, configuration):
        cosine = jnp.cos(self._angles(configuration))
        return jnp.sum(jnp.stack([cosine, 1.5 * cosine**2 - 0.5]), axis=1)

    def visits(self, configuration):
        theta = self._angles(configuration)
        return UniformSpline(0.0, np.pi, self.bins).histogram(theta, jnp.ones_like(theta, bool))

    def _angles(self, configuration):
        return angle(configuration.positions[configuration.tuples[self.name]], configuration.box)[0]


@dataclass(frozen=True)
class Cushion(Baseline):
    """A parabola that ends at a distance, where its slope is zero."""

    height: float
    end: float

    def energy(self, x):
        return self.height * jnp.clip(1 - x / self.end, 0.0, None) ** 2


GAUSSIANS = Gaussians("A", "A", 0.8, (0.3, 0.42, 0.54))
LEGENDRE = Legendre("A", "A", "A")
SOFT = Pair("A", "A", 0.5, baseline=Cushion(20.0, 0.5), learn=False)
POTENTIAL = Potential(SOFT, GAUSSIANS, LEGENDRE, exclude_bonds=2)
TRUE = np.array([3.0, -4.0, 2.0, 5.0, 8.0])


def chains(rng, frames, molecules):
    """Chains of three beads, bonds of 0.3 nm in random directions."""
    corners = (
        np.stack(np.meshgrid(*[np.arange(4)] * 3, indexing="ij"), -1).reshape(-1, 3)[:molecules] * np.diag(BOX) / 4
    )
    steps = rng.normal(size=(frames, molecules, 2, 3))
    steps *= 0.3 / np.linalg.norm(steps, axis=-1, keepdims=True)
    links = np.concatenate([np.zeros((frames, molecules, 1, 3)), np.cumsum(steps, axis=2)], axis=2)
    positions = (corners[:, None] + rng.uniform(-0.05, 0.05, (frames, molecules, 1, 3)) + links).reshape(frames, -1, 3)
    beads, first = 3 * molecules, np.arange(0, 3 * molecules, 3)
    bonds = np.concatenate([np.stack([first, first + 1], 1), np.stack([first + 1, first + 2], 1)])
    return bcg.from_arrays(
        positions,
        np.broadcast_to(BOX, (frames, 3, 3)),
        ["A"] * beads,
        temperature=KELVIN,
        mass=[30.0] * beads,
        topology=Topology.from_bonds(beads, bonds),
    )


@pytest.fixture(scope="module")
def cg():
    """Chains with the exact forces of the potential, and a little noise."""
    rng = np.random.default_rng(0)
    data = chains(rng, frames=10, molecules=64)
    interactions, sizes = Interactions.of(POTENTIAL, data), {}
    with double_precision():
        evaluate = jax.jit(POTENTIAL.forces)
        forces = [
            np.asarray(evaluate(interactions.configuration(x.astype(float), BOX, sizes=sizes), jnp.asarray(TRUE)))
            for x in data["positions"].values
        ]
    noise = rng.normal(scale=1.0, size=data["positions"].shape)
    return data.assign(forces=(("frame", "bead", "xyz"), np.stack(forces) + noise))


@pytest.fixture(scope="module")
def posterior(cg):
    return bcg.force_match(POTENTIAL, cg, method="laplace", calibration="none", key=jax.random.key(0))


def test_coefficients_are_recovered(cg, posterior):
    draws = posterior["posterior"]["coefficients"].stack(sample=("chain", "draw")).transpose("sample", ...).values
    sd = draws.std(axis=0)
    assert np.all(np.abs(draws.mean(axis=0) - TRUE) < 4 * sd), (draws.mean(axis=0), sd)
    assert np.all(sd < 0.05 * np.abs(TRUE))
    # Least squares on the exact forces themselves: the prior moves nothing of what so many forces say.
    statistics = bcg.force_statistics(POTENTIAL, cg, pilot=None)
    total = statistics.total()
    gram, cross = total.gram[0], total.cross[0]
    np.testing.assert_allclose(
        draws.mean(axis=0), np.linalg.solve(gram[:5, :5], cross[:5] - gram[:5, 5]), atol=0.2 * sd.max()
    )
    np.testing.assert_allclose(statistics.counts[LEGENDRE.name].sum(), 10 * 64)
    low, high = statistics.ranges[LEGENDRE.name]
    assert 0 < low < high < np.pi


def test_derivatives_are_those_of_the_energy():
    few = chains(np.random.default_rng(2), frames=1, molecules=4)
    x = few["positions"].values[0].astype(float)
    with double_precision():
        at, w = Interactions.of(POTENTIAL, few).configuration(x, BOX), jnp.asarray(TRUE)

        @jax.jit
        def everything(positions):
            def energy(x):
                return POTENTIAL.energy(at._replace(positions=x), w)

            moved = at._replace(positions=positions)
            rows, base = POTENTIAL.design_rows(moved), POTENTIAL.baseline_forces(moved)
            forces = jnp.einsum("bkx,k->bx", rows, w) + base[:, 0]
            laplacian = sum(t.laplacian(moved, w[POTENTIAL.slices[t.name]]) for t in POTENTIAL.terms)
            hessian = jax.hessian(energy)(positions).reshape(36, 36)
            return forces, POTENTIAL.forces(moved, w), -jax.grad(energy)(positions), laplacian, jnp.trace(hessian)

        rows, forces, gradient, laplacian, trace = everything(x)
    assert np.abs(forces).max() > 10
    np.testing.assert_allclose(rows, gradient, atol=1e-9)
    np.testing.assert_allclose(forces, gradient, atol=1e-9)
    np.testing.assert_allclose(laplacian, trace, rtol=1e-9)


def test_engine_has_the_forces_of_the_potential(cg):
    interactions = Interactions.of(POTENTIAL, cg)
    x = cg["positions"].values[0].astype(float)
    with double_precision():
        lists = Lists(interactions, BOX, 0.05).build(x[None])
        moved = x + np.random.default_rng(1).uniform(-0.014, 0.014, x.shape)
        arrays, draw = engine.layout(interactions, BOX), engine.curves(POTENTIAL, TRUE)
        found = jax.jit(engine.forces, static_argnums=(0, 1))(
            POTENTIAL, True, arrays, draw, tuple(each[0] for each in lists), jnp.asarray(moved)
        )
        expected = jax.jit(POTENTIAL.forces)(interactions.configuration(moved, BOX), jnp.asarray(TRUE))
    np.testing.assert_allclose(found, expected, atol=1e-9 * np.abs(expected).max())


def test_simulation_samples_the_term():
    """Angles of single molecules in the JAX engine follow exp(-u / kT) sin(theta); no line of it knows the term."""
    molecules = 27
    stiff = bcg.Bond("A", "A", start=0.1, stop=0.6, baseline=bcg.Harmonic(0.3, 5000.0), learn=False)
    given = bcg.posterior.from_coefficients(Potential(LEGENDRE, stiff), TRUE[3:], temperature=KELVIN)
    ensemble = bcg.simulate(
        given,
        chains(np.random.default_rng(0), frames=1, molecules=molecules).isel(frame=0),
        time=80.0,
        dynamics=bcg.Langevin(timestep=0.005, friction=5.0, equilibration=4.0, interval=0.4),
        engine="auto",
        key=jax.random.key(1),
    )
    assert ensemble.attrs["engine"] == "jax"  # LAMMPS has nothing for the term
    kT = BOLTZMANN * KELVIN
    c = np.linspace(-1, 1, 4001)
    functions = np.stack([c, 1.5 * c**2 - 0.5])
    weight = np.exp(-(TRUE[3:] @ functions) / kT)
    expected = functions @ weight / np.sum(weight)
    found = ensemble["basis_energy"].values[0] / molecules
    blocks = found.reshape(20, -1, 2).mean(axis=1)
    error = blocks.std(axis=0, ddof=1) / np.sqrt(20)
    assert np.all(np.abs(found.mean(axis=0) - expected) < 4 * error), (found.mean(axis=0), expected, error)
    assert np.all(error < 0.03)
    assert float(ensemble["configurational_temperature"][0]) == pytest.approx(KELVIN, rel=0.05)


def test_curves_are_kept_and_drawn(posterior):
    name = GAUSSIANS.name
    kept = posterior["posterior"]
    x = kept[f"x_{name}"].values
    mean = kept["coefficients"].mean(("chain", "draw")).values[:3]
    u = np.exp(-((x[:, None] - np.array(GAUSSIANS.centers)) ** 2) / (2 * 0.05**2)) * (1 - x[:, None] ** 2 / 0.8**2) ** 3
    np.testing.assert_allclose(kept[f"u_{name}"].mean(("chain", "draw")), u @ mean, atol=1e-9)
    assert kept[f"x_{name}"].attrs == {"units": "nm", "long_name": "distance"}
    figure = bcg.plots.potential(posterior)
    assert [title for axes in figure.axes if (title := axes.get_title(loc="left"))] == ["A-A", "Gaussians A-A"]
    assert set(bcg.plots.potential_figures(posterior)) == {"potential"}


def test_json_round_trip():
    potential = Potential(GAUSSIANS, LEGENDRE, Pair("A", "A", 0.8, baseline=Cushion(3.0, 0.8)))
    assert Potential.from_json(potential.to_json()) == potential
    with pytest.raises(ValueError, match=r"unknown type 'Lorentzians'.*'Gaussians'"):
        Potential.from_json(potential.to_json().replace('"Gaussians"', '"Lorentzians"'))


def test_what_would_count_twice_is_refused():
    with pytest.raises(ValueError, match="same interaction"):
        Potential(GAUSSIANS, Gaussians("A", "A", 0.5, (0.3,)))


def test_other_programs_say_that_they_have_nothing(cg, posterior, tmp_path):
    for format, program in (("lammps", "LAMMPS"), ("openmm", "OpenMM"), ("gromacs", "GROMACS")):
        with pytest.raises(ValueError, match=f"{program} has nothing for {GAUSSIANS.name}, {LEGENDRE.name}: "):
            bcg.export(posterior, tmp_path / "out", format=format, initial=cg)
    assert not list(tmp_path.iterdir())


def test_a_prior_comes_by_itself():
    prior = prior_of(GAUSSIANS, np.zeros(18), (0.2, 0.8), kT=2.5)
    assert prior.lift.shape == (3, 3)
    assert list(prior.hyperpriors(None)) == ["amplitude_gaussians_A-A"]
