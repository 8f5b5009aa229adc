"""Folders of finished parts: what is kept comes back to the last bit; what is damaged is made again."""

from typing import NamedTuple

import numpy as np
import pytest

from bayescg import _checkpoint
from bayescg._checkpoint import digest, parts_in


class Part(NamedTuple):
    """Of what parts are made."""

    values: np.ndarray
    said: str | None


PART = Part(np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32), None)


def test_parts_come_back(tmp_path):
    with parts_in(tmp_path / "a", "test", "one", [Part]) as parts:
        assert parts.read("x") is None
        parts.keep("x", (PART, 3))
        found, number = parts.read("x")
        assert (type(found), found.said, number) == (Part, None, 3)
        assert found.values.dtype == np.float32
        np.testing.assert_array_equal(found.values, PART.values)
    with pytest.raises(ValueError, match=r"a holds finished parts of another test \(other arguments"):
        parts_in(tmp_path / "a", "test", "two").__enter__()
    _checkpoint.remove(tmp_path / "a")
    assert not (tmp_path / "a").exists()
    _checkpoint.remove(tmp_path / "a")


def test_without_a_folder_nothing_is_kept(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with parts_in(None, "test", "one") as parts:
        parts.keep("x", PART)
        assert parts.read("x") is None
    assert not list(tmp_path.iterdir())


def test_any_flipped_bit_of_a_part_makes_it_missing_or_nothing(tmp_path):
    with parts_in(tmp_path / "a", "test", "one", [Part]) as parts:
        parts.keep("x", PART)
        path = tmp_path / "a" / "x.npz"
        content, rng, missing = path.read_bytes(), np.random.default_rng(0), 0
        for place in rng.choice(len(content), 60, replace=False):
            damaged = bytearray(content)
            damaged[place] ^= 1 << int(rng.integers(8))
            path.write_bytes(bytes(damaged))
            found = parts.read("x")
            missing += found is None
            if found is not None:
                np.testing.assert_array_equal(found.values, PART.values)
                assert found.said is None
        assert missing > 30


def test_digests_tell_arguments_apart():
    x = np.arange(6.0)
    all_of_them = [
        *(digest(x), digest(x.astype(np.float32)), digest(x.reshape(2, 3)), digest(np.nextafter(x, 9)), digest(x, 1)),
        *(digest(x, 1.0), digest("ab", "c"), digest("a", "bc"), digest()),
    ]
    assert len(set(all_of_them)) == len(all_of_them)
    assert digest(x, "a") == digest(np.arange(12.0)[:6], "a")


def test_what_is_no_folder_of_parts_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="is no folder"):
        parts_in(tmp_path / "file", "test", "one").__enter__()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").touch()
    with pytest.raises(ValueError, match=r"other holds something else \(mine\.txt\)"):
        parts_in(tmp_path / "other", "test", "one").__enter__()
    _checkpoint.remove(tmp_path / "other")
    assert (tmp_path / "other" / "mine.txt").exists()
