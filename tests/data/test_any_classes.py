"""Classes are a property of the data: any number of them trains, is evaluated and kept."""

from __future__ import annotations

import numpy as np
import pytest
from coco_tools import edit, write_coco

from doamlib.evaluation.detections import Detections
from doamlib.experiments.parameters import from_values
from doamlib.experiments.study import Study

TINY = {
    "dataset": "coco",
    "image_size": 96,
    "width": 0.05,
    "doam_width": 0.25,
    "warm_start": "none",
    "optimizer": "sgd",
    "epochs": 1,
    "batch_size": 8,
    "learning_rate": 1.0e-2,
    "clip_norm": 10.0,
    "device": "cpu",
    "processes": 1,
}


def study(root, **more):
    values = {**TINY, "data_root": str(root), "arms": ["SSD"], "seeds": [0], **more}
    return Study(from_values(values), lambda line: None)


@pytest.mark.parametrize("number", [1, 2, 12, 80])
def test_a_run_has_an_ap_for_each_class_that_has_items(home, tmp_path, number):
    names = [f"kind {i}" for i in range(number)]
    counts = {"train": max(8, number), "test": 6}
    root = write_coco(tmp_path / "set", names, counts=counts, size=(90, 80 + number))
    arms = ["SSD", "SSD+DOAM-T"] if number in (1, 12) else ["SSD"]
    results = study(root, arms=arms).results()
    for result in results.values():
        assert result.config.data.classes == tuple(names)
        assert result.config.detector.num_classes == number
        assert result.test_set().classes == tuple(names)
        assert set(result.metrics["AP"]) == {*names[:6], "mAP"}  # of six test images
        assert result.metrics["maps"]
        labels = result.detections().label
        assert len(labels) and labels.max() <= number


@pytest.mark.parametrize("arm", ["YOLOv3", "FCOS"])
def test_other_detectors_too(home, tmp_path, arm):
    root = write_coco(tmp_path / "set", ("Gun", "Knife", "Bat"), size=(70, 64))
    (result,) = study(root, arms=[arm]).results().values()
    assert set(result.metrics["AP"]) == {"Gun", "Knife", "Bat", "mAP"}


def test_a_warm_start_gives_its_features_and_no_output_of_its_own_classes(home, tmp_path):
    """Thirty classes are as many as the warm start's own, and mean other things."""
    names = [f"kind {i}" for i in range(30)]
    root = write_coco(tmp_path / "set", names, counts={"train": 30, "test": 6}, size=(70, 60))
    warm = {"warm_start": "harmless", "warm_images": 24, "warm_epochs": 1, "field_of_view": 0.2}
    (result,) = study(root, **warm).results().values()
    left = result.provenance["starting_weights"]["left_as_initialised"]
    assert any("head.classification_head" in name for name in left), left[:4]


def test_root_and_background_categories_without_boxes_are_no_class(tmp_path):
    """As Roboflow (a root that all others name) and LabelMe's exporter (_background_) list them."""
    from doamlib.data.coco import read_coco

    root = write_coco(tmp_path / "set", ("Gun", "Knife"), ids=[1, 2])

    def list_more(content):
        for category in content["categories"]:
            category["supercategory"] = "xray"
        more = [
            {"id": 0, "name": "xray", "supercategory": "none"},
            {"id": 9, "name": "_background_"},
        ]
        content["categories"] += more

    for split in ("train", "test"):
        edit(root / f"{split}.json", list_more)
        assert read_coco(root, split).classes == ("Gun", "Knife")
    edit(root / "train.json", lambda data: data["annotations"][0].update(category_id=0))
    assert read_coco(root, "train").classes == ("xray", "Gun", "Knife")


def test_a_class_that_is_its_own_supercategory_is_a_class(tmp_path):
    from doamlib.data.coco import read_coco

    root = write_coco(tmp_path / "set", ("Gun", "Knife"))

    def own(content):
        for category in content["categories"]:
            category["supercategory"] = category["name"]
        content["annotations"] = content["annotations"][:1]  # no knife left

    edit(root / "train.json", own)
    assert read_coco(root, "train").classes == ("Gun", "Knife")


def test_a_class_without_items_in_the_test_split_has_no_ap(home, tmp_path):
    root = write_coco(tmp_path / "set", ("Gun", "Knife"), size=(66, 50))
    edit(root / "test.json", lambda data: [a.update(category_id=1) for a in data["annotations"]])
    (result,) = study(root).results().values()
    assert set(result.metrics["AP"]) == {"Gun", "mAP"}


def test_labels_above_255_are_kept(tmp_path):
    labels = np.array([1, 255, 256, 300])
    boxes = np.tile([1.0, 2, 3, 4], (4, 1))
    found = Detections(np.zeros(4, int), labels, np.linspace(1, 0.1, 4), boxes)
    (tmp_path / "found.npz").write_bytes(found.as_bytes())
    assert Detections.load(tmp_path / "found.npz").label.tolist() == labels.tolist()
