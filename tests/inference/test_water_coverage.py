"""The error bars of short water segments hold: the study `water_coverage` at 20 frames, as a gate."""

import jax
import numpy as np
import pytest

import bayescg as bcg
from tests.studies.inference import water_coverage


@pytest.mark.peer
def test_error_bars_of_twenty_frames_of_water_are_true(shared):
    data = water_coverage.water()
    found = bcg.coverage(
        bcg.Potential(bcg.Pair("W", "W", cutoff=0.9)),
        data,
        segments=100,
        ranges={"W-W": [0.25, 0.26, 0.27, 0.30, 0.35, 0.45, 0.88]},
        key=jax.random.key(0),
    )
    rms = found["rms_W-W"].values
    assert np.all((rms > 0.85) & (rms < 1.20)), rms
    assert 0.86 < found["covered_W-W"].attrs["covered"] < 0.94
    contact = np.abs(found["z_W-W"].where(found["x_W-W"] < 0.30, drop=True).values) < 1.6449
    assert 0.85 < contact.mean() < 0.95
