"""From a detector to detections, and from detections to a run's numbers: worked by hand."""

import io
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from torch import nn

from doamlib.evaluation.detections import Detections, GroundTruth
from doamlib.evaluation.test_set import TestSet, detect, explained_images, pooled_occlusion, score

BOX, ELSEWHERE = [0.0, 0.0, 10.0, 10.0], [20.0, 20.0, 30.0, 30.0]


# --- detections -----------------------------------------------------------------------------------


class Pictures:
    """Forty pictures, each of one value, its number; picture i was i + 1 times as large."""

    def __len__(self):
        return 40

    def batch(self, indices):
        values = torch.tensor(list(indices), dtype=torch.uint8)
        return values.view(-1, 1, 1, 1).expand(-1, 3, 2, 2), [{} for _ in indices]

    def to_original(self, index, boxes):
        return boxes * (index + 1)


class Seer(nn.Module):
    """Finds one box in every odd picture: label, score and side tell the picture's number."""

    def forward(self, images):
        assert not self.training
        return [self.look(int(image[0, 0, 0])) for image in images]

    @staticmethod
    def look(number):
        count = number % 2
        return {
            "boxes": torch.tensor([[0.0, 0.0, 1.0, number]])[:count],
            "labels": torch.tensor([1 + number])[:count],
            "scores": torch.tensor([number / 100])[:count],
        }


def test_every_picture_is_looked_at_once_and_boxes_are_in_its_own_pixels():
    found = detect(Seer().train(), Pictures(), torch.device("cpu"))
    odd = np.arange(1, 40, 2)
    assert_array_equal(found.image_index, odd)
    assert_array_equal(found.label, 1 + odd)
    assert found.score == pytest.approx(odd / 100)
    assert_array_equal(found.boxes[:, 2], odd + 1)
    assert_array_equal(found.boxes[:, 3], odd * (odd + 1))


# --- a test set -----------------------------------------------------------------------------------


def three_images(occlusion=(0.1, 0.5, 0.9)):
    """An item of class x on image a (level 1) and b (level 2), one of y on c (no level); no z."""
    truth = GroundTruth.from_images([([1], [BOX]), ([1], [BOX]), ([2], [BOX])])
    sizes, levels = np.full((3, 2), 40), np.array([1, 2, 0])
    return TestSet(("x", "y", "z"), ("a", "b", "c"), sizes, levels, truth, np.array(occlusion))


def found_on_a_and_c():
    return Detections.from_images(
        [([1], [0.9], [BOX]), ([1], [0.8], [ELSEWHERE]), ([2], [0.7], [BOX])]
    )


def test_the_numbers_of_a_run():
    """Of class x one of two items is found before the false alarm: recall 1/2 at precision 1."""
    numbers = score(found_on_a_and_c(), three_images())
    assert numbers["AP"] == pytest.approx({"x": 1 / 2, "y": 1.0, "mAP": 3 / 4})
    assert numbers["AP_11_point"] == pytest.approx({"x": 6 / 11, "y": 1.0, "mAP": 17 / 22})
    assert numbers["levels"] == {"OL1": {"x": 1.0, "mAP": 1.0}, "OL2": {"x": 0.0, "mAP": 0.0}}
    coco = (51 / 101 + 1) / 2  # of COCO's 101 levels of recall, 0 to 0.5 are reached
    assert numbers["COCO"] == pytest.approx({"AP50": coco, "AP50:95": coco})
    assert (numbers["images"], numbers["items"], numbers["detections"]) == (3, 3, 3)
    assert three_images().mean_ap(found_on_a_and_c()) == pytest.approx(3 / 4)


def test_the_curve_over_occlusion_goes_from_the_most_open_item_to_the_most_hidden():
    curve = score(found_on_a_and_c(), three_images())["by_occlusion"]
    assert len(curve["median"]) == len(curve["mAP"]) == 16
    assert curve["median"] == sorted(curve["median"])
    by_item = dict(zip(curve["median"], curve["mAP"], strict=True))  # one item a window
    assert by_item == pytest.approx({0.1: 1.0, 0.5: 0.0, 0.9: 1.0})


