"""Single bits that flip on a disk: what is read is what was written, or one sentence says that the file is damaged."""

import numpy as np
import pytest
import xarray as xr

import bayescg as bcg
from bayescg.storage.expected import load_posterior, load_statistics, load_trajectory
from bayescg.workflow.comparisons import load_observables
from bayescg.workflow.folder import load_ensemble
from bayescg.workflow.stamps import read_json, stamp_of
from tests.seeds import shifted
from tests.workflow.steps import again, edit

_READERS = {
    "statistics.nc": load_statistics,
    "cg_last.nc": load_trajectory,
    "reference.nc": bcg.load,
    "posterior.nc": load_posterior,
    "ensemble.nc": load_ensemble,
    "rdf.nc": load_observables,
    "exports.json": lambda path: read_json(path)["files"],
    "report.html": lambda path: path.read_text(encoding="utf-8"),
}


def _flip(path, place, bit):
    content = bytearray(path.read_bytes())
    content[place] ^= 1 << bit
    path.write_bytes(bytes(content))


@pytest.mark.parametrize("name", [name for name in _READERS if name != "report.html"])
def test_a_flipped_bit_is_damage_or_nothing(copied, name):
    path = copied.parent / "results" / name
    content, stamp = path.read_bytes(), stamp_of(path)
    rng = np.random.default_rng(shifted(0))
    # Anywhere, and in the checksum, beyond which nothing counts.
    places = [*rng.choice(len(content), 12, replace=False), len(content) - 3 - int(rng.integers(20))]
    refused = 0
    for place in places:
        _flip(path, place, int(rng.integers(8)))
        found, message = None, ""
        try:
            found = _READERS[name](path)
        except ValueError as error:
            message = str(error)
        if message:
            refused += 1
            assert str(path) in message
            assert "\n" not in message
            assert stamp_of(path) is None
            path.write_bytes(content)
        else:
            assert stamp_of(path) == stamp
            path.write_bytes(content)
            assert repr(found) == repr(_READERS[name](path))
    assert refused >= 12


def test_damaged_files_are_made_again(copied):
    """Bits of numbers, which nothing but a checksum tells from others."""
    results = copied.parent / "results"
    before = _numbers(results)
    for name in ("posterior.nc", "ensemble.nc", "exports.json", "report.html"):
        path = results / name
        _flip(path, path.stat().st_size // 2, 0)
        assert stamp_of(path) is None
    assert again(copied) == ["fit", "simulate", "export", "report"]
    for one, two in zip(before, _numbers(results), strict=True):
        xr.testing.assert_equal(one, two)


def test_files_for_other_programs_are_as_they_were_written(copied):
    results = copied.parent / "results"
    table, figure = results / "lammps" / "pair.table", results / "figures" / "rdf_A-A_0.7_20.png"
    before = table.read_bytes()
    table.write_bytes(before + b"# edited\n")
    assert again(copied) == ["export"]
    assert table.read_bytes() == before
    table.unlink()
    figure.unlink()
    assert again(copied) == ["export", "report"]
    assert table.read_bytes() == before
    assert figure.is_file()


def test_a_format_that_could_not_be_written_is_tried_again(copied, monkeypatch):
    def missing(*args, **options):
        raise ImportError("not installed")

    with monkeypatch.context() as patch:
        patch.setattr(bcg, "export", missing)
        edit(copied, "draws: 20", "draws: 21")
        assert "export" in again(copied)
        assert again(copied) == ["export"]
    assert again(copied) == ["export", "report"]
    assert again(copied) == []
    assert (copied.parent / "results" / "lammps" / "pair.table").is_file()


def _numbers(results):
    return load_posterior(results / "posterior.nc")["posterior"].to_dataset(), load_ensemble(results / "ensemble.nc")
