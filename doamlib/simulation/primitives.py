"""The five primitives every object is made of, and how they are rasterised.

Lengths are millimetres in the item's own frame, z along the beam. A :class:`View` (rotation,
place, scale) maps it to frame pixels; all primitives, cutters' and harmless items' alike, go
through the same rasteriser. What is drawn adds grams per square centimetre to a :class:`Patch`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import cv2
import numpy as np

from doamlib.simulation.canvas import Box, Patch, View, bounds_of, filled, stroked
from doamlib.simulation.physics import physics

SLICE_SHIFT_PX = 0.8
MAX_SLICES = 48
MIN_OBLIQUITY = 0.08
"""Floor of the cosine between a slab's normal and the beam: limits the path of edge-on slabs."""
MAX_FORESHORTENING = 6.0


def _density(material: str) -> float:
    return physics().materials[material].density


@dataclass(frozen=True)
class Slab:
    """A flat plate: even-odd outlines extruded from z0 to z1.

    A tilted plate is drawn as shifted slices, exact for prisms, so edge-on plates become thin
    dark lines and stacked plates show parallax. ``density`` scales the material's; negative ones
    cut grooves into what is drawn elsewhere.
    """

    outlines: tuple[np.ndarray, ...]
    z0: float
    z1: float
    material: str
    density: float = 1.0

    def extent(self, view: View) -> np.ndarray:
        """Bounds of the projection in frame pixels: x0, y0, x1, y1."""
        seen = view.project(np.concatenate(self.outlines))
        ends = np.outer((self.z0, self.z1), view.rotation[:2, 2] * view.scale)
        return np.concatenate([seen.min(0) + ends.min(0), seen.max(0) + ends.max(0)])

    def paint(self, patch: Patch, view: View, box: Box) -> None:
        """Add the plate to a patch, inside a box of it."""
        depth = self.z1 - self.z0
        along = view.rotation[:2, 2] * view.scale
        slices = min(max(math.ceil(math.hypot(*along) * depth / SLICE_SHIFT_PX), 1), MAX_SLICES)
        seen = view.project(np.concatenate(self.outlines))
        layers = [seen + along * (self.z0 + (k + 0.5) * depth / slices) for k in range(slices)]
        path = depth / max(abs(view.rotation[2, 2]), MIN_OBLIQUITY) / 10
        load = np.float32(path * _density(self.material) * self.density)
        cover = filled(layers, [len(outline) for outline in self.outlines], box)
        patch.add(box, cover * load, self.material)

    def mapped(self, matrix: np.ndarray, offset: np.ndarray) -> Slab:
        """The plate under an in-plane map (turn, mirror, shift)."""
        return replace(self, outlines=tuple(o @ matrix.T + offset for o in self.outlines))


@dataclass(frozen=True)
class Tube:
    """A solid wire or rod along a path (N, 2) or (N, 3); mass is conserved at any width."""

    path: np.ndarray
    radius: float
    material: str
    density: float = 1.0
    closed: bool = False

    def extent(self, view: View) -> np.ndarray:
        """Bounds of the projection in frame pixels: x0, y0, x1, y1."""
        return bounds_of(view.project(self.path), self.radius * view.scale)

    def paint(self, patch: Patch, view: View, box: Box) -> None:
        """Add the tube to a patch: nested lines stand for its circular section."""
        path = view.project(self.path)
        thickness, drawn = stroked(path, self.closed, 2 * self.radius * view.scale, box)
        section = math.pi * self.radius**2 / 100 * _density(self.material) * self.density
        # A wire seen along its axis is darker: its length over the length seen.
        real = np.linalg.norm(np.diff(self.path, axis=0), axis=1).sum() * view.scale
        seen = np.linalg.norm(np.diff(path, axis=0), axis=1).sum() + 1e-6
        load = section / (drawn / view.scale / 10) * min(real / seen, MAX_FORESHORTENING)
        patch.add(box, thickness * np.float32(load), self.material)

    def mapped(self, matrix: np.ndarray, offset: np.ndarray) -> Tube:
        """The tube under an in-plane map (turn, mirror, shift)."""
        path = np.array(self.path, float)
        path[:, :2] = path[:, :2] @ matrix.T + offset
        return replace(self, path=path)


