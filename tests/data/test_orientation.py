"""Orientation and shape of beads: known ellipsoids, MDAnalysis's inertia tensor, signs, what is refused."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

import bayescg as bcg
from bayescg.data.orientation import shape_tensors, with_orientation, with_shapes
from tests.data.systems import CUBE, TRICLINIC, universe_of, waters

HALVES = np.array([3.0, 2.0, 1.0])  # Angstrom


def octahedra(turns, centers, box=CUBE):
    """Beads of six equal atoms on the axes of ellipsoids; (frame, bead) turns and centers, wrapped into the box."""
    corners = np.concatenate([np.diag(HALVES), -np.diag(HALVES)])
    positions = np.einsum("fbxy,ay->fbax", turns, corners) + centers[:, :, None]
    n_frames, n_beads = positions.shape[:2]
    flat = positions.reshape(n_frames, -1, 3) % np.array(box[:3])
    bonds = [(6 * b + i, 6 * b + j) for b in range(n_beads) for i in range(3) for j in (3, 4, 5)]
    return universe_of(
        flat,
        np.random.default_rng(0).normal(0, 25.0, flat.shape),
        names=["C"] * (6 * n_beads),
        resnames=["EL"] * n_beads,
        masses=[12.0] * (6 * n_beads),
        bonds=bonds,
        residues=np.repeat(np.arange(n_beads), 6),
        box=box,
    )


def mapped(universe, **kwargs):
    mapping = bcg.Mapping.center_of_mass(universe)
    return bcg.coarse_grain(universe, mapping, temperature=300.0, **kwargs), mapping


def test_ellipsoids_come_back_whole_and_in_order():
    rng = np.random.default_rng(1)
    turns = Rotation.random(6, rng=rng).as_matrix().reshape(2, 3, 3, 3)
    universe = octahedra(turns, rng.uniform(0, 20, (2, 3, 3)))
    cg, mapping = mapped(universe)
    found = with_orientation(cg, universe, mapping)
    # Two of six equal masses at distance h along an axis: second moment h^2 / 3, radius sqrt(5 / 3) h.
    np.testing.assert_allclose(found["radii"], np.broadcast_to(0.1 * np.sqrt(5 / 3) * HALVES, (2, 3, 3)), rtol=1e-5)
    cosines = np.einsum("fbkx,fbxk->fbk", found["axes"].values, turns)
    np.testing.assert_allclose(np.abs(cosines), 1, atol=1e-5)
    np.testing.assert_allclose(np.linalg.det(found["axes"].values), 1, atol=1e-6)
    exact = turns @ np.diag(0.01 * HALVES**2 / 3) @ np.swapaxes(turns, -1, -2)
    np.testing.assert_allclose(shape_tensors(found), exact, atol=1e-7)
    later = with_orientation(cg.isel(frame=[1]), universe, mapping)
    np.testing.assert_allclose(later["axes"], found["axes"][1:])


def test_tensors_follow_from_the_inertia_tensor():
    universe = waters(6, 2, box=TRICLINIC, bonds=False)
    cg, mapping = mapped(universe)
    tensors = shape_tensors(with_orientation(cg, universe, mapping))
    for k in range(2):
        _ = universe.trajectory[k]
        for bead, residue in enumerate(universe.residues):
            inertia = residue.atoms.moment_of_inertia(wrap=False) / 18.0
            found = 100 * tensors[k, bead]
            np.testing.assert_allclose(np.trace(found) * np.eye(3) - found, inertia, atol=2e-4)


def test_flipped_axes_are_the_same_shape():
    universe = waters(5, 1)
    cg, mapping = mapped(universe)
    found = with_orientation(cg, universe, mapping)
    signs = np.random.default_rng(2).choice([-1.0, 1.0], (1, 5, 3, 1))
    flipped = with_shapes(cg, found["axes"].values * signs, found["radii"].values)
    np.testing.assert_allclose(shape_tensors(flipped), shape_tensors(found), atol=1e-15)
    first = found["axes"].values[:, :, :2]
    assert np.all(np.take_along_axis(first, np.abs(first).argmax(-1)[..., None], -1) > 0)


def test_beads_without_axes_are_refused():
    universe = waters(4, 1)
    mapping = bcg.Mapping.center_of_mass(universe, by="atoms", constraints="none")
    cg = bcg.coarse_grain(universe, mapping, temperature=300.0, forces="unchecked")
    with pytest.raises(ValueError, match=r"bead 0 .* has one atom: it has no orientation"):
        with_orientation(cg, universe, mapping)
    turns = np.tile(np.eye(3), (1, 2, 1, 1))
    turns[0, 1] = np.diag([1.0, 0.0, 0.0])
    line = octahedra(turns, np.full((1, 2, 3), 5.0) * [[[1], [2]]])
    cg, mapping = mapped(line)
    with pytest.raises(ValueError, match=r"bead 1 .* lie on a line in frame 0"):
        with_orientation(cg, line, mapping)


def test_types_without_orientation_are_left_out():
    universe = octahedra(np.tile(np.eye(3), (1, 2, 1, 1)), np.full((1, 2, 3), 5.0) * [[[1], [2]]])
    universe.residues[1].resname = "XX"
    cg, mapping = mapped(universe)
    found = with_orientation(cg, universe, mapping, bead_types="EL")
    np.testing.assert_allclose(found["radii"][0, 1], 0)
    assert np.all(found["radii"][0, 0] > 0)
    with pytest.raises(ValueError, match="no bead is of type Q"):
        with_orientation(cg, universe, mapping, bead_types=["Q"])


def test_other_data_are_refused():
    universe = waters(4, 3)
    cg, mapping = mapped(universe)
    with pytest.raises(ValueError, match="not made with this mapping"):
        with_orientation(cg, universe, bcg.Mapping.center_of_geometry(universe))
    with pytest.raises(ValueError, match="the trajectory ends at 0"):
        with_orientation(cg, waters(4, 1), mapping)
    with pytest.raises(ValueError, match="ps in the dataset"):
        with_orientation(cg.assign_coords(time=cg["time"] + 1), universe, mapping)
    with pytest.raises(ValueError, match="no orientation"):
        shape_tensors(cg)
    with pytest.raises(ValueError, match="orthogonal unit vectors"):
        with_shapes(cg, np.ones((3, 4, 3, 3)), np.ones((3, 4, 3)))
    with pytest.raises(ValueError, match="not negative"):
        with_shapes(cg, np.tile(np.eye(3), (3, 4, 1, 1)), -np.ones((3, 4, 3)))
