"""Which detection hits which item: IoU and the greedy matching of the official evaluator.

For each class (official repository, ``DOAM/test.py``, ``voc_eval``, read at 3eeb434): detections
are taken by descending score. Each looks at the item of its image and class that it overlaps most.
If that IoU is strictly greater than the threshold and the item is still free, the detection is a
hit and takes the item. Otherwise it is a false positive, even where a second item is still free.

Boxes are continuous intervals: width is ``x2 - x1``, without the "+1 pixel" of other evaluators.
They are compared as they are; the official code moves detections by +1 pixel and items by -1. The
golden numbers come out the same with and without the extra pixel, so they do not decide it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from doamlib.evaluation.detections import Detections, GroundTruth, check_images


def iou(a: NDArray[np.floating], b: NDArray[np.floating]) -> NDArray[np.float64]:
    """IoU of boxes row by row.

    Args:
        a: float (N, 4), x1, y1, x2, y2.
        b: float (N, 4).

    Returns:
        float64 (N,), 0 to 1; 0 where both boxes have no area.
    """
    a, b = a.astype(np.float64), b.astype(np.float64)
    sides = np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2])
    intersection = sides.clip(min=0).prod(axis=1)
    union = (a[:, 2:] - a[:, :2]).prod(axis=1) + (b[:, 2:] - b[:, :2]).prod(axis=1) - intersection
    return np.divide(intersection, union, out=np.zeros_like(union), where=union > 0)


@dataclass(frozen=True, eq=False)
class Matches:
    """What each detection hit, by descending score: all that any curve needs.

    Attributes:
        classes: names; label ``i`` is ``classes[i - 1]``.
        truth: the items that were matched against.
        image_index: int (N,), image of each detection.
        label: int (N,).
        score: float (N,), descending.
        item: int (N,), row of ``truth`` that the detection overlaps most, if by more than the
            threshold; otherwise -1.
        hit: bool (N,), True for the first detection of each item; a later one is a duplicate.
    """

    classes: tuple[str, ...]
    truth: GroundTruth
    image_index: NDArray[np.integer]
    label: NDArray[np.integer]
    score: NDArray[np.floating]
    item: NDArray[np.int64]
    hit: NDArray[np.bool_]


def match(
    truth: GroundTruth, detections: Detections, classes: Sequence[str], iou_threshold: float = 0.5
) -> Matches:
    """Match the detections of a test set with its items by the rules of this module.

    Returns:
        The matches, detections in descending order of score.

    Raises:
        ValueError: a label has no class, or a detection lies on an image outside the set.
    """
    check_images(detections.image_index, truth.image_count)
    for name, labels in (("ground truth", truth.label), ("detections", detections.label)):
        if labels.max(initial=0) > len(classes):
            raise ValueError(f"{name}: label {labels.max()}, but there are {len(classes)} classes")
    ranked = detections.select(np.argsort(-detections.score, kind="stable"))
    item = _best_items(truth, ranked, len(classes), iou_threshold)
    hit = np.zeros(len(item), dtype=bool)
    claimed, first = np.unique(item, return_index=True)
    hit[first[claimed >= 0]] = True
    found = ranked.image_index, ranked.label, ranked.score
    return Matches(tuple(classes), truth, *found, item, hit)


def _best_items(
    truth: GroundTruth, detections: Detections, class_count: int, iou_threshold: float
) -> NDArray[np.int64]:
    """For each detection the item it overlaps most, or -1 if not by more than the threshold.

    Among items of equal overlap the first in the ground truth counts, as for the official `argmax`.
    """
    item_key = truth.image_index * (class_count + 1) + truth.label
    by_key = np.argsort(item_key, kind="stable")
    key = detections.image_index * (class_count + 1) + detections.label
    start, end = (np.searchsorted(item_key[by_key], key, side) for side in ("left", "right"))
    count = end - start
    detection = np.repeat(np.arange(len(key)), count)
    nth = np.arange(len(detection)) - np.repeat(np.cumsum(count) - count, count)
    candidate = by_key[start[detection] + nth]

    overlap = iou(detections.boxes[detection], truth.boxes[candidate])
    best = np.zeros(len(key))
    np.maximum.at(best, detection, overlap)
    row = np.flatnonzero((overlap == best[detection]) & (overlap > iou_threshold))
    matched, first = np.unique(detection[row], return_index=True)
    item = np.full(len(key), -1, dtype=np.int64)
    item[matched] = candidate[row[first]]
    return item
