"""Frames that would count twice."""

import MDAnalysis as mda
import numpy as np
import pytest
import xarray as xr

from bayescg.data import Mapping, coarse_grain, stream
from bayescg.data.trajectories.frames import FrameReader
from bayescg.data.trajectories.order import FrameOrder
from tests.data.systems import CUBE, universe_of

X, F = np.random.default_rng(0).normal(size=(2, 20, 5, 3)) * 5


def part(tmp_path, name, frames, times=None, box=CUBE):
    """A TRR of some of twenty frames; frame k is at k ps."""
    universe = universe_of(
        *(X[list(frames)], F[list(frames)]),
        **{"names": list("ABCDE"), "resnames": ["M"], "masses": [12.0] * 5, "bonds": [(k, k + 1) for k in range(4)]},
        box=box,
    )
    path = tmp_path / f"{name}.trr"
    with mda.Writer(str(path), 5) as writer:
        for frame, time in zip(universe.trajectory, times or frames, strict=True):
            frame.time = float(time)
            writer.write(universe)
    universe.trajectory[0]
    return universe, str(path)


def chained(universe, paths, **options):
    result = universe.copy()
    result.load_new(paths)
    mapping = Mapping.center_of_geometry(result, by="atoms", constraints="none")
    return coarse_grain(result, mapping, temperature=300.0, forces="unchecked", **options)


def test_parts_of_a_restarted_run(tmp_path):
    universe, first = part(tmp_path, "first", range(12))
    _, second = part(tmp_path, "second", range(8, 20))
    with pytest.raises(ValueError, match=r"second.trr begins at 8 ps, but .*first.trr goes on to 11 ps.*continuous"):
        chained(universe, [first, second])
    data = chained(universe, [first, second], continuous=True)
    assert data["time"].values.tolist() == list(range(20))
    np.testing.assert_allclose(data["positions"], X / 10, atol=1e-5)
    np.testing.assert_allclose(data["forces"], F * 10, rtol=1e-5)
    assert chained(universe, [first, second], continuous=False).sizes["frame"] == 24
    # Parts that follow each other need no word.
    _, rest = part(tmp_path, "rest", range(12, 20))
    assert chained(universe, [first, rest]).sizes["frame"] == 20


def test_chunks_of_a_restarted_run(tmp_path):
    universe, first = part(tmp_path, "first", range(12))
    _, second = part(tmp_path, "second", range(8, 20))
    universe.load_new([first, second])
    mapping = Mapping.center_of_geometry(universe, by="atoms", constraints="none")
    given = {"temperature": 300.0, "forces": "unchecked", "chunk": 7, "continuous": True}
    times = [chunk["time"].values.tolist() for chunk in stream(universe, mapping, **given)]
    assert list(map(len, times)) == [7, 7, 6]
    assert [time for chunk in times for time in chunk] == list(range(20))


@pytest.mark.parametrize("kind", ["restarted", "every second", "vacuum"])
def test_the_rest_of_frames_is_what_follows_in_one_reading(tmp_path, kind):
    """Of parts that overlap, too, and in vacuum, where the first frame says how large the box is."""
    universe, first = part(tmp_path, "first", range(12), box=None if kind == "vacuum" else CUBE)
    if kind == "restarted":
        universe.load_new([first, part(tmp_path, "second", range(8, 20))[1]])
    mapping = Mapping.center_of_geometry(universe, by="atoms", constraints="none")
    window = slice(1, None, 2) if kind == "every second" else slice(None)
    how = universe, mapping, 300.0, window, None, "unchecked", kind == "restarted" or None
    reader = FrameReader(*how)
    whole = [reader.dataset(raw) for raw in reader.chunks(2)]
    again = FrameReader(*how)
    rest = [again.dataset(raw) for raw in again.chunks(2, skip=4)]
    assert len(rest) == len(whole) - 2
    for one, two in zip(rest, whole[2:], strict=True):
        xr.testing.assert_identical(one, two)


def test_time_may_not_run_backward_from_what_has_passed(tmp_path):
    universe, path = part(tmp_path, "one", range(6), times=[0, 1, 2, 1, 2, 3])
    universe.load_new(path)
    mapping = Mapping.center_of_geometry(universe, by="atoms", constraints="none")
    reader = FrameReader(universe, mapping, 300.0, slice(None), None, "unchecked")
    with pytest.raises(ValueError, match="time goes from 2 back to 1 ps at frame 3"):
        next(reader.chunks(2, skip=3))


def test_one_file_twice(tmp_path):
    universe, first = part(tmp_path, "first", range(12))
    for continuous in (None, True, False):
        with pytest.raises(ValueError, match=r"first.trr is listed twice: its frames would count twice"):
            chained(universe, [first, first], continuous=continuous)


def test_time_that_runs_backward_in_one_file(tmp_path):
    universe, path = part(tmp_path, "one", range(6), times=[0, 1, 2, 1, 2, 3])
    with pytest.raises(ValueError, match="time goes from 2 back to 1 ps at frame 3"):
        chained(universe, [path])
    with pytest.raises(ValueError, match="time goes from 2 back to 1 ps at frame 3"):
        chained(universe, [path], continuous=False)
    assert chained(universe, [path], continuous=True)["frame"].values.tolist() == [0, 1, 2, 5]


def test_times_that_single_precision_cannot_tell_apart():
    order = FrameOrder(["run.trr"], None)
    positions = np.zeros((2, 3))
    order.check(0, 0, 1e6, positions)
    order.check(1, 0, 1e6, positions + 1)
    with pytest.raises(ValueError, match="back to"):
        order.check(2, 0, 1e6, positions + 1)
