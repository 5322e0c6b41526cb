"""One judgement: what the doctor finds decides for plan, train and every page."""

from __future__ import annotations

import json
import shutil
import sys

import pytest
from coco_tools import edit, write_coco, write_picture
from PIL import Image

from doamlib import cli
from doamlib.data.doctor.doctor import check
from doamlib.data.faults import DataError
from doamlib.experiments.data import DataConfig, open_data
from doamlib.experiments.parameters import from_values
from doamlib.experiments.study import Study


def boxes(change, split="train"):
    """A fault planted in every box of a split."""

    def plant(root):
        def each(content):
            for item in content["annotations"]:
                change(item)

        edit(root / f"{split}.json", each)

    return plant


def content(change, split="train"):
    return lambda root: edit(root / f"{split}.json", change)


def turned(root):
    with Image.open(root / "train/train_1.png") as image:
        exif = image.getexif()
        exif[0x0112] = 6
        image.save(root / "train/train_1.png", exif=exif)


def cut(root):
    path = root / "test/test_2.png"
    path.write_bytes(path.read_bytes()[:-300])


def sixteen_bits(root):
    Image.new("I;16", (60, 40)).save(root / "train/train_1.png")


def huge(root):
    """A picture of 50 kilobytes that would be 1.2 gigabytes."""
    Image.new("1", (20_000, 20_000)).save(root / "train/train_1.png")


def linked(root):
    path = root / "test/test_1.png"
    path.rename(root.parent / "elsewhere.png")
    path.symlink_to(root.parent / "elsewhere.png")


def renumber(data):
    """OPIXray's five are known by their names; of others the order of the ids decides."""
    new = {1: 3, 2: 1, 3: 5, 4: 2, 5: 4}
    for category in data["categories"]:
        category["id"] = new[category["id"]]
    for item in data["annotations"]:
        item["category_id"] = new[item["category_id"]]


def other_names(root):
    for split in ("train", "test"):
        for index, name in enumerate(("Gun", "Knife", "Wrench", "Pliers", "Baton")):
            edit(
                root / f"{split}.json", lambda d, i=index, n=name: d["categories"][i].update(name=n)
            )


def other_numbers(root):
    other_names(root)
    edit(root / "test.json", renumber)


def in_place_of_test(root):
    (root / "test.json").rename(root / "valid.json")
    (root / "test").rename(root / "valid")


def rename(data):
    data["categories"][0]["name"] = "Gun"


def corners(item):
    x, y, width, height = item["bbox"]
    item["bbox"] = [x + 20, y, x + 20 + width, y + height]


def negative(item):
    x, y, width, height = item["bbox"]
    item["bbox"] = [x + width, y + height, -width, -height]


def alike(root):
    for split in ("train", "test"):
        edit(root / f"{split}.json", lambda d: d["categories"][1].update(name="folding knife"))


def doubled(data):
    copies = [{**item, "id": 100 + item["id"]} for item in data["annotations"]]
    data["annotations"] += copies


def one_twice(data):
    data["annotations"].append({**data["annotations"][0], "id": 99})


def set_box(*values):
    return lambda item: item.update(bbox=list(values))


def first(**values):
    return lambda data: data["annotations"][0].update(values)


def image(index, **values):
    return lambda data: data["images"][index].update(values)


