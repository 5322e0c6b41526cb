"""A file is written whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from doamlib.core.files import write_bytes, write_text


def test_a_written_file_is_what_was_given_and_stands_alone(tmp_path):
    path = tmp_path / "new" / "list.txt"
    write_text(path, "Mühle\nzwei\n")
    assert path.read_bytes() == "Mühle\nzwei\n".encode()
    write_bytes(path, b"\x00\r\n")
    assert path.read_bytes() == b"\x00\r\n"
    assert list(path.parent.iterdir()) == [path]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "list.txt"
    write_text(path, "old")
    plain = Path.write_bytes

    def fail(self, data):
        plain(self, data[:2])
        raise OSError("disk full")

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(OSError, match="disk full"):
        write_text(path, "a new text")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
