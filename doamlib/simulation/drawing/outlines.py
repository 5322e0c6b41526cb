"""Outlines and paths in millimetres: float64 arrays (N, 2), closed unless said otherwise."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import numpy as np

from doamlib.simulation.dice import Dice

Point = Sequence[float] | np.ndarray
_EIGHTHS = np.arange(5) * math.pi / 8
_QUARTER = np.stack([np.cos(_EIGHTHS), np.sin(_EIGHTHS)], 1)
_ARCS = np.concatenate([_QUARTER, _QUARTER[::-1]] * 2)
_SIGNS = np.repeat([[1, 1], [-1, 1], [-1, -1], [1, -1]], 5, axis=0)


@functools.cache
def _circle(n: int) -> np.ndarray:
    angle = np.linspace(0, 2 * math.pi, n, endpoint=False)
    return np.stack([np.cos(angle), np.sin(angle)], 1)


def points(*pairs: Point) -> np.ndarray:
    """Points given one by one."""
    return np.array(pairs, float)


def rectangle(width: float, height: float, at: Point = (0, 0)) -> np.ndarray:
    """Axis-aligned rectangle centred on ``at``."""
    w, h = width / 2, height / 2
    return np.array([[-w, -h], [w, -h], [w, h], [-w, h]]) + at


def ellipse(a: float, b: float | None = None, at: Point = (0, 0), n: int = 28) -> np.ndarray:
    """Ellipse with half-axes a and b (a circle without b)."""
    return _circle(n) * (a, a if b is None else b) + at


def rounded(width: float, height: float, radius: float, at: Point = (0, 0)) -> np.ndarray:
    """Rectangle with round corners (20 points)."""
    radius = min(radius, width * 0.499, height * 0.499)
    corner = np.array([width / 2 - radius, height / 2 - radius])
    return (radius * _ARCS) * _SIGNS + corner * _SIGNS + at


def mirrored(half: np.ndarray) -> np.ndarray:
    """A closed outline: an open path and, on the way back, its mirror image at the x axis."""
    return np.concatenate([half, (half * (1, -1))[::-1]])


def smooth(outline: np.ndarray, times: int = 1) -> np.ndarray:
    """Chaikin's corner cutting of a closed outline."""
    for _ in range(times):
        after = np.roll(outline, -1, 0)
        outline = np.stack([0.75 * outline + 0.25 * after, 0.25 * outline + 0.75 * after], 1)
        outline = outline.reshape(-1, 2)
    return outline


def smooth_path(path: np.ndarray, times: int = 2) -> np.ndarray:
    """Chaikin's corner cutting of an open path; its ends stay."""
    for _ in range(times):
        # The last two points lie on the line that would close the path.
        path = np.concatenate([path[:1], smooth(path)[:-2], path[-1:]])
    return path


def turned(outline: np.ndarray, angle: float) -> np.ndarray:
    """The outline turned about the origin by an angle in radians."""
    c, s = math.cos(angle), math.sin(angle)
    return outline @ np.array([[c, s], [-s, c]])


def blob(dice: Dice, width: float, height: float, jitter: float = 0.25, n: int = 10) -> np.ndarray:
    """A smooth irregular oval."""
    angle = np.linspace(0, 2 * np.pi, n, endpoint=False) + dice.generator.uniform(-0.2, 0.2, n)
    radius = 1 + dice.generator.uniform(-jitter, jitter, n)
    oval = np.stack([width / 2 * np.cos(angle), height / 2 * np.sin(angle)], 1)
    return smooth(oval * radius[:, None], 2)


def grip(dice: Dice, length: float, width: float, jitter: float = 0.15) -> np.ndarray:
    """A handle from x = 0 to x = -length with an uneven outline."""
    x = -length * np.linspace(0, 1, 7)
    half = width / 2 * (1 + dice.generator.uniform(-jitter, jitter, (2, 7)))
    half[:, 0] *= 0.85
    return smooth(np.concatenate([np.stack([x, half[0]], 1), np.stack([x, -half[1]], 1)[::-1]]), 2)


def coil(dice: Dice, radius: float, turns: float, wobble: float = 0.12) -> np.ndarray:
    """An open path: a loosely wound cable."""
    angle = np.linspace(0, 2 * np.pi * turns, int(24 * turns))
    drift = dice.between(0, 0.04) * angle / 6
    r = radius * (1 + wobble * np.sin(0.37 * angle + dice.between(0, 6)) + drift)
    return np.stack([r * np.cos(angle) * (1 + 0.2 * np.sin(0.11 * angle)), r * np.sin(angle)], 1)


def wander(dice: Dice, steps: int, stride: float, bend: float) -> np.ndarray:
    """An open path: a smooth random walk around the origin, ``bend`` radians a step."""
    heading = dice.between(0, 2 * np.pi) + np.cumsum(dice.generator.normal(0, bend, steps))
    path = np.cumsum(stride * np.stack([np.cos(heading), np.sin(heading)], 1), 0)
    return smooth_path(path - path.mean(0))


def zigzag(start: Point, end: Point, teeth: int, amplitude: float) -> np.ndarray:
    """An open path that zigzags between two points: springs, spirals seen from the side."""
    start, end = np.asarray(start, float), np.asarray(end, float)
    along = end - start
    across = np.array([-along[1], along[0]]) / max(math.hypot(*along), 1e-9)
    share = np.linspace(0, 1, 2 * teeth)[:, None]
    swing = amplitude * np.tile([1.0, -1.0], teeth)[:, None]
    return start + share * along + swing * across


def resampled(path: np.ndarray, pitch: float) -> tuple[np.ndarray, np.ndarray]:
    """Equally spaced points on an open path and the unit normals there, each (M, 2)."""
    length = np.r_[0, np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=1))]
    at = np.arange(0, length[-1], pitch)
    spaced = np.stack([np.interp(at, length, path[:, i]) for i in (0, 1)], 1)
    tangent = np.gradient(spaced, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1)[:, None] + 1e-9
    return spaced, np.stack([-tangent[:, 1], tangent[:, 0]], 1)
