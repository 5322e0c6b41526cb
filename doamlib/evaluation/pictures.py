"""Detections in one picture of any size, looked at whole or window by window.

A detector knows items at the scale of its training images. Where these were windows of a scanner's
frame, a whole frame squeezed into the same few pixels shows every item three times too small; it is
cut into such windows instead. Taught in ``book/own_image.ipynb``.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torchvision.ops import batched_nms

from doamlib.models.detector import Detector

Window = tuple[int, int, int, int]
BORDER = 2.0
"""Pixels from an inner side of a window within which a box counts as cut by it."""


def windows(height: int, width: int, share: float) -> list[Window]:
    """Windows that cover a picture, each half over the next: x1, y1, x2, y2 in pixels.

    Args:
        height: of the picture in pixels.
        width: of the picture in pixels.
        share: of the picture's width and height that a window has, above 0; 1: the whole picture.

    Raises:
        ValueError: the share is not above 0 and at most 1.
    """
    if not 0 < share <= 1:
        raise ValueError(f"share = {share}: a window has more than 0 and at most 1 of each side")
    down, across = (_starts(length, share) for length in (height, width))
    tall, wide = (max(1, round(share * length)) for length in (height, width))
    return [(x, y, x + wide, y + tall) for y in down for x in across]


def _starts(length: int, share: float) -> list[int]:
    window = max(1, round(share * length))
    count = 1 + int(np.ceil((length - window) / max(1, window / 2)))
    return np.unique(np.linspace(0, length - window, count).round().astype(int)).tolist()


@torch.inference_mode()
def find_in_picture(detector: Detector, picture: Tensor, share: float = 1.0) -> dict[str, Tensor]:
    """What a detector finds in a picture.

    Of windows, a box that ends at an inner side is dropped, because the item is whole in the next
    window unless it is longer than half of one; what several windows find is kept once
    (non-maximum suppression with the detector's own overlap).

    Args:
        detector: put in evaluation mode.
        picture: uint8 tensor 3,H,W, RGB, as :func:`doamlib.data.images.photo` gives it.
        share: as of :func:`windows`.

    Returns:
        ``boxes`` float (N, 4), x1, y1, x2, y2 in pixels of the picture; ``labels`` int64 (N,) from
        1; ``scores`` float (N,), strongest first.
    """
    detector.eval()
    height, width = picture.shape[1:]
    parts = []
    for x1, y1, x2, y2 in windows(height, width, share):
        (found,) = detector([picture[:, y1:y2, x1:x2].float() / 255])
        boxes = found["boxes"] + torch.tensor([x1, y1, x1, y1], device=found["boxes"].device)
        limits = torch.tensor([x1, y1, x2, y2], device=boxes.device)
        ends = torch.tensor([0, 0, width, height], device=boxes.device)
        cut = ((boxes - limits).abs() < BORDER) & (limits != ends)
        whole = ~cut.any(dim=1)
        parts.append({"boxes": boxes[whole]} | {n: found[n][whole] for n in ("labels", "scores")})
    joined = {name: torch.cat([part[name] for part in parts]).cpu() for name in parts[0]}
    limits = detector.config.nms_iou, detector.config.detections_per_image
    kept = batched_nms(joined["boxes"], joined["scores"], joined["labels"], limits[0])[: limits[1]]
    return {name: values[kept] for name, values in joined.items()}
