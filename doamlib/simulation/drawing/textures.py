"""Shared textures: folded cloth, crinkled film, populated circuit boards.

They are made once a process from fixed seeds; an item uses a random part of one, turned and
scaled, so that no two pieces of cloth are alike. Shapes, by contrast, are never drawn from a pool.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator

import cv2
import numpy as np

from doamlib.simulation.dice import Dice
from doamlib.simulation.drawing.primitives import Sheet
from doamlib.simulation.optics.physics import physics

CLOTH_SIZE = 400
"""Rows and columns of a cloth texture; one pixel a millimetre."""
BOARD_MM = (180, 130)
BOARD_FINE, BOARD_PX_PER_MM = 4, 2
POOL_SEED = 20210901


def _fractal(dice: Dice, size: int, cell: float, octaves: int, stretch: float = 1.0) -> np.ndarray:
    """Smooth noise, float32 (size, size), standard deviation near 0.5."""
    total = np.zeros((size, size), np.float32)
    amplitude = 1.0
    for octave in range(octaves):
        step = max(cell / 2**octave, 2.0)
        shape = (int(size / step) + 4, int(size / step / stretch) + 4)
        coarse = dice.generator.standard_normal(shape, dtype=np.float32)
        full = cv2.resize(coarse, None, fx=step * stretch, fy=step, interpolation=cv2.INTER_CUBIC)
        total += np.float32(amplitude) * full[:size, :size]
        amplitude *= 0.5
    return total * np.float32(0.6)


def _contours(field: np.ndarray, frequency: float, width: float) -> np.ndarray:
    """Thin lines of equal width (pixels) along level sets of a field, 0 to 1."""
    gy, gx = np.gradient(field)
    slope = np.hypot(gx, gy) + np.float32(1e-4)
    distance = np.sin(field * frequency) / (frequency * slope)
    return np.exp(-((distance / width) ** 2)).astype(np.float32)


def _cloth(dice: Dice) -> np.ndarray:
    """Folds, drape and weave: relative load with mean 1."""
    size = CLOTH_SIZE
    load = 1 + dice.between(0.3, 0.7) * _fractal(dice, size, dice.between(60, 140), 3)
    ridge = 1 - 2 * np.abs(_fractal(dice, size, dice.between(25, 60), 3, dice.between(1, 4)))
    load += dice.between(0.15, 0.6) * np.maximum(ridge - dice.between(0.3, 0.6), 0) * 2
    for _ in range(dice.count(0, 2)):
        drape = _fractal(dice, size, dice.between(60, 110), 3)
        lines = _contours(drape, dice.between(3, 9), dice.between(0.5, 1.2))
        load += dice.between(0.05, 0.35) * lines * (_fractal(dice, size, 80, 2) > -0.2)
    if dice.chance(0.4):
        warp = 5 * _fractal(dice, size, 70, 2)
        angle, pitch = dice.between(0, math.pi), dice.between(2.5, 6)
        y, x = np.mgrid[:size, :size]
        phase = (x * math.cos(angle) + y * math.sin(angle)) * (2 * math.pi / pitch) + warp
        load += dice.between(0.03, 0.1) * np.sin(phase)
    load = np.maximum(load, 0.05)
    return (load / load.mean()).astype(np.float32)


def _film(dice: Dice) -> np.ndarray:
    """Crinkled plastic or nylon: nearly nothing, with many thin creases."""
    size = CLOTH_SIZE
    load = 0.5 + 0.3 * _fractal(dice, size, dice.between(40, 90), 2)
    for _ in range(dice.count(1, 3)):
        field = _fractal(dice, size, dice.between(90, 200), 2, dice.between(1, 3))
        lines = _contours(field, dice.between(3, 9), dice.between(0.4, 1.0))
        fade = np.clip(0.5 + 1.5 * _fractal(dice, size, 70, 2), 0, 1)
        load += dice.between(0.8, 2.2) * lines * fade
    return np.maximum(load, 0.02).astype(np.float32)


class _Etching:
    """A circuit board in the making: loads in g/cm2 by material on a fine grid."""

    def __init__(self, dice: Dice) -> None:
        shape = (BOARD_MM[1] * BOARD_FINE, BOARD_MM[0] * BOARD_FINE)
        base = {"fr4": 0.22, "cu": 0.03, "chip": 0.0, "solder": 0.0}
        self.layers = {name: np.full(shape, load, np.float32) for name, load in base.items()}
        self.dice = dice

    def scatter(self, mm2: float) -> Iterator[tuple[float, float]]:
        """One random place for every so many square millimetres."""
        for _ in range(int(BOARD_MM[0] * BOARD_MM[1] / mm2)):
            yield self.dice.between(0, BOARD_MM[0]), self.dice.between(0, BOARD_MM[1])

    def add(self, name: str, x: float, y: float, w: float, h: float, load: float) -> None:
        """A rectangle with its corner at x, y (mm)."""
        x0, y0, x1, y1 = (max(round(v * BOARD_FINE), 0) for v in (x, y, x + w, y + h))
        self.layers[name][y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)] += load

    def raster(self) -> np.ndarray:
        """Basis loads, float32 (H, W, 2), at BOARD_PX_PER_MM."""
        kinds = [physics().materials[name] for name in self.layers]
        shares = np.array([[m.polyethylene, m.iron] for m in kinds], np.float32)
        size = (BOARD_MM[0] * BOARD_PX_PER_MM, BOARD_MM[1] * BOARD_PX_PER_MM)
        loads = np.stack(list(self.layers.values()), axis=2) @ shares
        return cv2.resize(loads, size, interpolation=cv2.INTER_AREA)


def _board(dice: Dice) -> np.ndarray:
    """A populated circuit board: float32 (H, W, 2), basis g/cm2 at BOARD_PX_PER_MM."""
    etching, u = _Etching(dice), dice.between
    add, scatter = etching.add, etching.scatter
    for x, y in scatter(300):
        add("cu", x, y, u(5, 35), u(3, 25), u(0.02, 0.10))
    for x, y in scatter(160):
        a, b, load = u(2, 10), u(2, 8), u(0.15, 0.6)
        add("chip", x, y, a, b, load)
        if dice.chance(0.5):
            add("solder", x - 0.6, y, 0.5, b, 0.12)
            add("solder", x + a, y, 0.5, b, 0.12)
    for x, y in scatter(1200):
        a, b = u(9, 20), u(8, 16)
        add("chip", x, y, a, b, u(0.3, 0.9))
        add("cu", x + 1, y + 1, a - 2, b - 2, u(0.0, 0.2))
    for x, y in scatter(30):
        add("solder", x, y, u(0.6, 2.0), u(0.5, 1.4), u(0.1, 0.6))
    for x, y in scatter(900):
        upright = dice.chance(0.5)
        w, h = (2.4, 0.8) if upright else (0.8, 2.4)
        for i in range(dice.count(6, 18)):
            add("cu", x + 1.5 * i * (not upright), y + 1.5 * i * upright, w, h, 0.9)
    for x, y in scatter(700):
        centre = (int(x * BOARD_FINE), int(y * BOARD_FINE))
        radius = int(u(0.8, 2.4) * BOARD_FINE)
        cv2.circle(etching.layers["solder"], centre, radius, u(0.2, 0.9), -1)
    for x, y in scatter(1100):
        a, b, wall = u(7, 20), u(6, 14), u(0.3, 0.8)
        for box in ((x, y, a, 0.7), (x, y + b, a, 0.7), (x, y, 0.7, b), (x + a, y, 0.7, b)):
            add("cu", *box, wall)
        add("cu", x, y, a, b, 0.08)
    return etching.raster()


@functools.cache
def _pool() -> dict[str, list[np.ndarray]]:
    recipes = {"cloth": (_cloth, 20), "film": (_film, 12), "board": (_board, 24)}
    return {
        name: [make(Dice([POOL_SEED, k, i])) for i in range(count)]
        for k, (name, (make, count)) in enumerate(recipes.items())
    }


def cloth_texture(dice: Dice, kind: str = "cloth") -> tuple[np.ndarray, np.ndarray]:
    """A texture (``cloth`` or ``film``) and a random frame for :class:`primitives.Soft`."""
    texture = dice.pick(_pool()[kind])
    angle, zoom = dice.between(0, 2 * math.pi), dice.between(0.75, 1.3)
    c, s = zoom * math.cos(angle), zoom * math.sin(angle)
    origin = CLOTH_SIZE / 2 + dice.point(CLOTH_SIZE / 4, CLOTH_SIZE / 4)
    return texture, np.array([[c, -s, origin[0]], [s, c, origin[1]]])


def board(dice: Dice, width: float, height: float, density: float = 1.0) -> Sheet:
    """A random cut of a circuit board, at most 180 x 130 mm, as a :class:`primitives.Sheet`."""
    source = dice.pick(_pool()["board"])
    columns, rows = (max(round(v * BOARD_PX_PER_MM), 2) for v in (width, height))
    y = int(dice.between(0, max(source.shape[0] - rows, 0) + 1))
    x = int(dice.between(0, max(source.shape[1] - columns, 0) + 1))
    cut = source[y : y + rows, x : x + columns]
    return Sheet(np.ascontiguousarray(cut * np.float32(density)), width, height)
