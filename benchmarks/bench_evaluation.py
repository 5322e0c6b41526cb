"""Time the evaluation of a test set of OPIXray's size: 1,776 images, 200 detections each.

Run ``python benchmarks/bench_evaluation.py``. Two cases: detections spread over all five classes,
and all detections of an image in its item's class (the most pairs that one item an image allows).
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from doamlib.core.files import write_bytes
from doamlib.data.classes import CLASSES
from doamlib.evaluation.ap import (
    ap_by_level,
    ap_by_occlusion,
    average_precision,
    average_precisions,
    mean_ap,
)
from doamlib.evaluation.coco import coco_ap
from doamlib.evaluation.detections import Detections, GroundTruth
from doamlib.evaluation.matching import match
from doamlib.evaluation.statistics import image_resamples

IMAGES, PER_IMAGE, RESAMPLES = 1776, 200, 1000


def boxes_in_frame(count: int, rng: np.random.Generator) -> np.ndarray:
    corner = rng.uniform((0, 0), (1025, 754), (count, 2))
    return np.concatenate([corner, corner + rng.uniform(50, 200, (count, 2))], axis=1)


def made_up_set(one_class: bool, rng: np.random.Generator) -> tuple[GroundTruth, Detections]:
    """One item an image; a twentieth of the detections lie near it, with higher scores."""
    boxes, label = boxes_in_frame(IMAGES, rng), rng.integers(1, 6, IMAGES)
    image = np.repeat(np.arange(IMAGES), PER_IMAGE)
    near = rng.random(len(image)) < 0.05
    shift = np.tile(rng.normal(0, 15, (len(image), 2)), 2)
    found = np.where(near[:, None], boxes[image] + shift, boxes_in_frame(len(image), rng))
    in_class = near | one_class
    found_label = np.where(in_class, label[image], rng.integers(1, 6, len(image)))
    score = rng.random(len(image)) * np.where(near, 1.0, 0.7)
    truth = GroundTruth(np.arange(IMAGES), label, boxes, IMAGES)
    return truth, Detections(image, found_label, score.astype(np.float32), found)


def timed(what: str, call: Callable):
    start = time.perf_counter()
    result = call()
    print(f"  {what:<42}{time.perf_counter() - start:7.2f} s")
    return result


def as_records(truth: GroundTruth, detections: Detections) -> tuple[dict, dict]:
    """The same sets as plain lists by image."""
    items = {str(image): [] for image in range(truth.image_count)}
    found = {str(image): [] for image in range(truth.image_count)}
    for image, label, box in zip(truth.image_index, truth.label, truth.boxes.tolist(), strict=True):
        items[str(image)].append([int(label) - 1, *box])
    columns = (detections.image_index, detections.label, detections.score.tolist())
    for image, label, score, box in zip(*columns, detections.boxes.tolist(), strict=True):
        found[str(image)].append([int(label) - 1, score, *box])
    return items, found


def bench(truth: GroundTruth, detections: Detections) -> None:
    rng = np.random.default_rng(1)
    matches = timed("match", lambda: match(truth, detections, CLASSES))
    ap = timed("AP of each class", lambda: average_precisions(matches))
    levels, occlusion = rng.integers(1, 4, IMAGES), rng.random(IMAGES)
    timed("AP by occlusion level", lambda: ap_by_level(matches, levels))
    timed("AP by continuous O, 16 windows", lambda: ap_by_occlusion(matches, occlusion))
    weights = image_resamples(IMAGES, RESAMPLES, seed=0)
    timed(f"bootstrap, {RESAMPLES} resamples", lambda: average_precisions(matches, weights))
    timed("COCO AP50 and AP50:95 (pycocotools)", lambda: coco_ap(truth, detections, CLASSES))
    records = as_records(truth, detections)
    timed("all from plain lists", lambda: average_precision(*records, CLASSES))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "found.npz"
        timed("save", lambda: write_bytes(path, detections.as_bytes()))
        timed("load", lambda: Detections.load(path))
        print(f"  {path.stat().st_size / len(detections):.1f} bytes a detection")
    print(f"  mAP {mean_ap(ap):.3f}")


def main() -> None:
    for one_class in (False, True):
        truth, detections = made_up_set(one_class, np.random.default_rng(0))
        spread = "in the item's class" if one_class else "over five classes"
        print(f"{len(detections)} detections {spread}")
        bench(truth, detections)


if __name__ == "__main__":
    main()
