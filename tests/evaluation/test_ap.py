import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from doamlib.evaluation.ap import (
    ap_by_level,
    ap_by_occlusion,
    average_precision,
    average_precisions,
    false_alarms,
    mean_ap,
    precision_recall,
)
from doamlib.evaluation.coco import coco_ap
from doamlib.evaluation.detections import Detections, GroundTruth, from_records
from doamlib.evaluation.matching import Matches, iou, match
from doamlib.evaluation.test_set import within_reach

GOLDEN = json.loads((Path(__file__).parents[1] / "data/evaluation/voc_ap_seed5.json").read_text())
BOX, ELSEWHERE = [0, 0, 10, 10], [50, 50, 60, 60]
RULES = ["area", "11-point"]


def matches_of(truth: dict, found: dict, classes: list[str], threshold: float = 0.5) -> Matches:
    return match(*from_records(truth, found, len(classes)), classes, threshold)


# --- the rules ---------------------------------------------------------------------------------


WORKED_TRUTH = {
    "a": [[0, *BOX]],
    "b": [[0, *BOX], [0, 20, 0, 30, 10]],
    "c": [[0, *BOX]],
    "background": [],
}
WORKED_DETECTIONS = {
    "a": [[0, 0.9, *BOX], [0, 0.6, 0, 0, 10, 9]],
    "b": [[0, 0.8, 0, 0, 10, 8], [0, 0.5, 20, 0, 30, 10]],
    "c": [[0, 0.4, 0, 0, 10, 5]],
    "background": [[0, 0.7, *BOX]],
}
# Four items. By descending score:
#   0.9 a  IoU 1    hit                          recall 1/4  precision 1/1
#   0.8 b  IoU 0.8  hit                          recall 2/4  precision 2/2
#   0.7 background  false                        recall 2/4  precision 2/3
#   0.6 a  IoU 0.9, but the item is taken: false recall 2/4  precision 2/4
#   0.5 b  IoU 1    hit                          recall 3/4  precision 3/5
#   0.4 c  IoU 50/100 = 0.5, not more: false     recall 3/4  precision 3/6
# Raised to the best at any higher recall: 1 up to recall 2/4, 3/5 up to 3/4, 0 beyond.


def test_worked_example_area():
    ap = average_precision(WORKED_TRUTH, WORKED_DETECTIONS, ["knife"])
    assert ap == pytest.approx({"knife": 2 / 4 * 1 + 1 / 4 * 3 / 5, "mAP": 0.65}, abs=1e-12)


def test_worked_example_11_point():
    # recall 0, 0.1, ..., 0.5 (six levels) reads 1; 0.6 and 0.7 read 3/5; 0.8, 0.9, 1 read 0
    ap = average_precision(WORKED_TRUTH, WORKED_DETECTIONS, ["knife"], rule="11-point")
    assert ap["knife"] == pytest.approx((6 * 1 + 2 * 3 / 5) / 11, abs=1e-12)


def test_worked_example_curve():
    curve = precision_recall(matches_of(WORKED_TRUTH, WORKED_DETECTIONS, ["knife"]), "knife")
    assert_allclose(curve.recall, np.array([1, 2, 2, 2, 3, 3]) / 4, atol=1e-12)
    assert_allclose(curve.precision, [1, 1, 2 / 3, 2 / 4, 3 / 5, 3 / 6], atol=1e-12)
    assert_array_equal(curve.score, [0.9, 0.8, 0.7, 0.6, 0.5, 0.4])


def test_the_last_detection_of_the_example_hits_at_a_lower_threshold():
    ap = average_precision(WORKED_TRUTH, WORKED_DETECTIONS, ["knife"], iou_threshold=0.49)
    assert ap["knife"] == pytest.approx(2 / 4 + 1 / 4 * 4 / 6 + 1 / 4 * 4 / 6, abs=1e-12)


