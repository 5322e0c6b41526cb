"""The layouts that tools write are found; where nothing fits, what was found is told."""

from __future__ import annotations

import pytest
from coco_tools import edit, write_coco, write_picture

from doamlib.data.coco import read_coco
from doamlib.data.doctor.doctor import check
from doamlib.data.faults import DataError
from doamlib.data.layouts import find_splits, split_of
from doamlib.data.opixray import read_opixray

NAMES = ("Gun", "Knife", "Bat")
YEAR = {"train": "train2017", "test": "test2017"}


def renamed(root, **names):
    """Rename folders and files whose path holds a split's name, deepest first."""
    for path in sorted(root.rglob("*"), key=lambda path: -len(path.parts)):
        name = path.name
        for old, new in names.items():
            if not path.is_dir() and path.suffix != ".json":
                continue
            name = name.replace(old, new)
        if name != path.name:
            path.rename(path.with_name(name))
    return root


LAYOUTS = {
    "plain": {},
    "COCO's own": {
        "file": "annotations/instances_{split}2017.json",
        "images": "{split}2017",
    },
    "COCO's, images together": {"file": "annotations/instances_{split}.json", "images": "images"},
    "CVAT": {"file": "annotations/instances_{split}.json", "images": "images/{split}"},
    "Roboflow": {"file": "{split}/_annotations.coco.json", "images": "{split}"},
    "nested": {"file": "a/b/{split}/labels.json", "images": "a/b/{split}/pictures"},
    "in a folder": {"file": "mine/annotations/{split}.json", "images": "mine/images/{split}"},
    "Label Studio": {
        "file": "{split}/result.json",
        "images": "{split}/images",
        "prefix": "images/",
    },
    "VIA": {"file": "via_export_coco_{split}.json", "images": "images/{split}"},
    "LabelMe": {
        "file": "{split}/annotations.json",
        "images": "{split}/JPEGImages",
        "prefix": "JPEGImages/",
    },
}


