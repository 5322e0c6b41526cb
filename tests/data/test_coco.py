"""COCO JSON: what others write, what we write, and every fault by its place."""

from __future__ import annotations

import json

import pytest
import torch
from pycocotools.coco import COCO

from doamlib.data.classes import CLASSES
from doamlib.data.coco import read_coco, write_coco
from doamlib.data.faults import DataError
from doamlib.data.layouts import find_splits
from doamlib.data.opixray import read_opixray


class Json:
    """Writes a COCO dataset entry by entry."""

    def __init__(self, layout) -> None:
        self.layout, self.root = layout, layout.root
        self.content = {"images": [], "annotations": [], "categories": []}

    def categories(self, **ids: int) -> None:
        self.content["categories"] = [{"id": i, "name": name} for name, i in ids.items()]

    def image(self, name: str, *boxes, folder="train", size=(60, 40), **more) -> None:
        """One image; boxes are (category id, x, y, width, height)."""
        number = len(self.content["images"]) + 1
        self.layout.draw(self.root / folder / name, *size, seed=number)
        entry = {"id": number, "file_name": name, "width": size[0], "height": size[1], **more}
        self.content["images"].append(entry)
        for category, *bbox in boxes:
            self.box(number, category, bbox)

    def box(self, image_id, category, bbox, **more) -> None:
        number = len(self.content["annotations"]) + 1
        entry = {"id": number, "image_id": image_id, "category_id": category, "bbox": bbox, **more}
        self.content["annotations"].append(entry)

    def write(self, name: str = "annotations/xray_train.json") -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(self.content))


@pytest.fixture
def coco(layout) -> Json:
    made = Json(layout)
    made.categories(Gun=7, Scissors=2)
    made.image("xray_1.png", (2, 10, 5, 20, 30), (7, 1, 2, 3, 4))
    made.image("xray_2.png", (7, 0, 0, 60, 40))
    return made


def test_corners_labels_and_classes_follow_the_category_ids(coco):
    coco.write()
    data = read_coco(coco.root, "train")
    assert data.classes == ("Scissors", "Gun")
    torch.testing.assert_close(
        data.records[0].boxes, torch.tensor([[10.0, 5, 30, 35], [1, 2, 4, 6]])
    )
    assert data.records[0].labels.tolist() == [1, 2]
    assert data.image_ids == ("xray_1", "xray_2")
    assert data[1].image.shape == (3, 40, 60)
    assert data.faults == ()


def test_names_are_mapped_and_left_out(coco):
    coco.write()
    data = read_coco(coco.root, "train", names={"Scissors": "Scissor", "Gun": ""})
    assert data.classes == CLASSES
    assert [record.labels.tolist() for record in data.records] == [[3], []]


@pytest.mark.parametrize(
    ("file", "folder"),
    [
        ("train.json", "."),
        ("annotations/instances_train2017.json", "images"),
        ("annotations/xray_train.json", "train"),
        ("train/_annotations.coco.json", "train"),
        ("annotations/train.json", "images/train"),
    ],
)
def test_usual_layouts_are_found(layout, file, folder):
    made = Json(layout)
    made.categories(Scissor=1)
    made.image("a.png", (1, 1, 1, 5, 5), folder=folder)
    made.write(file)
    assert find_splits(layout.root) == ("train",)
    assert read_coco(layout.root, "train")[0].image.shape == (3, 40, 60)


def test_several_annotation_files_need_a_choice(coco):
    for kind in ("easy", "hard"):
        coco.write(f"annotations/xray_test_{kind}.json")
    with pytest.raises(DataError, match=r"xray_test_easy\.json, annotations/xray_test_hard\.json"):
        read_coco(coco.root, "test")
    (coco.root / "train").rename(coco.root / "images")
    assert len(read_coco(coco.root, "test_easy")) == 2
    with pytest.raises(DataError, match="no JSON file fits"):
        read_coco(coco.root, "val")
    coco.write("annotations/test.json")  # the plain name wins
    assert read_coco(coco.root, "test").sources == ("annotations/test.json",)


def test_alike_stems_are_told_apart_by_their_folders(layout):
    made = Json(layout)
    made.categories(Scissor=1)
    for name in ("day/1.png", "night\\1.png", "night/2.png"):
        made.image(name.replace("\\", "/"), (1, 1, 1, 5, 5))
        made.content["images"][-1]["file_name"] = name
    made.write()
    assert read_coco(layout.root, "train").image_ids == ("day/1", "night/1", "2")


def test_crowds_backgrounds_and_boxes_over_the_edge_are_reported(coco):
    coco.image("xray_3.png")
    coco.box(1, 2, [50, 30, 20, 20])
    coco.box(1, 2, [70, 30, 20, 20])
    coco.box(2, 2, [1, 1, 5, 5], iscrowd=1)
    coco.write()
    data = read_coco(coco.root, "train")
    assert sorted((fault.severity, fault.code) for fault in data.faults) == [
        ("note", "crowd"),
        ("note", "no-box"),
        ("warning", "box-clipped"),
        ("warning", "box-dropped"),
    ]
    assert data.records[0].boxes[-1].tolist() == [50, 30, 60, 40]
    assert [len(record.labels) for record in data.records] == [3, 1, 0]