@pytest.mark.parametrize(("rule", "key"), [("area", "voc_area"), ("11-point", "voc07_11point")])
def test_golden_numbers_of_the_official_evaluator(rule, key):
    ap = average_precision(
        GOLDEN["ground_truth"],
        GOLDEN["detections"],
        GOLDEN["classes"],
        iou_threshold=GOLDEN["iou_threshold"],
        rule=rule,
    )
    assert ap == pytest.approx(GOLDEN["expected"][key], abs=1e-9)
    assert list(ap) == [*GOLDEN["classes"], "mAP"]


def test_iou_has_no_extra_pixel():
    a = np.array([[0, 0, 10, 10], [0, 0, 10, 10], [0, 0, 10, 10], [5, 5, 5, 5]])
    b = np.array([[0, 0, 10, 5], [5, 5, 15, 15], [10, 0, 20, 10], [5, 5, 5, 5]])
    assert_allclose(iou(a, b), [50 / 100, 25 / 175, 0, 0], atol=1e-15)


def test_a_detection_whose_best_item_is_taken_does_not_fall_back_on_the_next():
    truth = {"a": [[0, 0, 0, 10, 10], [0, 0, 0, 10, 14]]}  # the two overlap by 100 / 140
    found = {"a": [[0, 0.9, 0, 0, 10, 10], [0, 0.8, 0, 0, 10, 10.5]]}
    # the second overlaps the free item by 105 / 140 = 0.75, the taken one by 100 / 105 = 0.95
    assert average_precision(truth, found, ["knife"])["knife"] == pytest.approx(1 / 2, abs=1e-12)


def test_an_item_of_another_class_or_image_is_never_hit():
    truth = {"a": [[0, *BOX]], "b": [[1, *BOX]]}
    found = {"a": [[1, 0.9, *BOX]], "b": [[0, 0.9, *BOX]]}
    assert average_precision(truth, found, ["x", "y"]) == {"x": 0.0, "y": 0.0, "mAP": 0.0}


def test_an_unknown_rule_or_class_is_refused():
    with pytest.raises(ValueError, match="11-point"):
        average_precision(WORKED_TRUTH, WORKED_DETECTIONS, ["knife"], rule="coco")
    with pytest.raises(ValueError, match="fork"):
        precision_recall(matches_of(WORKED_TRUTH, WORKED_DETECTIONS, ["knife"]), "fork")


# --- parity with the definition ----------------------------------------------------------------


def exact_iou(a: list[int], b: list[int]) -> Fraction:
    width = max(0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0, min(a[3], b[3]) - max(a[1], b[1]))
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - width * height
    return Fraction(width * height, union)


def ap_from_definition(truth: dict, found: dict, of_class: int, rule: str) -> float:
    """AP from "which items does the set of detections above a threshold find", in fractions."""
    items = [
        (image, i) for image, rows in truth.items() for i, r in enumerate(rows) if r[0] == of_class
    ]
    detections = []
    for image, rows in found.items():
        for _, score, *box in (row for row in rows if row[0] == of_class):
            candidates = [
                (exact_iou(box, truth[image][i][1:]), -i) for im, i in items if im == image
            ]
            overlap, i = max(candidates, default=(Fraction(0), 0))
            detections.append((score, (image, -i) if overlap > Fraction(1, 2) else None))
    if not items:
        return float("nan")
    operating_points = []
    for threshold in {score for score, _ in detections}:
        above = [item for score, item in detections if score >= threshold]
        hits = len(set(above) - {None})
        operating_points.append((hits, Fraction(hits, len(above))))

    def best_precision(at_least: Fraction) -> Fraction:
        return max((p for hits, p in operating_points if hits >= at_least), default=Fraction(0))

    if rule == "area":
        return float(sum(best_precision(k) for k in range(1, len(items) + 1)) / len(items))
    # the official levels are floating point numbers, and so is the recall they are compared with
    reached = [
        max((p for h, p in operating_points if h / len(items) >= level), default=Fraction(0))
        for level in np.arange(0.0, 1.1, 0.1)
    ]
    return float(sum(reached) / 11)


