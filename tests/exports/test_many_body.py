"""Three-body and local-density terms in LAMMPS and OpenMM: forces and energies of the fit, to rounding errors."""

import dataclasses
from functools import partial

import jax
import numpy as np
import pytest
from scipy.interpolate import BSpline

from bayescg import posterior
from bayescg._runtime import double_precision
from bayescg.data import Topology, from_arrays
from bayescg.exports import export, write
from bayescg.exports.lammps.tables import write_tables
from bayescg.exports.lammps.triplet_table import lookup_error
from bayescg.exports.tables.splines import clamp_start, continue_spline
from bayescg.potentials import Interactions, LocalDensity, Pair, Potential, Spline, ThreeBody, UniformSpline

BOX = np.array([[1.7, 0, 0], [0.3, 1.75, 0], [-0.2, 0.25, 1.8]])
THREE = {"cutoff": 0.42, "start": 0.12, "knot_spacing": 0.04, "opposite_spacing": 0.09}
PAIRS = (
    Pair("A", "A", 0.5, knot_spacing=0.02),
    Pair("A", "B", 0.45, start=0.113, knot_spacing=0.02),
    Pair("B", "B", 0.3, knot_spacing=0.03),
)
TRIPLETS = (
    # The coarse third side has fewer knots than the others.
    ThreeBody("A", "A", "B", **THREE | {"opposite_spacing": 0.2, "start": 0.15}),
    ThreeBody("B", "A", "A", **THREE | {"cutoff": 0.38}),
)
DENSITIES = (
    LocalDensity("A", "B", 0.25, 0.4, stop=12.0, knot_spacing=0.7),
    LocalDensity("B", "A", 0.3, 0.42, stop=16.0),
)


_sizes = {}


@partial(jax.jit, static_argnums=0)
def _evaluate(potential, at, coefficients):
    return potential.energy(at, coefficients), potential.forces(at, coefficients)


@dataclasses.dataclass(frozen=True)
class System:
    """A configuration, a potential with random coefficients, and what both amount to."""

    cg: object
    potential: Potential
    coefficients: np.ndarray

    @property
    def posterior(self):
        return posterior.from_coefficients(self.potential, self.coefficients[None], temperature=300.0)

    def exact(self):
        """Energy [kJ/mol] and forces [kJ/mol/nm] by `Potential`, compiled once for each potential."""
        with double_precision():
            interactions = Interactions.of(self.potential, self.cg)
            positions, box = self.cg["positions"].values[-1], self.cg["box"].values[-1]
            at = interactions.configuration(positions, box, sizes=_sizes.setdefault(self.potential, {}))
            energy, forces = _evaluate(self.potential, at, self.coefficients)
            return float(energy), np.asarray(forces)

    def check(self, energy, forces, tolerance=1e-6):
        """Forces to `tolerance` of each bead's own force, or of a tenth of the rms force where it is smaller."""
        true_energy, true = self.exact()
        size = np.linalg.norm(true, axis=1)
        scale = np.maximum(size, 0.1 * np.sqrt(np.mean(size**2)))
        error = np.linalg.norm(forces - true, axis=1) / scale
        assert error.max() < tolerance, error.max()
        np.testing.assert_allclose(energy, true_energy, rtol=tolerance, atol=tolerance * np.sqrt(len(true)))


def make(*terms, seed=0, chains=False, beads=60, scale=1.0, types="ABA", exclude_bonds=0):
    """Random beads at least 0.17 nm apart, or chains of three with bonds; types in turn."""
    rng = np.random.default_rng(seed)
    box, found = scale * BOX, []
    while len(found) < beads:
        if chains and len(found) % 3:
            new = found[-1] + 0.2 * (v := rng.normal(size=3)) / np.linalg.norm(v)
        else:
            new = rng.uniform(size=3) @ box
        apart = np.array([new - x for x in found]).reshape(-1, 3) @ np.linalg.inv(box)
        if np.all(np.linalg.norm((apart - np.round(apart)) @ box, axis=1) > 0.17):
            found.append(new)
    bonds = [(k, k + 1) for k in range(beads) if k % 3 < 2] if chains else []
    cg = from_arrays(
        np.array(found),
        box,
        np.resize(list(types), beads),
        temperature=300.0,
        mass=np.full(beads, 20.0),
        topology=Topology.from_bonds(beads, bonds),
    )
    potential = Potential(*terms, exclude_bonds=exclude_bonds)
    return System(cg, potential, rng.normal(size=potential.n_basis))


