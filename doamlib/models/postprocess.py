"""From scored boxes to detections: threshold, non-maximum suppression, the strongest kept."""

from __future__ import annotations

from torch import Tensor
from torchvision.ops import nms

from doamlib.models.config import DetectorConfig

CANDIDATES_PER_CLASS = 200

ENOUGH = 3
"""Suppression looks at so many times the detections that are wanted, and at more only in need."""


def select_detections(
    boxes: Tensor, scores: Tensor, config: DetectorConfig, image_size: int
) -> list[dict[str, Tensor]]:
    """The detections of each image, strongest first.

    Of each class the strongest 200 boxes above ``config.score_threshold`` take part.

    Args:
        boxes: (N, P, 4), x1, y1, x2, y2 in pixels of the network's input; clipped to it here.
        scores: (N, P, K), probability of each object class.
        config: thresholds and limits.
        image_size: side of the network's input.

    Returns:
        One dict an image: ``boxes`` (R, 4), ``labels`` int64 (R,) from 1 to K, ``scores`` (R,).
    """
    candidates = min(CANDIDATES_PER_CLASS, scores.shape[1])
    strongest, prior = scores.transpose(1, 2).topk(candidates, dim=2)
    boxes = boxes.clamp(0, image_size)
    detections = []
    for image in range(len(boxes)):
        label, rank = (strongest[image] > config.score_threshold).nonzero(as_tuple=True)
        found = {
            "boxes": boxes[image, prior[image, label, rank]],
            "labels": label + 1,
            "scores": strongest[image, label, rank],
        }
        limits = config.nms_iou, config.detections_per_image
        kept = class_wise_nms(found["boxes"], found["scores"], label, *limits)
        detections.append({name: values[kept] for name, values in found.items()})
    return detections


def class_wise_nms(boxes: Tensor, scores: Tensor, labels: Tensor, iou: float, limit: int) -> Tensor:
    """Non-maximum suppression within each class: what of all is kept, strongest first.

    It is torchvision's ``batched_nms`` cut off at ``limit``. Suppression goes from the strongest
    box to the weakest, so what it keeps of the first thousand does not depend on those behind.

    Args:
        boxes: (N, 4), x1, y1, x2, y2, none negative.
        scores: (N,).
        labels: (N,), from 0.
        iou: a box that overlaps a stronger one of its class by more is suppressed.
        limit: of boxes kept.

    Returns:
        int64 (at most ``limit``,), positions in ``boxes``.
    """
    order = scores.argsort(descending=True, stable=True)
    if not len(order):
        return order
    # Each class in a place of its own, where it overlaps no other.
    apart = boxes + (labels.to(boxes) * (boxes.max() + 1))[:, None]
    first = order[: ENOUGH * limit]
    kept = first[nms(apart[first], scores[first], iou)]
    if len(kept) < limit and len(first) < len(order):
        kept = order[nms(apart[order], scores[order], iou)]
    return kept[:limit]
