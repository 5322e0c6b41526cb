"""A stretch of belt: containers side by side, their contents, and where everything lies.

Planning a scene draws no pixel: every item is a kind, a place and a seed. It is built and painted
when some window needs it. One pose law and one placement law serve all items, cutters included.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from doamlib.simulation.dice import Dice
from doamlib.simulation.drawing.canvas import Box, Patch, View, overlap
from doamlib.simulation.drawing.outlines import turned
from doamlib.simulation.drawing.primitives import Sketch
from doamlib.simulation.items.catalogue import CONTENTS, GROUPS, KINDS, RAREST, Kind
from doamlib.simulation.items.containers import CONTAINERS, Container

FRAME = (1225, 954)
"""Width and height of a full frame in pixels."""
SCALE_RANGE = (0.92, 1.08)
"""Pixels per millimetre."""
CONTAINER_SHARES = ("tray",) * 31 + ("backpack",) * 12 + ("suitcase",) * 7
DENSITY = (0.1, 2.0)
"""Range of the factor on a container's mean contents."""
EMPTIEST_OF = 8
EMPTIEST_SHARE = 0.85
"""Share of items put at the emptiest of eight places instead of the first."""
OVERHANG = 0.12
"""Share of items that may stick out of their container."""


def rotation(psi: float, tilt: float = 0.0, axis: float = 0.0) -> np.ndarray:
    """Rotation matrix: tilt about the in-plane direction ``axis``, then turn by psi (radians)."""
    c, s = math.cos(axis), math.sin(axis)
    cross = np.array([[0, 0, s], [0, 0, -c], [-s, c, 0]])
    tilted = np.eye(3) + math.sin(tilt) * cross + (1 - math.cos(tilt)) * cross @ cross
    c, s = math.cos(psi), math.sin(psi)
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ tilted


def pose(dice: Dice) -> np.ndarray:
    """The pose law of everything that does not lie flat by nature.

    66% nearly flat, 18% tilted about the long axis (x), 12% nearly edge-on, 4% foreshortened in
    length; any direction in the plane.
    """
    share, psi = dice.unit(), dice.between(0, 2 * math.pi)
    if share < 0.66:
        return rotation(psi, abs(dice.normal(0.2)), dice.between(0, math.pi))
    if share < 0.84:
        return rotation(psi, dice.between(0.35, 1.1), dice.normal(0.35))
    if share < 0.96:
        return rotation(psi, dice.between(1.2, 1.46), dice.normal(0.06))
    return rotation(psi, dice.between(0.5, 1.05), math.pi / 2 + dice.normal(0.3))


def lying(dice: Dice) -> np.ndarray:
    """Flat things: any direction, often along the container, hardly tilted."""
    psi = (
        dice.between(0, 2 * math.pi)
        if dice.chance(0.4)
        else math.pi * dice.count(0, 1) + dice.normal(0.25)
    )
    return rotation(psi, abs(dice.normal(0.04)), dice.between(0, math.pi))


@dataclass
class Item:
    """One item in a scene; parts and pose follow from its seed alone.

    Attributes:
        kind: What it is.
        seed: Seed of its shape and pose.
        at: Millimetres (x, y) from the frame's upper left corner.
        turn: In-plane turn of its container, radians.
        posed: Rotation to use instead of the one the seed gives (scenes arranged by hand).
    """

    kind: Kind
    seed: int
    at: np.ndarray
    turn: float = 0.0
    posed: np.ndarray | None = None
    _sketch: Sketch | None = field(default=None, repr=False)

    def view(self, scale: float) -> tuple[View, Dice]:
        """Its view at this scale, and the stream from which its parts are drawn next."""
        dice = Dice(self.seed)
        turn = lying(dice) if self.kind.flat else pose(dice)
        if self.posed is not None:
            turn = self.posed
        return View(rotation(self.turn) @ turn, self.at * scale, scale), dice

    @property
    def tilt_degrees(self) -> float:
        """Angle between the item's normal and the beam, 0 (flat) to 90 (edge-on)."""
        view, _ = self.view(1.0)
        return math.degrees(math.acos(min(1.0, abs(view.rotation[2, 2]))))

    def sketch(self, scale: float) -> Sketch:
        """The item's parts in place, ready to be painted (made once, then kept)."""
        if self._sketch is None:
            view, dice = self.view(scale)
            self._sketch = Sketch(self.kind.build(dice), view)
        return self._sketch

    def patch(self, scale: float) -> Patch:
        """The item painted alone, uncut."""
        return self.sketch(scale).whole

    def part_in(self, box: Box, scale: float) -> Patch:
        """What of the item lies in a frame rectangle; cloth and film are never painted whole."""
        sketch = self.sketch(scale)
        touched = overlap(sketch.box, box)
        return sketch.whole if touched and self.kind.listed else sketch.paint(box)

    def may_touch(self, box: Box, scale: float) -> bool:
        """False where even the item's rarest shape cannot enter a frame rectangle."""
        x, y = self.at * scale
        reach = RAREST * self.kind.reach * scale + 2
        return box[0] - reach < x < box[2] + reach and box[1] - reach < y < box[3] + reach