def lammps_forces(lammps, folder, monkeypatch):
    """Energy [kJ/mol] and forces [kJ/mol/nm] of an exported folder, by `run 0`."""
    monkeypatch.chdir(folder)
    lmp = lammps(cmdargs=["-log", "none", "-screen", "none", "-nocite"])
    lines = [line for line in (folder / "in.bayescg").read_text().splitlines() if not line.startswith(("run", "dump"))]
    lmp.commands_list([*lines, "unfix thermostat", "run 0"])
    forces = np.zeros((lmp.get_natoms(), 3))
    forces[lmp.numpy.extract_atom("id")[: len(forces)] - 1] = lmp.numpy.extract_atom("f")[: len(forces)] * 41.84
    energy = lmp.get_thermo("pe") * 4.184
    lmp.close()
    return energy, forces


@pytest.mark.parametrize("types", ["ABA", "BAABC"])
def test_lammps_has_our_forces(types, lammps, tmp_path, monkeypatch):
    # Beads C are in no term; with them the atom types of a triplet are no longer those of the potential.
    system = make(*PAIRS, *TRIPLETS, *DENSITIES, seed=len(types), types=types)
    export(system.posterior, tmp_path / "out", format="lammps", initial=system.cg)
    system.check(*lammps_forces(lammps, tmp_path / "out", monkeypatch))


def test_densities_beside_tables(lammps, tmp_path, monkeypatch):
    # Without three-body terms pairs stand in tables, which are right to 2e-5 of the curve.
    system = make(*(dataclasses.replace(pair, knot_spacing=0.08) for pair in PAIRS), *DENSITIES)
    export(system.posterior, tmp_path / "out", format="lammps", initial=system.cg)
    system.check(*lammps_forces(lammps, tmp_path / "out", monkeypatch), tolerance=1e-4)


def test_excluded_neighbors_form_no_triplet(lammps, tmp_path, monkeypatch):
    # The ends of a chain still see each other, and are neighbors of other centers.
    system = make(*PAIRS, TRIPLETS[1], DENSITIES[0], chains=True, exclude_bonds=1)
    export(system.posterior, tmp_path / "out", format="lammps", initial=system.cg)
    system.check(*lammps_forces(lammps, tmp_path / "out", monkeypatch))


def test_baselines_stand_in_tables_beside_the_splines(lammps, tmp_path, monkeypatch):
    pairs = (
        dataclasses.replace(PAIRS[0], baseline=Spline(0.0, 0.5, (5.0, 4.0, 3.0, 1.0, 0.0, 0.0, 0.0))),
        dataclasses.replace(PAIRS[1], baseline=Spline(0.0, 0.45, (5.0, 4.0, 3.0, 1.0, 0.0, 0.0, 0.0)), learn=False),
        PAIRS[2],
    )
    system = make(*pairs, TRIPLETS[0])
    export(system.posterior, tmp_path / "out", format="lammps", initial=system.cg)
    text = (tmp_path / "out" / "potential.in").read_text()
    assert "hybrid/overlay table linear" in text
    assert len([line for line in text.splitlines() if "pair.table" in line]) == 2
    system.check(*lammps_forces(lammps, tmp_path / "out", monkeypatch), tolerance=1e-4)


