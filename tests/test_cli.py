"""The command line: helps that teach, refusals of one line, exit statuses."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from console import run
from PIL import Image

from doamlib import cli
from doamlib.experiments import Study, pack

REPOSITORY = Path(__file__).parent.parent


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ([], ["book", "plan", "train", "verify", "data", "params/quick.yaml"]),
        (["book"], ["Interrupt it at any time", "-f"]),
        (["plan"], ["how long"]),
        (["train"], ["--time-budget", "9m"]),
        (["detect"], ["no security product", "--arm", "exit status", "tiff"]),
        (["verify"], ["exit status", "names the file and the value", "--pack"]),
        (["data"], ["make", "check", "convert", "export", "data_root: FOLDER"]),
        (["data", "make"], ["params/quick.yaml", "sidecar/", "the same command goes on"]),
        (["data", "convert"], ["Pascal VOC", "--split 0.8", "lost"]),
        (["data", "export"], ["opixray", "--detections", "loadRes"]),
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


def test_detect_without_a_detector_is_one_line(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("DOAM_HOME", str(tmp_path))
    monkeypatch.setattr("doamlib.core.paths.detectors", lambda: tmp_path)
    status, out, err = run(monkeypatch, capsys, "detect", tmp_path / "a.png")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("doam: no trained detector is here: train some with 'doam train")


def test_detect_looks_at_what_it_can_and_tells_the_rest(monkeypatch, capsys, study, tmp_path):
    ((_, result),) = study.results(["SSD"]).items()
    home = tmp_path / "home"  # of its own: other tests leave runs of their data in the shared one
    shutil.copytree(study.store.root / result.key, home / "runs" / result.key)
    shutil.copytree(study.store.root / "test_sets", home / "runs" / "test_sets")
    monkeypatch.setenv("DOAM_HOME", str(home))
    Image.new("L", (50, 40), 200).save(tmp_path / "a.png")
    pictures, out = (tmp_path / "a.png", tmp_path / "b.png"), tmp_path / "found"
    options = ("--arm", "SSD", "--threshold", "0", "--out", out)
    status, told, err = run(monkeypatch, capsys, "detect", *pictures, *options)
    assert status == 1 and err.count("\n") == 1 and f"{tmp_path / 'b.png'}: error: " in err
    assert "generated X-ray images and no real one" in told and "no security product" in told
    assert sorted(path.name for path in out.iterdir()) == [
        *("a-detected.png", "detections.csv", "detections.json"),
    ]
    assert f"wrote {out}/detections.json" in told
    file = tmp_path / "own.yaml"
    file.write_text(json.dumps(study.parameters.model_dump(mode="json") | {"seeds": [0, 45]}))
    status, told, _ = run(monkeypatch, capsys, "detect", tmp_path / "a.png", "-f", file, *options)
    assert status == 0 and "SSD, seed 0, of your own runs" in told
    file.write_text(json.dumps(study.parameters.model_dump(mode="json") | {"seeds": [45]}))
    status, _, err = run(monkeypatch, capsys, "detect", tmp_path / "a.png", "-f", file, *options)
    assert status == 2 and "no run of profile smoke is trained yet" in err
    before = (out / "detections.json").read_bytes()
    status, told, err = run(monkeypatch, capsys, "detect", tmp_path / "b.png", *options)
    assert (status, err.count("\n")) == (1, 1) and "wrote" not in told
    assert (out / "detections.json").read_bytes() == before, "a typo erases nothing"
    (tmp_path / "scans").mkdir()
    Image.new("L", (50, 40), 200).save(tmp_path / "scans/x.bmp")
    same = (tmp_path / "a.png", tmp_path / "scans" / ".." / "a.png", tmp_path / "scans")
    run(monkeypatch, capsys, "detect", *same, *options)
    listed = json.loads((out / "detections.json").read_text())["images"]
    assert [Path(image["file"]).name for image in listed] == ["a.png", "x.bmp"]
    taken = ("detect", tmp_path / "a.png", "--arm", "SSD", "--out", tmp_path / "a.png")
    status, _, err = run(monkeypatch, capsys, *taken)
    assert status == 2 and "choose another folder with --out" in err and "DOAM_HOME" not in err


def test_plan_names_every_run_and_what_exists(monkeypatch, capsys, study, tmp_path):
    study.results(["SSD"])
    values = study.parameters.model_dump(mode="json") | {"arms": ["SSD"], "seeds": [0, 41]}
    file = tmp_path / "two.yaml"
    file.write_text(json.dumps(values))
    status, out, _ = run(monkeypatch, capsys, "plan", "-f", file)
    assert status == 0
    assert "2 runs needed, 1 stored" in out and "1 to train, about" in out
    lines = out.splitlines()
    assert "done, mAP" in lines[-2] and "seed 0" in lines[-2]
    assert lines[-2].endswith(study.results(["SSD"])["SSD", 0].key)  # as train and the store say it
    assert "missing" in lines[-1] and "seed 41" in lines[-1]
    assert "are drawn" not in out
    file.write_text(json.dumps(values | {"data_seed": 77}))
    _, out, _ = run(monkeypatch, capsys, "plan", "-f", file)
    number = values["train_images"] + values["test_images"]
    assert f"on this machine, once {number} images are drawn" in out


def test_plan_without_the_gpu_that_a_file_wants_lists_the_runs_and_no_time(
    monkeypatch, capsys, study, tmp_path
):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    measured = "doamlib.experiments.study.seconds_of_each"
    monkeypatch.setattr(measured, lambda *_: pytest.fail("measured"))
    file = tmp_path / "gpu.yaml"
    values = study.parameters.model_dump(mode="json") | {"device": "cuda", "seeds": [0, 43]}
    file.write_text(json.dumps(values))
    status, out, _ = run(monkeypatch, capsys, "plan", "-f", file)
    assert status == 0 and "no usable GPU" in out and "about" not in out
    assert "seed 43" in out.splitlines()[-1] and "missing" in out.splitlines()[-1]


def test_plan_tells_what_the_reference_layer_holds(monkeypatch, capsys, study, tmp_path):
    own = Study(
        study.parameters.model_copy(update={"arms": ("SSD",)}), lambda line: None, study.store
    )
    result = own.results()["SSD", 0]
    pack(own, tmp_path / "layer")
    monkeypatch.setattr("doamlib.core.paths.reference_results", lambda: tmp_path / "layer")
    monkeypatch.setattr("doamlib.core.paths.runs", lambda: tmp_path / "empty")
    file = tmp_path / "one.yaml"
    values = own.parameters.model_dump(mode="json") | {"profile": "mine", "seeds": [0, 44]}
    file.write_text(json.dumps(values))
    _, out, _ = run(monkeypatch, capsys, "plan", "-f", file)
    first, second = out.splitlines()[-2:]
    assert f"in the reference layer, mAP {result.ap():.1f}" in first and "missing" in second


def test_data_check_exit_status_says_whether_training_can_go_on(monkeypatch, capsys, study):
    root = study.data.train.root
    status, out, _ = run(monkeypatch, capsys, "data", "check", root)
    assert status == 0 and out
    status, out, _ = run(monkeypatch, capsys, "data", "check", root, "--json")
    assert json.loads(out)["ok"] is True
    status, out, _ = run(monkeypatch, capsys, "data", "check", root / "train")
    assert status == 1


@pytest.fixture
def misspelt(tmp_path):
    """OPIXray's layout with a COCO file beside it; the class is called Scissors in both."""
    root = tmp_path / "misspelt"
    coco = {"images": [], "annotations": [], "categories": [{"id": 4, "name": "Scissors"}]}
    for number, split in enumerate(("train", "test"), start=1):
        name = f"{split}/{split}_image/{number}.png"
        (root / name).parent.mkdir(parents=True)
        Image.effect_noise((60, 40), 50 * number).convert("RGB").save(root / name)
        (root / split / f"{split}_annotation").mkdir()
        row = f"{number}.png Scissors 10 10 30 20\n"
        (root / split / f"{split}_annotation" / f"{number}.txt").write_text(row)
        (root / split / f"{split}_knife.txt").write_text(f"{number}\n")
        entry = {"id": number, "file_name": name, "width": 60, "height": 40}
        box = {"id": number, "image_id": number, "category_id": 4, "bbox": [10, 10, 20, 10]}
        (root / f"{split}.json").write_text(
            json.dumps({**coco, "images": [entry], "annotations": [box]})
        )
    return root


