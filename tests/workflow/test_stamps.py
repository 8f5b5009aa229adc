"""Fingerprints of files, and of what made them."""

import os

from bayescg.workflow import stamps


def test_a_file_that_changes_in_the_middle_is_another(tmp_path, monkeypatch):
    path = tmp_path / "traj.trr"
    content = bytearray(300_000)
    path.write_bytes(content)
    before = stamps.file_fingerprint(path)
    os.utime(path, (1, 1))
    assert stamps.file_fingerprint(path) == before
    content[150_000] = 1
    path.write_bytes(content)
    os.utime(path, (1, 1))
    assert stamps.file_fingerprint(path) != before
    # Of large files blocks are read, from the first byte to the last; touching one changes nothing.
    monkeypatch.setattr(stamps, "_WHOLE", 1000)
    monkeypatch.setattr(stamps, "_SAMPLE", 100)
    before = stamps.file_fingerprint(path)
    os.utime(path, (2, 2))
    assert stamps.file_fingerprint(path) == before
    for place in (0, len(content) - 1, (len(content) - 100) * 60 // 127):
        content[place] += 1
        path.write_bytes(content)
        assert stamps.file_fingerprint(path) != before
        before = stamps.file_fingerprint(path)
