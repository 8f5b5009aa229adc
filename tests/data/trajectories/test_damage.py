"""Every kind of bad trajectory has its own message."""

import MDAnalysis as mda
import numpy as np
import pytest

from bayescg.data import Mapping, coarse_grain, datasets, stream
from tests.data.systems import reopen, universe_of, waters, write

UNCHECKED = {"temperature": 300.0, "forces": "unchecked"}


@pytest.fixture
def water():
    return waters(n_frames=4)


@pytest.fixture
def trr(water, tmp_path):
    return write(water, tmp_path / "whole.trr")


def read(universe, **options):
    return coarse_grain(universe, Mapping.center_of_mass(waters()), **{**UNCHECKED, **options})


def edited(**changes):
    """Waters with one number changed in frame 2."""
    universe = waters(n_frames=4)
    trajectory = universe.trajectory
    arrays = {
        "positions": trajectory.coordinate_array.copy(),
        "forces": trajectory.force_array.copy(),
        "box": trajectory.dimensions_array.copy(),
    }
    for name, value in changes.items():
        arrays[name][2].flat[0] = value
    universe.load_new(arrays["positions"], forces=arrays["forces"], dimensions=arrays["box"])
    return universe


def test_no_forces_in_the_trajectory(water, tmp_path):
    positions_only = reopen(water, write(water, tmp_path / "traj.xtc"))
    with pytest.raises(ValueError, match="has no forces: rerun"):
        read(positions_only)
    with pytest.raises(ValueError, match="has no forces: rerun"):
        next(stream(positions_only, Mapping.center_of_mass(water), temperature=300.0))
    assert "forces" not in read(positions_only, forces=False)


def test_forces_in_some_frames_only(water, tmp_path):
    first = write(water, tmp_path / "with.trr").read_bytes()
    second = write(waters(forces=False), tmp_path / "without.trr").read_bytes()
    (tmp_path / "mixed.trr").write_bytes(first + second)
    with pytest.raises(ValueError, match=r"frame 4 of .* has no forces, but frame 0 has"):
        read(reopen(water, tmp_path / "mixed.trr"))


@pytest.mark.parametrize("fraction", [0.55, 0.751, 0.755, 0.76, 0.9, 0.9999])
def test_truncated_trr(water, trr, tmp_path, fraction):
    content = trr.read_bytes()
    (tmp_path / "cut.trr").write_bytes(content[: int(fraction * len(content))])
    broken = reopen(water, tmp_path / "cut.trr")
    number = int(fraction * 4)
    with pytest.raises(
        ValueError, match=rf"frame {number} of .* truncated or damaged; use .* by stop={number} or partial"
    ):
        read(broken)
    with pytest.warns(UserWarning, match=rf"damaged at frame {number}"):
        part = read(broken, partial=True)
    assert part.sizes["frame"] == number
    whole = read(water)
    np.testing.assert_allclose(part["forces"], whole["forces"][:number], rtol=1e-5, atol=1e-3)
    # Frames that were never asked for may be damaged.
    assert read(broken, stop=number).sizes["frame"] == number


def test_whole_trr_is_not_called_damaged(water, trr):
    assert read(reopen(water, trr)).sizes["frame"] == 4
    assert read(reopen(water, trr), partial=True).sizes["frame"] == 4


def test_truncated_stream_gives_the_whole_chunks_first(water, trr, tmp_path):
    content = trr.read_bytes()
    (tmp_path / "cut.trr").write_bytes(content[: int(0.9 * len(content))])
    chunks = stream(reopen(water, tmp_path / "cut.trr"), Mapping.center_of_mass(water), chunk=2, **UNCHECKED)
    assert next(chunks).sizes["frame"] == 2
    with pytest.raises(ValueError, match=r"frame 3 of .* truncated .*by stop=3 or `stop: 3` in the input") as error:
        next(chunks)
    assert "partial" not in str(error.value)


