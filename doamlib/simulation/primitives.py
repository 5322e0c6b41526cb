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

from doamlib.simulation.physics import physics

SLICE_SHIFT_PX = 0.8
MAX_SLICES = 48
MIN_OBLIQUITY = 0.08
"""Floor of the cosine between a slab's normal and the beam: limits the path of edge-on slabs."""
MAX_FORESHORTENING = 6.0
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


def _around(points: np.ndarray, margin: float = 0.0) -> np.ndarray:
    """Bounds (x0, y0, x1, y1) of points (N, 2)."""
    return np.concatenate([points.min(0) - margin, points.max(0) + margin])


def _fineness(box: Box) -> int:
    return 4 if (box[2] - box[0]) * (box[3] - box[1]) <= FINE_AREA_PX else 2


def _fixed_point(points: np.ndarray, box: Box, times: int) -> np.ndarray:
    """Frame pixels as OpenCV's fixed-point coordinates on a finer grid, int32 (N, 2)."""
    return np.round(((points - box[:2]) * times - 0.5) * 16).astype(np.int32)


def _coverage(layers: Sequence[np.ndarray], sizes: Sequence[int], box: Box) -> np.ndarray:
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


def _odd(width: float) -> int:
    """Nearest odd number: OpenCV draws thickness 2k (and 2k - 1) as 2k + 1 pixels."""
    return 2 * round((width - 1) / 2) + 1 if width > 1 else 1


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
        cover = _coverage(layers, [len(outline) for outline in self.outlines], box)
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
        return _around(view.project(self.path), self.radius * view.scale)

    def paint(self, patch: Patch, view: View, box: Box) -> None:
        """Add the tube to a patch: nested lines stand for its circular section."""
        path = view.project(self.path)
        times = _fineness(box)
        width, height = box[2] - box[0], box[3] - box[1]
        diameter = 2 * self.radius * view.scale * times
        nested = 1 if diameter < 4 else 2 if diameter < 10 else 4
        widths = [_odd(diameter * math.sqrt(1 - (k / nested) ** 2)) for k in range(nested)]
        lines = [_fixed_point(path, box, times)]
        total = np.zeros((height * times, width * times), np.uint8)
        for wide in widths:
            mask = np.zeros_like(total)
            cv2.polylines(mask, lines, self.closed, 60, max(wide - 1, 1), cv2.LINE_8, 4)
            total = cv2.add(total, mask)
        mean = cv2.resize(total.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
        section = math.pi * self.radius**2 / 100 * _density(self.material) * self.density
        steps = np.abs(np.diff(path, axis=0))
        length = np.hypot(steps[:, 0], steps[:, 1]).sum() + 1e-6
        thin = steps.max(1).sum() / length  # pixels a unit length of an 8-connected line has
        drawn_cm = 60 * sum(w if w > 1 else thin for w in widths) / times / view.scale / 10
        # A wire seen along its axis is darker: its length over the length seen.
        real = np.linalg.norm(np.diff(self.path, axis=0), axis=1).sum() * view.scale
        load = section / drawn_cm * min(real / length, MAX_FORESHORTENING)
        patch.add(box, mean * np.float32(load), self.material)

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
        return _around(view.centre + np.array(corners) * view.scale)

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
        return _around(view.project(corners @ self.matrix.T + self.offset, self.z))

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
        return _around(view.project(self.outline), 3 * self.edge * view.scale)

    def paint(self, patch: Patch, view: View, box: Box) -> None:
        """Add the cloth to a patch, inside a box of it."""
        cover = _coverage([view.project(self.outline)], [len(self.outline)], box)
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
