"""Maps over a small test set: which are scored, in which rows, and how their means are taken."""

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from tiny import SIZE, make

from doamlib.evaluation import map_scores, maps, randomisation
from doamlib.evaluation.detections import GroundTruth
from doamlib.evaluation.region_scores import SCORES, score_map
from doamlib.evaluation.statistics import bootstrap_mean
from doamlib.evaluation.test_set import FEWEST_MAPS, TestSet

ONE = [[8.0, 8.0, 32.0, 56.0]]  # an eighth of the 96 x 96 pixels
TWO = [[8.0, 8.0, 32.0, 56.0], [60.0, 40.0, 84.0, 64.0]]


NOBODY = SimpleNamespace(mean=torch.zeros(1))  # plain maps ask a detector for its device only


class Pictures:
    """White pictures with a black square for each item; stands in for a CachedDataset."""

    size = SIZE

    def __init__(self, root, boxes_of):
        self.boxes_of = boxes_of
        records = [
            SimpleNamespace(
                image_id=name,
                labels=torch.arange(len(boxes)) + 1,
                boxes=torch.tensor(boxes).reshape(-1, 4),
                width=SIZE,
                height=SIZE,
                level=1,
            )
            for name, boxes in boxes_of.items()
        ]
        names = ("x", "y")
        self.dataset = SimpleNamespace(
            root=root, split="test", classes=names, records=records, image_ids=tuple(boxes_of)
        )

    def __len__(self):
        return len(self.boxes_of)

    def batch(self, indices):
        images = torch.full((len(indices), 3, SIZE, SIZE), 255, dtype=torch.uint8)
        records = [self.dataset.records[index] for index in indices]
        for image, record in zip(images, records, strict=True):
            for x1, y1, x2, y2 in record.boxes.int().tolist():
                image[:, y1:y2, x1:x2] = 0
        return images, [{"boxes": r.boxes, "labels": r.labels} for r in records]

    def subset(self, names):
        return Pictures(self.dataset.root, {name: self.boxes_of[name] for name in names})


@pytest.fixture
def pictures(tmp_path):
    return Pictures(tmp_path, {"a": ONE, "b": [], "c": TWO, "d": ONE})


# --- scored ---------------------------------------------------------------------------------------


def test_darkness_of_black_squares_on_white(pictures):
    """All of the map lies on the items: alone, a square of 24 x 48 lifts by 1 over its share."""
    arrays = map_scores.map_scores(NOBODY, pictures, ["darkness"])
    share = np.array([24 * 48, 24 * 24]) / SIZE**2
    alone, both = 1 / share[0], 1 / share.sum()
    assert_array_equal(arrays["images"], [0, 1, 2, 3])
    assert_allclose(arrays["darkness_lift_box"], [alone, both, both, alone], rtol=1e-5)
    # Tied largest values: all of them inside, or those of one square of two.
    inside = share / share.sum()
    assert_allclose(arrays["darkness_pointing"], [1, *inside, 1], rtol=1e-5)
    assert np.isnan(arrays["darkness_lift_silhouette"]).all()  # no silhouette is known
    assert_array_equal(arrays["darkness_blank"], [False] * 4)
    assert arrays["darkness_blank"].dtype == bool and arrays["darkness_lift_box"].dtype == "float32"


def test_examples_are_pictures_of_one_item_shrunk_to_80_pixels(pictures):
    arrays = map_scores.map_scores(NOBODY, pictures, ["darkness"], np.array([2, 3]))
    assert_array_equal(arrays["examples"], [3])
    (small,) = arrays["darkness_examples"]
    assert small.shape == (80, 80) and small.max() == 255 and small.min() == 0
    assert small.mean() / 255 == pytest.approx(1 / 8, abs=1e-3)
    assert (small[7:46, 7:26] == 255).all()  # 8 to 32 across and 8 to 56 down, times 80 / 96
    assert not small[:6].any() and not small[47:].any()
    assert not small[:, :6].any() and not small[:, 27:].any()


def test_attention_is_shown_as_it_is_and_other_maps_up_to_their_largest_value():
    half = np.full((160, 160), 0.5, np.float32)
    assert (map_scores._thumbnail(half, 1.0) == 128).all()
    assert (map_scores._thumbnail(half, 0.5) == 255).all()
    assert not map_scores._thumbnail(0 * half, 0.0).any()


