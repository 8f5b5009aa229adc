"""Error bars by range, the study `local_coverage` on few replicates: a liquid, and a force with an edge."""

import pytest

from tests.compilation import optimized
from tests.studies.inference.local_coverage import judge, planted

REPLICATES, FRAMES = 24, 5


@pytest.mark.filterwarnings("ignore:Pareto k", "ignore:the Gaussian at the mode")
@pytest.mark.parametrize("system", [planted.lennard_jones(125), planted.ramp()], ids=lambda system: system.name)
@optimized()
def test_bands_hold_the_truth_in_every_range(system):
    rows = system.measure(system.name, FRAMES, REPLICATES, FRAMES * REPLICATES)
    assert [row.cell for row in rows] == ["core", "foot", "well", "shoulder", "tail"]
    for row in rows:
        # Few replicates: a range falls short only by more than three standard errors.
        few = row.contacts < judge.FEW
        low, high = judge.COVERED_OF_FEW if few else judge.COVERED
        assert low - 3 * row.covered_se < row.covered < high + 3 * row.covered_se, row
        if not few:
            assert judge.RMS[0] - 3 * row.rms_se < row.rms < judge.RMS[1] + 3 * row.rms_se, row