@dataclass(frozen=True)
class Lathe:
    """A solid of revolution about the item's x axis, with the exact chord at each pixel.

    ``outer`` and ``inner`` are radii at ``x`` (ascending); ``inner`` None means solid.
    """

    x: np.ndarray
    outer: np.ndarray
    inner: np.ndarray | None
    material: str
    density: float = 1.0

    def _axes(self, view: View) -> tuple[np.ndarray, np.ndarray, float]:
        """Unit vectors along and across the axis as seen, and the axis' foreshortening."""
        along = view.rotation[:2, 0]
        seen = math.hypot(*along)
        unit = along / seen if seen > 1e-3 else np.array([1.0, 0.0])
        return unit, np.array([-unit[1], unit[0]]), max(seen, 0.25)

    def extent(self, view: View) -> np.ndarray:
        """Bounds of the projection in frame pixels: x0, y0, x1, y1."""
        along, across, seen = self._axes(view)
        radius = self.outer.max()
        corners = [
            along * x * seen + across * r for x in self.x[[0, -1]] for r in (-radius, radius)
        ]
        return bounds_of(view.centre + np.array(corners) * view.scale)

    def paint(self, patch: Patch, view: View, box: Box) -> None:
        """Add the solid to a patch, inside a box of it."""
        along, across, seen = (np.float32(v) for v in self._axes(view))
        column = (np.arange(box[0], box[2]) + 0.5 - view.centre[0]).astype(np.float32) / view.scale
        row = (np.arange(box[1], box[3]) + 0.5 - view.centre[1]).astype(np.float32) / view.scale
        u = ((column * along[0])[None] + (row * along[1])[:, None]) / seen
        v2 = ((column * across[0])[None] + (row * across[1])[:, None]) ** 2
        grid = np.linspace(self.x[0], self.x[-1], 256)
        index = np.clip((u - grid[0]) * (255 / (grid[-1] - grid[0])), 0, 255).astype(np.int32)

        def chord(radii: np.ndarray) -> np.ndarray:
            at = np.interp(grid, self.x, radii).astype(np.float32)[index]
            return cv2.sqrt(np.maximum(at * at - v2, 0))

        depth = chord(self.outer) - (0 if self.inner is None else chord(self.inner))
        depth *= (u >= grid[0]) & (u <= grid[-1])
        load = 2 / 10 * _density(self.material) * self.density / seen
        patch.add(box, depth * np.float32(load), self.material)

    def mapped(self, matrix: np.ndarray, offset: np.ndarray) -> Lathe:
        """Shift along the axis; a lathe stays on the x axis.

        Raises:
            ValueError: the map turns the solid or moves it off its axis.
        """
        if not np.array_equal(matrix, np.eye(2)) or offset[1]:
            raise ValueError("a Lathe can only be shifted along its own x axis")
        return replace(self, x=self.x + offset[0])