ERRORS = {
    "all crowd": ("no-boxes", boxes(lambda item: item.update(iscrowd=1))),
    "test all crowd": ("no-boxes", boxes(lambda item: item.update(iscrowd=1), "test")),
    "negative sides": ("no-boxes", boxes(negative)),
    "no annotations": ("no-boxes", content(lambda data: data.update(annotations=[]))),
    "fractions": ("fractions", boxes(lambda i: i.update(bbox=[v / 60 for v in i["bbox"]]))),
    "test fractions": ("fractions", boxes(set_box(0.1, 0.2, 0.3, 0.4), "test")),
    "corners": ("corners", boxes(corners)),
    "every box twice": ("boxes-twice", content(doubled)),
    "other numbers": ("classes-differ", other_numbers),
    "other names": ("classes-differ", content(rename, "test")),
    "no test split": ("no-annotations", lambda root: (root / "test.json").unlink()),
    "no train split": ("no-annotations", lambda root: (root / "train.json").unlink()),
    "turned": ("turned", turned),
    "cut short": ("unreadable-image", cut),
    "no image": ("missing", lambda root: (root / "train/train_2.png").unlink()),
    "other size": ("size-differs", content(image(0, width=61))),
    "class called mAP": ("bad-class", content(lambda d: d["categories"][0].update(name="mAP"))),
    "class of 9,000": ("bad-class", content(lambda d: d["categories"][0].update(name="x" * 9000))),
    "unknown class": ("unknown-class", content(first(category_id=77))),
    "unknown image": ("unknown-image", content(first(image_id=77))),
    "NaN": ("bad-entry", content(first(bbox=[1, 2, float("nan"), 4]))),
    "three numbers": ("bad-entry", content(first(bbox=[1, 2, 3]))),
    "image twice": ("bad-entry", content(lambda data: data["images"].append(data["images"][0]))),
    "outside": ("outside-root", content(image(0, file_name="../../secret.png"))),
    "no JSON": ("bad-json", lambda root: (root / "test.json").write_text("{")),
    "brackets": ("bad-json", lambda root: (root / "test.json").write_text("[" * 100_000)),
    "long number": (
        "bad-json",
        lambda root: (root / "test.json").write_text('{"images": [' + "9" * 5000 + "]}"),
    ),
    "two lines": ("bad-entry", content(image(0, file_name="a\nb.png"))),
    "reads backwards": ("bad-entry", content(image(0, file_name="\u202egnp.1"))),
    "path of 10,000": ("bad-entry", content(image(0, file_name="x" * 10_000))),
    "class of two lines": ("bad-class", content(lambda d: d["categories"][0].update(name="a\nb"))),
    "class as formula": ("bad-class", content(lambda d: d["categories"][0].update(name="$a_$"))),
    "20,000 x 20,000": ("huge-image", huge),
    "a list": ("bad-json", lambda root: (root / "test.json").write_text("[]")),
    "no images": ("empty-list", content(lambda data: data.update(images=[]))),
    "category twice": ("bad-entry", content(lambda d: d["categories"][1].update(id=1))),
    "sixteen bits": ("unreadable-image", sixteen_bits),
    "a link that leads out": ("outside-root", linked),
    "sidecar": (
        "bad-sidecar",
        lambda root: [(root / "sidecar").mkdir(), (root / "sidecar/test.jsonl").write_text("{}")],
    ),
    "sidecar of others": (
        "bad-sidecar",
        lambda root: [
            (root / "sidecar").mkdir(),
            (root / "sidecar/test.jsonl").write_text('{"image":"a","items":[],"harmless":[]}'),
        ],
    ),
}  # fmt: skip

WARNINGS = {
    "one box twice": ("box-twice", content(one_twice), "1 suspicious (1 box-twice)"),
    "one over the edge": ("box-clipped", content(first(bbox=[50, 30, 20, 5])), "1 clipped"),
    "one without area": ("box-dropped", content(first(bbox=[50, 30, -2, 5])), "1 dropped"),
    "one crowd": ("crowd", content(first(iscrowd=1)), "1 dropped"),
    "a dot": ("box-size", content(first(bbox=[5, 5, 1, 1])), "(1 box-size)"),
    "a copy": (
        "same-image",
        lambda root: shutil.copy(root / "train/train_1.png", root / "test/test_1.png"),
        "(1 same-image)",
    ),
    "classes alike": ("alike-classes", alike, "1 alike-classes"),
    "validation for test": (
        "val-as-test",
        in_place_of_test,
        "(1 val-as-test)",
    ),
    "a large image": (
        "image-size",
        lambda root: [
            write_picture(root / "train/train_1.png", (300, 40)),
            content(image(0, width=300))(root),
        ],
        "1 image-size",
    ),
}


@pytest.fixture
def root(tmp_path, home):
    return write_coco(tmp_path / "set")


def opened(root):
    """What training gets of a folder, and the lines that it prints."""
    lines = []
    return open_data(DataConfig(dataset="coco"), str(root), report=lines.append), lines