@pytest.mark.parametrize(("spacing", "table"), [(0.02, False), (0.01, False), (0.005, True)])
@pytest.mark.parametrize("apart", [0.01, 0.05, 0.3])
def test_two_beads(apart, spacing, table, lammps, tmp_path, monkeypatch):
    # Far below the first knot of their pair the force is that of the knot. LAMMPS reads 1023 characters of coefficients
    # and waits forever for more: fewer digits are written, and splines of very many knots stay tables.
    pair = dataclasses.replace(PAIRS[1], cutoff=0.7, knot_spacing=spacing)
    system = make(PAIRS[0], pair, PAIRS[2], TRIPLETS[0], beads=9, scale=1.0)
    positions = np.array([[0.5, 0.5, 0.5], [0.5 + apart, 0.5, 0.5]])
    w = system.coefficients.copy()
    w[system.potential.slices[pair.name]] = 10 * np.cos(6 * pair.spline.sites[: pair.n_basis])
    cg = from_arrays(positions, BOX, ["A", "B"], temperature=300.0, mass=[20.0, 20.0])
    system = dataclasses.replace(system, cg=cg, coefficients=w)
    export(system.posterior, tmp_path / "out", format="lammps", initial=cg)
    assert (tmp_path / "out" / "pair.table").exists() == table
    assert max(map(len, (tmp_path / "out" / "potential.uf3").read_text().splitlines())) < 1024
    _, forces = lammps_forces(lammps, tmp_path / "out", monkeypatch)
    raw = np.append(w[system.potential.slices[pair.name]], [0.0, 0.0, 0.0])
    (slope,) = pair.spline.matrix(max(apart, pair.start), 1) @ raw
    # Tables promise 1e-4 from 0.05 nm on.
    allowed = (1e-4 if apart >= 0.05 else 1e-3) if table else 1e-6
    np.testing.assert_allclose(forces, [[slope, 0.0, 0.0], [-slope, 0.0, 0.0]], rtol=allowed, atol=allowed)


@pytest.mark.parametrize("terms", [TRIPLETS, DENSITIES], ids=["triplets", "densities"])
def test_openmm_has_our_forces(terms, tmp_path):
    mm = pytest.importorskip("openmm", reason="needs OpenMM: pip install 'bayescg[openmm]'")
    system = make(*terms, beads=90, scale=1.15)
    export(system.posterior, tmp_path, format="openmm", initial=system.cg)
    made = mm.XmlSerializer.deserialize((tmp_path / "system.xml").read_text())
    context = mm.Context(made, mm.VerletIntegrator(0.001), mm.Platform.getPlatformByName("Reference"))
    context.setPositions(system.cg["positions"].values[-1])
    state = context.getState(getForces=True, getEnergy=True)
    energy = state.getPotentialEnergy().value_in_unit(mm.unit.kilojoule_per_mole)
    system.check(energy, np.array(state.getForces().value_in_unit(mm.unit.kilojoule_per_mole / mm.unit.nanometer)))


def test_openmm_refuses_what_it_would_do_differently(tmp_path):
    pytest.importorskip("openmm", reason="needs OpenMM: pip install 'bayescg[openmm]'")
    small = make(*PAIRS, TRIPLETS[1], beads=30, scale=0.85)
    with pytest.raises(ValueError, match=r"needs a box of at least 1.52 nm .*format='lammps' does not"):
        export(small.posterior, tmp_path / "out", format="openmm", initial=small.cg)
    bonded = make(*PAIRS, TRIPLETS[0], chains=True, exclude_bonds=1, scale=1.15)
    with pytest.raises(ValueError, match=r"neighbors A and B exclude each other.*format='lammps'"):
        export(bonded.posterior, tmp_path / "out", format="openmm", initial=bonded.cg)
    with pytest.raises(ValueError, match=r"GROMACS has nothing for three_A-A-B, density_A-B: .*format='lammps'"):
        export(make(TRIPLETS[0], DENSITIES[0]).posterior, tmp_path / "out", format="gromacs")
    assert not list(tmp_path.iterdir())


