"""The fibre of a linear map: exact residuals, volumes, and maps that cannot be."""

import importlib.resources

import MDAnalysis as mda
import numpy as np
import pytest

import bayescg as bcg
from bayescg._runtime import double_precision
from bayescg.backmapping.guides.fibre import Fibre


def _random_map(rng, beads=3, atoms=10):
    owner = np.concatenate([np.arange(beads), rng.integers(0, beads, atoms - beads)])
    matrix = np.zeros((beads, atoms))
    matrix[owner, np.arange(atoms)] = rng.uniform(1, 16, atoms)
    return matrix / matrix.sum(axis=1, keepdims=True)


@pytest.fixture(scope="module")
def universe():
    source = importlib.resources.files("bayescg.data").joinpath("files", "alanine_dipeptide.pdb")
    with importlib.resources.as_file(source) as path:
        return mda.Universe(str(path), guess_bonds=True, to_guess=["masses", "types", "bonds"])


@pytest.mark.parametrize("seed", range(3))
def test_coordinates_of_the_fibre(seed):
    rng = np.random.default_rng(seed)
    fibre = Fibre(_random_map(rng))
    x, free = rng.normal(size=(3, 3)), rng.normal(size=fibre.n_free)
    with double_precision():
        positions = np.asarray(fibre.positions(free, x))
        assert np.abs(np.asarray(fibre.beads(positions)) - x).max() < 1e-14
        np.testing.assert_allclose(fibre.free(positions, x), free, atol=1e-13)
        elsewhere = rng.normal(size=positions.shape)
        projected = np.asarray(fibre.project(elsewhere, x))
    assert np.abs(fibre.matrix @ projected - x).max() < 1e-14
    # Rigid: what is inside a bead stays as it is.
    for row in fibre.matrix:
        inside = np.flatnonzero(row)
        np.testing.assert_allclose(np.diff(projected[inside], axis=0), np.diff(elsewhere[inside], axis=0), atol=1e-13)
    np.testing.assert_allclose(fibre.basis.T @ fibre.basis, np.eye(7), atol=1e-14)


def test_volume_makes_z_the_density_of_the_beads():
    rng = np.random.default_rng(4)
    fibre = Fibre(_random_map(rng))
    root = rng.normal(size=(10, 10))
    stiffness = root @ root.T + np.eye(10)
    x = rng.normal(size=(3, 3))
    # The beads of a Gaussian are Gaussian: Z(X) is the whole integral times their density.
    whole = 1.5 * (10 * np.log(2 * np.pi) - np.linalg.slogdet(stiffness)[1])
    spread = fibre.matrix @ np.linalg.inv(stiffness) @ fibre.matrix.T
    density = -0.5 * np.sum(x * np.linalg.solve(spread, x)) - 1.5 * np.linalg.slogdet(2 * np.pi * spread)[1]
    inner, mean = fibre.basis.T @ stiffness @ fibre.basis, fibre.inverse @ x
    mean = mean - fibre.basis @ np.linalg.solve(inner, fibre.basis.T @ stiffness @ mean)
    integral = 1.5 * (7 * np.log(2 * np.pi) - np.linalg.slogdet(inner)[1]) - 0.5 * np.sum(mean * (stiffness @ mean))
    assert fibre.log_volume + integral == pytest.approx(whole + density, abs=1e-10)


def test_a_slice_map_freezes_sites():
    fibre = Fibre.frozen([4, 1], 6)
    rng = np.random.default_rng(0)
    x, free = rng.normal(size=(2, 3)), rng.normal(size=12)
    with double_precision():
        positions = np.asarray(fibre.positions(free, x))
    assert np.abs(positions[[4, 1]] - x).max() < 1e-15
    assert fibre.log_volume == pytest.approx(0)
    with pytest.raises(ValueError, match="listed twice"):
        Fibre.frozen([1, 1], 6)
    with pytest.raises(ValueError, match="numbered from 0 to 5"):
        Fibre.frozen([6], 6)


def test_from_a_mapping(universe):
    mapping = bcg.Mapping.center_of_mass(universe, by="residues", constraints="none")
    fibre = Fibre.from_mapping(universe, mapping)
    assert (fibre.n_beads, fibre.n_atoms, fibre.n_free) == (3, 22, 57)
    positions = universe.atoms.positions.astype(float) / 10
    with double_precision():
        centers = np.asarray(fibre.beads(positions))
    expected = [residue.atoms.center_of_mass() / 10 for residue in universe.residues]
    np.testing.assert_allclose(centers, expected, atol=1e-6)
    apart = np.linalg.norm(centers[:, None] - centers, axis=-1)[~np.eye(3, dtype=bool)]
    reach = fibre.reach[~np.eye(3, dtype=bool)]
    assert np.all(apart < reach)
    assert np.all(reach < 3)


def test_maps_that_do_not_fit(universe):
    mapping = bcg.Mapping.center_of_mass(universe, by="residues", constraints="none")
    other = universe.select_atoms("resid 1 2")
    with pytest.raises(ValueError, match=r"of 22 atoms and the universe has"):
        Fibre.from_mapping(mda.Merge(other), mapping)
    with pytest.warns(UserWarning, match="atoms"):
        part = bcg.Mapping.center_of_mass(universe, by="residues", select="not element H", constraints="none")
    with pytest.raises(ValueError, match=r'12 of 22 atoms are in no bead.*unmapped="free"'):
        Fibre.from_mapping(universe, part)
    assert Fibre.from_mapping(universe, part, unmapped="free").n_free == 57


@pytest.mark.parametrize(
    ("matrix", "options", "message"),
    [
        (np.ones((2, 4)), {}, "sum to 4"),
        (np.ones((2, 4)) / 4, {}, "rank 1"),
        (np.eye(3), {}, "nothing is left"),
        (np.full((1, 3), np.nan), {}, "not all finite"),
        (np.ones(3), {}, "a row for each bead"),
        ([[0.5, 0.5, 0]], {}, "1 of 3 atoms are in no bead"),
        ([[0.5, 0.5, 0]], {"bonds": [(0, 1)], "unmapped": "free"}, "no bond leads from atom 2"),
        ([[0.5, 0.5, 0]], {"bonds": [(0, 3)], "unmapped": "free"}, "mapping and topology disagree"),
        ([[0.5, 0.5, 0]], {"unmapped": "ignore"}, "unmapped='ignore'"),
    ],
)
def test_maps_that_cannot_be(matrix, options, message):
    with pytest.raises(ValueError, match=message):
        Fibre(matrix, **options)