@pytest.mark.parametrize("batch", [1, 32])
def test_an_item_gets_its_images_map_and_gradcam_its_own(tmp_path, batch):
    detector, tested = make(), Pictures(tmp_path, {"a": ONE, "none": [], "b": TWO})
    images, targets = tested.batch([0, 2, 2])
    alone = [
        {"boxes": target["boxes"][[item]], "labels": target["labels"][[item]]}
        for target, item in zip(targets, (0, 0, 1), strict=True)
    ]
    expected = {
        "attention": map_scores.attention_maps(detector, images),
        "gradcam": map_scores.gradcam_maps(detector, images, alone),
        "edges": map_scores.plain_maps(images, "edges"),
        "darkness": map_scores.plain_maps(images, "darkness"),
    }
    for kind, own in expected.items():
        found = np.array(list(map_scores.item_maps(detector, tested, kind, batch)))
        assert found.any() and found.shape == (3, SIZE, SIZE)
        assert_allclose(found, own, rtol=1e-3, atol=1e-4, err_msg=kind)


def test_examples_are_two_of_each_class_that_lie_alone():
    """Images 0 and 3 to 5 hold one item each; image 1 two, image 2 none."""
    truth = GroundTruth(
        np.array([0, 1, 1, 3, 4, 5]), np.array([2, 1, 2, 1, 2, 2]), np.zeros((6, 4)), 6
    )
    test = SimpleNamespace(truth=truth, classes=("x", "y"))
    assert map_scores.examples(test) == [3, 0, 4]
    crowded = GroundTruth(np.array([1, 1, 2, 2, 4, 4]), truth.label, truth.boxes, 6)
    assert map_scores.examples(SimpleNamespace(truth=crowded, classes=("x", "y"))) == [1, 2]


def test_every_score_has_its_name():
    region = np.zeros((4, 4))
    region[0] = 1
    found = score_map(region, region, region)
    assert tuple(found) == SCORES
    assert found == pytest.approx(dict.fromkeys(SCORES, 1.0) | dict.fromkeys(SCORES[:2], 4.0))


# --- in rows --------------------------------------------------------------------------------------


def test_a_row_says_which_item_of_which_image_it_is():
    """Of three images the first and the last are scored; the first holds two items."""
    truth = GroundTruth(np.array([0, 0, 1, 2]), np.array([2, 1, 1, 2]), np.zeros((4, 4)), 3)
    test = TestSet(
        ("x", "y"), ("a", "b", "c"), np.ones((3, 2)), np.array([3, 1, 0]), truth, np.zeros(4)
    )
    scores = {"images": np.array([0, 2])}
    for kind in ("edges", "darkness"):
        scores |= {f"{kind}_{name}": np.array([1.0, 2.0, 3.0]) for name in SCORES}
        scores[f"{kind}_blank"] = np.array([False, False, True])
    frame = map_scores.tidy(scores, test)
    assert list(frame["map"]) == ["edges"] * 3 + ["darkness"] * 3
    first = frame[:3]
    assert list(first["image"]) == ["a", "a", "c"] and list(first["item"]) == [0, 1, 3]
    assert list(first["class"]) == ["y", "x", "y"] and list(first["level"]) == [3, 3, 0]
    assert list(first["blank"]) == [False, False, True]
    assert all(list(first[name]) == [1.0, 2.0, 3.0] for name in SCORES)


def test_results_that_name_no_images_scored_all(pictures):
    test = TestSet.of(pictures.dataset)
    arrays = map_scores.map_scores(NOBODY, pictures, ["darkness"])
    whole = map_scores.tidy(arrays, test)
    del arrays["images"]
    pd.testing.assert_frame_equal(map_scores.tidy(arrays, test), whole)
    assert list(whole["image"]) == ["a", "c", "c", "d"]
    pd.testing.assert_frame_equal(map_scores.score_maps(NOBODY, pictures, ["darkness"]), whole)


# --- and their means ------------------------------------------------------------------------------


def frame_of(images, values, blank=None):
    frame = pd.DataFrame({"image": images, "map": "edges", "blank": blank or [False] * len(images)})
    return frame.assign(**dict.fromkeys(SCORES, values))


def test_items_of_an_image_are_averaged_before_images_are():
    """Images a: 1 and 3, b: 5, c: not known. So (2 + 5) / 2, on two images."""
    frame = frame_of(["a", "a", "b", "c"], [1.0, 3.0, 5.0, np.nan])
    rows = map_scores.intervals(frame, ["map"], ["cover"])
    assert list(rows) == ["map", "score", "mean", "low", "high", "images"]
    row = rows.iloc[0]
    assert (row["map"], row["score"], row["mean"], row["images"]) == ("edges", "cover", 3.5, 2)
    assert np.isnan([row["low"], row["high"]]).all()


def test_five_images_are_enough_for_an_interval_and_four_are_not():
    values = [1.0, 2.0, 4.0, 8.0, 16.0]
    row = map_scores.intervals(frame_of(list("abcde"), values), ["map"], ["cover"]).iloc[0]
    assert (row["mean"], row["low"], row["high"]) == bootstrap_mean(values, seed=0)
    assert row["low"] < row["mean"] < row["high"]
    four = map_scores.intervals(frame_of(list("abcd"), values[:4]), ["map"], ["cover"]).iloc[0]
    assert four["mean"] == 3.75 and np.isnan(four["low"])


