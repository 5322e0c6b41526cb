"""What strangers' folders hold besides what tools write: told or refused in a line each."""

from __future__ import annotations

import json
import os
import sys

import pytest
from coco_tools import edit, write_coco, write_picture
from console import run

from doamlib.data.coco import read_coco
from doamlib.data.convert import convert
from doamlib.data.doctor.doctor import check
from doamlib.data.faults import DataError
from doamlib.experiments.data import DataConfig, open_data

GBK = os.fsdecode(b"\xb5\xb6")
"""A Chinese name as a zip of Windows leaves it on a disk: no UTF-8."""

BOX = {"label": "gun", "points": [[5, 6], [25, 30]], "shape_type": "rectangle"}

XML = (
    "<annotation><filename>{0}.png</filename><size><width>60</width><height>40</height></size>"
    "<object><name>{1}</name>{2}<bndbox><xmin>5</xmin><ymin>6</ymin><xmax>25</xmax><ymax>30</ymax>"
    "</bndbox></object></annotation>"
)


def labelme(root, stem, *shapes, **more):
    """One image as LabelMe writes it; ``more`` replaces what the file says."""
    write_picture(root / f"{stem}.png", seed=len(list(root.glob("*"))) if root.exists() else 0)
    whole = {"imagePath": f"{stem}.png", "imageHeight": 40, "imageWidth": 60, "shapes": shapes}
    (root / f"{stem}.json").write_text(json.dumps({**whole, **more}))


def voc(root, stem, name="gun", more="", picture=True):
    """One image with one box as labelImg writes it."""
    root.mkdir(exist_ok=True)
    (root / f"{stem}.xml").write_text(XML.format(stem, name, more))
    if picture:
        write_picture(root / f"{stem}.png", seed=len(list(root.iterdir())))


def yolo(root, *stems):
    """Images with a box each, half of them in the test split."""
    for split in ("train", "test"):
        for stem in stems:
            write_picture(root / split / f"{split}_{stem}.png", seed=hash(split + stem) % 999)
            (root / split / f"{split}_{stem}.txt").write_text("0 0.5 0.5 0.5 0.25\n")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems' names are all Unicode")
@pytest.mark.parametrize("stem", [GBK, f"{GBK}/a", "a\u3000b", "a\\b"])
def test_an_image_whose_path_training_could_not_read_is_refused(tmp_path, stem):
    root = tmp_path / "set"
    (root / GBK).mkdir(parents=True)
    for name in (stem, "c", "d"):
        labelme(root, name, BOX)
    with pytest.raises(DataError) as refused:
        convert(root, tmp_path / "made", share=0.5)
    assert refused.value.fault.code == "bad-path" and not (tmp_path / "made").exists()
    told = str(refused.value)
    assert told.isprintable() and repr(f"{stem}.png") in told and "rename it" in told


@pytest.mark.skipif(sys.platform != "linux", reason="other systems' names are all Unicode")
def test_a_folder_whose_own_name_is_no_unicode_is_converted_and_checked(
    tmp_path, monkeypatch, capsys
):
    for name in "abcd":
        labelme(tmp_path / GBK, name, BOX)
    made = tmp_path / f"{GBK}-made"
    command = ("data", "convert", tmp_path / GBK, made, "--split", "0.5")
    status, out, err = run(monkeypatch, capsys, *command)
    assert (status, err) == (0, "") and "/\\udcb5\\udcb6 -> COCO JSON in " in out
    (made / "test.json").rename(made / f"test-{GBK}.json")
    status, out, err = run(monkeypatch, capsys, "data", "check", made)
    assert (status, err) == (0, "") and "test-\\udcb5\\udcb6.json" in out


@pytest.mark.skipif(sys.platform != "linux", reason="other systems' names are all Unicode")
def test_and_it_is_opened_and_noted_as_any_other(tmp_path, monkeypatch):
    monkeypatch.setenv("DOAM_HOME", str(tmp_path / "home"))
    for name in "abcd":
        labelme(tmp_path / "in", name, BOX)
    made = tmp_path / GBK
    convert(tmp_path / "in", made, share=0.5)
    told = []
    for _ in range(2):
        data = open_data(DataConfig(dataset="coco"), str(made), report=told.append)
        assert len(data.train) == 2
    assert sum("decoding" in line for line in told) == 2, "once a split, and not the second time"


@pytest.mark.parametrize(
    "text",
    [
        '[{"shapes": []}]',
        '{"imagePath": "a.png", "imageWidth": 60, "imageHeight": 40, "shapes": null}',
        '{"imagePath": "a.png", "imageWidth": 60, "imageHeight": 40, "shapes": [1]}',
        '{"imagePath": "a.png", "imageWidth": null, "imageHeight": 40, "shapes": []}',
        '{"imagePath": "a.png", "imageWidth": 1e999, "imageHeight": 40, "shapes": []}',
        '{"imagePath": "a.png", "imageWidth": 60, "imageHeight": 40, "shapes": '
        '[{"label": "gun", "points": null, "shape_type": "rectangle"}]}',
        '{"imagePath": "a.png", "imageWidth": 60, "imageHeight": 40, "shapes": '
        '[{"label": "gun", "points": [[1, 2], [3, 4]], "shape_type": []}]}',
        '{"shapes": ' + "[" * 100_000,
    ],
)
def test_a_labelme_file_with_other_types_is_named_and_stops_nothing(tmp_path, text):
    root = tmp_path / "me"
    for name in "ab":
        labelme(root, name, BOX)
    (root / "odd.json").write_text(text)
    made = convert(root, tmp_path / "made", share=0.5)
    assert [line.split(" (")[0] for line in made.losses] == [
        "1 annotation files that cannot be read, e.g. odd.json"
    ]
    assert check(tmp_path / "made").ok


