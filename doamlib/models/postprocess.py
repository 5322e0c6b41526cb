"""From scored boxes to detections: threshold, non-maximum suppression, the strongest kept."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.ops import nms

from doamlib.models.config import DetectorConfig

CANDIDATES_PER_CLASS = 200

PAIRS = 2**24
"""Of boxes that are compared at once on a GPU, where many classes would fill its memory."""

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
        Those of a GPU lie on the CPU.
    """
    candidates = min(CANDIDATES_PER_CLASS, scores.shape[1])
    strongest, prior = scores.transpose(1, 2).topk(candidates, dim=2)  # N,K,C
    boxes = boxes.clamp(0, image_size)
    if boxes.is_cuda:
        return all_at_once(boxes, strongest, prior, config)
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


def all_at_once(
    boxes: Tensor, strongest: Tensor, prior: Tensor, config: DetectorConfig
) -> list[dict[str, Tensor]]:
    """The detections of a batch without a loop over its images, which a GPU would wait in.

    Args:
        boxes: (N, P, 4), clipped.
        strongest: (N, K, C), the C largest scores of each class, falling.
        prior: int64 (N, K, C), whose scores they are.
        config: thresholds and limits.

    Returns:
        As :func:`select_detections`.
    """
    images, classes, count = strongest.shape
    own = boxes.gather(1, prior.flatten(1)[..., None].expand(-1, -1, 4))  # N,K*C,4
    stands = strongest > config.score_threshold
    lists, some = own.view(images, classes, count, 4), max(1, PAIRS // (classes * count**2))
    parts = zip(lists.split(some), stands.split(some), strict=True)
    kept = torch.cat([suppressed_within(*part, config.nms_iou) for part in parts]).flatten(1)
    # Class after class, so that of equal scores the smaller label comes first, as above.
    left = strongest.flatten(1).masked_fill(~kept, -1.0)
    order = left.argsort(dim=1, descending=True, stable=True)
    order = order[:, : config.detections_per_image]
    found = own.gather(1, order[..., None].expand(-1, -1, 4)).cpu()
    scores = strongest.flatten(1).gather(1, order).cpu()
    order, counts = order.cpu(), kept.sum(1).clamp(max=order.shape[1]).tolist()
    return [
        {"boxes": found[i, :n], "labels": order[i, :n] // count + 1, "scores": scores[i, :n]}
        for i, n in enumerate(counts)
    ]


def suppressed_within(boxes: Tensor, stands: Tensor, iou: float) -> Tensor:
    """Non-maximum suppression within many lists of boxes at once, strongest first: who is kept.

    A box falls if a stronger one that is kept overlaps it. Applied to all boxes again and again
    this settles: after n rounds at the latest for the first n of each list.

    Args:
        boxes: (..., C, 4), x1, y1, x2, y2, strongest first.
        stands: bool (..., C), which of them take part.
        iou: the overlap from which on, exclusively, a box falls.

    Returns:
        bool (..., C).
    """
    low = torch.maximum(boxes[..., :, None, :2], boxes[..., None, :, :2])
    high = torch.minimum(boxes[..., :, None, 2:], boxes[..., None, :, 2:])
    common = (high - low).clamp(min=0).prod(dim=-1)  # ...,C,C
    area = (boxes[..., 2:] - boxes[..., :2]).prod(dim=-1)
    union = area[..., :, None] + area[..., None, :] - common
    beats = (common / union > iou).triu(diagonal=1)  # row beats column; 0 / 0 beats nobody
    kept, before = stands, None
    while before is None or not torch.equal(kept, before):
        before = kept
        kept = stands & ~(beats & before[..., :, None]).any(dim=-2)
    return kept
