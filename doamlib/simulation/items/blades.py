"""Blades, rivets and handles: the parts that cutters and harmless tools share."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from doamlib.simulation.dice import Dice
from doamlib.simulation.drawing.outlines import Point, ellipse, grip
from doamlib.simulation.drawing.primitives import Primitive, Slab

PLASTICS = ("abs", "nylon", "pp", "abs", "rubber")
METALS = ("steel", "al", "stainless", "brass", "zamak")
PROFILES = ("drop", "drop", "clip", "spear", "sheepsfoot", "chef", "chef", "tanto", "dagger")


def profile(dice: Dice, length: float, width: float) -> tuple:
    """Spine and edge of a blade from root (x = 0) to tip: x, spine y, edge y, style."""
    style = dice.pick(PROFILES)
    x, half, q = np.linspace(0, 1, 18), width / 2, dice.between(1.8, 3.2)

    def rise(start: float, power: float) -> np.ndarray:
        return np.clip((x - start) / (1 - start), 0, 1) ** power

    spine, edge = np.full(18, half), np.full(18, -half)
    if style == "drop":
        spine, edge = half - 0.55 * width * rise(0.5, 2), -half + 0.45 * width * rise(0.45, q)
    elif style == "clip":
        spine = half - 0.7 * width * rise(dice.between(0.5, 0.7), 0.8)
        edge = -half + 0.3 * width * rise(0.5, q)
    elif style == "spear":
        spine = half - half * rise(0.45, 1.7)
        edge = -spine
    elif style == "sheepsfoot":
        spine = half - width * rise(0.75, 1.8)
    elif style == "chef":
        spine, edge = half - 0.15 * width * x, -half + 0.85 * width * rise(0.3, 2)
    elif style == "tanto":
        spine, edge = half - 0.1 * width * x, -half + 0.9 * width * rise(0.75, 1)
    elif style == "dagger":
        spine = half * (1 - rise(0.15, 1.6))
        edge = -spine
    return x * length, spine, np.minimum(edge, spine - 0.2), style


def bevelled(
    x: np.ndarray,
    spine: np.ndarray,
    edge: np.ndarray,
    z: float,
    thickness: float,
    bevel: float = 0.55,
    steps: int = 4,
    material: str = "stainless",
) -> list[Primitive]:
    """A plate that thins towards its edge: stacked plates whose edge recedes.

    ``bevel`` is the share of the width that is ground down.
    """
    parts: list[Primitive] = []
    for step in range(steps):
        rim = spine + (edge - spine) * (1 - bevel * step / max(steps - 1, 1))
        outline = np.concatenate([np.stack([x, spine], 1), np.stack([x, rim], 1)[::-1]])
        low = z + thickness * (step / steps - 0.5)
        parts.append(Slab(outline, low, low + thickness / steps, material))
    return parts


def rivets(
    at: list[Point], z0: float, z1: float, radius: float = 1.6, material: str = "steel"
) -> Slab:
    """Round pins through an item."""
    return Slab([ellipse(radius, at=p, n=12) for p in at], z0, z1, material)


def scales(dice: Dice, length: float, width: float, depth: float, material: str) -> list[Primitive]:
    """A rounded solid handle from x = 0 to -length: stacked outlines, thickest in the middle."""
    outline = grip(dice, length, width, 0.12)
    levels = [-depth / 2 + depth * k / 3 for k in range(4)]
    return [
        Slab(outline * (1, share), low, high, material)
        for share, (low, high) in zip((0.8, 1.0, 0.8), pairwise(levels), strict=True)
    ]
