"""Pictures looked at whole or window by window."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny import make, photos

from doamlib.evaluation.pictures import find_in_picture, windows


class Finder:
    """Stands in for a detector: finds every patch of pure red, as a box of label 1."""

    config = type("Config", (), {"nms_iou": 0.5, "detections_per_image": 10})

    def eval(self):
        return self

    def __call__(self, images):
        return [self.look(image) for image in images]

    @staticmethod
    def look(image):
        rows, columns = torch.nonzero((image[0] == 1) & (image[1] == 0), as_tuple=True)
        if not len(rows):
            return {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0), "scores": torch.zeros(0)}
        box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        boxes = torch.tensor([box]).float()
        return {"boxes": boxes, "labels": torch.tensor([1]), "scores": torch.tensor([0.9])}


def picture(*boxes, size=(80, 120)):
    image = torch.full((3, *size), 255, dtype=torch.uint8)
    for x1, y1, x2, y2 in boxes:
        image[1:, y1:y2, x1:x2] = 0
    return image


def test_one_window_is_the_picture():
    assert windows(80, 120, 1.0) == [(0, 0, 120, 80)]


def test_windows_of_half_a_side_lie_half_over_each_other():
    assert windows(80, 120, 0.5) == [
        (x, y, x + 60, y + 40) for y in (0, 20, 40) for x in (0, 30, 60)
    ]


@given(st.integers(1, 300), st.integers(1, 300), st.floats(0.05, 1))
def test_windows_cover_the_picture_and_stay_inside(height, width, share):
    covered = np.zeros((height, width), dtype=bool)
    found = windows(height, width, share)
    for x1, y1, x2, y2 in found:
        assert 0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height
        covered[y1:y2, x1:x2] = True
    assert covered.all() and len(set(found)) == len(found)
    # An item of at most half a window (less a pixel of rounding) is whole in one of them.
    gap = max(np.diff(sorted({x1 for x1, *_ in found})), default=0)
    assert gap <= max(1, round(share * width)) / 2 + 1


@pytest.mark.parametrize("share", [0, -1, 1.1])
def test_a_share_that_is_none_is_refused(share):
    with pytest.raises(ValueError, match=f"share = {share}"):
        windows(10, 10, share)


def test_an_item_in_several_windows_is_found_once_and_whole():
    found = find_in_picture(Finder(), picture((50, 30, 62, 41)), share=0.5)
    assert found["boxes"].tolist() == [[50, 30, 62, 41]]
    assert found["labels"].tolist() == [1]


def test_items_of_two_windows_are_both_found_where_one_look_merges_them():
    image = picture((2, 3, 12, 9), (100, 60, 119, 78))
    assert len(find_in_picture(Finder(), image)["boxes"]) == 1
    boxes = find_in_picture(Finder(), image, share=0.4)["boxes"].tolist()
    assert sorted(boxes) == [[2, 3, 12, 9], [100, 60, 119, 78]]


def test_an_item_at_the_edge_of_the_picture_is_kept():
    found = find_in_picture(Finder(), picture((0, 70, 10, 80)), share=0.5)
    assert found["boxes"].tolist() == [[0, 70, 10, 80]]


@pytest.mark.parametrize(
    "box", [(0, 0, 10, 9), (110, 0, 120, 9), (0, 70, 10, 80), (110, 70, 120, 80), (50, 0, 62, 5)]
)
def test_an_item_at_any_side_or_corner_of_the_picture_is_kept(box):
    found = find_in_picture(Finder(), picture(box), share=0.5)
    assert found["boxes"].tolist() == [list(box)]


def test_an_item_longer_than_every_window_is_not_found_in_pieces():
    """Its box ends at an inner side of each window, so that no window holds it whole."""
    assert not len(find_in_picture(Finder(), picture((5, 30, 115, 41)), share=0.5)["boxes"])


def test_a_picture_with_nothing_gives_empty_tensors():
    found = find_in_picture(Finder(), picture(), share=0.5)
    assert {name: len(values) for name, values in found.items()} == dict.fromkeys(found, 0)


def test_whole_pictures_give_what_the_detector_itself_gives():
    detector, image = make(), photos(1)[0]
    found = find_in_picture(detector, image)
    with torch.inference_mode():
        (direct,) = detector([image.float() / 255])
    torch.testing.assert_close(found["boxes"], direct["boxes"])
    torch.testing.assert_close(found["scores"], direct["scores"])
    assert len(found["boxes"]) > 0
