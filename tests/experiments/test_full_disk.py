"""A disk that is full at any write: one line, nothing lost, and the next call goes on."""

from __future__ import annotations

import errno
import json
import os
import sys

from doamlib import cli
from doamlib.core import paths
from doamlib.experiments.parameters import from_values
from doamlib.experiments.study import Study


def train(file, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["doam", "train", "-f", str(file), "--no-estimate"])
    try:
        cli.main()
        status = 0
    except SystemExit as stop:
        status = stop.code or 0
    return status, capsys.readouterr().err


def test_training_on_a_disk_that_fills_again_and_again_ends_with_the_same_bits(
    smoke, home, tmp_path, monkeypatch, capsys
):
    """Every file is written by a rename at the end: each attempt may do one more than the last."""
    values = smoke.model_dump(mode="json") | {
        **{"train_images": 5, "test_images": 3, "field_of_view": 0.25, "width": 0.05},
        **{"arms": ["SSD"], "processes": 1, "batch_size": 4, "data_seed": 77},
    }
    file = tmp_path / "my.yaml"
    file.write_text(json.dumps(values))
    assert train(file, monkeypatch, capsys)[0] == 0
    ((_, whole),) = Study(from_values(values), lambda line: None).results().items()

    monkeypatch.setenv("DOAM_HOME", str(tmp_path / "full"))
    rename, left = os.replace, 0

    def replace(source, target, **more):
        nonlocal left
        if not str(target).startswith(str(tmp_path)):
            return rename(source, target, **more)
        if left == 0:
            raise OSError(errno.ENOSPC, "No space left on device", str(target))
        left -= 1
        return rename(source, target, **more)

    monkeypatch.setattr(os, "replace", replace)
    refusals = 0
    for room in range(60):
        left = room
        status, err = train(file, monkeypatch, capsys)
        if status == 0:
            break
        refusals += 1
        assert status == 2 and err.count("\n") == 1, err
        assert "no space left on device" in err and "set DOAM_HOME" in err
    assert status == 0 and refusals > 3
    left = 1000
    ((_, result),) = Study(from_values(values), lambda line: None).results().items()
    assert paths.home() == tmp_path / "full"
    assert (result.key, result.metrics) == (whole.key, whole.metrics)
    assert result.history.loss == whole.history.loss
    assert result.weights().read_bytes() == whole.weights().read_bytes()
    assert not list((tmp_path / "full").rglob(".*.tmp"))  # no temporary file stays