def test_one_unknown_occlusion_is_enough_for_no_curve():
    curve = score(found_on_a_and_c(), three_images((0.1, np.nan, 0.9)))["by_occlusion"]
    assert curve == {"median": [], "mAP": []}


def test_a_test_set_survives_storage():
    test = three_images()
    again = TestSet.load(io.BytesIO(test.as_bytes()))
    assert (again.classes, again.image_ids) == (test.classes, test.image_ids)
    for name in ("sizes", "levels", "occlusion"):
        assert_array_equal(getattr(again, name), getattr(test, name))
    for name in ("image_index", "label", "boxes", "image_count"):
        assert_array_equal(getattr(again.truth, name), getattr(test.truth, name))


# --- read off a dataset ---------------------------------------------------------------------------


def record(name, count=1, level=None):
    return SimpleNamespace(
        image_id=name,
        labels=torch.ones(count, dtype=torch.int64),
        boxes=torch.tensor([BOX] * count).reshape(-1, 4),
        width=40,
        height=30,
        level=level,
    )


def dataset(root, *records):
    ids = tuple(one.image_id for one in records)
    return SimpleNamespace(root=root, split="train", classes=("x",), records=records, image_ids=ids)


def write_sidecar(root, **occlusions):
    silhouette = {"size": [1, 1], "counts": ""}
    (root / "sidecar").mkdir()
    with (root / "sidecar" / "train.jsonl").open("w") as file:
        for image, of_items in occlusions.items():
            items = [
                {"class": "x", "box": BOX, "occlusion": o, "level": 1, "silhouette": silhouette}
                for o in of_items
            ]
            file.write(json.dumps({"image": image, "items": items, "harmless": []}) + "\n")


def test_what_is_read_off_a_dataset(tmp_path):
    data = dataset(tmp_path, record("a", 2, level=3), record("b", 0))
    real = TestSet.of(data)
    assert_array_equal(real.sizes, [[40, 30], [40, 30]])
    assert_array_equal(real.levels, [3, 0])
    assert_array_equal(real.truth.image_index, [0, 0])
    assert_array_equal(real.occlusion, [np.nan, np.nan])
    write_sidecar(tmp_path, b=[], a=[0.25, 0.5])
    assert_array_equal(TestSet.of(data).occlusion, [0.25, 0.5])


def test_objects_that_the_sidecar_does_not_list_have_no_occlusion(tmp_path):
    write_sidecar(tmp_path, a=[0.25])
    test = TestSet.of(dataset(tmp_path, record("a", 2)))
    assert_array_equal(test.occlusion, [np.nan, np.nan])


def test_a_pool_is_as_occluded_as_the_most_hidden_items_of_its_images(tmp_path):
    """An image counts as its most hidden item; one without items does not count."""
    data = dataset(tmp_path, record("a", 2), record("b"), record("c", 0), record("d"))
    batches = [{"indices": [0]}, {"indices": [1]}]
    pool = [{"batches": batches}, {"batches": batches}]  # twice, half of the four images each time
    assert pooled_occlusion(pool, data) == {}
    write_sidecar(tmp_path, a=[0.3, 0.1], b=[0.5], c=[], d=[0.9])
    found = pooled_occlusion(pool, data)
    assert found["pooled_occlusion"] == pytest.approx((0.3 + 0.5) / 2)
    assert found["epoch_occlusion"] == pytest.approx((0.3 + 0.5 + 0.9) / 3)
    assert found["most_occluded"] == pytest.approx((0.5 + 0.9) / 2)  # half of three: two
    assert pooled_occlusion([], data) == {}


@pytest.mark.parametrize(
    ("test_images", "explained"), [(0, 0), (12, 12), (30, 30), (31, 30), (419, 41), (1776, 60)]
)
def test_on_how_many_images_maps_are_drawn(test_images, explained):
    assert explained_images(test_images) == explained
