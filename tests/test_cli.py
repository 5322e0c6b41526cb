"""The command line: helps that teach, refusals of one line, exit statuses."""

import json

import pytest

from doamlib import cli


def run(monkeypatch, capsys, *arguments):
    monkeypatch.setattr("sys.argv", ["doam", *map(str, arguments)])
    try:
        cli.main()
        status = 0
    except SystemExit as stop:
        status = stop.code or 0
    captured = capsys.readouterr()
    return status, captured.out, captured.err


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ([], ["book", "plan", "train", "data", "params/quick.yaml"]),
        (["book"], ["Interrupt it at any time", "-f"]),
        (["plan"], ["how long"]),
        (["train"], ["--time-budget", "9m"]),
        (["data"], ["check"]),
        (["data", "check"], ["exit status", "file and line"]),
    ],
)
def test_help_teaches(monkeypatch, capsys, command, words):
    status, out, _ = run(monkeypatch, capsys, *command, "--help")
    assert status == 0
    text = " ".join(out.split())
    assert all(word in text for word in words), text


def test_a_refused_parameter_is_one_line_and_status_2(monkeypatch, capsys, tmp_path):
    file = tmp_path / "bad.yaml"
    file.write_text("epochs: -1\n")
    status, out, err = run(monkeypatch, capsys, "plan", "-f", file)
    assert (status, out) == (2, "")
    assert err.startswith(f"doam: {file}: epochs = -1: ") and err.count("\n") == 1


def test_a_strange_time_budget_is_refused(monkeypatch, capsys, home):
    status, _, err = run(monkeypatch, capsys, "train", "--time-budget", "soon")
    assert status == 2 and "write 540s, 9m or 1.5h" in " ".join(err.split())


def test_plan_names_every_run_and_what_exists(monkeypatch, capsys, study, tmp_path):
    study.results(["SSD"])
    values = study.parameters.model_dump(mode="json") | {"arms": ["SSD"], "seeds": [0, 41]}
    file = tmp_path / "two.yaml"
    file.write_text(json.dumps(values))
    status, out, _ = run(monkeypatch, capsys, "plan", "-f", file)
    assert status == 0
    assert "2 runs needed, 1 exist" in out and "1 to train, about" in out
    lines = out.splitlines()
    assert "done, mAP" in lines[-2] and "seed 0" in lines[-2]
    assert "missing" in lines[-1] and "seed 41" in lines[-1]


def test_data_check_exit_status_says_whether_training_can_go_on(monkeypatch, capsys, study):
    root = study.data.train.root
    status, out, _ = run(monkeypatch, capsys, "data", "check", root)
    assert status == 0 and out
    status, out, _ = run(monkeypatch, capsys, "data", "check", root, "--json")
    assert json.loads(out)["ok"] is True
    status, out, _ = run(monkeypatch, capsys, "data", "check", root / "train")
    assert status == 1