@pytest.mark.parametrize("case", ["as it is", "Train", "TRAIN"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_of_tools_are_read_whatever_the_case(tmp_path, layout, case):
    root = write_coco(tmp_path / "set", NAMES, **LAYOUTS[layout])
    if case != "as it is":
        change = str.title if case == "Train" else str.upper
        renamed(root, train=change("train"), test=change("test"))
    assert find_splits(root) == ("train", "test")
    report = check(root)
    assert (report.format, report.ok, report.faults) == ("coco", True, ())
    train, test = (read_coco(root, split) for split in ("train", "test"))
    assert (len(train), len(test)) == (6, 4)
    assert (
        train[0].boxes.tolist() == [[5, 3, 25, 19]] and train[0].image[:, 4, 6].tolist() == [40] * 3
    )
    assert (
        test[0].boxes.tolist() == [[5, 4, 25, 20]] and test[0].image[:, 3, 6].tolist() != [40] * 3
    )


def test_equal_file_names_in_all_splits_lead_to_each_splits_own_images(tmp_path):
    root = write_coco(tmp_path / "set", NAMES, images="images/{split}")
    for split in ("train", "test"):
        for number, path in enumerate(sorted((root / "images" / split).iterdir()), start=1):
            path.rename(path.with_name(f"{number}.png"))
        rename = lambda data: [i.update(file_name=f"{i['id']}.png") for i in data["images"]]  # noqa: E731
        edit(root / f"{split}.json", rename)
        assert {r.path.split("/")[1] for r in read_coco(root, split).records} == {split}
    (root / "images/train").rename(tmp_path / "gone")  # test's pictures would be the wrong ones
    with pytest.raises(DataError, match=r"'1\.png' is in none of \., images"):
        read_coco(root, "train")


def test_cocos_captions_and_keypoints_are_passed_over(tmp_path):
    root = write_coco(tmp_path / "set", NAMES, **LAYOUTS["COCO's own"])
    for kind in ("captions", "person_keypoints"):
        (root / f"annotations/{kind}_train2017.json").write_text("{}")
    assert len(read_coco(root, "train")) == 6


def test_via_may_write_a_number_as_text_in_one_of_its_lists(tmp_path):
    root = write_coco(tmp_path / "set", NAMES)
    text = lambda data: [a.update(image_id=str(a["image_id"])) for a in data["annotations"]]  # noqa: E731
    edit(root / "train.json", text)
    assert sum(len(r.labels) for r in read_coco(root, "train").records) == 6


def pidray(root):
    """annotations/xray_train.json, xray_test_easy.json ...; images in train, easy, hard, hidden."""
    whole = {"train": "train", "test_easy": "easy", "test_hard": "hard", "test_hidden": "hidden"}
    for part, (split, folder) in enumerate(whole.items()):
        counts = {split: 2 + part}
        write_coco(root, NAMES, counts=counts, file="annotations/xray_{split}.json", images="made")
        (root / "made").rename(root / folder)
    return root


def test_pidrays_test_lists_are_the_levels_of_one_split(tmp_path):
    root = pidray(tmp_path / "pidray")
    report = check(root)
    assert report.ok, report
    assert {level: row["images"] for level, row in report.splits["test"].levels.items()} == {
        "OL1": 3,
        "OL2": 4,
        "OL3": 5,
    }
    test = read_coco(root, "test")
    assert [record.level for record in test.records] == [1] * 3 + [2] * 4 + [3] * 5
    assert {(r.level, r.path.split("/")[0]) for r in test.records} == {
        (1, "easy"),
        (2, "hard"),
        (3, "hidden"),
    }
    assert test.sources == tuple(
        f"annotations/xray_test_{w}.json" for w in ("easy", "hard", "hidden")
    )
    assert {record.level for record in read_coco(root, "train").records} == {None}


def test_pidrays_lists_must_number_the_classes_alike_and_hold_an_image_once(tmp_path):
    root = pidray(tmp_path / "pidray")
    file = root / "annotations/xray_test_hard.json"
    whole = file.read_text()
    edit(
        file, lambda data: data["categories"].reverse() or data["categories"][0].update(name="Rod")
    )
    with pytest.raises(DataError, match=r"xray_test_hard.json: error: classes .* differ from"):
        read_coco(root, "test")
    file.write_text(whole.replace("test_hard_1.png", "test_easy_1.png"))
    write_picture(root / "hard/test_easy_1.png")
    with pytest.raises(DataError, match=r"image 'test_easy_1' is in .*easy\.json too"):
        read_coco(root, "test")


def test_hixray_lies_as_opixray_does_with_its_own_eight_classes(layout):
    layout.add("train", "P1", ["Water 5 6 25 30", "Nonmetallic_Lighter 1 1 9 9"])
    layout.add("train", "P2", ["Portable_Charger_1 5 6 25 30"])
    layout.add("test", "P3", ["Tablet 5 6 25 30"])
    for split in ("train", "test"):
        folder = layout.root / split
        (folder / f"{split}_knife.txt").rename(folder / f"{split}_name.txt")
    report = check(layout.root)
    assert report.ok and report.format == "opixray" and report.comparisons == ()
    assert report.splits["train"].counts["Nonmetallic_Lighter"] == 1
    train = read_opixray(layout.root, "train")
    assert len(train.classes) == 8 and train.records[0].labels.tolist() == [3, 8]
    layout.add("train", "P4", ["Scissor 1 1 9 9"], listed=False)
    layout.append("train/train_name.txt", "P4\n")
    with pytest.raises(DataError, match="class 'Scissor' is not one of Portable_Charger_1"):
        read_opixray(layout.root, "train")


@pytest.mark.parametrize(
    ("files", "found"),
    [
        (["Annotations/a.xml", "JPEGImages/a.jpg"], "1 Pascal VOC XML file, 1 image"),
        (["labels/a.txt", "images/a.jpg", "labels/b.txt"], "2 YOLO text files, 1 image"),
        (["a.jpg", "a.txt"], "1 YOLO text file, 1 image"),
        (["result.json", "images/a.jpg"], "1 JSON file, 1 image"),
        ([], "0 images"),
    ],
)
def test_where_nothing_fits_it_is_said_what_was_found_and_what_converts_it(tmp_path, files, found):
    root = tmp_path / "set"
    root.mkdir()
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_text("")
    report = check(root)
    assert report.format == ("coco" if "JSON" in found else "unknown")
    (fault,) = report.faults
    assert fault.code == "no-annotations" and f"found {found}" in fault.message
    assert "supported are OPIXray's layout and COCO JSON" in fault.fix
    assert f"doam data convert {root} TARGET --split 0.8" in fault.fix
    assert check(root, format="opixray").faults[0].message.endswith(f"found {found}")


def test_a_split_alone_is_asked_for_its_other_half(tmp_path):
    root = write_coco(tmp_path / "set", NAMES, counts={"train": 3})
    (fault,) = check(root).faults
    assert "split 'test': no JSON file fits" in fault.message and "splits train" in fault.message
    assert "add test.json" in fault.fix


@pytest.mark.parametrize("name", ["/home/me/{}", "C:\\pictures\\{}", "http://a.b/c/{}"])
def test_a_path_of_another_machine_is_told_where_its_picture_lies_here(tmp_path, name):
    root = write_coco(tmp_path / "set", NAMES)
    (root / "train/train_1.png").rename(root / "train/Bag 1.PNG")
    foreign = name.format("bag%201.png")

    def change(data):
        data["images"] = [{**data["images"][0], "file_name": foreign}]

    edit(root / "train.json", change)
    with pytest.raises(DataError, match=r"write train/Bag 1\.PNG, which is there"):
        read_coco(root, "train")


def test_ids_that_pandas_wrote_as_whole_floats_are_ids(tmp_path):
    root = write_coco(tmp_path / "set", NAMES)
    before = read_coco(root, "train").fingerprint
    edit(root / "train.json", lambda data: [i.update(id=float(i["id"])) for i in data["images"]])
    assert read_coco(root, "train").fingerprint == before
    edit(root / "train.json", lambda data: data["images"][0].update(id=1.5))
    with pytest.raises(DataError, match="valid string"):
        read_coco(root, "train")


def test_coco_read_as_opixray_is_told_which_parameter_is_wrong(tmp_path):
    root = write_coco(tmp_path / "set", NAMES)
    with pytest.raises(DataError, match="it looks like COCO JSON: set dataset: coco"):
        read_opixray(root, "train")


@pytest.mark.parametrize(
    ("path", "split"),
    [
        ("train.json", "train"),
        ("Annotations/Instances_VAL2017.json", "val"),
        ("valid/_annotations.coco.json", "val"),
        ("Training/labels.json", "train"),
        ("train/test.json", "test"),
        ("xray-test_easy.json", "test"),
        ("latest.json", None),
        ("contest/trained.json", None),
    ],
)
def test_the_split_that_a_path_is_about(path, split):
    assert split_of(path) == split
