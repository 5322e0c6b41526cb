"""Which detections of a run a page shows."""

from types import SimpleNamespace

import numpy as np
import pytest

from doamlib.book import samples
from doamlib.evaluation.detections import Detections, GroundTruth
from doamlib.evaluation.test_set import TestSet

KNIFE, SCISSOR = 1, 2


def square(x, side=10):
    return [x, 0, x + side, side]


def test_set(items, levels, occlusion=None):
    """``items``: (image, label, x); ``occlusion``: O of each, NaN where none is given."""
    image, label, x = zip(*items, strict=True)
    truth = GroundTruth(
        np.array(image), np.array(label), np.array([square(v) for v in x], float), len(levels)
    )
    known = np.full(len(items), np.nan) if occlusion is None else np.array(occlusion, float)
    ids = tuple(f"{n}" for n in range(len(levels)))
    sizes = np.full((len(levels), 2), 100)
    return TestSet(("Knife", "Scissor"), ids, sizes, np.array(levels), truth, known)


test_set.__test__ = False


def detections(*rows):
    """Rows of (image, label, score, x)."""
    image, label, score, x = zip(*rows, strict=True) if rows else ((), (), (), ())
    boxes = np.array([square(v) for v in x], float).reshape(-1, 4)
    return Detections(np.array(image, int), np.array(label, int), np.array(score, float), boxes)


THREE = [(0, KNIFE, 0), (1, KNIFE, 20), (2, SCISSOR, 40)]


def test_the_strongest_right_and_wrong_and_the_least_occluded_missed():
    test = test_set(THREE, levels=(1, 2, 3), occlusion=(0.1, 0.5, 0.3))
    found = detections(
        (2, KNIFE, 0.5, 40),  # the right place, the wrong class
        (0, KNIFE, 0.6, 1),  # a hit
        (1, KNIFE, 0.8, 70),  # nothing there
    )
    chosen = samples.choose_samples(test, found)
    assert list(chosen) == ["right", "wrong", "missed"]
    assert (chosen["right"].image, chosen["right"].score) == (0, 0.6)
    assert chosen["right"].box == (1, 0, 11, 10)
    assert (chosen["wrong"].image, chosen["wrong"].score) == (1, 0.8)
    # Items 1 (O = 0.5) and 2 (O = 0.3) have no hit.
    missed = chosen["missed"]
    assert (missed.image, missed.label, missed.score) == (2, SCISSOR, None)
    assert missed.box == (40, 0, 50, 10)


def test_as_many_detections_are_kept_as_there_are_items():
    test = test_set(THREE[:2], levels=(1, 2), occlusion=(0.1, 0.5))
    found = detections(
        (0, KNIFE, 0.9, 0), (0, KNIFE, 0.8, 60), (1, KNIFE, 0.7, 20), (1, KNIFE, 0.6, 70)
    )
    chosen = samples.choose_samples(test, found)
    assert chosen["wrong"].score == 0.8
    assert chosen["missed"].image == 1  # its hit ranks third, and there are two items


def test_a_second_box_on_an_item_is_wrong():
    test = test_set(THREE[:2], levels=(1, 1), occlusion=(0.1, 0.5))
    chosen = samples.choose_samples(test, detections((0, KNIFE, 0.9, 0), (0, KNIFE, 0.8, 1)))
    assert (chosen["right"].score, chosen["wrong"].score) == (0.9, 0.8)


def test_the_order_of_detections_does_not_matter():
    test = test_set(THREE, levels=(1, 2, 3), occlusion=(0.1, 0.5, 0.3))
    rows = [(1, KNIFE, 0.8, 70), (0, KNIFE, 0.6, 1), (2, KNIFE, 0.5, 40)]
    expected = samples.choose_samples(test, detections(*rows))
    assert samples.choose_samples(test, detections(*rows[::-1])) == expected


def test_without_known_occlusion_the_level_of_the_image_decides_and_then_the_order():
    test = test_set(THREE, levels=(3, 2, 2))
    chosen = samples.choose_samples(test, detections())
    assert list(chosen) == ["missed"]
    assert chosen["missed"].image == 1


def what_is_there(*rows):
    test = test_set([(0, KNIFE, 0), (0, SCISSOR, 40)], levels=(1, 1))
    return samples.choose_samples(test, detections(*rows))["wrong"].truth


def test_a_wrong_detection_says_what_is_there():
    """A box that lies well on an item and has the wrong class looks right."""
    assert what_is_there((0, KNIFE, 0.9, 40)) == "truth: Scissor"
    assert what_is_there((0, KNIFE, 0.9, 0), (0, KNIFE, 0.8, 1)) == "item found before"
    assert what_is_there((0, SCISSOR, 0.9, 45)) == "Scissor by IoU 0.33"
    assert what_is_there((0, SCISSOR, 0.9, 70)) == what_is_there((1, KNIFE, 0.9, 0))
    assert what_is_there((1, KNIFE, 0.9, 0)) == "no item there"


def test_a_perfect_detector_has_nothing_wrong_and_misses_nothing():
    test = test_set(THREE, levels=(1, 2, 3), occlusion=(0.1, 0.5, 0.3))
    rows = [(image, label, 0.9 - 0.1 * image, x) for image, label, x in THREE]
    assert list(samples.choose_samples(test, detections(*rows))) == ["right"]


def images(*told):
    """A dataset of ``(level, items, coloured)``."""
    dataset = [
        SimpleNamespace(
            image=np.stack([np.full((2, 2), c) for c in ((9, 0, 9) if col else (9,) * 3)])
        )
        for _, _, col in told
    ]
    records = [SimpleNamespace(level=level, labels=[1] * items) for level, items, _ in told]
    return type("Images", (list,), {"records": records})(dataset)


@pytest.mark.parametrize(
    ("told", "first"),
    [
        ([(1, 1, True), (2, 1, False), (3, 1, True)], 2),  # under others and in colour
        ([(1, 1, True), (2, 1, False)], 1),  # under others, but grey
        ([(None, 0, True), (None, 1, False), (None, 1, True)], 2),  # no levels
        ([(None, 0, False), (None, 1, False)], 1),  # grey data
        ([(None, 0, True)], 0),  # nothing is annotated
    ],
)
def test_the_image_that_pages_take_apart_is_found_by_their_rule(told, first):
    assert samples.example(images(*told)) == first
