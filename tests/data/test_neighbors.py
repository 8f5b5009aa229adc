import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bayescg.data import minimum_image, pairs, shortest_height

from .systems import minimum_over_images

DODECAHEDRON = np.array([[1, 0, 0], [0, 1, 0], [0.5, 0.5, np.sqrt(0.5)]])


def test_shortest_height_of_known_cells():
    assert shortest_height(np.diag([2.0, 3.0, 4.0])) == pytest.approx(2.0)
    assert shortest_height(DODECAHEDRON) == pytest.approx(np.sqrt(0.5))
    assert shortest_height(np.stack([np.eye(3), 0.5 * np.eye(3)])) == pytest.approx(0.5)


boxes = st.tuples(*[st.floats(2.0, 3.0)] * 3, *[st.floats(-0.5, 0.5)] * 3).map(
    lambda v: np.array([[v[0], 0, 0], [v[3] * v[0], v[1], 0], [v[4] * v[0], v[5] * v[1], v[2]]])
)


@settings(max_examples=30, deadline=None)
@given(boxes, st.integers(0, 1000), st.floats(0.3, 1.0))
def test_pairs_against_all_images(box, seed, fraction):
    rng = np.random.default_rng(seed)
    positions = rng.uniform(-1, 2, (60, 3)) @ box  # beads outside the box too
    cutoff = fraction * shortest_height(box) / 2
    found = pairs(positions, box, cutoff)
    i, j = np.triu_indices(60, 1)
    wrapped = positions - np.floor(positions @ np.linalg.inv(box)) @ box
    near = minimum_over_images(wrapped[i] - wrapped[j], box) < cutoff
    expected = set(zip(i[near].tolist(), j[near].tolist(), strict=True))
    assert found.dtype == np.int32
    assert len(found) == len(expected)
    assert {tuple(p) for p in found.tolist()} == expected


@settings(max_examples=30, deadline=None)
@given(boxes, st.integers(0, 1000))
def test_minimum_image_is_shortest_within_half_a_height(box, seed):
    rng = np.random.default_rng(seed)
    short = rng.normal(size=(50, 3))
    short *= rng.uniform(0, 0.499, (50, 1)) * shortest_height(box) / np.linalg.norm(short, axis=1, keepdims=True)
    moved = short + rng.integers(-3, 4, (50, 3)) @ box
    np.testing.assert_allclose(minimum_image(moved, box), short, atol=1e-12)
    stacked = minimum_image(np.stack([moved, moved]), np.stack([box, box])[:, None])
    np.testing.assert_allclose(stacked[1], short, atol=1e-12)


def test_no_neighbors_at_all():
    assert pairs(np.array([[0.0, 0, 0], [1.0, 1, 1]]), 3 * np.eye(3), 0.5).shape == (0, 2)


def test_refusals():
    positions = np.zeros((2, 3))
    with pytest.raises(ValueError, match=r"cutoff 1.1 nm .* 1\.0000 nm"):
        pairs(positions, 2 * np.eye(3), 1.1)
    with pytest.raises(ValueError, match=r"cutoff 0\.36"):
        pairs(positions, DODECAHEDRON, 0.36)
    # Sheared by half an edge: every diagonal entry is 2, but opposite faces are 4/sqrt(5) apart.
    with pytest.raises(ValueError, match=r"cutoff 0\.9 nm .* 0\.8944 nm"):
        pairs(positions, np.array([[2.0, 0, 0], [1, 2, 0], [0, 0, 2]]), 0.9)
    with pytest.raises(ValueError, match="cutoff -1"):
        pairs(positions, 2 * np.eye(3), -1.0)
    with pytest.raises(ValueError, match="not finite"):
        pairs(np.array([[0.0, 0, 0], [np.nan, 0, 0]]), 2 * np.eye(3), 0.5)