@dataclass(frozen=True)
class Sheet:
    """A flat raster of basis loads, such as a populated circuit board.

    ``raster`` is float32 (H, W, 2) in g/cm2 and covers ``width`` x ``height`` mm; ``matrix`` and
    ``offset`` place it in the item.
    """

    raster: np.ndarray
    width: float
    height: float
    z: float = 0.0
    matrix: np.ndarray = field(default_factory=lambda: np.eye(2))
    offset: np.ndarray = field(default_factory=lambda: np.zeros(2))

    def extent(self, view: View) -> np.ndarray:
        """Bounds of the projection in frame pixels: x0, y0, x1, y1."""
        corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * (self.width / 2, self.height / 2)
        return bounds_of(view.project(corners @ self.matrix.T + self.offset, self.z))

    def paint(self, patch: Patch, view: View, box: Box) -> None:
        """Add the raster to a patch, inside a box of it."""
        rows, columns = self.raster.shape[:2]
        pixel = np.diag([self.width / columns, self.height / rows])
        centre = view.project(self.offset[None], self.z)[0] - box[:2] - 0.5
        matrix = view.rotation[:2, :2] @ self.matrix @ pixel * view.scale
        shift = centre - matrix @ [(columns - 1) / 2, (rows - 1) / 2]
        size = (box[2] - box[0], box[3] - box[1])
        seen = cv2.warpAffine(self.raster, np.column_stack([matrix, shift]), size)
        load = np.float32(1 / max(abs(view.rotation[2, 2]), MIN_OBLIQUITY))
        inside = patch.window(box)
        inside += load * seen.transpose(2, 0, 1)

    def mapped(self, matrix: np.ndarray, offset: np.ndarray) -> Sheet:
        """The sheet under an in-plane map (turn, mirror, shift)."""
        return replace(self, matrix=matrix @ self.matrix, offset=matrix @ self.offset + offset)


@dataclass(frozen=True)
class Soft:
    """Cloth or film: an outline with a soft edge, filled with a sampled texture.

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

    def extent(self, view: View) -> np.ndarray:
        """Bounds of the projection in frame pixels: x0, y0, x1, y1."""
        return bounds_of(view.project(self.outline), 3 * self.edge * view.scale)

    def paint(self, patch: Patch, view: View, box: Box) -> None:
        """Add the cloth to a patch, inside a box of it."""
        cover = filled([view.project(self.outline)], [len(self.outline)], box)
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
        patch.add(box, cover * np.float32(self.load), self.material)

    def mapped(self, matrix: np.ndarray, offset: np.ndarray) -> Soft:
        """The cloth under an in-plane map; its texture stays where it is."""
        return replace(self, outline=self.outline @ matrix.T + offset)


Primitive = Slab | Tube | Lathe | Sheet | Soft


def slab(
    outlines: np.ndarray | Sequence[np.ndarray],
    z0: float,
    z1: float,
    material: str,
    density: float = 1.0,
) -> Slab:
    """A :class:`Slab` from one outline or several."""
    several = (outlines,) if isinstance(outlines, np.ndarray) else tuple(outlines)
    return Slab(several, z0, z1, material, density)


def moved(
    parts: Sequence[Primitive],
    by: Sequence[float] | np.ndarray = (0.0, 0.0),
    angle: float = 0.0,
    mirror: bool = False,
) -> list[Primitive]:
    """Parts mirrored at the x axis (if asked), then turned, then shifted, in the item's plane."""
    c, s = math.cos(angle), math.sin(angle)
    flip = -1.0 if mirror else 1.0
    matrix = np.array([[c, -s * flip], [s, c * flip]])
    return [part.mapped(matrix, np.asarray(by, float)) for part in parts]


def paint(parts: Sequence[Primitive], view: View, clip: Box | None = None) -> Patch:
    """Draw parts on a patch of their own, just large enough.

    Args:
        parts: The item's primitives.
        view: Where it is seen.
        clip: Frame rectangle outside which nothing is wanted (x0, y0, x1, y1).
    """
    bounds = np.array([part.extent(view) for part in parts])
    bounds = np.column_stack([np.floor(bounds[:, :2]) - 1, np.ceil(bounds[:, 2:]) + 1]).astype(int)
    box = (*bounds[:, :2].min(0).tolist(), *bounds[:, 2:].max(0).tolist())
    if clip is not None:
        box = max(box[0], clip[0]), max(box[1], clip[1]), min(box[2], clip[2]), min(box[3], clip[3])
    patch = Patch.empty(*box)
    for part, touched in zip(parts, bounds.tolist(), strict=True):
        inside = patch.overlap(touched)
        if inside:
            part.paint(patch, view, inside)
    return patch
