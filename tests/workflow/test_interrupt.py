"""Simulations that were interrupted go on from their finished draws, if they were made by the same settings."""

import pytest
import xarray as xr

from bayescg.simulation import ensemble
from bayescg.workflow.folder import load_ensemble
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
    seen, measured = [], ensemble.Plan._measured

    def counting(self, number, trajectory):
        seen.append(number)
        return measured(self, number, trajectory)

    monkeypatch.setattr(ensemble.Plan, "_measured", counting)
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
        with pytest.warns(UserWarning, match=rf"ensemble\.nc is partial: .* after {done} draws"):
            part = load_ensemble(path)
        assert (part.sizes["draw"], part.attrs["interrupted"]) == (done, 1)
    seen = _counting(monkeypatch)
    assert again(copied) == ["simulate"]
    assert seen == [3]
    resumed = xr.load_dataset(path, engine="h5netcdf")
    kept = ("workflow_seconds", "workflow_warnings")
    for each in (whole, resumed):
        each.attrs = {name: value for name, value in each.attrs.items() if name not in kept}
    xr.testing.assert_identical(resumed, whole)
    assert again(copied) == []
    assert not (path.parent / "unfinished").exists()


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
    assert sorted(seen) == [0, 1]
