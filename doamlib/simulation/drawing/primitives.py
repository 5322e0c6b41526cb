"""The five primitives every object is made of, and how they are rasterised.

Lengths are millimetres in the item's own frame, z along the beam. A :class:`View` (rotation,
place, scale) maps it to frame pixels; all primitives, cutters' and harmless items' alike, go
through the same rasteriser. What is drawn adds grams per square centimetre to a :class:`Patch`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import cv2
import numpy as np

from doamlib.simulation.drawing.canvas import (
    Bounds,
    Box,
    Patch,
    View,
    bounds_of,
    filled,
    overlap,
    stroked,
)
from doamlib.simulation.optics.physics import physics

SLICE_SHIFT_PX = 0.8
MAX_SLICES = 48
MAX_FORESHORTENING = 6.0


def _density(material: str) -> float:
    return physics().materials[material].density


def _length(path: np.ndarray) -> float:
    steps = path[1:] - path[:-1]
    return float(np.sqrt((steps * steps).sum(1)).sum())


Shadow = tuple[Bounds, Callable[[Patch, Box], None]]
"""What one view shows of a primitive: its bounds, and what draws it on a patch, inside a box."""


@dataclass(frozen=True)
class Slab:
    """A flat plate: even-odd outlines extruded from z0 to z1.

    A tilted plate is drawn as shifted slices, exact for prisms, so edge-on plates become thin
    dark lines and stacked plates show parallax. ``density`` scales the material's; negative ones
    cut grooves into what is drawn elsewhere. A single outline may be given as it is.
    """

    outlines: np.ndarray | Sequence[np.ndarray]
    z0: float
    z1: float
    material: str
    density: float = 1.0

    def __post_init__(self) -> None:
        if isinstance(self.outlines, np.ndarray):
            object.__setattr__(self, "outlines", (self.outlines,))

    def shadow(self, view: View) -> Shadow:
        """The plate as a view shows it."""
        seen = view.project(np.concatenate(self.outlines))
        (x0, y0, x1, y1), (x, y) = bounds_of(seen), view.matrix[:, 2].tolist()
        xs, ys = (self.z0 * x, self.z1 * x), (self.z0 * y, self.z1 * y)
        bounds = x0 + min(xs), y0 + min(ys), x1 + max(xs), y1 + max(ys)

        def draw(patch: Patch, box: Box) -> None:
            depth = self.z1 - self.z0
            slices = min(max(math.ceil(math.hypot(x, y) * depth / SLICE_SHIFT_PX), 1), MAX_SLICES)
            heights = [self.z0 + (k + 0.5) * depth / slices for k in range(slices)]
            layers = seen + np.array([[[x * z, y * z]] for z in heights])
            cover = filled(layers, [len(outline) for outline in self.outlines], box)
            path = depth / view.obliquity / 10
            cover *= np.float32(path * _density(self.material) * self.density)
            patch.add(box, cover, self.material)

        return bounds, draw

    def mapped(self, matrix: np.ndarray, offset: np.ndarray) -> Slab:
        """The plate under an in-plane map (turn, mirror, shift)."""
        return replace(self, outlines=[o @ matrix.T + offset for o in self.outlines])


@dataclass(frozen=True)
class Tube:
    """A solid wire or rod along a path (N, 2) or (N, 3); mass is conserved at any width."""

    path: np.ndarray
    radius: float
    material: str
    density: float = 1.0
    closed: bool = False

    def shadow(self, view: View) -> Shadow:
        """The tube as a view shows it: nested lines stand for its circular section."""
        path = view.project(self.path)

        def draw(patch: Patch, box: Box) -> None:
            thickness, drawn = stroked(path, self.closed, 2 * self.radius * view.scale, box)
            section = math.pi * self.radius**2 / 100 * _density(self.material) * self.density
            # A wire seen along its axis is darker: its length over the length seen.
            shortening = _length(self.path) * view.scale / (_length(path) + 1e-6)
            load = section / (drawn / view.scale / 10) * min(shortening, MAX_FORESHORTENING)
            thickness *= np.float32(load)
            patch.add(box, thickness, self.material)

        return bounds_of(path, self.radius * view.scale), draw

    def mapped(self, matrix: np.ndarray, offset: np.ndarray) -> Tube:
        """The tube under an in-plane map (turn, mirror, shift)."""
        path = np.array(self.path, float)
        path[:, :2] = path[:, :2] @ matrix.T + offset
        return replace(self, path=path)


@dataclass(frozen=True)
class Lathe:
    """A solid of revolution about the item's x axis, with the exact chord at each pixel.

    ``outer`` and ``inner`` are radii at ``x`` (ascending); ``inner`` None means solid. It stays on
    that axis: :func:`moved` does not take it.
    """

    x: np.ndarray
    outer: np.ndarray
    inner: np.ndarray | None
    material: str
    density: float = 1.0

    def shadow(self, view: View) -> Shadow:
        """The solid as a view shows it."""
        along = view.rotation[:2, 0]
        seen = math.hypot(*along)
        along = along / seen if seen > 1e-3 else np.array([1.0, 0.0])
        across, seen = np.array([-along[1], along[0]]), max(seen, 0.25)
        radius = self.outer.max()
        corners = [
            along * x * seen + across * r for x in self.x[[0, -1]] for r in (-radius, radius)
        ]

        def draw(patch: Patch, box: Box) -> None:
            x, y = (
                (np.arange(low, high) + 0.5 - centre).astype(np.float32) / view.scale
                for low, high, centre in zip(box[:2], box[2:], view.centre, strict=True)
            )
            (a, b), (c, d) = np.float32(along), np.float32(across)
            u = ((x * a)[None] + (y * b)[:, None]) / np.float32(seen)
            v2 = ((x * c)[None] + (y * d)[:, None]) ** 2
            grid = np.linspace(self.x[0], self.x[-1], 256)
            index = np.clip((u - grid[0]) * (255 / (grid[-1] - grid[0])), 0, 255).astype(np.int32)

            def chord(radii: np.ndarray) -> np.ndarray:
                at = np.interp(grid, self.x, radii).astype(np.float32)[index]
                return cv2.sqrt(np.maximum(at * at - v2, 0))

            depth = chord(self.outer) - (0 if self.inner is None else chord(self.inner))
            depth *= (u >= grid[0]) & (u <= grid[-1])
            depth *= np.float32(2 / 10 * _density(self.material) * self.density / np.float32(seen))
            patch.add(box, depth, self.material)

        return bounds_of(view.centre + np.array(corners) * view.scale), draw


@dataclass(frozen=True)
class Sheet:
    """A flat raster of basis loads, such as a populated circuit board.

    ``raster`` is float32 (H, W, 2) in g/cm2 and covers ``width`` x ``height`` mm; ``matrix`` and
    ``offset`` place it in the item.
    """

    raster: np.ndarray
    width: float
    height: float
    matrix: np.ndarray = field(default_factory=lambda: np.eye(2))
    offset: np.ndarray = field(default_factory=lambda: np.zeros(2))

    def shadow(self, view: View) -> Shadow:
        """The raster as a view shows it."""
        corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * (self.width / 2, self.height / 2)

        def draw(patch: Patch, box: Box) -> None:
            rows, columns = self.raster.shape[:2]
            pixel = np.diag([self.width / columns, self.height / rows])
            centre = view.project(self.offset[None])[0] - box[:2] - 0.5
            matrix = view.rotation[:2, :2] @ self.matrix @ pixel * view.scale
            shift = centre - matrix @ [(columns - 1) / 2, (rows - 1) / 2]
            size = (box[2] - box[0], box[3] - box[1])
            seen = cv2.warpAffine(self.raster, np.column_stack([matrix, shift]), size)
            seen *= np.float32(1 / view.obliquity)
            inside = patch.window(box)
            inside += seen.transpose(2, 0, 1)

        return bounds_of(view.project(corners @ self.matrix.T + self.offset)), draw

    def mapped(self, matrix: np.ndarray, offset: np.ndarray) -> Sheet:
        """The sheet under an in-plane map (turn, mirror, shift)."""
        return replace(self, matrix=matrix @ self.matrix, offset=matrix @ self.offset + offset)


@dataclass(frozen=True)
class Soft:
    """Cloth or film: an outline with a soft edge, filled with a sampled texture; never moved.

    Attributes:
        outline: (N, 2) mm.
        load: Mean g/cm2.
        material: Name of the material.
        edge: Standard deviation of the edge's blur, mm.
        texture: Relative load, float32 (H, W), one pixel a millimetre, mean near one.
        frame: float64 (2, 3): texture pixel of a point (x, y, 1) of the item.
    """

    outline: np.ndarray
    load: float
    material: str
    edge: float
    texture: np.ndarray
    frame: np.ndarray

    def shadow(self, view: View) -> Shadow:
        """The cloth as a view shows it."""
        seen = view.project(self.outline)

        def draw(patch: Patch, box: Box) -> None:
            cover = filled(seen[None], [len(seen)], box)
            if self.edge * view.scale > 0.3:
                cover = cv2.GaussianBlur(cover, (0, 0), self.edge * view.scale)
            (a, b), (c, d) = view.rotation[:2, :2] * view.scale
            matrix = self.frame[:, :2] @ np.array([[d, -b], [-c, a]]) / (a * d - b * c)
            shift = matrix @ (np.array(box[:2]) + 0.5 - view.centre) + self.frame[:, 2]
            cover *= cv2.warpAffine(
                self.texture,
                np.column_stack([matrix, shift]),
                (box[2] - box[0], box[3] - box[1]),
                flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                borderMode=cv2.BORDER_REFLECT,
            )
            cover *= np.float32(self.load)
            patch.add(box, cover, self.material)

        return bounds_of(seen, 3 * self.edge * view.scale), draw


Primitive = Slab | Tube | Lathe | Sheet | Soft


def moved(
    parts: Sequence[Slab | Tube | Sheet],
    by: Sequence[float] | np.ndarray = (0.0, 0.0),
    angle: float = 0.0,
    mirror: bool = False,
) -> list[Primitive]:
    """Parts mirrored at the x axis (if asked), then turned, then shifted, in the item's plane."""
    c, s = math.cos(angle), math.sin(angle)
    flip = -1.0 if mirror else 1.0
    matrix = np.array([[c, -s * flip], [s, c * flip]])
    return [part.mapped(matrix, np.asarray(by, float)) for part in parts]


