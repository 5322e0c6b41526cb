"""Trained detectors to look at pictures with, own and shipped; and what ``doam detect`` writes."""

import csv
import dataclasses
import io
import json
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from doamlib.data.faults import DataError
from doamlib.evaluation.pictures import find_in_picture
from doamlib.experiments import detectors
from doamlib.experiments.arms import ARMS
from doamlib.experiments.detect import _names, annotated, detect_files
from doamlib.experiments.detectors import (
    DetectorError,
    Trained,
    arm_of,
    choose,
    ship,
    shipped,
    trained_by,
)
from doamlib.experiments.store import RunStore
from doamlib.experiments.study import Study, run_config


@pytest.fixture
def result(study):
    return study.results(["SSD"])["SSD", 0]


@pytest.fixture
def mine(study, result):
    (found,) = (t for t in detectors.own(study.store) if t.path == result.weights())
    return found


@pytest.fixture
def folder(result, tmp_path):
    ship(result, tmp_path / "detectors")
    return tmp_path / "detectors"


def save(path, size=(90, 60)):
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(3).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    return path


@pytest.mark.parametrize("name", ARMS)
def test_a_run_knows_its_row_at_any_size(smoke, name):
    for width in (1.0, 0.125):
        changed = smoke.model_copy(update={"doam_width": width, "pool_share": 0.3})
        assert arm_of(run_config(changed, ARMS[name], 0)) == name


def test_a_warm_start_is_no_row(smoke):
    warm = smoke.model_copy(update={"warm_start": "harmless"})
    assert arm_of(run_config(warm, ARMS["SSD"], 0).warm_run()) is None


def test_an_own_run_is_found_with_what_was_trained(mine, result):
    assert (mine.arm, mine.origin, mine.config) == ("SSD", "own", result.config)
    assert mine.steps == len(result.history.loss) and mine.ap == result.metrics["AP"]
    assert "24 generated X-ray images and no real one" in mine.about()
    stored = {n: t for n, t in mine.load().state_dict().items() if n.endswith("weight")}
    for name, value in load_file(result.weights()).items():
        if name in stored:
            torch.testing.assert_close(stored[name], value, rtol=0, atol=0)


def test_a_broken_folder_in_the_store_is_passed_over(tmp_path):
    (tmp_path / "0123").mkdir()
    (tmp_path / "0123" / "weights.safetensors").touch()
    assert detectors.own(RunStore(tmp_path)) == []


def test_a_shipped_detector_finds_what_the_run_finds(folder, mine):
    (there,) = shipped(folder)
    assert (there.arm, there.origin, there.config) == ("SSD", "shipped", mine.config)
    assert there.path.stat().st_size < 0.6 * mine.path.stat().st_size
    image = torch.randint(0, 256, (3, 96, 96), dtype=torch.uint8)
    full, half = (find_in_picture(t.load(), image) for t in (mine, there))
    torch.testing.assert_close(half["scores"][:5], full["scores"][:5], rtol=0, atol=5e-3)


def test_recipes_say_what_was_trained_and_where(folder, result):
    (entry,) = json.loads((folder / "recipes.json").read_text()).values()
    assert entry["data"] == result.identity["fingerprint"]
    assert entry["AP"] == result.metrics["AP"]
    assert {"commit", "packages", "hardware"} <= set(entry["provenance"])


def test_a_shipped_file_that_was_changed_is_refused(folder):
    (there,) = shipped(folder)
    content = bytearray(there.path.read_bytes())
    content[-1] ^= 1
    there.path.write_bytes(content)
    with pytest.raises(DetectorError, match="changed after it was shipped"):
        there.load()


def test_weights_of_another_network_are_refused(mine, smoke):
    other = run_config(smoke, ARMS["SSD+DOAM-T"], 0)
    with pytest.raises(DetectorError, match="not weights of SSD"):
        dataclasses.replace(mine, config=other).load()


def test_a_list_that_is_none_is_refused(tmp_path):
    (tmp_path / "recipes.json").write_text('{"a": {}}')
    with pytest.raises(DetectorError, match=r"recipes\.json: not a list of detectors"):
        shipped(tmp_path)


def test_a_run_without_weights_cannot_be_shipped(result, tmp_path, monkeypatch):
    monkeypatch.setattr(type(result), "weights", lambda self: None)
    with pytest.raises(DetectorError, match="has no weights"):
        ship(result, tmp_path)