small_box = st.builds(
    lambda x, y, w, h: [x, y, x + w, y + h],
    *[st.integers(0, 4)] * 2,
    *[st.integers(1, 6)] * 2,
)
item = st.builds(lambda c, box: [c, *box], st.integers(0, 1), small_box)
detection = st.builds(
    lambda c, score, box: [c, score / 8, *box], st.integers(0, 1), st.integers(0, 8), small_box
)


@st.composite
def small_sets(draw):
    names = [f"image {i}" for i in range(draw(st.integers(1, 4)))]
    truth = {name: draw(st.lists(item, max_size=4)) for name in names}
    found = {name: draw(st.lists(detection, max_size=6)) for name in names}
    return truth, found


@pytest.mark.parametrize("rule", RULES)
@settings(max_examples=300, deadline=None)
@given(small_sets())
def test_equals_the_definition(rule, sets):
    expected = [ap_from_definition(*sets, of_class, rule) for of_class in (0, 1)]
    ap = average_precision(*sets, ["x", "y"], rule=rule)
    assert_allclose([ap["x"], ap["y"]], expected, atol=1e-12)


def test_equals_the_definition_where_11_point_levels_round():
    # 3 of 10 found: 0.3 < 0.30000000000000004, so only the levels 0, 0.1, 0.2 are reached
    truth = {str(i): [[0, *BOX]] for i in range(10)}
    found = {str(i): [[0, 0.5, *BOX]] for i in range(3)}
    ap = average_precision(truth, found, ["x"], rule="11-point")["x"]
    assert ap == pytest.approx(3 / 11, abs=1e-12)
    assert ap == pytest.approx(ap_from_definition(truth, found, 0, "11-point"), abs=1e-12)


# --- invariances -------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", RULES)
@settings(max_examples=100, deadline=None)
@given(small_sets(), st.randoms(use_true_random=False))
def test_no_order_matters_even_with_ties(rule, sets, random):
    truth, found = sets
    names = list(truth)
    random.shuffle(names)
    shuffled = {name: random.sample(found[name], len(found[name])) for name in names}
    before = average_precision(truth, found, ["x", "y"], rule=rule)
    after = average_precision({n: truth[n] for n in names}, shuffled, ["x", "y"], rule=rule)
    assert_allclose(list(after.values()), list(before.values()), atol=1e-12)


@pytest.mark.parametrize("rule", RULES)
@settings(max_examples=100, deadline=None)
@given(small_sets(), st.data())
def test_a_duplicate_detection_never_raises_ap(rule, sets, data):
    truth, found = sets
    before = average_precision(truth, found, ["x", "y"], rule=rule)
    name = data.draw(st.sampled_from(sorted(truth)))
    repeated = data.draw(st.lists(st.sampled_from(found[name]), max_size=3)) if found[name] else []
    again = [[c, score - data.draw(st.sampled_from([0.0, 0.1])), *b] for c, score, *b in repeated]
    after = average_precision(truth, found | {name: found[name] + again}, ["x", "y"], rule=rule)
    for key in ("x", "y"):
        assert np.isnan(before[key]) or after[key] <= before[key] + 1e-12


@settings(max_examples=100, deadline=None)
@given(small_sets())
def test_only_the_order_of_scores_matters(sets):
    truth, found = sets
    squared = {n: [[c, s**2 - 3, *b] for c, s, *b in rows] for n, rows in found.items()}
    before, after = (average_precision(truth, f, ["x", "y"]) for f in (found, squared))
    assert_allclose(list(after.values()), list(before.values()), atol=1e-12)


# --- weights, ignored items --------------------------------------------------------------------


