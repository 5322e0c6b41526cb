"""Where things are drawn: views, patches of the frame, and the rasteriser of areas and lines.

Areas and lines are drawn without anti-aliasing on a grid two or four times finer than a pixel and
averaged; this keeps mass better than OpenCV's anti-aliased drawing, which widens every outline.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from doamlib.simulation.physics import physics

FINE_AREA_PX = 4000
"""Regions up to this area are drawn four times finer than a pixel, larger ones two times."""

Box = tuple[int, int, int, int]
"""Columns and rows x0, y0, x1, y1, ends excluded."""


@dataclass(frozen=True)
class View:
    """Where and how an item is seen.

    Attributes:
        rotation: float64 (3, 3), item frame to beam frame.
        centre: Frame pixels (x, y) of the item's origin; pixel i covers [i, i + 1).
        scale: Pixels per millimetre.
    """

    rotation: np.ndarray
    centre: np.ndarray
    scale: float

    def project(self, path: np.ndarray, z: float = 0.0) -> np.ndarray:
        """Frame pixels (N, 2) of points (N, 2) at height z, or of points (N, 3)."""
        matrix = self.rotation[:2] * self.scale
        flat = path @ matrix[:, : path.shape[1]].T
        return flat + (self.centre + matrix[:, 2] * z)


@dataclass
class Patch:
    """A rectangle of the frame holding the two basis maps.

    Attributes:
        x: Frame column of its left edge.
        y: Frame row of its upper edge.
        basis: Polyethylene and iron load in g/cm2, float32 (2, H, W).
    """

    x: int
    y: int
    basis: np.ndarray

    @classmethod
    def empty(cls, x0: int, y0: int, x1: int, y1: int) -> Patch:
        """A patch of air covering columns x0 to x1 and rows y0 to y1 (ends excluded)."""
        return cls(x0, y0, np.zeros((2, max(y1 - y0, 0), max(x1 - x0, 0)), np.float32))

    @property
    def box(self) -> Box:
        """Frame columns and rows covered: x0, y0, x1, y1 (ends excluded)."""
        height, width = self.basis.shape[1:]
        return self.x, self.y, self.x + width, self.y + height

    def overlap(self, box: Box) -> Box | None:
        """Where a frame rectangle meets this patch, in frame pixels, or None."""
        x0, y0, x1, y1 = self.box
        x0, y0, x1, y1 = max(x0, box[0]), max(y0, box[1]), min(x1, box[2]), min(y1, box[3])
        return (x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None

    def window(self, box: Box) -> np.ndarray:
        """View of the basis maps inside a frame rectangle that this patch contains."""
        x0, y0, x1, y1 = box
        return self.basis[:, y0 - self.y : y1 - self.y, x0 - self.x : x1 - self.x]

    def paste(self, other: Patch) -> None:
        """Add another patch where both overlap."""
        box = self.overlap(other.box)
        if box:
            inside = self.window(box)
            inside += other.window(box)

    def add(self, box: Box, load: np.ndarray, material: str) -> None:
        """Add ``load`` g/cm2 (float32, the size of ``box``) of a material."""
        inside, kind = self.window(box), physics().materials[material]
        for plane, share in zip(inside, (kind.polyethylene, kind.iron), strict=True):
            if share:
                plane += load * np.float32(share)


def bounds_of(points: np.ndarray, margin: float = 0.0) -> np.ndarray:
    """Bounds (x0, y0, x1, y1) of points (N, 2)."""
    return np.concatenate([points.min(0) - margin, points.max(0) + margin])


def _fineness(box: Box) -> int:
    return 4 if (box[2] - box[0]) * (box[3] - box[1]) <= FINE_AREA_PX else 2


def _fixed_point(points: np.ndarray, box: Box, times: int) -> np.ndarray:
    """Frame pixels as OpenCV's fixed-point coordinates on a finer grid, int32 (N, 2)."""
    return np.round(((points - box[:2]) * times - 0.5) * 16).astype(np.int32)


def filled(layers: Sequence[np.ndarray], sizes: Sequence[int], box: Box) -> np.ndarray:
    """Mean share of each pixel that the layers cover: float32, 0 to 1.

    Args:
        layers: Points (N, 2) in frame pixels of every layer.
        sizes: Lengths of the outlines that follow each other in a layer (even-odd rule).
        box: Frame rectangle.
    """
    times = _fineness(box)
    width, height = box[2] - box[0], box[3] - box[1]
    value = 255 // len(layers)
    ends = np.cumsum(sizes).tolist()
    total = None
    for points in layers:
        grid = _fixed_point(points, box, times)
        outlines = [grid[end - size : end] for size, end in zip(sizes, ends, strict=True)]
        mask = np.zeros((height * times, width * times), np.uint8)
        cv2.fillPoly(mask, outlines, value, cv2.LINE_8, 4)
        total = mask if total is None else cv2.add(total, mask)
    mean = cv2.resize(total.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
    return mean * np.float32(1 / (value * len(layers)))


def stroked(path: np.ndarray, closed: bool, diameter: float, box: Box) -> tuple[np.ndarray, float]:
    """A round wire's shadow: lines of falling width, drawn over each other.

    Args:
        path: Points (N, 2) in frame pixels.
        closed: Whether the last point joins the first.
        diameter: Pixels.
        box: Frame rectangle.

    Returns:
        Relative thickness, float32 of the box's size, and its sum over a pixel's length of path.
    """
    times = _fineness(box)
    width, height = box[2] - box[0], box[3] - box[1]
    fine = diameter * times
    nested = 1 if fine < 4 else 2 if fine < 10 else 4
    widths = [_odd(fine * math.sqrt(1 - (k / nested) ** 2)) for k in range(nested)]
    line = [_fixed_point(path, box, times)]
    total = np.zeros((height * times, width * times), np.uint8)
    for wide in widths:
        mask = np.zeros_like(total)
        cv2.polylines(mask, line, closed, 60, max(wide - 1, 1), cv2.LINE_8, 4)
        total = cv2.add(total, mask)
    steps = np.abs(np.diff(path, axis=0))
    # A one-pixel line has as many pixels as its longer coordinate.
    thin = steps.max(1).sum() / (np.hypot(steps[:, 0], steps[:, 1]).sum() + 1e-6)
    mean = cv2.resize(total.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
    return mean, 60 * sum(w if w > 1 else thin for w in widths) / times


def _odd(width: float) -> int:
    """Nearest odd number: OpenCV draws thickness 2k (and 2k - 1) as 2k + 1 pixels."""
    return 2 * round((width - 1) / 2) + 1 if width > 1 else 1
