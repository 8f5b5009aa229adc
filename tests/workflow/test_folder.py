"""Folders of results, read again."""

import pytest

from bayescg import workflow


def test_folders_without_a_run(tmp_path):
    with pytest.raises(FileNotFoundError, match="no folder"):
        workflow.load_results(tmp_path / "nothing")
    with pytest.raises(FileNotFoundError, match=r"no posterior\.nc"):
        workflow.load_results(tmp_path)
    (tmp_path / "posterior.nc").write_bytes(b"foreign")
    with pytest.raises(ValueError, match="is no result of bayescg"):
        workflow.load_results(tmp_path)


def test_results_of_a_run(finished):
    results = workflow.load_results(finished[0].parent / "results")
    assert list(results.seconds) == ["map", "fit", "simulate", "observe rdf", "observe coordination_number", "export"]
    assert [each.kind for each in results.observables] == ["rdf", "coordination_number"]
    assert results.beads == {"A": 64}
    assert "lammps/pair.table" in results.exports["lammps"]
    assert "positions" not in results.ensemble
    assert results.config.startswith("# A copy")