@pytest.mark.parametrize("rule", RULES)
@settings(max_examples=150, deadline=None)
@given(small_sets(), st.data())
def test_a_weight_counts_as_copies_of_the_image(rule, sets, data):
    truth, found = sets
    weights = data.draw(st.lists(st.integers(0, 3), min_size=len(truth), max_size=len(truth)))
    copies = [(n, k) for n, w in zip(truth, weights, strict=True) for k in range(w)]
    expected = average_precision(
        {f"{n} {k}": truth[n] for n, k in copies},
        {f"{n} {k}": found[n] for n, k in copies},
        ["x", "y"],
        rule=rule,
    )
    matches = matches_of(truth, found, ["x", "y"])
    both = average_precisions(matches, [weights, [1] * len(truth)], rule=rule)
    assert_allclose(both[0], [expected["x"], expected["y"]], atol=1e-12)
    assert_allclose(both[1], average_precisions(matches, rule=rule), atol=1e-12)
    assert_allclose(mean_ap(both)[0], expected["mAP"], atol=1e-12)


def test_detections_that_match_an_ignored_item_are_neither_hit_nor_false():
    truth = {"a": [[0, *BOX], [0, *ELSEWHERE]]}
    found = {
        "a": [[0, 0.9, *ELSEWHERE], [0, 0.8, *ELSEWHERE], [0, 0.7, 20, 20, 30, 30], [0, 0.6, *BOX]]
    }
    ap = average_precisions(matches_of(truth, found, ["x"]), counted=np.array([True, False]))
    assert_allclose(ap, [1 / 2], atol=1e-12)  # the 0.7 is false, the 0.6 a hit


@pytest.mark.parametrize("weights", [[1.0], [[1.0, 1.0, 1.0]], [1.0, -1.0], [[[1.0, 1.0]]]])
def test_wrong_weights_are_refused(weights):
    matches = matches_of({"a": [], "b": []}, {}, ["x"])
    with pytest.raises(ValueError, match="image_weights"):
        average_precisions(matches, weights)


def test_a_class_that_a_resample_misses_has_no_ap_there():
    matches = matches_of(
        {"a": [[0, *BOX]], "b": [[1, *BOX]]}, {"a": [[0, 0.5, *BOX]], "b": []}, ["x", "y"]
    )
    ap = average_precisions(matches, [[1, 1], [2, 0], [0, 2], [0, 0]])
    assert_array_equal(ap, [[1, 0], [1, np.nan], [np.nan, 0], [np.nan, np.nan]])
    assert_array_equal(mean_ap(ap), [0.5, 1, 0, np.nan])


# --- degenerate sets ---------------------------------------------------------------------------


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(
    ("truth", "found", "x", "y", "mean"),
    [
        ({}, {}, np.nan, np.nan, np.nan),
        ({"a": []}, {}, np.nan, np.nan, np.nan),
        ({"a": []}, {"a": [[0, 0.5, *BOX]]}, np.nan, np.nan, np.nan),
        ({"a": [[0, *BOX]]}, {}, 0.0, np.nan, 0.0),
        ({"a": [[0, *BOX]]}, {"a": []}, 0.0, np.nan, 0.0),
        ({"a": [[0, *BOX]]}, {"a": [[0, 0.5, *BOX]]}, 1.0, np.nan, 1.0),
        ({"a": [[0, *BOX]]}, {"a": [[1, 0.5, *BOX]]}, 0.0, np.nan, 0.0),
        ({"a": [[0, *BOX]]}, {"a": [[0, 0.5, 3, 3, 3, 3]]}, 0.0, np.nan, 0.0),
        ({"a": [[0, *BOX], [1, *BOX]]}, {"a": [[0, 0.5, *BOX]]}, 1.0, 0.0, 0.5),
    ],
)
def test_empty_sets_and_classes(rule, truth, found, x, y, mean):
    ap = average_precision(truth, found, ["x", "y"], rule=rule)
    assert_array_equal([ap["x"], ap["y"], ap["mAP"]], [x, y, mean])