def test_the_summary_leaves_out_blank_maps_and_knows_no_nan():
    frame = frame_of(["a", "b", "b", "c"], [1.0, 2.0, 4.0, 9.0], [False, False, False, True])
    found = json.loads(json.dumps(map_scores.summary(frame), allow_nan=False))["edges"]
    assert set(found) == {"blank", *SCORES}
    assert found["blank"] == 0.25
    assert found["cover"] == {"mean": 2.0, "low": None, "high": None, "images": 2}


# --- beside randomised weights --------------------------------------------------------------------


def test_draws_are_averaged_over_images_first_and_listed_in_order():
    """Draw 7: image a 1 and 3, b 6, so 4. Draw 5: a 2, the rest blank, so 2. Draw 6: all blank."""
    frame = pd.DataFrame(
        {
            "draw": [7, 7, 7, 5, 5, 5, 6],
            "image": ["a", "a", "b", "a", "a", "b", "a"],
            "blank": [False, False, False, False, True, True, True],
        }
    )
    values = [1.0, 3.0, 6.0, 2.0, 9.0, 9.0, 9.0]
    found = randomisation._summed_up(frame.assign(**dict.fromkeys(randomisation.MEASURED, values)))
    for name in randomisation.MEASURED:
        assert found[name] == 3.0
        assert found["draws"][name] == [4.0, 2.0, None]
    assert found["images"] == 2


def test_what_is_stored_with_a_run(tmp_path, monkeypatch):
    """The learned maps and the plain ones, each with its scores; beside the learned ones draws."""
    monkeypatch.setattr(randomisation, "DRAWS", 1)
    tested = Pictures(tmp_path, {f"image{i}": ONE for i in range(2)})
    scores, numbers = maps.maps_of_run(make().train(), tested, tested, seed=1)
    assert set(numbers) == {"attention", "gradcam", "edges", "darkness"}
    assert_array_equal(scores["images"], [0, 1])
    assert {kind for kind in numbers if "random" in numbers[kind]} == {"attention", "gradcam"}
    assert set(numbers["gradcam"]["random"]) == {"late", "all"}
    of_doam = numbers["attention"]["random"]["doam"]
    assert len(of_doam["draws"]["lift_box"]) == 1 and of_doam["images"] == 2
    assert of_doam["lift_box"] == pytest.approx(np.mean(of_doam["draws"]["lift_box"]))
    assert of_doam["lift_silhouette"] is None
    json.dumps(numbers, allow_nan=False)


def test_where_chance_chooses_background_images_alone_there_are_no_numbers(tmp_path):
    """One image of all holds an item, and it is the one that was not drawn."""
    count = FEWEST_MAPS + 1
    chosen = map_scores.chosen_images(count, FEWEST_MAPS)
    tested = Pictures(tmp_path, {str(i): [] if i in chosen else ONE for i in range(count)})
    scores, numbers = maps.maps_of_run(make(), tested, tested, seed=1)
    assert numbers == {}
    assert_array_equal(scores["images"], chosen)
    assert scores["gradcam_examples"].shape == (0, 80, 80) and not len(scores["attention_blank"])
    assert map_scores.tidy(scores, TestSet.of(tested.dataset)).empty


def test_a_map_that_was_not_drawn_anew_correlates_with_itself(tmp_path):
    """Drawing SSD's late layers anew leaves attention as it is, item by item."""
    detector, tested = make(), Pictures(tmp_path, {"a": ONE, "b": TWO})
    asked = ("attention", "late", [4, 5], tested.batch([0, 1])[0])
    frame = randomisation.randomisation_check(detector, tested, *asked)
    assert list(frame["draw"]) == [4] * 3 + [5] * 3 and list(frame["item"]) == [0, 1, 2] * 2
    assert list(frame["image"]) == ["a", "b", "b"] * 2
    assert set(frame["map"]) == {"attention"} and set(frame["part"]) == {"late"}
    assert_allclose(frame["correlation"], 1, atol=1e-5)
    own = map_scores.score_maps(detector, tested, ["attention"])
    assert_allclose(frame["lift_box"][:3], own["lift_box"], rtol=1e-5)


def test_sixty_images_are_drawn_alike_for_all_runs():
    chosen = map_scores.chosen_images(1000, 60)
    assert len(set(chosen)) == 60 and list(chosen) == sorted(chosen)
    assert_array_equal(chosen, map_scores.chosen_images(1000, 60))
    for count in (60, 5):
        assert_array_equal(map_scores.chosen_images(5, count), range(5))
