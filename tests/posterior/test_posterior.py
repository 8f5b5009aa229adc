"""The posterior DataTree: drawn from, evaluated, saved, loaded, and refused when it is not one."""

import jax
import numpy as np
import pytest
import xarray as xr

import bayescg as bcg
from bayescg.posterior import (
    curves,
    draw_coefficients,
    from_coefficients,
    mean_coefficients,
    potential_of,
    ranges_of,
    temperature_of,
)
from bayescg.storage import load, save
from bayescg.storage.expected import load_posterior

POTENTIAL = bcg.Potential(bcg.Pair("A", "B", 0.9), bcg.Dihedral("A", "A", "A", "A"))


@pytest.fixture
def tree():
    w = np.random.default_rng(0).normal(size=(7, POTENTIAL.n_basis))
    return from_coefficients(POTENTIAL, w, temperature=300.0, ranges={"A-B": (0.25, 0.9)})


def test_file_round_trip(tree, tmp_path):
    again = load(save(tree, tmp_path / "posterior.nc"))
    xr.testing.assert_identical(again["posterior"].to_dataset(), tree["posterior"].to_dataset())
    assert potential_of(again) == POTENTIAL
    assert temperature_of(again) == 300.0
    assert ranges_of(again) == {"A-B": (0.25, 0.9)}
    (tmp_path / "posterior.nc").unlink()  # nothing keeps the file open
    np.testing.assert_array_equal(mean_coefficients(again), mean_coefficients(tree))


def test_draws_are_distinct_and_traceable(tree):
    picked = draw_coefficients(tree, 7, key=jax.random.key(0))
    assert sorted(picked.draw.tolist()) == list(range(7))
    stored = tree["posterior"]["coefficients"].values
    for w, chain, draw in zip(*picked, strict=True):
        np.testing.assert_array_equal(w, stored[chain, draw])
    mean = draw_coefficients(tree, None, key=jax.random.key(0))
    assert mean.draw.tolist() == [-1]
    with pytest.raises(ValueError, match="between 1 and the posterior's 7"):
        draw_coefficients(tree, 8, key=jax.random.key(0))


def test_curves_are_those_of_the_terms(tree):
    w = tree["posterior"]["coefficients"].values[0]
    for name in ("A-B", "dihedral_A-A-A-A"):
        x = tree["posterior"][f"x_{name}"].values
        energy, force = curves(POTENTIAL, name, w, x)
        np.testing.assert_allclose(tree["posterior"][f"u_{name}"].values[0], energy)
        inner = x[5:-5]
        slope = (curves(POTENTIAL, name, w, inner + 1e-6)[0] - curves(POTENTIAL, name, w, inner - 1e-6)[0]) / 2e-6
        np.testing.assert_allclose(-slope, force[:, 5:-5], atol=1e-5 * np.abs(force).max())


def test_files_that_are_no_posterior_are_refused(tree, tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file"):
        load(tmp_path / "nowhere.nc")
    (tmp_path / "text.nc").write_text("hello")
    with pytest.raises(ValueError, match="neither netCDF nor a record"):
        load(tmp_path / "text.nc")
    xr.Dataset({"a": 1.0}).to_netcdf(tmp_path / "foreign.nc", engine="h5netcdf")
    with pytest.raises(ValueError, match="no group 'posterior'"):
        load_posterior(tmp_path / "foreign.nc")
    other = xr.DataTree.from_dict({"posterior": xr.Dataset({"mu": ("draw", np.zeros(3))})})
    other.to_netcdf(tmp_path / "numpyro.nc", engine="h5netcdf")
    with pytest.raises(ValueError, match="lacks the attribute 'potential'"):
        load(tmp_path / "numpyro.nc")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 99}, "written in format 99"),
        ({"format": "two"}, "written in format two"),
        ({"potential": "{}"}, "is damaged"),
        ({"potential": bcg.Potential(bcg.Pair("A", "B", 0.5)).to_json()}, "all of which must be finite"),
    ],
)
def test_other_versions_and_damage_are_named(tree, tmp_path, change, message):
    tree["posterior"].attrs.update(change)
    tree.to_netcdf(tmp_path / "posterior.nc", engine="h5netcdf")
    with pytest.raises(ValueError, match=message):
        load(tmp_path / "posterior.nc")


def test_coefficients_must_fit():
    with pytest.raises(ValueError, match="coefficients; got an array"):
        from_coefficients(POTENTIAL, np.zeros((2, 3)), temperature=300.0)
    with pytest.raises(ValueError, match="must be finite"):
        from_coefficients(POTENTIAL, np.full((2, POTENTIAL.n_basis), np.nan), temperature=300.0)