def known(*rows, simulation=True):
    """Detectors that were never trained: arm, seed, steps, origin."""
    found = []
    for arm, seed, steps, origin in rows:
        data = SimpleNamespace(simulation=simulation or None)
        config = SimpleNamespace(seed=seed, data=data)
        found.append(Trained(arm, config, {}, steps, origin, path=None))
    return found


def test_the_one_trained_longest_is_taken_and_of_equals_ones_own():
    both = known(("SSD", 0, 9, "own"), ("SSD", 0, 90, "shipped"))
    assert choose(both).origin == "shipped"
    even = known(("SSD", 0, 9, "shipped"), ("SSD", 0, 9, "own"), ("SSD", 1, 9, "own"))
    assert (choose(even).origin, choose(even).config.seed) == ("own", 0)


def test_ones_own_on_real_data_goes_before_what_was_trained_on_generated_images():
    shipped = known(("SSD+DOAM-O", 0, 4000, "shipped"), ("SSD", 0, 4000, "shipped"))
    real = known(("SSD", 0, 9, "own"), ("FCOS", 3, 90, "own"), simulation=False)
    assert choose([*shipped, *real]) is real[1]
    assert choose([*shipped, *real], "SSD", 0) is real[0]
    assert choose([*shipped, *real], "SSD+DOAM-O") is shipped[0]


def test_a_file_s_own_runs_are_told_from_all_others(study, mine, smoke, tmp_path):
    assert [(one.arm, one.config) for one in trained_by(study, "SSD")] == [("SSD", mine.config)]
    longer = Study(smoke.model_copy(update={"epochs": 2}), lambda line: None, study.store)
    with pytest.raises(DetectorError, match="no run of profile smoke is trained yet: 'doam train'"):
        trained_by(longer)


def test_arm_and_seed_are_as_asked_and_the_papers_method_by_default():
    there = known(("SSD", 0, 99, "own"), ("SSD+DOAM-O", 3, 9, "own"), ("FCOS", 0, 9, "own"))
    assert choose(there).arm == "SSD+DOAM-O"
    assert choose(there, arm="FCOS").arm == "FCOS"
    assert choose(there, seed=0).arm == "SSD"


def test_without_a_detector_one_line_says_what_to_do():
    with pytest.raises(DetectorError, match=r"doam train -f params/quick\.yaml"):
        choose([])
    with pytest.raises(DetectorError, match="SSD seed 4 is here; there are FCOS seed 0"):
        choose(known(("FCOS", 0, 1, "own")), "SSD", 4)
    with pytest.raises(DetectorError, match="'SDD' is not an arm; did you mean SSD "):
        choose(known(("FCOS", 0, 1, "own")), "SDD")


def look(trained, pictures, out, **more):
    told, problems = [], []
    options = {"threshold": 0.0, "windows": False} | more
    detect_files(trained, pictures, out, **options, report=told.append, complain=problems.append)
    return told, problems, json.loads((out / "detections.json").read_text())