@pytest.mark.parametrize(
    "text", ["made: 2024-02-30", "made: !!timestamp x", 'made: !!int ""', "made: !!bool x"]
)
def test_a_yaml_with_a_value_of_no_kind_is_named_and_stops_nothing(tmp_path, text):
    yolo(tmp_path / "yolo", "a")
    (tmp_path / "yolo/data.yaml").write_text(f"names: [gun]\n{text}\n")
    made = convert(tmp_path / "yolo", tmp_path / "made")
    assert "1 YAML files that cannot be read, e.g. data.yaml" in made.losses


def test_shapes_of_labelme_that_have_no_box_are_counted(tmp_path):
    root = tmp_path / "me"
    kinds = ("circle", "line", "linestrip", "point", "mask")
    others = [{**BOX, "label": "knife", "shape_type": kind} for kind in kinds]
    labelme(root, "a", BOX, *others)
    labelme(root, "b", BOX, {**BOX, "label": "polygon"})
    made = convert(root, tmp_path / "made", share=0.5)
    assert made.losses == (
        "5 shapes other than rectangles and polygons are left out, e.g. a.json "
        "('knife' is a circle)",
    )


def test_what_else_vocs_objects_hold_is_counted(tmp_path):
    root = tmp_path / "voc"
    voc(root, "a", more="<polygon><x1>5</x1></polygon><part><name>grip</name></part>")
    voc(root, "b", more="<attributes><attribute><name>n</name></attribute></attributes>")
    assert [line.split(",")[0] for line in convert(root, tmp_path / "made", share=0.5).losses] == [
        "1 entries 'part' are not kept",
        "1 entries 'polygon' are not kept",
        "1 entries 'attribute' are not kept",
    ]


def test_a_group_that_takes_no_part_in_the_match_is_the_images_name(tmp_path):
    root = tmp_path / "voc"
    for name in ("bag1_a", "bag1_b", "xray1", "xray2"):
        voc(root, name)
    made = convert(root, tmp_path / "made", share=0.5, group=r"^(bag\d+)|x")
    bags = [{"bag1_a", "bag1_b"} & set(split.image_ids) for split in made.splits]
    assert sorted(map(len, bags)) == [0, 2]


@pytest.mark.parametrize(
    ("picture", "name", "reason"),
    [
        ("", "gun", "2 annotation files without their image, e.g. a.xml"),
        (".webp", "gun", "2 annotation files without their image, e.g. a.xml"),
        (".png", "", "2 annotation files that cannot be read, e.g. a.xml ("),
    ],
)
def test_why_a_format_was_not_taken_is_told(tmp_path, picture, name, reason):
    root = tmp_path / "voc"
    for stem in "ab":
        voc(root, stem, name, "<truncated>1</truncated>", picture=False)
        if picture:
            write_picture(root / f"{stem}{picture}")
        file = root / f"{stem}.xml"
        file.write_text(file.read_text().replace("<name></name>", ""))
    with pytest.raises(DataError, match="nothing to convert: found 2 Pascal VOC XML files") as told:
        convert(root, tmp_path / "made", share=0.5)
    assert reason in str(told.value)


def test_a_readme_in_a_folder_named_labels_does_not_make_coco_yolo(tmp_path):
    root = write_coco(tmp_path / "set", file="labels/{split}.json", images="images/{split}")
    (root / "labels/README.txt").write_text("made by hand\n")
    made = convert(root, tmp_path / "made")
    assert (made.format, made.losses) == ("COCO", ())
    assert read_coco(tmp_path / "made", "train").classes == read_coco(root, "train").classes


def test_captions_beside_the_images_do_not_make_coco_yolo(tmp_path):
    root = write_coco(tmp_path / "set")
    for picture in root.glob("*/*.png"):
        picture.with_suffix(".txt").write_text("a bag with a knife\n")
    assert convert(root, tmp_path / "made").format == "COCO"
    for file in root.glob("*.json"):
        file.unlink()
    with pytest.raises(DataError) as told:
        convert(root, tmp_path / "again")
    assert "10 lines that cannot be read, e.g. test/test_1.txt:1 (" in str(told.value)
    assert "10 images without a box as YOLO" in str(told.value)


def test_two_images_a_class_are_parted_and_one_is_told(tmp_path):
    root = tmp_path / "voc"
    for name in ("gun", "bat"):
        voc(root, f"{name}1", name)
    with pytest.raises(DataError) as refused:
        convert(root, tmp_path / "made", share=0.8)
    told = str(refused.value)
    assert "there is one image or group each of bat, gun; add images" in told
    assert "--split" not in told
    for name in ("gun", "bat"):
        voc(root, f"{name}2", name)
    made = convert(root, tmp_path / "made", share=0.8)
    for split in made.splits:
        assert sorted(int(record.labels[0]) for record in split.records) == [1, 2]


def test_ten_images_a_class_are_parted_as_ever(tmp_path):
    root = tmp_path / "voc"
    for name in ("gun", "bat"):
        for number in range(10):
            voc(root, f"{name}{number}", name)
    train, test = convert(root, tmp_path / "made", share=0.8).splits
    assert sorted(test.image_ids) == ["bat1", "bat4", "gun3", "gun4"] and len(train) == 16


def test_entries_that_no_reader_takes_are_told_and_the_rest_is_converted(tmp_path):
    root = write_coco(tmp_path / "set")
    edit(root / "train.json", lambda d: [d["images"][n].update(file_name="") for n in (0, 1)])
    edit(root / "test.json", lambda d: d["images"][0].update(occlusion_level=7))
    made = convert(root, tmp_path / "made")
    told = " ".join(made.losses)
    assert "3 entries at fault (bad-entry), e.g. " in told
    assert [len(split) for split in made.splits] == [4, 3]