def parameter_file(tmp_path, **values):
    file = tmp_path / "my.yaml"
    file.write_text(json.dumps(values))
    return file


def test_data_check_knows_the_class_names_of_a_parameter_file(
    monkeypatch, capsys, misspelt, tmp_path
):
    status, out, _ = run(monkeypatch, capsys, "data", "check", misspelt)
    assert status == 1 and "'Scissors' is not one of" in out
    values = {"dataset": "opixray", "class_names": {"Scissors": "Scissor"}}
    file = parameter_file(tmp_path, **values, data_root=str(misspelt))
    status, out, _ = run(monkeypatch, capsys, "data", "check", "-f", file)
    assert status == 0 and "Scissor 1" in out
    file = parameter_file(tmp_path, **values, data_root=None)
    status, _, err = run(monkeypatch, capsys, "data", "check", "-f", file)
    assert status == 2 and "needs the folder that holds it" in err
    assert run(monkeypatch, capsys, "data", "check", misspelt, "-f", file)[0] == 0


def test_data_check_knows_the_format_of_a_parameter_file(monkeypatch, capsys, misspelt, tmp_path):
    file = parameter_file(tmp_path, dataset="coco", class_names={"Scissors": "shears"})
    status, out, _ = run(monkeypatch, capsys, "data", "check", misspelt, "-f", file, "--json")
    report = json.loads(out)
    assert status == 0 and report["format"] == "coco"
    assert report["splits"]["test"]["counts"]["shears"] == 1