@dataclass
class Placed:
    """A container on the belt.

    Attributes:
        container: What it is.
        at: Millimetres (x, y) of its middle in the frame.
        turn: In-plane turn, radians.
    """

    container: Container
    at: np.ndarray
    turn: float
    _sketch: Sketch | None = field(default=None, repr=False)

    def to_frame(self, points: np.ndarray) -> np.ndarray:
        """Frame millimetres of points (..., 2) in the container."""
        return turned(points, self.turn) + self.at

    def holds(self, point: np.ndarray) -> bool:
        """Whether a point (x, y) in frame millimetres lies in the room for contents."""
        x, y, half_width, half_height = self.container.inside
        dx, dy = turned(point - self.at, -self.turn) - (x, y)
        return bool(abs(dx) < half_width and abs(dy) < half_height)

    def part_in(self, box: Box, scale: float) -> Patch:
        """What of the container lies in a frame rectangle."""
        if self._sketch is None:
            view = View(rotation(self.turn), self.at * scale, scale)
            self._sketch = Sketch(self.container.parts, view)
        return self._sketch.paint(box)


@dataclass
class Scene:
    """Everything on one stretch of belt.

    Attributes:
        scale: Pixels per millimetre.
        containers: One to three, the main one first.
        items: Harmless items, cloth and fittings.
    """

    scale: float
    containers: list[Placed]
    items: list[Item]

    def region(self, box: Box, without: Item | None = None) -> Patch:
        """The basis maps of a frame rectangle: containers and items summed, but for one item."""
        total = Patch.empty(*box)
        for placed in self.containers:
            total.paste(placed.part_in(box, self.scale))
        for item in self.items:
            if item is not without and item.may_touch(box, self.scale):
                total.paste(item.part_in(box, self.scale))
        return total


def place(dice: Dice, placed: Placed, reach: float, others: Sequence[Item]) -> np.ndarray:
    """The placement law: where in its container an item's middle lies, mm in the frame.

    The item stays inside by 0.6 of its reach (some stick out); most take the emptiest of
    eight such places.
    """
    x, y, half_width, half_height = placed.container.inside
    share = 0.1 if dice.chance(OVERHANG) else 0.6
    room = [max(half - share * reach, 0.12 * half) for half in (half_width, half_height)]
    tries = EMPTIEST_OF if dice.chance(EMPTIEST_SHARE) else 1
    spots = placed.to_frame(np.add([dice.pair(*room) for _ in range(tries)], (x, y)))
    return spots[np.argmin(_crowding(spots, reach, others))]


def _crowding(spots: np.ndarray, reach: float, others: Sequence[Item]) -> np.ndarray:
    """How deeply other named items' discs overlap a disc around each spot (N, 2)."""
    named = [item for item in others if item.kind.listed]
    if not named:
        return np.zeros(len(spots))
    apart = np.array([item.at for item in named])[:, None] - spots
    reaches = np.array([item.kind.reach for item in named])[:, None]
    overlap = 0.7 * (reach + reaches) - np.hypot(apart[..., 0], apart[..., 1])
    return np.maximum(overlap, 0).sum(0)


def _fill(dice: Dice, placed: Placed, items: list[Item], density: float) -> None:
    for group, mean in CONTENTS[placed.container.kind].items():
        for _ in range(dice.poisson(mean * density)):
            items.append(draw_item(dice, placed, KINDS[dice.pick(GROUPS[group])], items))
    x, y, half_width, half_height = placed.container.inside
    for _ in range(placed.container.fittings):
        spot = placed.to_frame(np.add(dice.point(half_width * 1.15, half_height * 1.15), (x, y)))
        items.append(Item(KINDS[dice.pick(GROUPS["fittings"])], dice.seed(), spot, placed.turn))


def draw_item(dice: Dice, placed: Placed, kind: Kind, others: Sequence[Item]) -> Item:
    """One item of a kind, posed and placed by the common laws."""
    return Item(kind, dice.seed(), place(dice, placed, kind.reach, others), placed.turn)


def draw_scene(dice: Dice) -> Scene:
    """A random stretch of belt: a container near the middle, neighbours touching it or not."""
    scale = dice.between(*SCALE_RANGE)
    middle = np.array(FRAME) / scale / 2
    containers: list[Placed] = []

    def put(side: int) -> None:
        kind = dice.pick(CONTAINER_SHARES)
        container = CONTAINERS[kind](dice)
        turn = dice.between(0, 2 * math.pi) if kind == "backpack" else dice.normal(0.09)
        if side == 0:
            at = np.add(middle, (dice.normal(60), 15 + dice.normal(30)))
        else:
            first = containers[0]
            apart = (first.container.width + container.width) / 2 + dice.between(-45, 60)
            at = np.add(first.at, (side * apart, dice.normal(35)))
        containers.append(Placed(container, at, turn))

    put(0)
    for side in (-1, 1):
        if dice.chance(0.6):
            put(side)
    items: list[Item] = []
    for placed in containers:
        _fill(dice, placed, items, dice.between(*DENSITY))
    return Scene(scale, containers, items)
