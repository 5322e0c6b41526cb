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


def test_writers_of_one_file_do_not_meet_though_their_processes_have_one_number(
    tmp_path, monkeypatch
):
    """Threads, or containers with a home in common: each writes whole what it was given."""
    path, plain = tmp_path / "start.safetensors", Path.write_bytes

    def slow(self, data):
        monkeypatch.setattr(Path, "write_bytes", plain)
        plain(self, data)
        write_bytes(path, b"second")  # another writer begins and ends meanwhile

    monkeypatch.setattr(Path, "write_bytes", slow)
    write_bytes(path, b"first")
    assert path.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [path]


def test_a_name_may_be_as_long_as_the_file_system_takes(tmp_path):
    path = tmp_path / ("ü" * 127)  # 254 bytes
    write_bytes(path, b"x")
    assert path.read_bytes() == b"x"


def test_a_written_file_may_be_read_by_whom_the_system_lets(tmp_path):
    (tmp_path / "plain").write_bytes(b"")
    write_bytes(tmp_path / "ours", b"")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_link_stays_one_and_its_file_is_written(tmp_path):
    real, link = tmp_path / "real" / "file", tmp_path / "link"
    write_bytes(real, b"old")
    link.symlink_to(real)
    write_bytes(link, b"new")
    assert link.is_symlink() and real.read_bytes() == b"new"
    assert list(real.parent.iterdir()) == [real]
