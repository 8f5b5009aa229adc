"""Error bars by range, the study `local_coverage` on few replicates: a liquid, and a force with an edge."""

import pytest

from tests.studies.inference.local_coverage import judge, planted

REPLICATES, FRAMES = 8, 5


@pytest.mark.filterwarnings("ignore:Pareto k")
@pytest.mark.parametrize("system", [planted.lennard_jones(125), planted.ramp()], ids=lambda system: system.name)
def test_bands_hold_the_truth_in_every_range(system):
    rows = system.measure(system.name, FRAMES, REPLICATES, FRAMES * REPLICATES)
    assert [row.cell for row in rows] == ["core", "foot", "well", "shoulder", "tail"]
    assert [row.share > judge.DECIDING for row in rows[:3]] == [True] * 3
    for row in rows:
        # Few replicates, whose standard errors are uncertain themselves: the study has the narrow bounds.
        for name, low, high in row.bounds:
            slack = max(3 * getattr(row, f"{name}_se"), 0.15 if name == "covered" else 0.3)
            assert low - slack < getattr(row, name) < high + slack, row
