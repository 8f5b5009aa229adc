"""Compiled programs are kept for the next process, where the user lets them."""

import os

import pytest

from bayescg import _programs


@pytest.fixture
def variables(monkeypatch, tmp_path):
    """The environment of a process that has not asked for anything."""
    for name in [name for name in os.environ if name.startswith(("JAX_", "TF_CPP"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return monkeypatch


def test_programs_are_kept_in_the_users_cache(variables, tmp_path):
    # Registered for removal after the test.
    for name in ("MAX_SIZE",):
        variables.setenv(f"JAX_COMPILATION_CACHE_{name}", "5")
    for name in ("MIN_COMPILE_TIME_SECS", "MIN_ENTRY_SIZE_BYTES"):
        variables.setenv(f"JAX_PERSISTENT_CACHE_{name}", "1")
    variables.setenv("TF_CPP_MIN_LOG_LEVEL", "2")
    variables.setenv(_programs.FOLDER, "")
    variables.delenv(_programs.FOLDER)
    _programs.keep_programs()
    folder = tmp_path / "bayescg" / _programs.machine()
    assert os.environ[_programs.FOLDER] == str(folder)
    assert folder.is_dir()
    # What the user has said stays.
    assert os.environ["JAX_COMPILATION_CACHE_MAX_SIZE"] == "5"
    assert os.environ["TF_CPP_MIN_LOG_LEVEL"] == "2"


def test_a_folder_that_the_user_has_named_stays(variables, tmp_path):
    variables.setenv(_programs.FOLDER, "")
    _programs.keep_programs()
    assert os.environ[_programs.FOLDER] == ""
    assert not list(tmp_path.iterdir())


def test_a_cache_that_cannot_be_written_is_not_used(variables, tmp_path):
    (tmp_path / "bayescg").write_text("a file")
    _programs.keep_programs()
    assert _programs.FOLDER not in os.environ


def test_halves_that_a_kill_has_left_are_deleted(variables):
    _programs.keep_programs()
    folder = _programs.Path(os.environ[_programs.FOLDER])
    variables.delenv(_programs.FOLDER)
    names = ("whole-cache", "whole-atime", "old-cache", "older-atime", "young-cache")
    for name in names:
        (folder / name).touch()
        if not name.startswith("young"):
            os.utime(folder / name, (0, 0))
    _programs.keep_programs()
    variables.delenv(_programs.FOLDER)
    assert {path.name for path in folder.iterdir()} == {"whole-cache", "whole-atime", "young-cache"}


def test_other_options_of_the_compiler_have_another_folder(variables):
    before = _programs.machine()
    variables.setenv("XLA_FLAGS", "--xla_cpu_max_isa=SSE4_2")
    assert _programs.machine() != before
