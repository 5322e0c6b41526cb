"""Where things are drawn: views, patches of the frame, and the rasteriser of areas and lines.

Areas and lines are drawn without anti-aliasing on a grid two or four times finer than a pixel and
averaged; this keeps mass better than OpenCV's anti-aliased drawing, which widens every outline.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

import cv2
import numpy as np

from doamlib.simulation.optics.physics import physics

FINE_AREA_PX = 4000
"""Regions up to this area are drawn four times finer than a pixel, larger ones two times."""
MIN_OBLIQUITY = 0.08
"""Floor of the cosine between a plate's normal and the beam: limits the path of edge-on plates."""

Box = tuple[int, int, int, int]
"""Columns and rows x0, y0, x1, y1, ends excluded."""
Bounds = tuple[float, float, float, float]
"""Frame pixels x0, y0, x1, y1."""


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

    @cached_property
    def matrix(self) -> np.ndarray:
        """Frame pixels (x, y) by which a millimetre along each item axis moves: float64 (2, 3)."""
        return self.rotation[:2] * self.scale

    @property
    def obliquity(self) -> float:
        """Cosine between the item's normal and the beam, at least MIN_OBLIQUITY."""
        return max(abs(self.rotation[2, 2]), MIN_OBLIQUITY)

    def project(self, path: np.ndarray) -> np.ndarray:
        """Frame pixels (N, 2) of points (N, 2) in the item's plane, or of points (N, 3)."""
        return path @ self.matrix[:, : path.shape[1]].T + self.centre


def overlap(one: Box, other: Box) -> Box | None:
    """Where two frame rectangles meet, or None."""
    x0, y0 = max(one[0], other[0]), max(one[1], other[1])
    x1, y1 = min(one[2], other[2]), min(one[3], other[3])
    return (x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None


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

    def window(self, box: Box) -> np.ndarray:
        """View of the basis maps inside a frame rectangle that this patch contains."""
        x0, y0, x1, y1 = box
        return self.basis[:, y0 - self.y : y1 - self.y, x0 - self.x : x1 - self.x]

    def paste(self, other: Patch) -> None:
        """Add another patch where both overlap."""
        box = overlap(self.box, other.box)
        if box:
            inside = self.window(box)
            inside += other.window(box)

    def add(self, box: Box, load: np.ndarray, material: str) -> None:
        """Add ``load`` g/cm2 (float32, the size of ``box``) of a material."""
        inside, kind = self.window(box), physics().materials[material]
        for plane, share in zip(inside, (kind.polyethylene, kind.iron), strict=True):
            if share:
                plane += load * np.float32(share)


def bounds_of(points: np.ndarray, margin: float = 0.0) -> Bounds:
    """Bounds of points (N, 2), widened by a margin on all sides."""
    (x0, y0), (x1, y1) = points.min(0).tolist(), points.max(0).tolist()
    return x0 - margin, y0 - margin, x1 + margin, y1 + margin


class _Fine:
    """A frame rectangle on a grid two or four times finer than a pixel."""

    def __init__(self, box: Box) -> None:
        self.corner = np.array(box[:2])
        self.size = (box[2] - box[0], box[3] - box[1])
        self.times = 4 if self.size[0] * self.size[1] <= FINE_AREA_PX else 2

    def empty(self) -> np.ndarray:
        """A mask of zeros, uint8."""
        return np.zeros((self.size[1] * self.times, self.size[0] * self.times), np.uint8)

    def fixed_point(self, points: np.ndarray) -> np.ndarray:
        """Frame pixels (..., 2) as OpenCV's fixed-point coordinates on the grid, int32."""
        grid = points - self.corner
        grid *= 16 * self.times
        grid -= 8
        return np.rint(grid, out=grid).astype(np.int32)

    def mean(self, masks: Iterable[np.ndarray]) -> np.ndarray:
        """Sum of masks, averaged over each pixel: float32."""
        total = functools.reduce(cv2.add, masks)
        return cv2.resize(total.astype(np.float32), self.size, interpolation=cv2.INTER_AREA)


def filled(layers: np.ndarray, sizes: Sequence[int], box: Box) -> np.ndarray:
    """Mean share of each pixel that the layers cover: float32, 0 to 1.

    Args:
        layers: Points in frame pixels of every layer, (L, N, 2).
        sizes: Lengths of the outlines that follow each other in a layer (even-odd rule).
        box: Frame rectangle.
    """
    fine, value = _Fine(box), 255 // len(layers)
    spans = [slice(end - size, end) for size, end in zip(sizes, accumulate(sizes), strict=True)]
    masks = (
        cv2.fillPoly(fine.empty(), [points[span] for span in spans], value, cv2.LINE_8, 4)
        for points in fine.fixed_point(layers)
    )
    mean = fine.mean(masks)
    mean *= np.float32(1 / (value * len(layers)))
    return mean


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
    fine = _Fine(box)
    wide = diameter * fine.times
    nested = 1 if wide < 4 else 2 if wide < 10 else 4
    widths = [_odd(wide * math.sqrt(1 - (k / nested) ** 2)) for k in range(nested)]
    line = [fine.fixed_point(path)]
    masks = (
        cv2.polylines(fine.empty(), line, closed, 60, max(width - 1, 1), cv2.LINE_8, 4)
        for width in widths
    )
    drawn = sum(width if width > 1 else _thin(path) for width in widths)
    return fine.mean(masks), 60 * drawn / fine.times


def _thin(path: np.ndarray) -> float:
    """Pixels of a one-pixel line by its length: as many as its longer coordinate has."""
    steps = np.abs(np.diff(path, axis=0))
    return float(steps.max(1).sum() / (np.hypot(steps[:, 0], steps[:, 1]).sum() + 1e-6))


def _odd(width: float) -> int:
    """Nearest odd number: OpenCV draws thickness 2k (and 2k - 1) as 2k + 1 pixels."""
    return 2 * round((width - 1) / 2) + 1 if width > 1 else 1
