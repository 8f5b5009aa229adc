"""Simulations that were interrupted go on from their finished draws, if they were made by the same settings."""

import pytest
import xarray as xr

from bayescg.simulation import ensemble
from tests.workflow.steps import again, edit


def _interrupted_after(monkeypatch, done):
    """From now on simulations are interrupted when so many draws are finished."""

    def interrupting(futures):
        for future in futures[:done]:
            future.result()
            yield future
        raise KeyboardInterrupt

    monkeypatch.setattr(ensemble, "as_completed", interrupting)


def _counting(monkeypatch):
    """The draws that are simulated from now on."""
    seen, simulate = [], ensemble.Plan._simulate

    def counting(self, numbers, before):
        seen.extend(numbers)
        return simulate(self, numbers, before)

    monkeypatch.setattr(ensemble.Plan, "_simulate", counting)
    return seen


def test_an_interrupted_simulation_goes_on(copied, monkeypatch):
    path = copied.parent / "results" / "ensemble.nc"
    edit(copied, "draws: 2\n", "draws: 4\n")
    again(copied)
    whole = xr.load_dataset(path, engine="h5netcdf")
    path.unlink()
    for done in (1, 2, 3):
        with monkeypatch.context() as patch:
            _interrupted_after(patch, 1)
            with pytest.raises(KeyboardInterrupt):
                again(copied)
        assert xr.load_dataset(path, engine="h5netcdf").sizes["draw"] == done
    seen = _counting(monkeypatch)
    assert again(copied) == ["simulate"]
    assert seen == [3]
    resumed = xr.load_dataset(path, engine="h5netcdf")
    kept = ("workflow_seconds", "workflow_warnings")
    for each in (whole, resumed):
        each.attrs = {name: value for name, value in each.attrs.items() if name not in kept}
    xr.testing.assert_allclose(resumed, whole, rtol=1e-6)
    assert resumed.attrs == whole.attrs
    assert {n: v.dims for n, v in resumed.variables.items()} == {n: v.dims for n, v in whole.variables.items()}
    assert again(copied) == []


@pytest.mark.parametrize("change", ["settings", "force"])
def test_finished_draws_of_other_settings_are_not_kept(copied, monkeypatch, change):
    edit(copied, "time: 0.4", "time: 0.48")
    with monkeypatch.context() as patch:
        _interrupted_after(patch, 1)
        with pytest.raises(KeyboardInterrupt):
            again(copied)
    if change == "settings":
        edit(copied, "time: 0.48", "time: 0.52")
    seen = _counting(monkeypatch)
    again(copied, force=change == "force", last="simulate")
    assert seen == [0, 1]