def test_what_is_written_agrees_with_the_detector(mine, tmp_path):
    file = save(tmp_path / "in" / "bag.png")
    _, problems, report = look(mine, [file], tmp_path / "out")
    (image,) = report["images"]
    direct = find_in_picture(
        mine.load(), torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1)
    )
    assert problems == [] and len(image["detections"]) == len(direct["scores"]) > 0
    for row, box, score in zip(image["detections"], direct["boxes"], direct["scores"], strict=True):
        np.testing.assert_allclose(row["box"], box, atol=0.06)
        assert row["score"] == pytest.approx(float(score), abs=1e-4)
    with (tmp_path / "out" / "detections.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [float(row["score"]) for row in rows] == [r["score"] for r in image["detections"]]
    assert Image.open(tmp_path / "out" / "bag-detected.png").size == (90, 60)
    assert "no security product" in report["notice"] and "generated" in report["detector"]["about"]


def test_nothing_above_the_threshold_names_the_strongest(mine, tmp_path):
    told, _, report = look(mine, [save(tmp_path / "a.png")], tmp_path / "out", threshold=1.0)
    assert "nothing at 1 or above, the strongest is " in told[0]
    assert report["images"][0]["detections"] == []
    pixels = (np.array(Image.open(tmp_path / p)) for p in ("a.png", "out/a-detected.png"))
    assert np.array_equal(*pixels)  # nothing drawn


def test_names_as_long_as_a_file_system_takes_have_copies_of_their_own():
    names = _names([Path("a" * 251 + ".png"), Path("x", "a" * 250 + "b.png"), Path("ü" * 125)])
    assert len(set(names.values())) == 3
    assert all(len(name.encode()) <= 255 for name in names.values())


def test_pictures_that_are_named_as_numbered_copies_lose_none():
    files = [Path(name) for name in ("a.jpg", "a.png", "a-2.jpg", "a.tif", "a-2.png")]
    names = _names(files)
    assert len(set(names.values())) == len(files)
    assert names[files[0]] == "a-detected.png" and names[files[1]] == "a-2-detected.png"


def test_a_tilde_that_the_shell_left_is_the_home(mine, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "a.png")
    detect_files(mine, [Path("~/a.png")], Path("~/found"), 0.3, False, print, pytest.fail)
    assert (tmp_path / "found" / "a-detected.png").is_file() and not Path("~").exists()


def test_names_that_are_not_utf8_are_written_with_escapes(mine, tmp_path):
    file = save(tmp_path / os.fsdecode(b"\xb5.png"))
    _, problems, report = look(mine, [file], tmp_path / "out")
    assert problems == [] and report["images"][0]["file"] == str(file)
    assert r"\udcb5.png" in (tmp_path / "out" / "detections.csv").read_text()


def test_a_folder_gives_its_pictures_and_each_problem_is_one_line(mine, tmp_path):
    save(tmp_path / "in" / "a.PNG")
    save(tmp_path / "in" / "a.tif")
    (tmp_path / "in" / "broken.jpg").write_bytes(b"none")
    (tmp_path / "in" / "notes.txt").touch()
    (tmp_path / "empty").mkdir()
    asked = [tmp_path / "in", tmp_path / "empty", tmp_path / "gone.png"]
    told, problems, report = look(mine, asked, tmp_path / "out")
    assert [image["annotated"] for image in report["images"]] == [
        "a-detected.png",
        "a-2-detected.png",
    ]
    assert len(told) == 3 and told[-1].startswith("wrote ") and len(problems) == 3
    assert all("\n" not in line for line in problems)
    for name, line in zip(("empty", "gone.png", "broken.jpg"), problems, strict=True):
        assert name in line


def test_pictures_of_folders_in_a_folder_are_found_and_what_was_written_among_them_is_not(
    mine, tmp_path
):
    for place in ("a.png", "deep/b.png", "deep/deeper/c.png"):
        save(tmp_path / "in" / place)
    for _ in range(2):  # the second time, annotated copies lie inside
        _, problems, report = look(mine, [tmp_path / "in"], tmp_path / "in" / "deep" / "found")
        assert [Path(i["file"]).name for i in report["images"]] == ["a.png", "b.png", "c.png"]
        assert problems == []


def test_ones_own_pictures_are_never_written_over(mine, tmp_path):
    file = save(tmp_path / "a.png")
    with pytest.raises(DataError, match="choose another folder with --out"):
        look(mine, [file], tmp_path)


def test_an_annotation_stays_inside_the_picture_wherever_the_box_lies():
    picture = torch.full((3, 50, 40), 255, dtype=torch.uint8)
    for box in ([0, 0, 5, 5], [35, 45, 40, 50], [0, 0, 40, 50], [10, 10, 10, 10]):
        made = annotated(picture, [{"class": "Multi-tool_Knife", "score": 0.5, "box": box}])
        assert made.startswith(b"\x89PNG")


def test_a_box_is_drawn_where_it_lies():
    picture = torch.full((3, 300, 400), 255, dtype=torch.uint8)
    made = annotated(picture, [{"class": "Scissor", "score": 0.5, "box": [100, 150, 180, 220]}])
    drawn = (np.array(Image.open(io.BytesIO(made))) != 255).any(axis=2)
    rows, columns = np.nonzero(drawn[149:])
    assert (columns.min(), columns.max()) == (100, 180)
    assert (rows.min() + 149, rows.max() + 149) == (150, 220)
    assert not drawn[160:210, 110:170].any()
