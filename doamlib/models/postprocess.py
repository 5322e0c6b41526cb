"""From scored boxes to detections: threshold, non-maximum suppression, the strongest kept."""

from __future__ import annotations

from torch import Tensor
from torchvision.ops import batched_nms

from doamlib.models.config import DetectorConfig

CANDIDATES_PER_CLASS = 200


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
        kept = batched_nms(found["boxes"], found["scores"], label, config.nms_iou)
        kept = kept[: config.detections_per_image]
        detections.append({name: values[kept] for name, values in found.items()})
    return detections