def test_curve_of_an_empty_class():
    matches = matches_of({"a": [[0, *BOX]]}, {"a": [[1, 0.5, *BOX]]}, ["x", "y"])
    assert len(precision_recall(matches, "x").recall) == 0
    assert_array_equal(precision_recall(matches, "y"), [[np.nan], [0.0], [0.5]])


def test_labels_and_images_outside_the_set_are_refused():
    truth = GroundTruth.from_images([([1], [BOX])])
    two_images = Detections.from_images([([1], [0.5], [BOX]), ([2], [0.5], [BOX])])
    with pytest.raises(ValueError, match="the set has 1 images"):
        match(truth, two_images, ["x", "y"])
    with pytest.raises(ValueError, match="detections: label 2"):
        match(GroundTruth.from_images([([1], [BOX]), ([], [])]), two_images, ["x"])


# --- views -------------------------------------------------------------------------------------


def test_by_level_equals_evaluating_the_images_of_that_level_alone():
    """Paper: Table V."""
    truth, found = GOLDEN["ground_truth"], GOLDEN["detections"]
    levels = np.random.default_rng(0).integers(0, 4, len(truth))
    by_level = ap_by_level(matches_of(truth, found, GOLDEN["classes"]), levels)
    assert list(by_level) == [1, 2, 3]
    for level, ap in by_level.items():
        names = [n for n, of in zip(truth, levels, strict=True) if of == level]
        alone = average_precision(
            {n: truth[n] for n in names}, {n: found[n] for n in names}, GOLDEN["classes"]
        )
        assert ap == pytest.approx(alone, abs=1e-12)


def test_by_occlusion_worked_example():
    # Two windows of two items: O in 0.1 to 0.2 (images a, b), and in 0.7 to 0.9 (images b, c).
    truth = {"a": [[0, *BOX]], "b": [[0, *BOX], [0, *ELSEWHERE]], "c": [[0, *BOX]], "d": []}
    occlusion = [0.1, 0.2, 0.7, 0.9]
    found = {
        "a": [[0, 0.9, *BOX]],
        "b": [[0, 0.7, 20, 20, 30, 30], [0, 0.6, *BOX], [0, 0.5, *ELSEWHERE]],
        "c": [[0, 0.4, *ELSEWHERE]],
        "d": [[0, 1.0, *BOX]],
    }
    curve = ap_by_occlusion(matches_of(truth, found, ["x"]), occlusion, share=0.5, points=2)
    assert_allclose(curve[["low", "median", "high"]], [[0.1, 0.15, 0.2], [0.7, 0.8, 0.9]])
    assert_array_equal(curve["items"], [2, 2])
    # light: 0.9 hit, 0.7 false, 0.6 hit; the item at 0.7 and its detection are ignored
    # heavy: 0.7 false, 0.5 hit, 0.4 false; the item at 0.2 and its detection are ignored
    assert_allclose(curve["x"], [1 / 2 + 1 / 2 * 2 / 3, 1 / 2 * 1 / 2], atol=1e-12)
    assert_array_equal(curve["mAP"], curve["x"])


def test_by_occlusion_keeps_tied_items_together_and_in_any_order():
    truth = {"a": [[0, *BOX]], "b": [[0, *BOX]], "c": [[0, *BOX]], "d": [[0, *BOX]]}
    matches = matches_of(truth, {"a": [[0, 0.5, *BOX]]}, ["x"])
    first = ap_by_occlusion(matches, [0, 0, 0, 1], share=0.25, points=2)
    assert_array_equal(first["items"], [3, 1])
    assert_allclose(first["x"], [1 / 3, 0], atol=1e-12)


def test_by_occlusion_over_one_window_is_ap_on_images_with_items():
    truth, found = GOLDEN["ground_truth"], GOLDEN["detections"]
    matches = matches_of(truth, found, GOLDEN["classes"])
    occlusion = np.random.default_rng(1).random(len(matches.truth))
    curve = ap_by_occlusion(matches, occlusion, share=1.0, points=1)
    positives = [n for n in truth if truth[n]]
    alone = average_precision(
        {n: truth[n] for n in positives}, {n: found[n] for n in positives}, GOLDEN["classes"]
    )
    assert curve.iloc[0][list(alone)].to_dict() == pytest.approx(alone, abs=1e-12)
    assert len(positives) < len(truth)