def test_sound_data_are_taken_and_their_line_is_the_doctors(root):
    report = check(root)
    data, lines = opened(root)
    assert report.ok and report.faults == ()
    line = (
        "train 6 images, 6 boxes; test 4 images, 4 boxes; boxes: 0 dropped, 0 clipped; 0 suspicious"
        "; no occlusion levels; no masks; no Multi-tool_Knife in test"
    )
    assert lines[-1] == report.line == line
    assert (len(data.train), len(data.test)) == (6, 4)


def test_the_line_ends_with_what_the_data_do_not_have(root):
    edit(root / "test.json", lambda data: data["images"][0].update(occlusion_level=2))
    assert check(root).line.endswith("; 0 suspicious; no masks; no Multi-tool_Knife in test")
    boxes(lambda item: item.update(category_id=1))(root)
    missing = "no Straight_Knife, Scissor, Utility_Knife and 1 more in train"
    assert f"; {missing}; no masks" in check(root).line


@pytest.mark.parametrize("fault", ERRORS)
def test_what_the_doctor_refuses_is_refused_everywhere(root, fault):
    code, plant = ERRORS[fault]
    plant(root)
    report = check(root)
    errors = [found for found in report.faults if found.severity == "error"]
    assert errors and errors[0].code == code, report
    assert not report.ok
    with pytest.raises(DataError) as refused:
        opened(root)
    assert (refused.value.fault.code, refused.value.fault.message) == (code, errors[0].message)
    assert str(refused.value).isprintable() and len(str(refused.value)) < 1000
    values = {"dataset": "coco", "data_root": str(root), "device": "cpu", "warm_start": "none"}
    study = Study(from_values(values), lambda line: None)
    for door in (study.plan, study.results):  # what pages begin with, what trains
        with pytest.raises(DataError) as again:
            door()
        assert str(again.value) == str(refused.value)
    if len(errors) > 1:
        assert f"{len(errors) - 1} more errors: doam data check" in str(refused.value)


@pytest.mark.parametrize("fault", WARNINGS)
def test_what_the_doctor_warns_of_is_in_the_line_before_training(root, fault):
    code, plant, words = WARNINGS[fault]
    plant(root)
    report = check(root)
    assert report.ok and code in {found.code for found in report.faults}
    _, lines = opened(root)
    assert lines[-1] == report.line and words in report.line


def test_a_name_in_class_names_that_no_category_has_is_told(root):
    lines = []
    config = DataConfig(dataset="coco", class_names={"Scissors": "Cutter"})
    open_data(config, str(root), report=lines.append)
    assert "2 suspicious (2 unknown-name)" in lines[-1]
    report = check(root, format="coco", names={"Scissors": "Cutter"})
    assert "class_names has 'Scissors', which is no category of this file" in str(report)


def test_plan_train_and_a_page_refuse_in_the_same_words(root, monkeypatch, capsys, tmp_path):
    other_numbers(root)
    values = {"dataset": "coco", "data_root": str(root), "device": "cpu", "warm_start": "none"}
    file = tmp_path / "my.yaml"
    file.write_text(json.dumps(values))
    said = set()
    for command in ("plan", "train", "data"):
        monkeypatch.setattr(sys, "argv", ["doam", command, "-f", str(file)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        assert stop.value.code == 2
        said.add(capsys.readouterr().err.removeprefix("doam: ").strip())
    with pytest.raises(DataError) as refused:  # what a page's first cell does
        Study(from_values(values), lambda line: None).plan()
    assert said == {str(refused.value)}
    assert "numbers the same classes otherwise than train" in str(refused.value)


def test_images_are_decoded_once_however_often_data_are_opened(root, monkeypatch):
    for number, split in enumerate(("train", "test")):
        write_picture(root / f"{split}/{split}_1.png", seed=5000 + number)  # no other test's
    _, lines = opened(root)
    assert sum("decoding" in line for line in lines) == 2
    _, lines = opened(root)
    assert len(lines) == 1
    write_picture(root / "train/train_1.png", seed=77)
    _, lines = opened(root)
    assert sum("decoding" in line for line in lines) == 1
