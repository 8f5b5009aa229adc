"""One message and an exit code for what goes wrong."""

import os
import signal
import time

import pytest
from filelock import FileLock

from tests.cli.shell import call
from tests.runs import write_inputs


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run", "missing.yaml"), "no configuration at missing.yaml"),
        (("fit", "missing.nc"), "no such file: missing.nc"),
        (("fit", "foreign.nc"), "foreign.nc is no result of bayescg"),
        (("fit", "config.yaml"), "did you mean 'potential'"),
        (("simulate", "foreign.nc", "--initial", "foreign.nc"), "foreign.nc is no result of bayescg"),
        (("simulate", "missing.nc", "--initial", "foreign.nc"), "no such file: missing.nc"),
        (("observe", "foreign.nc", "rdf", "A", "A"), "rdf needs --cutoff"),
        (("observe", "foreign.nc", "rdf", "A", "--cutoff", "0.9"), "rdf needs 2 bead types"),
        (("observe", "foreign.nc", "rdf", "A", "A", "--cutoff", "0.9", "--group", "x"), "rdf takes no --group"),
        (("observe", "foreign.nc", "rdf", "A", "A", "--cutoff", "0.9"), "is no result of bayescg"),
        (("export", "foreign.nc", "out"), "foreign.nc is no result of bayescg"),
        (("report", "missing"), "no folder missing"),
        (("observe", "foreign.nc", "rdf", "A", "A", "--cutoff", "-1"), "rdf: cutoff must be positive; got -1"),
        (("run", "empty.yaml"), "empty.yaml holds no table of settings"),
    ],
)
def test_bad_input_is_one_message(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "foreign.nc").write_bytes(b"nothing that is netCDF")
    (tmp_path / "config.yaml").write_text("input: {dataset: foreign.nc}\npotentail: {}\n")
    (tmp_path / "empty.yaml").touch()
    result = call(*arguments)
    assert result.exit_code == 2
    text = " ".join(result.stderr.split())
    assert message in text
    assert text.startswith("Error:")
    assert "Traceback" not in text


def test_unknown_options_are_explained():
    result = call("run", "config.yaml", "--forec")
    assert result.exit_code == 2
    assert "--force" in result.stderr


def test_debug_shows_the_traceback():
    result = call("--debug", "run", "missing.yaml")
    assert isinstance(result.exception, FileNotFoundError)


def test_interrupt(monkeypatch, tmp_path):
    from bayescg import workflow

    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(workflow, "run", interrupted)
    result = call("run", write_inputs(tmp_path))
    assert result.exit_code == 130
    assert "Finished parts remain" in result.stderr


def test_termination(monkeypatch, tmp_path):
    """What batch systems send when time is up."""
    from bayescg import workflow

    def terminated(*arguments, **options):
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(10)  # never waited for: the signal comes first
        except KeyboardInterrupt:
            raise KeyboardInterrupt from None  # as of a step that has kept its finished parts

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(workflow, "run", terminated)
    result = call("run", write_inputs(tmp_path))
    assert result.exit_code == 143
    assert "Finished parts remain" in result.stderr
    assert signal.getsignal(signal.SIGTERM) == before


def test_two_runs_in_one_folder(tmp_path):
    path = write_inputs(tmp_path)
    (tmp_path / "results").mkdir()
    with FileLock(tmp_path / "results" / ".lock"):
        result = call("run", path, "--last", "map")
    assert result.exit_code == 2
    assert "another run is at work in" in " ".join(result.stderr.split())
    assert not list((tmp_path / "results").glob("*.nc"))
    assert call("run", path, "--last", "map").exit_code == 0


def test_a_configuration_of_somebody_else_is_not_overwritten(tmp_path):
    path = write_inputs(tmp_path)
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "config.yaml").write_text("mine: yes\n")
    result = call("run", path, "--last", "map")
    assert result.exit_code == 2
    assert "would be overwritten" in " ".join(result.stderr.split())
    assert (tmp_path / "results" / "config.yaml").read_text() == "mine: yes\n"


@pytest.mark.parametrize("name", ["statistics.nc", "cg_last.nc", "reference.nc"])
def test_a_damaged_or_foreign_file_is_made_anew(tmp_path, name):
    path = write_inputs(tmp_path)
    assert call("run", path, "--last", "map").exit_code == 0
    damaged = tmp_path / "results" / name
    whole = damaged.read_bytes()
    for content in (b"", b"nothing that is netCDF", whole[: len(whole) // 2], b"\x89HDF" + whole[4:100]):
        damaged.write_bytes(content)
        result = call("run", path, "--last", "map")
        assert result.exit_code == 0, result.stderr
        assert "map: again" in result.stderr


def test_full_disk_is_one_message(monkeypatch, tmp_path):
    from bayescg.workflow import stamps

    def full(data, path):
        raise OSError(28, "No space left on device", str(path))

    path = write_inputs(tmp_path)
    monkeypatch.setattr(stamps, "write_netcdf", full)
    result = call("run", path, "--last", "map")
    assert result.exit_code == 2
    assert "No space left on device" in result.stderr
    assert not list((tmp_path / "results").glob("*.nc"))
