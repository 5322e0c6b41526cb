"""Finished things are read without writing; where something must be written, DOAM_HOME is named."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from console import run
from filelock import FileLock

from doamlib.core import paths
from doamlib.experiments.parameters import from_file
from doamlib.experiments.study import Study
from doamlib.experiments.train_run import result_of

REPOSITORY = Path(__file__).parents[2]
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


@pytest.fixture
def finished(study):
    """A home in which everything that the study asks for is finished."""
    study.results(["SSD"])
    return study


def test_a_finished_study_is_read_without_a_lock_or_any_other_write(finished, monkeypatch):
    """As root a folder's bits stop nobody, so every way to write is watched instead."""
    touched = []

    def watch(event, arguments):
        if not watching:
            return
        if event == "open" and isinstance(arguments[0], str | bytes | os.PathLike):
            path, _, flags = arguments
            if flags & WRITES and str(path).startswith(str(paths.home())):
                touched.append((event, str(path)))
        elif event in ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link"):
            touched.append((event, str(arguments[0])))

    watching = False
    sys.addaudithook(watch)
    again = Study(finished.parameters, lambda line: None)
    watching = True
    result = again.results(["SSD"])["SSD", 0]
    again.data.cached("test", finished.parameters.image_size, 1, print)
    result_of(again.store, result.config, again.data, again.device)
    watching = False
    assert touched == []
    watching = True
    with FileLock(paths.home() / "watched"):  # the watch sees what it should
        pass
    watching = False
    assert touched


@pytest.mark.parametrize("command", [["data"], ["train", "--no-estimate"], ["plan"]])
def test_a_home_that_cannot_be_written_is_one_line_that_names_doam_home(
    tmp_path, monkeypatch, capsys, command
):
    barrier = tmp_path / "file"
    barrier.write_text("")  # a folder cannot be made below a file, for root neither
    monkeypatch.setenv("DOAM_HOME", str(barrier / "home"))
    file = tmp_path / "my.yaml"
    smoke = from_file(REPOSITORY / "params/smoke.yaml").model_dump(mode="json")
    file.write_text(json.dumps({**smoke, "train_images": 3, "test_images": 2}))
    status, out, err = run(monkeypatch, capsys, *command, "-f", file)
    if command == ["plan"]:  # needs nothing but to know the generator's version
        assert status == 0 and "2 runs needed" in out
        return
    assert status == 2
    assert err.count("\n") == 1
    assert "cannot be written to" in err and "set DOAM_HOME" in err


def test_a_full_disk_is_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("DOAM_HOME", str(tmp_path))

    def full(*arguments, **keywords):
        raise OSError(28, "No space left on device", str(tmp_path / "images.npy"))

    monkeypatch.setattr("doamlib.cli_data.study_of", full)
    status, _, err = run(monkeypatch, capsys, "data")
    assert status == 2 and err.count("\n") == 1
    assert err.startswith(f"doam: {tmp_path}/images.npy: no space left on device")
    assert "DOAM_HOME" in err


def test_a_readme_and_the_help_name_the_variable(monkeypatch, capsys):
    assert "DOAM_HOME" in (REPOSITORY / "README.md").read_text()
    _, out, _ = run(monkeypatch, capsys, "--help")
    assert "DOAM_HOME" in out


def test_a_notebook_shows_the_refusal_without_a_traceback(tmp_path):
    barrier = tmp_path / "file"
    barrier.write_text("")
    with pytest.raises(paths.PlaceError) as refused:
        paths.writable(barrier / "x")
    (line,) = refused.value._render_traceback_()
    assert line.startswith("PlaceError: ") and "not a directory" in line
