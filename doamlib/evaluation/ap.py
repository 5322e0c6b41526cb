"""Average precision by the rules of the official evaluator, and views of it.

Matching is that of :mod:`doamlib.evaluation.matching`. Rule ``"area"`` is the area under the
precision-recall curve after each precision is raised to the largest one at any higher recall (VOC
2010 on; what the official code reports). Rule ``"11-point"`` averages these raised precisions at
recall 0, 0.1, ..., 1 (VOC 2007). Where the official evaluator is silent, or does what nobody would
choose, we say:

- A class without items has no AP: NaN, left out of mAP. A class with items but without detections
  has AP 0 (the official code takes -1 for a class without detections, and averages it in).
- Detections of equal score enter the curve together, since no threshold separates them. The result
  therefore depends on no order of images or detections (the official code rounds scores to three
  decimals and leaves ties to an unstable sort).

Matching happens once. Everything else weighs images or leaves items out: occlusion levels and
resamples of the test set for a bootstrap cost a matrix product and no new IoU.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array

from doamlib.evaluation.detections import (
    Detections,
    GroundTruth,
    Record,
    check_images,
    from_records,
)
from doamlib.evaluation.matching import Matches, match

Rule = Literal["area", "11-point"]


def average_precision(
    ground_truth: Mapping[str, Sequence[Record]],
    detections: Mapping[str, Sequence[Record]],
    classes: Sequence[str],
    iou_threshold: float = 0.5,
    rule: Rule = "area",
) -> dict[str, float]:
    """AP of each class and mAP, from plain lists by image name.

    Args:
        ground_truth: image name -> list of ``[class, x1, y1, x2, y2]``, pixels; every image of the
            set, with an empty list for a background image.
        detections: image name -> list of ``[class, score, x1, y1, x2, y2]``.
        classes: class names; ``class`` above counts from 0 in this order.
        iou_threshold: IoU that a hit must exceed.
        rule: "area" or "11-point".

    Returns:
        One entry for each class and ``"mAP"``, each 0 to 1 or NaN (see the module's rules).

    Raises:
        ValueError: a record is malformed or an image unknown; the message names the image.
    """
    items, found = from_records(ground_truth, detections, len(classes))
    matches = match(items, found, classes, iou_threshold)
    return as_mapping(classes, average_precisions(matches, rule=rule))


def as_mapping(classes: Sequence[str], ap: NDArray[np.floating]) -> dict[str, float]:
    """One row of `average_precisions` as ``{class name: AP, ..., "mAP": mean}``."""
    return {**dict(zip(classes, ap.tolist(), strict=True)), "mAP": float(mean_ap(ap))}


def average_precisions(
    matches: Matches,
    image_weights: ArrayLike | None = None,
    counted: NDArray[np.bool_] | None = None,
    rule: Rule = "area",
) -> NDArray[np.float64]:
    """AP of each class, on the whole test set, on parts of it or on resamples of it.

    An image of weight 2 counts exactly as two copies of it, weight 0 leaves it out; so rows of
    multinomial counts (`doamlib.evaluation.statistics.image_resamples`) make a bootstrap over test
    images, and rows of 0 and 1 choose occlusion levels.

    Args:
        matches: from `match`.
        image_weights: float (images,) or (B, images), not negative; None weighs every image 1.
        counted: bool (M,); items that are False are ignored: they need not be found, and detections
            that match them are neither hits nor false positives (VOC's "difficult").
        rule: "area" or "11-point".

    Returns:
        float64 (classes,) or (B, classes), 0 to 1, NaN for a class without items.

    Raises:
        ValueError: a weight is negative or their number is not the number of images.
    """
    count = matches.truth.image_count
    weights = np.ones(count) if image_weights is None else np.asarray(image_weights, np.float64)
    if weights.shape[-1:] != (count,) or weights.ndim > 2 or (weights < 0).any():
        raise ValueError(
            f"image_weights of shape {weights.shape} must be ({count},) or (B, {count}) and >= 0"
        )
    if counted is None:
        counted = np.ones(len(matches.truth), dtype=bool)
    by_image = np.ascontiguousarray(np.atleast_2d(weights).T)
    columns = [
        _class_ap(matches, label, by_image, counted, rule)
        for label in range(1, len(matches.classes) + 1)
    ]
    return np.stack(columns, axis=-1).reshape(*weights.shape[:-1], len(columns))


def mean_ap(ap: NDArray[np.floating]) -> NDArray[np.float64]:
    """Mean over the last axis of the classes that have an AP; NaN where none has."""
    has_ap = ~np.isnan(ap)
    return _divide(np.where(has_ap, ap, 0).sum(axis=-1), has_ap.sum(axis=-1), np.nan)


def _class_ap(
    matches: Matches,
    label: int,
    by_image: NDArray[np.float64],
    counted: NDArray[np.bool_],
    rule: Rule,
) -> NDArray[np.float64]:
    """AP of one class for every column of ``by_image`` (images, B)."""
    truth = matches.truth
    items = by_image[truth.image_index[counted & (truth.label == label)]].sum(axis=0)
    of_class = matches.label == label
    # An item of -1, matched with nothing, reads the appended True.
    of_class[of_class] = np.append(counted, True)[matches.item[of_class]]
    image, hit = matches.image_index[of_class], matches.hit[of_class]

    # Precision can only peak where a hit enters, so one point for each score with a hit is enough;
    # the false positives between two points only need to be counted by image.
    _, tie = np.unique(-matches.score[of_class], return_inverse=True)  # 0, 0, 1, 2, 2, ...
    has_hit = np.bincount(tie, weights=hit) > 0
    point = (np.cumsum(has_hit) - has_hit)[tie]
    shape = (int(has_hit.sum()) + 1, len(by_image))
    entered = csr_array((np.ones(len(point)), (point, image)), shape) @ by_image
    hits = csr_array((np.ones(int(hit.sum())), (point[hit], image[hit])), shape) @ by_image

    found = np.cumsum(hits[:-1], axis=0)
    precision = _divide(found, np.cumsum(entered[:-1], axis=0), 0.0)
    envelope = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
    if rule == "area":
        return _divide((hits[:-1] * envelope).sum(axis=0), items, np.nan)
    if rule != "11-point":
        raise ValueError(f"rule {rule!r} is neither 'area' nor '11-point'")
    recall = _divide(found, items, np.nan)
    # The official levels, rounding included: 3 of 10 items found do not reach 0.30000000000000004.
    levels = [
        np.where(recall >= level, precision, 0.0).max(axis=0, initial=0.0)
        for level in np.arange(0.0, 1.1, 0.1)
    ]
    return np.where(items > 0, np.mean(levels, axis=0), np.nan)


def _divide(a: NDArray, b: NDArray, otherwise: float) -> NDArray[np.float64]:
    a, b = np.broadcast_arrays(a, b)
    return np.divide(a, b, out=np.full(a.shape, otherwise), where=b > 0)


class PrecisionRecall(NamedTuple):
    """A curve: what a score threshold gives, for each distinct score, descending.

    Attributes:
        recall: float (P,), share of items found; NaN without items.
        precision: float (P,), share of detections that are hits, as measured (not raised).
        score: float (P,), the threshold.
    """

    recall: NDArray[np.float64]
    precision: NDArray[np.float64]
    score: NDArray[np.floating]


def precision_recall(matches: Matches, class_name: str) -> PrecisionRecall:
    """The precision-recall curve of a class; empty without detections.

    Raises:
        ValueError: there is no such class.
    """
    if class_name not in matches.classes:
        raise ValueError(f"no class {class_name!r} among {matches.classes}")
    label = matches.classes.index(class_name) + 1
    of_class = matches.label == label
    score, found = matches.score[of_class], np.cumsum(matches.hit[of_class])
    _, ties = np.unique(-score, return_counts=True)
    last = np.cumsum(ties) - 1
    items = np.count_nonzero(matches.truth.label == label)
    return PrecisionRecall(
        recall=_divide(found[last], np.array(items), np.nan),
        precision=found[last] / (last + 1),
        score=score[last],
    )


def ap_by_level(matches: Matches, level_of_image: ArrayLike) -> dict[int, dict[str, float]]:
    """AP on the test images of one occlusion level only, as in Table V.

    Args:
        matches: from `match`.
        level_of_image: int (images,); images of a level below 1 (not known) are left out.

    Returns:
        level -> AP of each class and "mAP".

    Paper: Table V.
    """
    level_of_image = np.asarray(level_of_image)
    levels = np.unique(level_of_image[level_of_image > 0])
    ap = average_precisions(matches, levels[:, None] == level_of_image)
    return {
        int(level): as_mapping(matches.classes, row) for level, row in zip(levels, ap, strict=True)
    }


def ap_by_occlusion(
    matches: Matches, occlusion: ArrayLike, share: float = 0.25, points: int = 16
) -> pd.DataFrame:
    """AP as a function of continuous occlusion O: a window slides over the items, sorted by O.

    Each window holds the same share of the items (more where O is tied at its ends). As for an
    occlusion level, only images that hold one of its items are evaluated, so the odds of a false
    positive against an item stay those of Table V whatever the width. Their other items are ignored
    (see `average_precisions`). Neighbouring points share items: the curve is smooth, its points are
    not independent.

    Args:
        matches: from `match`.
        occlusion: float (M,), O of each item, 0 (free) to 1.
        share: share of the items in a window, above 0 to 1.
        points: number of windows, evenly spaced in rank.

    Returns:
        A row for each window: ``low``, ``median``, ``high`` of O, ``items``, each class, ``mAP``.
        Empty without items.

    Raises:
        ValueError: the number of occlusions is not the number of items, or one is not finite.
    """
    occlusion = np.asarray(occlusion, np.float64)
    truth = matches.truth
    if occlusion.shape != (len(truth),) or not np.isfinite(occlusion).all():
        raise ValueError(f"occlusion of shape {occlusion.shape} must be finite, ({len(truth)},)")
    rows = []
    ranked = np.sort(occlusion)
    width = min(max(1, round(share * len(ranked))), len(ranked))
    for start in np.linspace(0, len(ranked) - width, points if width else 0).round().astype(int):
        low, high = ranked[start], ranked[start + width - 1]
        inside = (occlusion >= low) & (occlusion <= high)
        images = np.zeros(truth.image_count)
        images[truth.image_index[inside]] = 1
        ap = as_mapping(matches.classes, average_precisions(matches, images, inside))
        median = float(np.median(occlusion[inside]))
        rows.append(dict(low=low, median=median, high=high, items=int(inside.sum())) | ap)
    return pd.DataFrame(rows, columns=["low", "median", "high", "items", *matches.classes, "mAP"])


def false_alarms(
    truth: GroundTruth, detections: Detections, thresholds: ArrayLike
) -> NDArray[np.float64]:
    """Detections for each background image (an image without any item) at score thresholds.

    Args:
        truth: defines which images are background.
        detections: of the same set.
        thresholds: float (T,) or a number; a detection of exactly this score counts.

    Returns:
        float64 of the same shape, detections of any class per background image; NaN without one.

    Raises:
        ValueError: a detection lies on an image outside the set.
    """
    check_images(detections.image_index, truth.image_count)
    background = np.ones(truth.image_count, dtype=bool)
    background[truth.image_index] = False
    score = np.sort(detections.score[background[detections.image_index]])
    above = len(score) - np.searchsorted(score, np.asarray(thresholds, score.dtype), side="left")
    return _divide(above, np.array(background.sum()), np.nan)
