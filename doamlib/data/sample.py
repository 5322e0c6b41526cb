"""The one typed sample that every dataset gives, and the arithmetic of its boxes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from doamlib.data.faults import FaultLog


@dataclass(frozen=True, eq=False)
class Annotation:
    """What is known about an image before its pixels are decoded.

    Attributes:
        image_id: name of the image within its split (OPIXray: the stem).
        path: the image file, relative to the dataset's root, with forward slashes.
        boxes: float32 tensor N,4: x1, y1, x2, y2 in pixels of the original image, 0 <= x1 < x2 <=
            width, 0 <= y1 < y2 <= height; N = 0 for a background image.
        labels: int64 tensor N; label i stands for ``classes[i - 1]``, 0 (background) never occurs.
        level: occlusion level 1, 2 or 3 (OL1 to OL3, Section III-B), None where there is none.
        width: of the original image, pixels.
        height: of the original image, pixels.
    """

    image_id: str
    path: str
    boxes: Tensor
    labels: Tensor
    level: int | None
    width: int
    height: int

    def items(self) -> list[tuple[list[float], int]]:
        """Box and label of each item, as plain numbers."""
        return list(zip(self.boxes.tolist(), self.labels.tolist(), strict=True))


@dataclass(frozen=True, eq=False)
class Sample:
    """One image with its items.

    Attributes:
        image: uint8 tensor 3,H,W, RGB, 0..255.
        boxes: float32 tensor N,4: x1, y1, x2, y2 in pixels of ``image``.
        labels: int64 tensor N, values from 1.
        image_id: name of the image within its split.
        level: occlusion level 1, 2 or 3, or None.
    """

    image: Tensor
    boxes: Tensor
    labels: Tensor
    image_id: str
    level: int | None = None


def scale_boxes(boxes: Tensor, source: tuple[int, int], target: tuple[int, int]) -> Tensor:
    """Boxes of an image resized from ``source`` to ``target``.

    Args:
        boxes: float tensor N,4: x1, y1, x2, y2.
        source: width and height of the image that the boxes are in.
        target: width and height of the image that they are wanted in.

    Returns:
        A new tensor of the same shape and dtype.
    """
    across, down = target[0] / source[0], target[1] / source[1]
    return boxes * boxes.new_tensor([across, down, across, down])


@dataclass(frozen=True)
class Row:
    """One box as written in a file: corners in pixels, label (0: leave it out), place to name."""

    box: tuple[float, float, float, float]
    label: int
    file: str
    line: int | None
    name: str


def boxes_within(rows: list[Row], width: int, height: int, log: FaultLog) -> tuple[Tensor, Tensor]:
    """Boxes and labels of the rows, clipped to the frame; a row without area left is dropped.

    Every clipped and dropped row becomes a warning in the log. OPIXray's training split has six.

    Returns:
        float32 tensor N,4 and int64 tensor N.
    """
    raw = torch.tensor([row.box for row in rows], dtype=torch.float32).reshape(-1, 4)
    clipped = raw.clamp(torch.zeros(4), torch.tensor([width, height, width, height]))
    keep = (clipped[:, 2:] > clipped[:, :2]).all(1)
    moved = (raw != clipped).any(1)
    for row, kept, changed in zip(rows, keep.tolist(), moved.tolist(), strict=True):
        corners = " ".join(f"{value:g}" for value in row.box)
        if not kept:
            message = f"{row.name} {corners} has no area inside {width} x {height}: dropped"
            fix = "correct the corners, or leave it so"
            log.add("warning", "box-dropped", message, row.file, line=row.line, fix=fix)
        elif changed:
            message = f"{row.name} {corners} reaches outside {width} x {height}: clipped"
            log.add("warning", "box-clipped", message, row.file, line=row.line)
    labels = torch.tensor([row.label for row in rows], dtype=torch.int64)
    return clipped[keep], labels[keep]