def test_truncated_lammps_dump(tmp_path):
    frame = "ITEM: TIMESTEP\n0\nITEM: NUMBER OF ATOMS\n2\nITEM: BOX BOUNDS pp pp pp\n0 9\n0 9\n0 9\n"
    frame += "ITEM: ATOMS id type x y z fx fy fz\n1 1 1 1 1 2 2 2\n2 1 4 4 4 -2 -2 -2\n"
    (tmp_path / "a.lammpsdump").write_text(frame + frame[: frame.index("2 1 4 4")])
    universe = universe_of(
        np.zeros((1, 2, 3)), np.zeros((1, 2, 3)), names=["A", "A"], resnames=["A"], masses=[40.0, 40.0]
    )
    loaded = mda.Universe(universe._topology, str(tmp_path / "a.lammpsdump"), units="real", dt=0.002)
    mapping = Mapping.center_of_mass(universe, by="atoms")
    with pytest.raises(ValueError, match=r"frame 1 of .* truncated or damaged"):
        coarse_grain(loaded, mapping, **UNCHECKED)
    with pytest.warns(UserWarning, match="damaged at frame 1"):
        assert coarse_grain(loaded, mapping, partial=True, **UNCHECKED).sizes["frame"] == 1


def test_frames_with_differing_atom_counts(water, trr, tmp_path):
    other = write(waters(n_molecules=19), tmp_path / "other.trr")
    (tmp_path / "mixed.trr").write_bytes(trr.read_bytes() + other.read_bytes())
    mixed = reopen(water, tmp_path / "mixed.trr")
    for partial in (False, True):
        with pytest.raises(ValueError, match=r"frame 4 of .* another number of atoms, the mapping is for 60"):
            read(mixed, partial=partial)


def test_mapping_of_another_system(water):
    with pytest.raises(ValueError, match="mapping is for 30 atoms, but the universe has 60"):
        coarse_grain(water, Mapping.center_of_mass(waters(n_molecules=10)), **UNCHECKED)


@pytest.mark.parametrize(("name", "word"), [("positions", "position"), ("forces", "force")])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite(name, word, value):
    universe = edited(**{name: value})
    with pytest.raises(ValueError, match=rf"{word} in frame 2 of .* not finite.* stop=2"):
        read(universe)
    assert read(universe, stop=2).sizes["frame"] == 2


def test_boxes():
    with pytest.raises(ValueError, match="has no box, and beads of 20 molecules"):
        read(waters(box=None))
    with pytest.raises(ValueError, match="no volume"):
        read(edited(box=0.0))


def test_no_frames(water):
    with pytest.raises(ValueError, match=r"no frames: start=10, stop=None, step=None of the 4 frames"):
        read(water, start=10)
    with pytest.raises(ValueError, match="step=-1"):
        read(water, step=-1)
    with pytest.raises(ValueError, match="chunk=0"):
        stream(water, Mapping.center_of_mass(water), chunk=0, **UNCHECKED)
    bare = mda.Universe.empty(60)
    with pytest.raises(ValueError, match="no trajectory"):
        read(bare)


@pytest.mark.parametrize("temperature", [None, 0.0, -3, "warm", np.nan])
def test_temperature(water, temperature):
    with pytest.raises(ValueError, match="temperature"):
        read(water, temperature=temperature)
    with pytest.raises(ValueError, match="temperature is missing"):
        coarse_grain(water, Mapping.center_of_mass(water))


def test_implausible_forces_are_refused_by_default():
    universe = datasets.water().universe()
    mapping = Mapping.center_of_mass(universe)
    trajectory = universe.trajectory
    frames = [(step.positions.copy(), step.forces / 41.84, step.dimensions.copy()) for step in trajectory[::5]]
    positions, forces, boxes = (np.array(column) for column in zip(*frames, strict=True))
    universe.load_new(positions, forces=forces, dimensions=boxes)
    for read_all in (coarse_grain, lambda *a, **k: list(stream(*a, **k))):
        with pytest.raises(ValueError, match="look like kcal/mol/Angstrom"):
            read_all(universe, mapping, temperature=300.0)
    assert coarse_grain(universe, mapping, temperature=300.0, forces="unchecked").sizes["frame"] == 20
    with pytest.raises(ValueError, match="forces='no'"):
        coarse_grain(universe, mapping, temperature=300.0, forces="no")