class Sketch:
    """Parts as one view shows them, painted where they are wanted.

    Args:
        parts: The item's primitives.
        view: Where it is seen.

    Attributes:
        box: Frame rectangle that holds all of it.
    """

    def __init__(self, parts: Sequence[Primitive], view: View) -> None:
        bounds, self._draws = zip(*(part.shadow(view) for part in parts), strict=True)
        self._low = np.floor(bounds)[:, :2].astype(int) - 1
        self._high = np.ceil(bounds)[:, 2:].astype(int) + 1
        self.box: Box = (*self._low.min(0).tolist(), *self._high.max(0).tolist())

    def paint(self, clip: Box) -> Patch:
        """Draw what of the parts lies in a frame rectangle, on a patch of their own."""
        patch = Patch.empty(*(overlap(self.box, clip) or (0, 0, 0, 0)))
        low = np.maximum(self._low, patch.box[:2]).tolist()
        high = np.minimum(self._high, patch.box[2:]).tolist()
        for (x0, y0), (x1, y1), draw in zip(low, high, self._draws, strict=True):
            if x0 < x1 and y0 < y1:
                draw(patch, (x0, y0, x1, y1))
        return patch

    @cached_property
    def whole(self) -> Patch:
        """All parts drawn, uncut (once)."""
        return self.paint(self.box)