def test_every_fault_is_found_in_one_pass(coco):
    images, boxes = coco.content["images"], coco.content["annotations"]
    coco.image("bad_size.png", (2, 1, 1, 5, 5))
    images[2]["width"] = 61
    coco.image("cut.png", (2, 1, 1, 5, 5))
    (coco.root / "train/cut.png").write_bytes(b"no picture")
    images += [
        {"id": 50, "file_name": "absent.png"},
        {"id": 51, "file_name": "../../secret.png"},
        {"id": 52},
        {"id": 1, "file_name": "xray_9.png"},
        {"id": 53, "file_name": "xray_2.png"},
    ]
    coco.box(99, 2, [1, 1, 5, 5])
    coco.box(2, 3, [1, 1, 5, 5])
    coco.box(2, 2, [1, 1, 5])
    coco.box(2, 2, [1, 1, 5, float("nan")])
    boxes.append("box")
    coco.write()
    found = read_coco(coco.root, "train", strict=False)
    file = "annotations/xray_train.json"
    errors = [(fault.code, fault.message.split(":")[0], fault.file) for fault in found.faults]
    assert all(fault.severity == "error" for fault in found.faults if fault.code != "no-box")
    expected = {
        ("bad-entry", "images[6].file_name", file),
        ("bad-entry", "images[7]", file),
        ("bad-entry", "annotations[7].bbox.3", file),
        ("bad-entry", "annotations[8].bbox.3", file),
        ("bad-entry", "annotations[9]", file),
        ("unknown-image", "annotations[5]", file),
        ("unknown-class", "annotations[6]", file),
        ("size-differs", "images[2]", file),
        ("unreadable-image", "cut.png cannot be decoded (cannot identify image file 'cut.png')",
         "train/cut.png"),
        ("two-images", "images[8]", file),
        ("missing", "'train/absent.png' does not exist", file),
        ("outside-root", "'../secret.png' leads outside the dataset", file),
    }  # fmt: skip
    assert expected <= set(errors)
    assert found.image_ids == ("xray_1",)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("file_name", "", "'' is not a file's printable path of at most 1,000 characters"),
        ("file_name", ".\\", "'./' is not a file's printable path"),
        ("file_name", "a\ud800.png", r"'a\ud800.png' is not a file's printable path"),
        ("occlusion_level", 0, "greater than or equal to 1"),
        ("occlusion_level", 7, "less than or equal to 3"),
    ],
)
def test_an_image_with_a_value_that_cannot_be_is_at_fault_and_no_other(coco, field, value, words):
    for number in (3, 4):
        coco.image(f"xray_{number}.png", (2, 1, 1, 5, 5))
        coco.content["images"][-1][field] = value
    coco.write()
    found = read_coco(coco.root, "train", strict=False)
    assert found.image_ids == ("xray_1", "xray_2")
    for position in (2, 3):
        (fault,) = [f for f in found.faults if f.message.startswith(f"images[{position}].{field}:")]
        assert fault.code == "bad-entry" and words in fault.message
        assert "Value error" not in fault.message  # pydantic's, which says nothing


@pytest.mark.parametrize(
    ("text", "code", "line"),
    [
        ('{"images": [],\n}', "bad-json", 2),
        ("[]", "bad-json", None),
        ('{"images": [], "annotations": []}', "bad-json", None),
        ('{"images": [], "annotations": [], "categories": []}', "empty-list", None),
    ],
)
def test_a_file_that_is_no_dataset_is_one_clear_line(layout, text, code, line):
    layout.append("train.json", text)
    with pytest.raises(DataError) as raised:
        read_coco(layout.root, "train")
    fault = raised.value.fault
    assert (fault.code, fault.file, fault.line) == (code, "train.json", line)


def test_a_category_that_is_not_there_is_named_with_its_entry(coco):
    coco.box(1, 9, [1, 2, 3, 4])
    coco.write()
    with pytest.raises(DataError, match=r"annotations\[3\]: there is no category with id 9"):
        read_coco(coco.root, "train")


def test_export_gives_the_same_samples_again(sound):
    sound.add("test", "040009", [], level=1)
    sound.add("test", "040010", ["Scissor 1.25 2.5 7.125 9.0625"], level=2)
    before = read_opixray(sound.root, "test")
    write_coco(before, sound.root / "exported_test.json")
    after = read_coco(sound.root, "test")
    assert after.classes == before.classes
    assert after.fingerprint == before.fingerprint
    for old, new in zip(before, after, strict=True):
        assert (new.image_id, new.level) == (old.image_id, old.level)
        for field in ("image", "boxes", "labels"):
            torch.testing.assert_close(getattr(new, field), getattr(old, field), rtol=0, atol=0)


def test_export_is_read_by_pycocotools(sound):
    path = sound.root / "exported.json"
    write_coco(read_opixray(sound.root, "train"), path)
    other = COCO(str(path))
    assert [entry["name"] for entry in other.loadCats(other.getCatIds())] == list(CLASSES)
    (image,) = [i for i in other.loadImgs(other.getImgIds()) if "009000" in i["file_name"]]
    boxes = other.loadAnns(other.getAnnIds(image["id"]))
    assert [(box["category_id"], box["bbox"], box["area"]) for box in boxes] == [
        (3, [10, 5, 20, 30], 600),
        (4, [31, 2, 19, 18], 342),
    ]
