"""What is exported is read again with the same boxes, by us and by others."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from coco_tools import edit, write_coco
from pycocotools.coco import COCO

from doamlib.data.classes import CLASSES
from doamlib.data.coco import read_coco
from doamlib.data.doctor.doctor import check
from doamlib.data.export import export
from doamlib.data.faults import DataError
from doamlib.data.opixray import read_opixray
from doamlib.data.readers import detect_format
from doamlib.experiments.arms import ARMS


def content(dataset):
    """Stem -> label, corners and level, whatever the layout calls the file."""
    return {
        Path(r.path).stem: (r.labels.tolist(), r.boxes.tolist(), r.level, (r.width, r.height))
        for r in dataset.records
    }


@pytest.fixture
def source(tmp_path):
    root = write_coco(tmp_path / "set", CLASSES)
    for number in range(4):  # every second test image has a level
        edit(
            root / "test.json",
            lambda d, n=number: d["images"][n].update(occlusion_level=1 + n % 3),
        )
    edit(root / "train.json", lambda d: d["annotations"][0].update(bbox=[1.25, 2.5, 10.1, 20.3]))
    return root


@pytest.mark.parametrize(("layout", "read"), [("coco", read_coco), ("opixray", read_opixray)])
def test_there_and_back_gives_the_same_boxes_levels_and_pixels(source, tmp_path, layout, read):
    splits = [read_coco(source, split) for split in ("train", "test")]
    made = export(splits, tmp_path / "made", layout)
    for before in splits:
        after = read(made, before.split)
        assert content(after) == content(before) and after.classes == before.classes
        assert sorted(after.image_hashes.values()) == sorted(before.image_hashes.values())
    assert check(made, format=layout).ok


def test_names_that_opixrays_lists_cannot_hold_are_changed_or_refused(source, tmp_path):
    (source / "train/train_1.png").rename(source / "train/bag 1 top.png")
    edit(source / "train.json", lambda d: d["images"][0].update(file_name="bag 1 top.png"))
    splits = [read_coco(source, split) for split in ("train", "test")]
    made = export(splits, tmp_path / "made", "opixray")
    assert "bag_1_top" in read_opixray(made, "train").image_ids
    (source / "train/train_2.png").rename(source / "train/bag_1_top.png")
    edit(source / "train.json", lambda d: d["images"][1].update(file_name="bag_1_top.png"))
    with pytest.raises(DataError, match=r"cannot be called bag_1_top\.png there"):
        export([read_coco(source, "train")], tmp_path / "again", "opixray")
    assert not (tmp_path / "again").exists()


def test_other_classes_and_a_folder_in_use_are_refused(tmp_path):
    train = read_coco(write_coco(tmp_path / "set", ("Gun", "Bat")), "train")
    with pytest.raises(DataError, match=r"Gun, Bat.*export as coco"):
        export([train], tmp_path / "made", "opixray")
    with pytest.raises(DataError, match="is not an empty folder"):
        export([train], tmp_path / "set")


def test_generated_data_keep_their_levels(study, tmp_path):
    made = export([study.data.train, study.data.test], tmp_path / "made")
    assert content(read_coco(made, "test")) == content(study.data.test)


def test_coco_files_beside_folders_named_as_opixrays_are_read_as_coco(study, tmp_path):
    assert detect_format(study.data.train.root) == "opixray"
    made = export([study.data.train, study.data.test], tmp_path / "made")
    assert (made / "train/train_image").is_dir()
    assert detect_format(made) == "coco" and check(made).ok
    for file in made.glob("*.json"):
        file.unlink()
    assert detect_format(made) == "opixray"  # images alone: the doctor names what is missing


@pytest.mark.parametrize("there", [True, False])
def test_an_export_that_is_interrupted_leaves_the_target_as_it_was(
    source, tmp_path, monkeypatch, there
):
    target = tmp_path / "made"
    if there:
        target.mkdir()

    def interrupt(*_):
        assert any(target.rglob("*.png"))
        raise KeyboardInterrupt

    monkeypatch.setattr("doamlib.data.export.write_coco", interrupt)
    with pytest.raises(KeyboardInterrupt):
        export([read_coco(source, "train")], target)
    assert target.exists() == there and not (there and any(target.iterdir()))
    monkeypatch.undo()
    assert (export([read_coco(source, "train")], target) / "train.json").is_file()


def test_every_run_has_its_file_of_detections(tmp_path):
    from doamlib.cli_data import _write_detections

    found = SimpleNamespace(detections=lambda: SimpleNamespace(as_coco=list))
    plan = [SimpleNamespace(arm=arm, seed=0, result=found) for arm in ARMS]
    written = [_write_detections(run, tmp_path) for run in plan]
    assert sorted((tmp_path / "detections").iterdir()) == sorted(written)
    assert len(set(written)) == len(ARMS)
    assert tmp_path / "detections/SSD+EG+MA-G-seed0.json" in written


def test_detections_are_what_pycocotools_reads(study, tmp_path):
    from doamlib.cli_data import _finished, _write_detections

    (result,) = study.results(["SSD"]).values()
    made = export([study.data.test], tmp_path / "made")
    file = tmp_path / "one.yaml"
    file.write_text(json.dumps({**study.parameters.model_dump(mode="json"), "arms": ["SSD"]}))
    (run,) = _finished(file, None, study.data.test)
    path = _write_detections(run, made)
    found = result.detections()
    coco = COCO(str(made / "test.json"))
    read = coco.loadRes(str(path))
    assert len(read.anns) == len(found) > 0
    row = read.anns[len(found)]
    image = coco.imgs[row["image_id"]]
    record = study.data.test.records[int(found.image_index[-1])]
    assert image["file_name"] == record.path
    x1, y1, x2, y2 = (float(v) for v in found.boxes[-1])
    assert row["bbox"] == pytest.approx([x1, y1, x2 - x1, y2 - y1])
    assert row["category_id"] == found.label[-1] and row["score"] == pytest.approx(found.score[-1])
    turned = study.data.test.subset(reversed(study.data.test.image_ids))
    assert _finished(file, None, turned) == [], "its numbers are of images in another order"