def test_lookup_tables_hold_our_triangles(lammps, tmp_path, monkeypatch):
    # A triangle that is an entry of the table, with the longer side first and then the shorter one.
    term = ThreeBody("A", "A", "A", **THREE)
    points = 7
    step = (term.cutoff - THREE["start"]) / points
    a, b, angle = THREE["start"] + 1.5 * step, THREE["start"] + 4.5 * step, np.radians(12.5 * 90 / points)
    box = np.eye(3) * 3.0
    triangle = [[0.0, 0.0, 0.0], [b, 0.0, 0.0], [a * np.cos(angle), a * np.sin(angle), 0.0]]
    positions = np.array([*triangle, [1.5, 1.5, 1.5]]) + 0.7
    for order in ([0, 1, 2, 3], [2, 0, 1, 3], [1, 2, 0, 3]):
        cg = from_arrays(positions[order], box, list("AAAB"), temperature=300.0, mass=np.full(4, 20.0))
        system = make(term, seed=3)
        system = dataclasses.replace(system, cg=cg)
        # The triangle is a triplet of one center only: the sides of the others are longer than the cutoff or no entry.
        assert np.linalg.norm(positions[1] - positions[2]) > term.cutoff
        export(system.posterior, tmp_path / "out", format="lammps", initial=cg, three_body_table=points)
        system.check(*lammps_forces(lammps, tmp_path / "out", monkeypatch))
    mixed = make(*PAIRS, TRIPLETS[0])
    with pytest.raises(ValueError, match="mixes up A and B: export without three_body_table"):
        export(mixed.posterior, tmp_path / "mixed", format="lammps", initial=mixed.cg, three_body_table=4)


def test_lookup_error_is_that_of_the_nearest_entry():
    term = ThreeBody("A", "A", "A", **THREE)
    w = np.random.default_rng(0).normal(size=term.n_basis)
    # The error of a piecewise constant function is of first order in the spacing.
    errors = [lookup_error(term, w, points, 0.12) for points in (20, 40)]
    assert errors[0] / errors[1] == pytest.approx(2.0, rel=0.15)


@pytest.mark.parametrize("name", ["potential.uf3", "density.table"])
@pytest.mark.parametrize("damage", ["cut short", "a coefficient off by 1 %"])
def test_damaged_files_stop_the_export(name, damage, tmp_path, monkeypatch):
    system = make(*PAIRS, TRIPLETS[0], DENSITIES[0])

    def broken(*arguments, **options):
        tables = write_tables(*arguments, **options)
        path = tables.paths["uf3" if "uf3" in name else "density"]
        text = path.read_text()
        if damage == "cut short":
            path.write_text(text[: len(text) // 2])
        else:
            # A coefficient of the first pair; a value of the first density.
            lines = text.splitlines()
            number = lines[5].split()[9] if "uf3" in name else lines[45]
            path.write_text(text.replace(number, f"{1.01 * float(number):.17g}"))
        return tables

    monkeypatch.setattr(write.lammps_tables, "write_tables", broken)
    with pytest.raises(RuntimeError, match=rf"out/{name}: read back"):
        export(system.posterior, tmp_path / "out", format="lammps", initial=system.cg)
    assert not list(tmp_path.iterdir())


def test_continued_splines_keep_slope_and_curvature():
    spline = UniformSpline(0.3, 0.9, 6)
    raw = np.random.default_rng(0).normal(size=spline.size)
    longer = UniformSpline(0.1, 1.4, 13)
    found = continue_spline(raw, 2, 5)
    r = np.linspace(0.3, 0.9, 50)
    for k in range(3):
        np.testing.assert_allclose(longer.matrix(r, k) @ found, spline.matrix(r, k) @ raw, atol=1e-9)
    # Two intervals beyond a knot the slope is that of our straight line.
    for beyond, knot in ((0.1, 0.3), (1.1, 0.9), (1.4, 0.9)):
        np.testing.assert_allclose(longer.matrix(beyond, 1) @ found, spline.matrix(knot, 1) @ raw, rtol=1e-9)
    r = np.array([0.3, 0.34, 0.4])
    knots = np.concatenate([[0.3] * 3, 0.3 + 0.1 * np.arange(10)])
    np.testing.assert_allclose(BSpline(knots, clamp_start(raw), 3)(r), spline.matrix(r) @ raw, atol=1e-9)
