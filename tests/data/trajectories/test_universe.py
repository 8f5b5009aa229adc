"""Opening simulations from files."""

import gc

import numpy as np
import pytest

from bayescg import datasets
from bayescg.data.trajectories.universe import open_universe


def test_opens_what_mdanalysis_reads(tmp_path):
    files = datasets.water(tmp_path)
    universe = open_universe(files.topology, [files.trajectory, files.trajectory])
    assert universe.trajectory.n_frames == 200
    assert np.isfinite(universe.trajectory[0].forces).all()


def test_options_reach_the_universe(tmp_path):
    files = datasets.water(tmp_path)
    assert open_universe(files.topology, files.trajectory, units="real").kwargs["units"] == "real"


@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
def test_empty_files(tmp_path):
    files = datasets.water(tmp_path)
    empty = tmp_path / "empty.trr"
    empty.touch()
    with pytest.raises(ValueError, match=r"empty\.trr is empty \(0 bytes\)"):
        open_universe(files.topology, [files.trajectory, empty])
    gc.collect()


def test_missing_and_foreign_files(tmp_path):
    files = datasets.water(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no such file: .*nothing\.trr"):
        open_universe(files.topology, tmp_path / "nothing.trr")
    foreign = tmp_path / "foreign.text"
    foreign.write_bytes(b"this is no topology at all")
    with pytest.raises(ValueError, match=r"cannot read foreign\.text, traj\.trr"):
        open_universe(foreign, files.trajectory)
