"""What AP may be, given only each image's strongest detections: exact bounds, without the rest.

A weaker detection never takes an item from a stronger one, so the hits among the strongest stay
what they are. All that the rest can add are hits on items not found yet and false positives, both
at a score no higher than the weakest that was kept of its image; an image of which fewer were kept
than could be has no rest at all. AP is largest if every such item is found at that score without a
false positive, and least if the rest are false positives of every class.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from doamlib.evaluation.detections import Detections
from doamlib.evaluation.matching import match
from doamlib.evaluation.test_set import TestSet, score_matches

IOU_SLACK = 0.005
"""Stored boxes are off by up to 0.01 pixel a side, which moves the IoU of a box of at least 10
pixels by less than this; the bounds hold for every such shift."""


def ap_bounds(
    kept: Detections, test: TestSet, strongest: int, per_image: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The least and the largest of each AP that all detections can have given.

    Args:
        kept: the ``strongest`` detections of each image, or all where there were fewer.
        test: the test set.
        strongest: how many were kept of an image.
        per_image: how many there may have been, kept ones included.

    Returns:
        Two tables as of :func:`doamlib.evaluation.test_set.score_matches`.
    """
    count = len(test.image_ids)
    full = np.bincount(kept.image_index, minlength=count) >= strongest
    weakest = np.full(count, np.inf)
    np.minimum.at(weakest, kept.image_index, kept.score)
    tables = []
    for threshold, added in (
        (0.5 + IOU_SLACK, _false_positives(full, len(test.classes), per_image - strongest)),
        (0.5 - IOU_SLACK, _missed_items(kept, test, full)),
    ):
        image, label, boxes = added
        both = Detections(
            np.concatenate([kept.image_index, image]),
            np.concatenate([kept.label, label]),
            np.concatenate([kept.score, weakest[image].astype(kept.score.dtype)]),
            np.concatenate([kept.boxes, boxes.astype(kept.boxes.dtype)]),
        )
        tables.append(score_matches(match(test.truth, both, test.classes, threshold), test))
    return tables[0], tables[1]


Rows = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]


def _false_positives(full: NDArray[np.bool_], classes: int, each: int) -> Rows:
    """``each`` a class on every full image, with boxes of no area, which hit nothing."""
    image = np.repeat(np.flatnonzero(full), each * classes)
    label = np.tile(np.repeat(np.arange(1, classes + 1), each), int(full.sum()))
    return image, label, np.zeros((len(image), 4))


def _missed_items(kept: Detections, test: TestSet, full: NDArray[np.bool_]) -> Rows:
    """The items of full images that no kept detection hits, even if boxes are a little off."""
    truth = test.truth
    matches = match(truth, kept, test.classes, 0.5 - IOU_SLACK)
    missed = full[truth.image_index]
    missed[matches.item[matches.hit]] = False
    # Of items with the same box every detection looks at the first: the others are never found.
    rows = np.column_stack([truth.image_index, truth.label, truth.boxes])
    first = np.unique(rows, axis=0, return_index=True)[1]
    missed &= np.isin(np.arange(len(truth)), first)
    return truth.image_index[missed], truth.label[missed], truth.boxes[missed]