def test_data_check_of_generated_parameters_checks_what_they_make(
    monkeypatch, capsys, study, tmp_path
):
    file = parameter_file(tmp_path, **study.parameters.model_dump(mode="json"))
    status, out, _ = run(monkeypatch, capsys, "data", "check", "-f", file, "--json")
    assert status == 0 and json.loads(out)["root"] == str(study.data.train.root)
    status, _, err = run(monkeypatch, capsys, "data", "check", study.data.train.root, "-f", file)
    assert status == 2 and "set dataset to opixray or coco" in err


def test_a_place_that_cannot_be_written_to_is_named_with_its_own_cure(
    monkeypatch, capsys, study, tmp_path
):
    (tmp_path / "taken").write_text("")
    target = tmp_path / "taken" / "inside"
    status, _, err = run(monkeypatch, capsys, "data", "export", target, study.data.train.root)
    assert status == 2 and str(tmp_path / "taken") in err
    assert "name another place" in err and "DOAM_HOME" not in err


def test_a_command_that_is_proposed_can_be_typed(monkeypatch, capsys, tmp_path):
    root = tmp_path / "my scans"
    root.mkdir()
    (root / "a.xml").write_text("<annotation/>")
    _, out, err = run(monkeypatch, capsys, "data", "check", root)
    assert f"doam data convert '{root}' TARGET" in out + err


def test_data_check_of_nothing_is_refused(monkeypatch, capsys):
    status, _, err = run(monkeypatch, capsys, "data", "check")
    assert status == 2 and "a parameter file with -f" in " ".join(err.split())


def test_data_make_writes_where_it_is_told_and_never_twice(monkeypatch, capsys, study, tmp_path):
    values = study.parameters.model_dump(mode="json") | {"train_images": 2, "test_images": 1}
    file = parameter_file(tmp_path, **values)
    for _ in range(2):
        status, out, _ = run(monkeypatch, capsys, "data", "make", tmp_path / "made", "-f", file)
        last = f"2 training and 1 test images in {tmp_path / 'made'}"
        assert status == 0 and out.splitlines()[-1] == last
    assert out.count("\n") == 1
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis/a.tex").write_text("")
    status, _, err = run(monkeypatch, capsys, "data", "make", tmp_path / "thesis", "-f", file)
    assert status == 2 and "holds other files (a.tex ...)" in err and err.count("\n") == 1
    coco = parameter_file(tmp_path, dataset="coco", data_root=str(tmp_path))
    status, _, err = run(monkeypatch, capsys, "data", "make", "-f", coco)
    assert status == 2 and f"doam data check {tmp_path}" in err


