"""Error bars by range, the study `local_coverage` on few replicates: a liquid, and a force with an edge."""

import pytest

from tests.studies.inference.local_coverage import judge, planted

REPLICATES, FRAMES = 8, 5


@pytest.mark.filterwarnings("ignore:Pareto k")
@pytest.mark.parametrize("system", [planted.lennard_jones(125), planted.ramp()], ids=lambda system: system.name)
def test_bands_hold_the_truth_in_every_range(system):
    rows = system.measure(system.name, FRAMES, REPLICATES, FRAMES * REPLICATES)
    assert [row.cell for row in rows] == ["core", "foot", "well", "shoulder", "tail"]
    for row in rows:
        # Few replicates, whose standard errors are uncertain themselves: the study has the narrow bounds.
        few = row.contacts < judge.FEW
        low, high = judge.COVERED_OF_FEW if few else judge.COVERED
        slack = max(3 * row.covered_se, 0.15)
        assert low - slack < row.covered < high + slack, row
        if not few:
            slack = max(3 * row.rms_se, 0.3)
            assert judge.RMS[0] - slack < row.rms < judge.RMS[1] + slack, row
