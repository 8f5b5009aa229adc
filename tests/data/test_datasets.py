from pathlib import Path

from bayescg.data import datasets


def test_water_is_copied_once_and_repaired(tmp_path):
    files = datasets.water(tmp_path / "copy")
    stamp = files.trajectory.stat().st_mtime_ns
    assert datasets.water(tmp_path / "copy") == files
    assert files.trajectory.stat().st_mtime_ns == stamp
    files.topology.write_bytes(b"damaged")
    assert datasets.water(tmp_path / "copy").universe().trajectory.n_frames == 100


def test_water_is_what_it_says():
    universe = datasets.water().universe()
    assert len(universe.residues) == 510
    assert set(universe.residues.resnames) == {"SOL"}
    assert abs(universe.dimensions[0] - 24.7733) < 1e-3
    assert universe.trajectory.ts.has_forces
    assert universe.trajectory.dt == 2.0


def test_bundle_is_small_and_clean():
    folder = Path(datasets.__file__).parent / "files"
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 4_000_000
    assert {path.name for path in files} == {"README.md", "alanine_dipeptide.pdb", "topol.tpr", "traj.trr"}