def test_data_export_of_a_folder_and_of_a_parameter_files_data(
    monkeypatch, capsys, study, misspelt, tmp_path
):
    target = tmp_path / "made"
    status, _, err = run(monkeypatch, capsys, "data", "export", target, misspelt)
    assert status == 2 and "'Scissors' is not one of" in err and not target.exists()
    file = parameter_file(tmp_path, dataset="coco", class_names={"Scissors": "Scissor"})
    command = ["data", "export", target, misspelt, "-f", file]
    status, out, _ = run(monkeypatch, capsys, *command, "--format", "opixray")
    assert status == 0 and out == f"{misspelt} -> opixray in {target}: images train 1, test 1\n"
    row = (target / "test/test_annotation/2.txt").read_text()
    assert row == "2.png Scissor 10 10 30 20\n"
    status, _, err = run(monkeypatch, capsys, *command)
    assert status == 2 and "name a new one" in err
    for wrong in (["--format", "voc"], ["--detections", "--format", "opixray"]):
        assert run(monkeypatch, capsys, *command, *wrong)[0] == 2


def test_data_export_gives_detections_of_the_images_that_it_exports(
    monkeypatch, capsys, misspelt, tmp_path
):
    """Not of those that lie where the file says: runs are sought that saw the folder typed."""
    asked = []
    monkeypatch.setattr(Study, "plan", lambda self: asked.append(self.parameters.data_root) or [])
    (tmp_path / "others").mkdir()
    values = {"dataset": "coco", "class_names": {"Scissors": "Scissor"}}
    file = parameter_file(tmp_path, **values, data_root=str(tmp_path / "others"))
    command = ["data", "export", tmp_path / "made", misspelt, "-f", file, "--detections"]
    status, out, _ = run(monkeypatch, capsys, *command)
    assert status == 0 and asked == [str(misspelt)]
    assert f"no finished run of {file} has looked at these images" in out.splitlines()[-1]


def test_a_file_before_a_subcommand_is_not_passed_over(monkeypatch, capsys, tmp_path):
    file = parameter_file(tmp_path, dataset="coco", data_root=str(tmp_path))
    status, _, err = run(monkeypatch, capsys, "data", "-f", file, "make")
    assert status == 2 and "behind the subcommand: doam data make" in " ".join(err.split())


def test_files_of_the_repository_are_found_from_any_folder(monkeypatch, capsys, tmp_path, home):
    monkeypatch.chdir(tmp_path)
    status, out, _ = run(monkeypatch, capsys, "plan", "-f", "params/smoke.yaml")
    assert status == 0 and "2 runs needed" in out
    status, _, err = run(monkeypatch, capsys, "plan", "-f", "params/smok.yaml")
    assert status == 2 and err.count("\n") == 1
    assert f"{tmp_path}/params/smok.yaml and {REPOSITORY}/params/smok.yaml" in err


def test_the_package_is_a_command_too():
    command = [sys.executable, "-m", "doamlib.cli", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "Usage: python -m doamlib.cli" in done.stdout and "verify" in done.stdout


def test_an_interrupt_while_libraries_are_imported_is_one_line_too(monkeypatch, capsys):
    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_run", interrupted)
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 130
    assert capsys.readouterr().err == "doam: interrupted; the same command goes on from here\n"


def test_ctrl_c_while_runs_train_side_by_side_says_so_and_leaves_no_process(home, tmp_path):
    """A real interrupt, to the whole group of processes, as a terminal sends it."""
    text = (REPOSITORY / "params" / "smoke.yaml").read_text()
    file = tmp_path / "long.yaml"
    file.write_text(text.replace("epochs: 1\nbatch", "epochs: 600\nbatch"))
    command = [sys.executable, "-c", "from doamlib.cli import main; main()", "train", "-f", file]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # Where this test itself runs in the background, a shell has set interrupts to be ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while "epoch 10/600" not in process.stdout.readline():
        assert process.poll() is None
    os.killpg(process.pid, signal.SIGINT)
    _, complaint = process.communicate(timeout=300)
    assert process.returncode == 130
    assert complaint.strip() == "doam: interrupted; the same command goes on from here"
    for _ in range(600):
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    pytest.fail("a process of the group lives on a minute later")
