"""The picture that opens the book: which image, which network, what is drawn."""

from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pytest
import tiny
import torch
from matplotlib.patches import Rectangle

from doamlib.book import landing
from doamlib.evaluation.detections import Detections, GroundTruth
from doamlib.evaluation.test_set import TestSet

CLASSES = ("Folding_Knife", "Scissor")
KNIFE, SCISSOR = 1, 2
SIZE = tiny.SIZE
NAN = float("nan")


def square(x):
    return [x, 10, x + 20, 30]


def test_set(items, images=3, levels=None):
    """``items``: (image, label, x, O)."""
    image, label, x, occlusion = zip(*items, strict=True)
    truth = GroundTruth(
        np.array(image), np.array(label), np.array([square(v) for v in x], float), images
    )
    known = np.full(images, 1) if levels is None else np.array(levels)
    ids = tuple(map(str, range(images)))
    sizes = np.full((images, 2), SIZE)
    return TestSet(CLASSES, ids, sizes, known, truth, np.array(occlusion, float))


test_set.__test__ = False


def detections(*rows):
    """Rows of (image, label, score, x)."""
    image, label, score, x = zip(*rows, strict=True) if rows else ((), (), (), ())
    boxes = np.array([square(v) for v in x], float).reshape(-1, 4)
    return Detections(np.array(image, int), np.array(label, int), np.array(score, float), boxes)


ITEMS = [(0, KNIFE, 0, 0.2), (1, KNIFE, 20, 0.9), (2, SCISSOR, 40, 0.5)]


# --- which image ----------------------------------------------------------------------------------


def test_the_most_hidden_item_that_was_hit_is_shown():
    found = detections((0, KNIFE, 0.9, 0), (2, SCISSOR, 0.3, 40))  # the one at O = 0.9 is missed
    assert landing.most_hidden(test_set(ITEMS), found) == 2


def test_a_hit_below_an_images_strongest_detection_is_none():
    """The picture draws the strongest: an image whose hit it would not show is not chosen."""
    found = detections((0, KNIFE, 0.9, 0), (2, KNIFE, 0.8, 0), (2, SCISSOR, 0.7, 40))
    assert landing.most_hidden(test_set(ITEMS), found) == 0


@pytest.mark.parametrize("found", [(), [(1, SCISSOR, 0.9, 60)]])
def test_where_nothing_is_hit_it_is_the_most_hidden_item_of_all(found):
    assert landing.most_hidden(test_set(ITEMS), detections(*found)) == 1


def test_without_known_occlusion_the_level_decides_and_of_equals_the_first():
    unknown = [(image, label, x, NAN) for image, label, x, _ in ITEMS]
    assert landing.most_hidden(test_set(unknown, levels=(1, 3, 3)), detections()) == 1
    hit = detections((0, KNIFE, 0.9, 0), (2, SCISSOR, 0.3, 40))
    assert landing.most_hidden(test_set(unknown, levels=(1, 3, 3)), hit) == 2


def test_the_order_of_detections_does_not_matter():
    rows = [(2, SCISSOR, 0.3, 40), (0, KNIFE, 0.9, 0), (2, KNIFE, 0.2, 40), (1, KNIFE, 0.8, 60)]
    chosen = {landing.most_hidden(test_set(ITEMS), detections(*r)) for r in (rows, rows[::-1])}
    assert chosen == {2}


# --- which network --------------------------------------------------------------------------------


def study(**parameters):
    sample = SimpleNamespace(
        image=tiny.photos(1)[0].numpy(),
        boxes=np.array([square(0), square(40)], float),
        labels=np.array([KNIFE, SCISSOR]),
    )

    class Test(list):
        classes = CLASSES

    cached = SimpleNamespace(batch=lambda rows: (tiny.photos(3)[rows], None))
    data = SimpleNamespace(test=Test([sample] * 3), cached=lambda *_: cached)
    fields = {"arms": ["SSD"], "dataset": "simulation", "profile": "quick"} | parameters
    return SimpleNamespace(
        parameters=SimpleNamespace(**fields), data=data, processes=1, report=print
    )


def result(*rows):
    """A run of an untrained detector with DOAM, and these detections."""
    detector = tiny.make()
    return SimpleNamespace(
        config=SimpleNamespace(detector=detector.config, seed=0),
        detector=lambda: detector,
        test_set=lambda: test_set([(0, KNIFE, 0, 0.2), (1, KNIFE, 0, 0.9), (1, SCISSOR, 40, 0.1)]),
        detections=lambda: detections(*rows),
    )


def test_the_first_arm_with_an_attention_map_is_taken():
    of = landing.arm_with_attention
    assert of(study(arms=["SSD", "SSD+SE", "SSD+Concat", "SSD+DOAM-T", "SSD+DOAM-O"])) == (
        "SSD+DOAM-T"
    )
    assert of(study(arms=["SSD", "SSD+SE", "SSD+Concat"])) is None
    assert of(study(arms=[])) is None


def test_the_caption_says_which_network_and_which_data():
    said = landing.described(study(), {("SSD+DOAM-T", 3): result()})
    assert said == "The image is generated, the network SSD+DOAM-T, seed 3 of profile quick."
    said = landing.described(study(dataset="opixray"), {})
    assert said == "The image is real; this profile trains no network with attention to show."


# --- what is drawn --------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def closed():
    """No figure outlives its test."""
    yield
    plt.close("all")


def drawn(results):
    """Titles of the panels, and the texts and number of boxes on each."""
    axes = landing.opening_picture(study(), results).axes
    boxes = [sum(isinstance(patch, Rectangle) for patch in axis.patches) for axis in axes]
    texts = [[text.get_text() for text in axis.texts] for axis in axes]
    return [axis.get_title() for axis in axes], boxes, texts


def test_without_a_network_the_picture_ends_with_the_edges():
    titles, boxes, texts = drawn({})
    assert titles == ["a bag in X-rays", "its edges"]
    assert boxes == [2, 0] and texts[0] == ["Folding Knife", "Scissor"]


def test_the_strongest_detections_are_drawn_as_many_as_the_image_has_items():
    rows = [(1, KNIFE, 0.31, 60), (1, SCISSOR, 0.72, 40), (1, KNIFE, 0.954, 0), (0, KNIFE, 1, 50)]
    titles, boxes, texts = drawn({("SSD+DOAM-T", 0): result(*rows)})
    assert titles[2:] == ["DOAM's map M", "what the network finds"]
    assert boxes == [2, 0, 0, 2]
    assert texts[3] == ["Folding Knife 0.95", "Scissor 0.72"]


def test_a_network_that_finds_nothing_gets_a_picture_without_boxes():
    _, boxes, texts = drawn({("SSD+DOAM-T", 0): result()})
    assert boxes == [2, 0, 0, 0] and texts[3] == []


def test_the_map_and_the_edges_lie_over_the_image():
    figure = landing.opening_picture(study(), {("SSD+DOAM-T", 0): result((0, KNIFE, 0.9, 0))})
    extents = [axis.images[0].get_extent() for axis in figure.axes]
    assert all(extent == pytest.approx(extents[0]) for extent in extents)
    attention = figure.axes[2].images[0].get_array()
    assert torch.tensor(attention.shape).tolist() == [SIZE, SIZE]
    assert np.isfinite(attention).all()
