"""COCO's average precision, computed by pycocotools: the yardstick of other papers.

It differs from :mod:`doamlib.evaluation.ap` in four ways: a hit needs an IoU of at
least (not more than) the threshold; a detection whose best item is taken may take the next best;
precision is read at 101 levels of recall; only the 100 best detections of an image and class count.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from doamlib.evaluation.detections import Detections, GroundTruth, check_images


def coco_ap(truth: GroundTruth, detections: Detections, classes: Sequence[str]) -> dict[str, float]:
    """COCO's AP, averaged over the classes that have items.

    Returns:
        ``"AP50"`` (IoU 0.5) and ``"AP50:95"`` (mean over IoU 0.5, 0.55, ..., 0.95), each 0 to 1;
        NaN without any item.

    Raises:
        ValueError: a detection lies on an image outside the set.
    """
    check_images(detections.image_index, truth.image_count)
    if len(truth) == 0 or len(detections) == 0:  # pycocotools fails on an empty list
        return dict.fromkeys(("AP50", "AP50:95"), 0.0 if len(truth) else float("nan"))
    with contextlib.redirect_stdout(io.StringIO()):
        items = _empty(truth.image_count, classes).loadRes(_table(truth, np.ones(len(truth))))
        found = items.loadRes(_table(detections, detections.score))
        evaluator = COCOeval(items, found, "bbox")
        evaluator.params.areaRng, evaluator.params.areaRngLbl = [[0, np.inf]], ["all"]
        evaluator.params.maxDets = [100]
        evaluator.evaluate()
        evaluator.accumulate()
    precision = evaluator.eval["precision"][..., 0, 0]  # IoU, recall, class; -1 without items
    precision = precision[:, :, (precision > -1).any(axis=(0, 1))]
    return {"AP50": float(precision[0].mean()), "AP50:95": float(precision.mean())}


def _empty(images: int, classes: Sequence[str]) -> COCO:
    coco = COCO()
    coco.dataset = {
        "images": [{"id": image} for image in range(images)],
        "categories": [{"id": i, "name": name} for i, name in enumerate(classes, start=1)],
        "annotations": [],
    }
    coco.createIndex()
    return coco


def _table(of: GroundTruth | Detections, score: NDArray[np.floating]) -> NDArray[np.float64]:
    """What ``loadRes`` reads fastest: image, x, y, width, height, score and class of each box."""
    boxes = of.boxes.astype(np.float64)
    boxes[:, 2:] -= boxes[:, :2]
    return np.column_stack([of.image_index, boxes, score, of.label])
