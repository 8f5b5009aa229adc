"""Neighbors in cells: those of vesin; loops that are kept are forgotten when a source has changed."""

import numpy as np
import pytest

from bayescg.data import neighbors

cells = pytest.importorskip("bayescg.loops.cells")

BOXES = [
    np.diag([2.4, 2.4, 2.4]),
    np.diag([1.5, 3.9, 1.6]),
    np.array([[2.5, 0, 0], [0.7, 2.6, 0], [-0.6, 0.8, 2.7]]),
    np.array([[1.9, 0, 0], [0.4, 1.8, 0], [-0.3, 0.5, 5.0]]),
    np.diag([9.0, 8.0, 7.0]),
]


@pytest.mark.parametrize("box", BOXES)
@pytest.mark.parametrize("reach", [0.3, 0.7])
def test_neighbors_are_those_of_vesin(box, reach):
    """Beads anywhere, also outside of the box; with few cells, many, and more than beads."""
    n = 150
    positions = np.random.default_rng(0).uniform(-1, 2, (n, 3)) @ box
    expected = {tuple(sorted(pair)) for pair in neighbors.pairs(positions, box, reach).tolist()}
    inverse, heights = cells.inverse_of(box)
    fractions, order, begins = np.empty((3, n)), np.empty(n, np.int64), np.empty(n // 2 + 2, np.int64)
    counts = cells.sort_into_cells(positions, box, inverse, heights, reach, fractions, order, begins)
    places, around = np.empty(n, np.int64), np.empty((3, n))
    listed, vectors, squares, room = np.empty(n + 1, np.int64), np.empty((3, n + 1)), np.empty(n + 1), np.empty((4, n))
    straight, found = bool(np.all(box == np.diag(np.diag(box)))), []
    for cell in range(np.prod(counts)):
        size = cells.gather(cell, counts, fractions, begins, places, around)
        for p in range(begins[cell], begins[cell + 1]):
            m = cells.neighbors_of(
                p, size, places, around, fractions, box, straight, reach**2, listed, vectors, squares, room
            )
            found += [(int(order[p]), int(order[q])) for q in listed[:m]]
            np.testing.assert_allclose(np.sum(vectors[:, :m] ** 2, axis=0), squares[:m], atol=1e-14)
    assert len(found) == len(set(found)) == 2 * len(expected)
    assert {tuple(sorted(pair)) for pair in found} == expected


def test_a_changed_source_forgets_all_loops_of_its_folder(tmp_path):
    from bayescg.loops.compiled import forget_stale

    source, kept = tmp_path / "loop.py", tmp_path / "__pycache__" / "loop.add-1.py311.nbi"
    source.write_text("one")
    forget_stale(tmp_path)
    kept.write_bytes(b"compiled")
    forget_stale(tmp_path)
    assert kept.exists()
    source.write_text("two")
    forget_stale(tmp_path)
    assert not kept.exists()
