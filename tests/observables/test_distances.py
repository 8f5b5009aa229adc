"""Distances counted by a compiled loop: the very counts that lists of pairs give, also where distances are at edges."""

import numpy as np
import pytest

from bayescg import observables as obs
from bayescg.observables import _distances
from tests.seeds import shifted

from .systems import CUBIC, TRICLINIC, chains, smooth_gas
from .test_structure import MIXED, lattice

loop = pytest.importorskip("bayescg.loops.distances")
UNEQUAL = np.array([0.05, 0.1, 0.11, 0.3, 0.44])


def both(monkeypatch, dataset, *beads, **options):
    """g(r) by the list and by the loop, and how often the loop left a frame to the list."""
    found, count, unsure = [], loop.count_distances, []

    def counted(*given):
        sure = count(*given)
        unsure.append(not sure)
        return sure

    monkeypatch.setattr(loop, "count_distances", counted)
    for there in (False, True):
        monkeypatch.setattr(_distances.importlib.util, "find_spec", lambda name, there=there: there or None)
        found.append(obs.rdf(dataset, *beads, **options))
        assert bool(unsure) is there
    return *found, sum(unsure)


@pytest.mark.parametrize("box", [CUBIC, TRICLINIC, np.diag([6.0, 5.0, 7.0])], ids=["cubic", "triclinic", "cells"])
@pytest.mark.parametrize("beads", ["AA", "AB", "BB"])
@pytest.mark.parametrize("bins", [None, 30, UNEQUAL], ids=["default", "30", "unequal"])
def test_any_box_types_and_bins(box, beads, bins, monkeypatch):
    dataset = smooth_gas(box, MIXED, frames=4, seed=shifted(5))
    listed, looped, unsure = both(monkeypatch, dataset, *beads, cutoff=0.8871, bins=bins)
    np.testing.assert_array_equal(looped, listed)
    assert not unsure


@pytest.mark.parametrize("exclude_bonds", [0, 1, 2, 3])
def test_exclusions(exclude_bonds, monkeypatch):
    dataset = chains("ABBA", molecules=40, frames=3)
    moved = dataset.assign(positions=dataset["positions"] * 1.0001, box=dataset["box"] * 1.0001)
    for beads in ("AA", "AB", "BB"):
        listed, looped, unsure = both(monkeypatch, moved, *beads, cutoff=0.8871, exclude_bonds=exclude_bonds)
        np.testing.assert_array_equal(looped, listed)
        assert not unsure


@pytest.mark.parametrize(("constant", "cells"), [(0.4, 6), (0.3, 8), (0.25, 12)])
@pytest.mark.parametrize("cutoff", [0.5, 0.8, 0.9, 1.2])
def test_crystals_whose_distances_lie_at_edges_and_the_cutoff(constant, cells, cutoff, monkeypatch):
    dataset = lattice(constant, cells, types=("A", "B"))
    for beads in ("AA", "AB"):
        listed, looped, unsure = both(monkeypatch, dataset, *beads, cutoff=cutoff, bins=round(cutoff / 0.05))
        np.testing.assert_array_equal(looped, listed)
        assert unsure or beads == "AA"  # whose distances are those of a face or a body


def test_beads_in_one_place_count(monkeypatch):
    dataset = smooth_gas(CUBIC, ["A"] * 30, frames=2, seed=shifted(6))
    dataset["positions"][:, 3] = dataset["positions"][:, 7]
    listed, looped, _ = both(monkeypatch, dataset, "A", "A", cutoff=0.9)
    np.testing.assert_array_equal(looped, listed)
    assert looped[:, 0].sum() > 0


def test_a_cutoff_beyond_half_the_box_is_refused(monkeypatch):
    dataset = smooth_gas(CUBIC, MIXED, frames=2)
    monkeypatch.setattr(_distances, "_WORTH_LOADING", 0)
    with pytest.raises(ValueError, match=r"half the shortest box height, 1.0000 nm"):
        obs.rdf(dataset, "A", "A", cutoff=1.01)


def test_numba_is_not_loaded_for_little(monkeypatch):
    monkeypatch.delitem(_distances.sys.modules, "numba")
    chosen = []
    monkeypatch.setattr(_distances, "_by_loop", lambda wanted: chosen.append("loop"))
    monkeypatch.setattr(_distances, "_by_list", lambda wanted: chosen.append("list"))
    wanted = _distances.Wanted(np.ones(500, bool), True, np.zeros((0, 2), int), np.linspace(0, 1, 5), 0.9)
    _distances.counter(wanted, 10)
    _distances.counter(wanted, 1000)
    assert chosen == ["list", "loop"]
