"""Pascal VOC, YOLO, LabelMe and COCO become COCO JSON that training reads; what is lost is told."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from coco_tools import edit, write_coco, write_picture

from doamlib import cli
from doamlib.data.classes import CLASSES
from doamlib.data.coco import read_coco
from doamlib.data.convert import convert
from doamlib.data.doctor.doctor import check
from doamlib.data.faults import DataError

SIZE = (60, 40)


def voc(
    root, stem, *items, folder="Annotations", images="JPEGImages", size=SIZE, name=None, seed=0
):
    """One image as labelImg writes it; items are (class, x1, y1, x2, y2, more XML)."""
    write_picture(root / images / f"{stem}.png", SIZE, seed=seed or abs(hash(stem)) % 999)
    objects = "".join(
        f"<object><name>{label}</name><pose>Unspecified</pose><truncated>0</truncated>"
        f"<difficult>0</difficult>{''.join(more)}<bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin>"
        f"<xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>"
        for label, x1, y1, x2, y2, *more in items
    )
    file = root / folder / f"{stem}.xml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(
        f"<annotation><folder>{images}</folder><filename>{name or stem + '.png'}</filename>"
        f"<size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size>"
        f"<segmented>0</segmented>{objects}</annotation>"
    )


def yolo(root, stem, *lines, split="train", images="images/{}", labels="labels/{}", seed=0):
    write_picture(root / images.format(split) / f"{stem}.png", SIZE, seed=seed or hash(stem) % 999)
    if lines != (None,):
        file = root / labels.format(split) / f"{stem}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("".join(f"{line}\n" for line in lines))


def boxes(dataset):
    """Image id -> class names and corners, rounded to a hundredth of a pixel."""
    return {
        record.image_id: [
            (dataset.classes[label - 1], *(round(v, 2) for v in corners))
            for corners, label in zip(record.boxes.tolist(), record.labels.tolist(), strict=True)
        ]
        for record in dataset.records
    }


def test_voc_as_labelimg_writes_it(tmp_path):
    root = tmp_path / "voc"
    voc(root, "a", ("knife", 5, 6, 25, 30), ("gun", 1, 2, 9, 8))
    voc(root, "b", ("gun", 2, 2, 12, 18))
    (root / "ImageSets/Main").mkdir(parents=True)
    (root / "ImageSets/Main/train.txt").write_text("a\n")
    (root / "ImageSets/Main/test.txt").write_text("b\n")
    (root / "ImageSets/Main/gun_train.txt").write_text("a -1\n")
    made = convert(root, tmp_path / "made")
    assert made.format == "Pascal VOC" and made.losses == ()
    train, test = (read_coco(tmp_path / "made", split) for split in ("train", "test"))
    assert boxes(train) == {"a": [("knife", 5, 6, 25, 30), ("gun", 1, 2, 9, 8)]}
    assert boxes(test) == {"b": [("gun", 2, 2, 12, 18)]}
    assert train.classes == test.classes == ("gun", "knife")
    report = check(tmp_path / "made")
    assert report.ok, report


def test_voc_lists_tell_the_split_of_names_with_spaces(tmp_path):
    root = tmp_path / "voc"
    for number, stem in enumerate(("bag 1", "bag 2", "bag 3")):
        voc(root, stem, ("gun", 1, 2, 9, 8 + number))
    (root / "ImageSets/Main").mkdir(parents=True)
    (root / "ImageSets/Main/train.txt").write_text("bag 1\nbag 3  -1\n")
    (root / "ImageSets/Main/test.txt").write_text("bag 2\n")
    convert(root, tmp_path / "made")
    assert boxes(read_coco(tmp_path / "made", "train")).keys() == {"bag 1", "bag 3"}
    assert boxes(read_coco(tmp_path / "made", "test")).keys() == {"bag 2"}


def test_voc_lists_with_folders_and_a_trainval(tmp_path):
    root = tmp_path / "voc"
    for number, stem in enumerate(("layer A/bag 1", "bag2", "bag3", "bag4")):
        voc(root, stem, ("gun", 1, 2, 9, 8 + number))
    lists = root / "ImageSets/Main"
    lists.mkdir(parents=True)
    (lists / "trainval.txt").write_text("layer A/bag 1\nbag2 1\nbag4\n")
    (lists / "val.txt").write_text("bag4\n")
    (lists / "test.txt").write_text("/\nbag3\n")
    convert(root, tmp_path / "made")
    splits = {s: [*boxes(read_coco(tmp_path / "made", s))] for s in ("train", "val", "test")}
    assert splits == {"train": ["bag2", "bag 1"], "val": ["bag4"], "test": ["bag3"]}
    (lists / "train.txt").write_text("bag2\n")  # where it is there, it alone tells
    with pytest.raises(DataError, match="layer A"):
        convert(root, tmp_path / "again")


def test_an_independent_reader_gives_the_same_boxes(tmp_path):
    """pycocotools reads what was written; the XML is read by hand."""
    from pycocotools.coco import COCO

    root = tmp_path / "voc"
    for number in range(10):
        voc(root, f"i{number}", ("gun", number, 2, 20 + number, 30), folder="x", images="x")
    convert(root, tmp_path / "made", share=0.8)
    found = {}
    for split in ("train", "test"):
        coco = COCO(str(tmp_path / f"made/{split}.json"))
        for image in coco.loadImgs(coco.getImgIds()):
            (box,) = coco.loadAnns(coco.getAnnIds(image["id"]))
            found[Path(image["file_name"]).stem] = box["bbox"]
    assert found == {f"i{n}": [n, 2, 20, 28] for n in range(10)}


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        ("images/{}", "labels/{}"),
        ("{}/images", "{}/labels"),
        ("data/obj_{}_data", "data/obj_{}_data"),
    ],
)
def test_yolo_text_in_the_places_where_tools_put_it(tmp_path, images, labels):
    root = tmp_path / "yolo"
    places = {"images": images, "labels": labels}
    yolo(root, "a", "1 0.5 0.5 0.5 0.25", "0 0.25 0.5 0.1 0.5", **places)
    yolo(root, "b", "0 0.5 0.5 1 1", "", split="valid", **places)
    yolo(root, "c", None, split="valid", **places)
    (root / "data.yaml").write_text("names: [gun, knife]\nnc: 2\n")
    made = convert(root, tmp_path / "made")
    assert made.format == "YOLO"
    background = images.format("valid") + "/c.png"
    assert made.losses == (f"1 images without a text file became backgrounds, e.g. {background}",)
    assert boxes(read_coco(tmp_path / "made", "train")) == {
        "a": [("knife", 15, 15, 45, 25), ("gun", 12, 10, 18, 30)]
    }
    assert boxes(read_coco(tmp_path / "made", "val")) == {"b": [("gun", 0, 0, 60, 40)], "c": []}


def test_yolo_numbers_a_class_by_its_line_though_one_before_it_is_blank(tmp_path):
    root = tmp_path / "yolo"
    yolo(root, "a", "2 0.5 0.5 0.5 0.25")
    yolo(root, "b", "0 0.5 0.5 1 1", split="test")
    (root / "classes.txt").write_text("gun\n\nknife\n")
    convert(root, tmp_path / "made")
    ((name, *_),) = boxes(read_coco(tmp_path / "made", "train"))["a"]
    assert name == "knife"


def test_yolo_polygons_confidences_broken_lines_and_numbers_for_names_are_told(tmp_path):
    root = tmp_path / "yolo"
    yolo(root, "a", "3 0.1 0.1 0.5 0.1 0.5 0.5 0.1 0.5", "3 0.5 0.5 0.5 0.5 0.9", "3 half 1 1 1")
    yolo(root, "b", "3 0.5 0.5 0.2 0.2", split="test")
    made = convert(root, tmp_path / "made")
    assert [line.split(",")[0] for line in made.losses] == [
        "1 lists of class names are missing: classes are called by their number",
        "1 polygons became boxes around them",
        "1 confidences are not kept",
        "1 lines that cannot be read",
    ]
    assert "labels/train/a.txt:3" in made.losses[-1]
    assert boxes(read_coco(tmp_path / "made", "train")) == {
        "a": [("3", 6, 4, 30, 20), ("3", 15, 10, 45, 30)]
    }


def test_key_points_that_the_data_s_settings_announce_are_no_polygon(tmp_path):
    root = tmp_path / "pose"
    key_points = "0.1 0.1 2 0.9 0.9 1"  # two of them: with the box as many numbers as five corners
    yolo(root, "a", f"0 0.5 0.5 0.5 0.25 {key_points}", "0 0.5 0.5 0.1 0.5")
    yolo(root, "b", "0 0.5 0.5 0.2 0.2", split="test")
    (root / "data.yaml").write_text("names: {0: gun}\nkpt_shape: [2, 3]\n")
    made = convert(root, tmp_path / "made")
    assert made.losses == ("1 key points are not kept, e.g. labels/train/a.txt:1",)
    assert boxes(read_coco(tmp_path / "made", "train")) == {
        "a": [("gun", 15, 15, 45, 25), ("gun", 27, 10, 33, 30)]
    }


def test_a_name_of_classes_that_no_box_has_is_told(tmp_path):
    root = tmp_path / "voc"
    voc(root, "train/a", ("gun", 5, 6, 25, 30), folder=".", images=".")
    voc(root, "test/b", ("gun", 5, 6, 25, 30), folder=".", images=".")
    made = convert(root, tmp_path / "made", names={"gum": "Gun"})
    assert made.losses == ("1 names of --classes that no box has, e.g. 'gum'",)


def test_opixrays_own_layout_needs_no_conversion(study, tmp_path):
    with pytest.raises(DataError, match=r"OPIXray's own layout.*dataset: opixray.*data export"):
        convert(study.data.train.root, tmp_path / "made")


def test_what_voc_says_beside_boxes_is_counted_as_lost(tmp_path):
    root = tmp_path / "voc"
    voc(root, "train/a", ("gun", 5, 6, 25, 30, "<occluded>1</occluded>"), folder=".", images=".")
    voc(root, "train/b", ("gun", 50, 6, 70, 30), ("gun", 61, 1, 70, 9), folder=".", images=".")
    voc(root, "test/c", ("gun", 5, 6, 25, 30), ("toy", 1, 1, 9, 9), folder=".", images=".")
    (root / "train/broken.xml").write_text("<annotation><filename>a.png")
    (root / "train/lonely.xml").write_text(
        (root / "train/a.xml").read_text().replace("a.png", "z.png")
    )
    (root / "train/swapped.xml").write_text(
        (root / "train/a.xml").read_text().replace("<xmin>5<", "<xmin>45<")
    )
    made = convert(root, tmp_path / "made", names={"toy": "", "gun": "Gun"})
    told = {line.split(" ", 1)[1].split(",")[0]: int(line.split()[0]) for line in made.losses}
    assert told == {
        "annotation files that cannot be read": 2,
        "annotation files without their image": 1,
        "flags 'occluded' are not kept": 1,  # of the lonely file nothing is
        "boxes without area": 1,
        "boxes clipped": 1,
        "boxes of 'toy'": 1,
    }
    assert read_coco(tmp_path / "made", "test").classes == ("Gun",)


def test_labelmes_own_files(tmp_path):
    root = tmp_path / "me"
    for stem, kind, points in (
        ("a", "rectangle", [[25, 30], [5, 6]]),
        ("b", "polygon", [[1, 2], [9, 4], [3, 8]]),
    ):
        write_picture(root / f"{stem}.png", SIZE, seed=ord(stem))
        shape = {"label": "gun", "points": points, "shape_type": kind}
        whole = {"imagePath": f"{stem}.png", "imageHeight": 40, "imageWidth": 60, "shapes": [shape]}
        (root / f"{stem}.json").write_text(json.dumps(whole))
    made = convert(root, tmp_path / "made", share=0.5)
    assert made.format == "LabelMe"
    assert [line.split(",")[0] for line in made.losses] == ["1 polygons became boxes around them"]
    both = boxes(made.splits[0]) | boxes(made.splits[1])
    assert both == {"a": [("gun", 5, 6, 25, 30)], "b": [("gun", 1, 2, 9, 8)]}


def test_one_coco_list_is_divided_and_keeps_its_class_numbers(tmp_path):
    """As Label Studio exports: result.json for everything."""
    root = write_coco(
        tmp_path / "one",
        ("b", "a"),
        counts={"all": 20},
        file="result.json",
        images="images",
        prefix="images/",
    )
    edit(
        root / "result.json",
        lambda d: d["annotations"][0].update(segmentation=[[1, 2, 3, 4, 5, 6]]),
    )
    with pytest.raises(DataError, match=r"20 images are in no split.*--split 0\.8"):
        convert(root, tmp_path / "made")
    made = convert(root, tmp_path / "made", share=0.8)
    assert [line.split(",")[0] for line in made.losses] == ["1 entries 'segmentation' are not kept"]
    train, test = (read_coco(tmp_path / "made", split) for split in ("train", "test"))
    assert train.classes == ("b", "a") and (len(train), len(test)) == (16, 4)
    assert sorted(train.image_ids + test.image_ids) == sorted(f"all_{n}" for n in range(1, 21))
    for part in (train, test):  # eight and two of each class
        labels = [int(record.labels[0]) for record in part.records]
        assert labels.count(1) == labels.count(2)


def test_groups_stay_together_and_new_images_move_no_old_one(tmp_path):
    root = tmp_path / "voc"
    for bag in range(12):
        for view in ("top", "side"):
            voc(root, f"bag{bag}_{view}", ("gun", 5, 6, 25, 30), seed=10 * bag + len(view))
    pattern = r"^(bag\d+)"
    first = convert(root, tmp_path / "first", share=0.75, group=pattern)
    bags = [{r.image_id.split("/")[-1].split("_")[0] for r in s.records} for s in first.splits]
    assert not bags[0] & bags[1] and (len(bags[0]), len(bags[1])) == (9, 3)
    again = convert(root, tmp_path / "again", share=0.75, group=pattern)
    assert [s.image_ids for s in again.splits] == [s.image_ids for s in first.splits]


def test_versions_of_one_image_by_roboflow_are_not_parted(tmp_path):
    root = tmp_path / "voc"
    for image in range(6):
        for version in ("0a1b", "9f00"):
            voc(
                root,
                f"scan{image}_png.rf.{version}",
                ("gun", 5, 6, 25, 30),
                seed=image + len(version),
            )
    made = convert(root, tmp_path / "made", share=0.5)
    scans = [{r.image_id.split("/")[-1].split("_")[0] for r in s.records} for s in made.splits]
    assert not scans[0] & scans[1]


def test_sixrays_positives_are_voc_with_images_elsewhere(tmp_path):
    root = tmp_path / "SIXray"
    for number in range(1, 11):
        stem = f"P{number:05}"
        voc(
            root,
            stem,
            ("Gun", 1, 2, 30, 20),
            folder="Annotation",
            images=f"{number % 3}",
            seed=number,
        )
    made = convert(root, tmp_path / "made", share=0.8)
    assert [len(split) for split in made.splits] == [8, 2] and made.losses == ()


def test_opixrays_names_keep_the_papers_order(tmp_path):
    root = tmp_path / "voc"
    voc(root, "train_a", ("Scissor", 1, 2, 30, 20), folder="train", images="train")
    voc(root, "test_b", ("Folding_Knife", 1, 2, 30, 20), folder="test", images="test")
    assert convert(root, tmp_path / "made").splits[0].classes == CLASSES


@pytest.mark.parametrize(
    ("prepare", "code"),
    [
        (lambda root: write_picture(root / "a.png"), "nothing-known"),
        (lambda root: voc(root, "a", ("mAP", 1, 2, 9, 9)), "bad-class"),
        (lambda root: voc(root, "train/a", ("gun", 1, 2, 9, 9)), "no-split"),
        (lambda root: (root.parent / "made/x").mkdir(parents=True), "in-use"),
    ],
)
def test_refusals_are_one_line_and_leave_nothing(tmp_path, prepare, code):
    root = tmp_path / "source"
    root.mkdir()
    prepare(root)
    with pytest.raises(DataError) as refused:
        convert(root, tmp_path / "made")
    assert refused.value.fault.code == code and "\n" not in str(refused.value)
    assert not list((tmp_path / "made").glob("*.json"))


def test_the_command_converts_reports_and_checks(tmp_path, monkeypatch, capsys):
    root = tmp_path / "voc"
    for number in range(10):
        voc(root, f"i{number}", ("knife", 5, 6, 25, 30), ("toy", 1, 1, 9, 9), seed=number + 1)
    arguments = [root, tmp_path / "made", "--split", "0.8", "--classes", '{knife: Knife, toy: ""}']
    monkeypatch.setattr(sys, "argv", ["doam", "data", "convert", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    out = capsys.readouterr().out.splitlines()
    assert stop.value.code == 0
    assert out[0].endswith("images train 8, test 2") and out[1] == "classes: Knife"
    assert out[2].startswith("lost: 10 boxes of 'toy', left out by the mapping, e.g.")
    assert out[3].startswith("train 8 images, 8 boxes; test 2 images, 2 boxes")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--split", "80"], "give a share above 0 and below 1"),
        (["--classes", "{knife: [1]}"], "write a mapping of names"),
        (["--classes", "nowhere.yaml"], "'nowhere.yaml': write a mapping of names"),
        (["--split", "0.8", "--group", "(bag"], "--group '(bag': "),
        (["--split", "0.8", "--group", "bag[0-9]+"], "'bag[0-9]+' has no group: put brackets"),
    ],
)
def test_the_commands_refusals(tmp_path, monkeypatch, capsys, arguments, words):
    voc(tmp_path / "voc", "a", ("knife", 5, 6, 25, 30))
    command = ["doam", "data", "convert", str(tmp_path / "voc"), str(tmp_path / "made"), *arguments]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 2
    assert words in " ".join(capsys.readouterr().err.replace("│", " ").split())