def test_by_occlusion_without_items_is_empty_and_bad_values_are_refused():
    assert len(ap_by_occlusion(matches_of({"a": []}, {}, ["x"]), [])) == 0
    matches = matches_of({"a": [[0, *BOX]]}, {}, ["x"])
    for occlusion in ([], [0.1, 0.2], [np.nan]):
        with pytest.raises(ValueError, match="occlusion"):
            ap_by_occlusion(matches, occlusion)


def test_false_alarms_count_only_background_images():
    truth = {"item": [[0, *BOX]], "b1": [], "b2": []}
    found = {
        "item": [[0, 0.9, *ELSEWHERE]],
        "b1": [[0, 0.5, *BOX], [1, 0.25, *BOX]],
        "b2": [[0, 0.5, *BOX]],
    }
    sets = from_records(truth, found, 2)
    assert_array_equal(false_alarms(*sets, [0.0, 0.25, 0.3, 0.5, 0.6]), [1.5, 1.5, 1.0, 1.0, 0.0])
    assert false_alarms(*sets, 0.3) == 1.0


def test_false_alarms_without_background_images_are_unknown():
    sets = from_records({"a": [[0, *BOX]]}, {"a": [[0, 0.5, *BOX]]}, 1)
    assert_array_equal(false_alarms(*sets, [0.5]), [np.nan])


# --- COCO --------------------------------------------------------------------------------------


def test_coco_of_a_known_overlap(capsys):
    # IoU 62 / 100 on both images: a hit at 0.5, 0.55 and 0.6, none above. The third class is empty.
    truth = {"a": [[0, *BOX]], "b": [[1, *BOX]], "c": []}
    found = {"a": [[0, 0.9, 0, 0, 10, 6.2]], "b": [[1, 0.8, 0, 0, 10, 6.2]]}
    ap = coco_ap(*from_records(truth, found, 3), ["x", "y", "z"])
    assert ap == pytest.approx({"AP50": 1.0, "AP50:95": 0.3}, abs=1e-9)
    assert capsys.readouterr().out == ""


def test_coco_is_near_our_ap_on_the_golden_set():
    sets = from_records(GOLDEN["ground_truth"], GOLDEN["detections"], 5)
    ap = coco_ap(*sets, GOLDEN["classes"])
    assert ap["AP50"] == pytest.approx(GOLDEN["expected"]["voc_area"]["mAP"], abs=0.01)
    assert 0 < ap["AP50:95"] < ap["AP50"]


def test_coco_of_empty_sets():
    nothing = coco_ap(*from_records({"a": []}, {"a": [[0, 0.5, *BOX]]}, 1), ["x"])
    assert_array_equal(list(nothing.values()), [np.nan, np.nan])
    missed = coco_ap(*from_records({"a": [[0, *BOX]]}, {}, 1), ["x"])
    assert missed == {"AP50": 0.0, "AP50:95": 0.0}


def test_what_a_pool_of_batches_can_reach_by_hand():
    """One image a batch: the highest share itself. One batch: the mean. Larger batches: between."""
    occlusion = np.array([0.1, 0.2, 0.3, 0.4, np.nan])
    assert within_reach(occlusion, 1, 0.25) == pytest.approx(0.4)
    assert within_reach(occlusion, 1, 0.5) == pytest.approx(0.35)
    assert within_reach(occlusion, 4, 0.1) == pytest.approx(0.25)
    # Of three ways to deal four images into two pairs, the better pair has 0.35, 0.30, 0.25.
    assert within_reach(occlusion, 2, 0.5, shuffles=2000) == pytest.approx(0.30, abs=0.003)
