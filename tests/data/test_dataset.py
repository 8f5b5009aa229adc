import numpy as np
import pytest
import xarray as xr

from bayescg.data import Topology, from_arrays, topology_of, validate, with_forces
from bayescg.storage import load, save
from bayescg.storage.expected import load_trajectory


def small(**changes):
    rng = np.random.default_rng(0)
    arguments = {
        "positions": rng.uniform(0, 3, (4, 5, 3)),
        "box": 3.0 * np.ones(3),
        "bead_type": ["A", "B", "A", "B", "C"],
        "temperature": 300.0,
        "forces": rng.normal(0, 100, (4, 5, 3)),
        "topology": Topology.from_bonds(5, [(0, 1), (1, 2), (2, 3)], ["ends", "", "ends"]),
    }
    arguments.update(changes)
    return from_arrays(arguments.pop("positions"), arguments.pop("box"), arguments.pop("bead_type"), **arguments)


def test_layout():
    data = small()
    assert data["positions"].dims == data["forces"].dims == ("frame", "bead", "xyz")
    assert data["box"].dims == ("frame", "vector", "xyz")
    assert data["frame"].dtype == np.int64
    assert data.attrs["temperature"] == 300.0
    assert data["angles"].values.tolist() == [[0, 1, 2], [1, 2, 3]]
    assert data["bond_group"].values.tolist() == ["ends", "", "ends"]
    np.testing.assert_array_equal(topology_of(data).bonds, [[0, 1], [1, 2], [2, 3]])


@pytest.mark.parametrize("topology", [None, Topology.from_bonds(5, [(0, 1), (1, 2)])])
def test_file_round_trip_is_identical(tmp_path, topology):
    data = small(topology=topology)
    path = save(data, tmp_path / "cg.nc")
    xr.testing.assert_identical(load(path), data)
    assert [p.name for p in tmp_path.iterdir()] == ["cg.nc"]


@pytest.mark.parametrize("shape", [(3,), (4, 3), (3, 3), (4, 3, 3)])
def test_box_shapes(shape):
    box = {1: np.full(3, 3.0), 2: np.full((4, 3), 3.0) if shape[0] == 4 else 3 * np.eye(3)}.get(
        len(shape), np.tile(3 * np.eye(3), (4, 1, 1))
    )
    np.testing.assert_array_equal(small(box=box)["box"].values, np.tile(3 * np.eye(3), (4, 1, 1)))


def test_single_configuration_and_one_type_name():
    data = from_arrays(np.zeros((2, 3)), [3, 3, 3], "A", temperature=300.0)
    assert data.sizes["frame"] == 1
    assert data["bead_type"].values.tolist() == ["A", "A"]
    assert "forces" not in data


nan = np.full((4, 5, 3), np.nan)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"positions": np.zeros((0, 5, 3))}, "empty trajectory"),
        ({"positions": np.zeros((4, 5, 2))}, r"give \(frame, bead, 3\)"),
        ({"positions": nan}, r"positions\[0, 0, 0\] is nan"),
        ({"forces": nan}, r"forces\[0, 0, 0\] is nan"),
        ({"forces": np.ones((4, 4, 3))}, "forces have shape"),
        ({"forces": np.zeros((4, 5, 3))}, "no forces"),
        ({"box": np.zeros(3)}, "no volume"),
        ({"box": np.ones((2, 2))}, "box has shape"),
        ({"box": np.array([[3, 1, 0], [0, 3, 0], [0, 0, 3.0]])}, "lower triangular"),
        ({"bead_type": ["A"]}, "one name for each of the 5 beads"),
        ({"mass": np.zeros(5)}, "masses must be positive"),
        ({"time": np.arange(3.0)}, "time has shape"),
        ({"mass": np.ones(4)}, "mass has shape"),
        ({"topology": Topology.from_bonds(4, [])}, "topology is of 4 beads"),
        ({"temperature": None}, "temperature is missing"),
        ({"temperature": -1.0}, "must be positive"),
        ({"temperature": "300 K"}, "give a number in K"),
    ],
)
def test_bad_input(changes, message):
    with pytest.raises(ValueError, match=message):
        small(**changes)


def test_foreign_files(tmp_path):
    (tmp_path / "text.nc").write_text("no netCDF")
    with pytest.raises(ValueError, match="neither netCDF nor a record"):
        load(tmp_path / "text.nc")
    xr.Dataset({"a": ("x", [1.0])}).to_netcdf(tmp_path / "other.nc", engine="h5netcdf")
    with pytest.raises(ValueError, match="not a coarse-grained dataset"):
        load_trajectory(tmp_path / "other.nc")
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "none.nc")


def test_with_forces_leaves_the_dataset_alone():
    data = small(forces=None)
    result = with_forces(data, np.full((4, 5, 3), 1e-3), check=False)
    assert "forces" not in data
    validate(result)
    assert result["forces"].attrs["units"] == "kJ/mol/nm"
